// The version of Thrust that CuPy's source checks for.
#define THRUST_VERSION 200800
