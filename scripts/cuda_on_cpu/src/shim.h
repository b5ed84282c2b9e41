// CUDA C++ for a host compiler: everything that the source of a kernel may use without including
// it. The threads of a block run one after another, as fibers if the kernel waits for other
// threads.
#pragma once
#include <assert.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __managed__
#define __shared__ static __attribute__((aligned(16)))
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__
#define __CUDA_ON_CPU__ 1

// ---------------------------------------------------------------- vector types
#define CUDA_ON_CPU_VECTORS(T, N)                                                \
    struct N##1 { T x; };                                                        \
    struct __align__(2 * sizeof(T)) N##2 { T x, y; };                            \
    struct N##3 { T x, y, z; };                                                  \
    struct __align__(sizeof(T) > 4 ? 16 : 4 * sizeof(T)) N##4 { T x, y, z, w; }; \
    inline N##1 make_##N##1(T x) { return {x}; }                                 \
    inline N##2 make_##N##2(T x, T y) { return {x, y}; }                         \
    inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }                 \
    inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDA_ON_CPU_VECTORS(signed char, char)
CUDA_ON_CPU_VECTORS(unsigned char, uchar)
CUDA_ON_CPU_VECTORS(short, short)
CUDA_ON_CPU_VECTORS(unsigned short, ushort)
CUDA_ON_CPU_VECTORS(int, int)
CUDA_ON_CPU_VECTORS(unsigned int, uint)
CUDA_ON_CPU_VECTORS(long, long)
CUDA_ON_CPU_VECTORS(unsigned long, ulong)
CUDA_ON_CPU_VECTORS(long long, longlong)
CUDA_ON_CPU_VECTORS(unsigned long long, ulonglong)
CUDA_ON_CPU_VECTORS(float, float)
CUDA_ON_CPU_VECTORS(double, double)

struct dim3 {
    unsigned int x, y, z;
    constexpr dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z) {}
};

static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
static const int warpSize = 32;

// ---------------------------------------------------------------- waiting for other threads
extern "C" {
// Wait for the live threads of the block. Returns how many passed a nonzero value.
int cuda_on_cpu_barrier_block(int yes);
// Wait for the live lanes of mask; each publishes size bytes. Returns the lanes that passed a
// nonzero value.
unsigned cuda_on_cpu_barrier_warp(unsigned mask, int yes, const void* value, size_t size);
// Return what a lane of this warp published, or nullptr if it did not take part.
const void* cuda_on_cpu_barrier_lane(unsigned lane);
void* cuda_on_cpu_dynamic_shared(void);
void cuda_on_cpu_run_block(int n, void (*thread)(void* context, int i), void* context);
}

static inline int cuda_on_cpu_wait(int yes) {
    uint3 me = threadIdx;
    int n = cuda_on_cpu_barrier_block(yes);
    threadIdx = me;
    return n;
}
static inline unsigned cuda_on_cpu_warp(unsigned mask, int yes, const void* v, size_t size) {
    uint3 me = threadIdx;
    unsigned votes = cuda_on_cpu_barrier_warp(mask, yes, v, size);
    threadIdx = me;
    return votes;
}
static inline unsigned cuda_on_cpu_lane_id() {
    return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) & 31;
}
static inline void __syncthreads() { cuda_on_cpu_wait(1); }
static inline int __syncthreads_count(int p) { return cuda_on_cpu_wait(p != 0); }
static inline int __syncthreads_or(int p) { return cuda_on_cpu_wait(p != 0) != 0; }
static inline int __syncthreads_and(int p) { return cuda_on_cpu_wait(p == 0) == 0; }
static inline void __syncwarp(unsigned mask = ~0u) { cuda_on_cpu_warp(mask, 1, nullptr, 0); }
static inline unsigned __ballot_sync(unsigned mask, int p) {
    return cuda_on_cpu_warp(mask, p != 0, nullptr, 0);
}
static inline int __any_sync(unsigned mask, int p) { return __ballot_sync(mask, p) != 0; }
static inline int __all_sync(unsigned mask, int p) { return __ballot_sync(mask, !p) == 0; }
// There are no __any, __all, __ballot and __shfl: code that uses them expects the lanes of a warp
// to run in lockstep.
static inline unsigned __activemask() { return cuda_on_cpu_warp(~0u, 1, nullptr, 0); }
template <class T>
static inline T cuda_on_cpu_shuffle(unsigned mask, T v, int source) {
    static_assert(sizeof(T) <= 32, "a shuffle of more than 32 bytes");
    cuda_on_cpu_warp(mask, 1, &v, sizeof(T));
    const void* p = source < 0 ? nullptr : cuda_on_cpu_barrier_lane((unsigned)source);
    T out = v;
    if (p) memcpy((void*)&out, p, sizeof(T));
    return out;
}
template <class T>
static inline T __shfl_sync(unsigned m, T v, int from, int width = 32) {
    int lane = cuda_on_cpu_lane_id();
    return cuda_on_cpu_shuffle(m, v, (lane & ~(width - 1)) | (from & (width - 1)));
}
template <class T>
static inline T __shfl_up_sync(unsigned m, T v, unsigned d, int width = 32) {
    int lane = cuda_on_cpu_lane_id(), from = lane - (int)d;
    return cuda_on_cpu_shuffle(m, v, from < (lane & ~(width - 1)) ? lane : from);
}
template <class T>
static inline T __shfl_down_sync(unsigned m, T v, unsigned d, int width = 32) {
    int lane = cuda_on_cpu_lane_id(), from = lane + (int)d;
    return cuda_on_cpu_shuffle(m, v, from > (lane | (width - 1)) ? lane : from);
}
template <class T>
static inline T __shfl_xor_sync(unsigned m, T v, int x, int width = 32) {
    int lane = cuda_on_cpu_lane_id(), from = lane ^ x;
    return cuda_on_cpu_shuffle(m, v, from > (lane | (width - 1)) ? lane : from);
}
static inline void __threadfence() {}
static inline void __threadfence_block() {}
static inline void __threadfence_system() {}
static inline void __trap() { abort(); }
static inline long long clock64() { return 0; }
static inline clock_t cuda_on_cpu_clock() { return 0; }

// ---------------------------------------------------------------- integers and bits
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline unsigned __brev(unsigned x) {
    unsigned r = 0;
    for (int i = 0; i < 32; i++) r |= ((x >> i) & 1u) << (31 - i);
    return r;
}
static inline unsigned long long __brevll(unsigned long long x) {
    return ((unsigned long long)__brev((unsigned)x) << 32) | __brev((unsigned)(x >> 32));
}
static inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)(((unsigned long long)a * b) >> 32);
}
static inline int __mulhi(int a, int b) { return (int)(((long long)a * b) >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
static inline long long __mul64hi(long long a, long long b) {
    return (long long)(((__int128)a * b) >> 64);
}
static inline int __mul24(int a, int b) { return a * b; }
static inline unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned s) {
    return (unsigned)(((((unsigned long long)hi << 32) | lo) << (s & 31)) >> 32);
}
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned s) {
    unsigned long long v = ((unsigned long long)b << 32) | a;
    unsigned r = 0;
    for (int i = 0; i < 4; i++) r |= (unsigned)((v >> (8 * ((s >> (4 * i)) & 7))) & 255) << (8 * i);
    return r;
}
template <class To, class From>
static inline To cuda_on_cpu_bits(From x) {
    static_assert(sizeof(To) == sizeof(From), "sizes differ");
    To y;
    memcpy(&y, &x, sizeof y);
    return y;
}
static inline int __float_as_int(float x) { return cuda_on_cpu_bits<int>(x); }
static inline unsigned __float_as_uint(float x) { return cuda_on_cpu_bits<unsigned>(x); }
static inline float __int_as_float(int x) { return cuda_on_cpu_bits<float>(x); }
static inline float __uint_as_float(unsigned x) { return cuda_on_cpu_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return cuda_on_cpu_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return cuda_on_cpu_bits<double>(x); }
static inline int __double2hiint(double x) { return (int)(__double_as_longlong(x) >> 32); }
static inline int __double2loint(double x) { return (int)__double_as_longlong(x); }
static inline double __hiloint2double(int hi, int lo) {
    return __longlong_as_double(
        (long long)(((unsigned long long)(unsigned)hi << 32) | (unsigned)lo));
}
template <class T>
static inline T __ldg(const T* p) {
    return *p;
}

#define CUDA_ON_CPU_MINMAX(A, B, R)                                     \
    static inline R min(A a, B b) { return (R)a < (R)b ? (R)a : (R)b; } \
    static inline R max(A a, B b) { return (R)a > (R)b ? (R)a : (R)b; }
CUDA_ON_CPU_MINMAX(int, int, int)
CUDA_ON_CPU_MINMAX(unsigned, unsigned, unsigned)
CUDA_ON_CPU_MINMAX(int, unsigned, unsigned)
CUDA_ON_CPU_MINMAX(unsigned, int, unsigned)
CUDA_ON_CPU_MINMAX(long, long, long)
CUDA_ON_CPU_MINMAX(unsigned long, unsigned long, unsigned long)
CUDA_ON_CPU_MINMAX(long, unsigned long, unsigned long)
CUDA_ON_CPU_MINMAX(unsigned long, long, unsigned long)
CUDA_ON_CPU_MINMAX(long long, long long, long long)
CUDA_ON_CPU_MINMAX(unsigned long long, unsigned long long, unsigned long long)
CUDA_ON_CPU_MINMAX(long long, unsigned long long, unsigned long long)
CUDA_ON_CPU_MINMAX(unsigned long long, long long, unsigned long long)
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
static inline double min(float a, double b) { return fmin(a, b); }
static inline double max(float a, double b) { return fmax(a, b); }
static inline double min(double a, float b) { return fmin(a, b); }
static inline double max(double a, float b) { return fmax(a, b); }

// ---------------------------------------------------------------- mathematics
#define CUDA_ON_CPU_BOTH(name, expression)                                  \
    static inline double name(double x) { return expression; }              \
    static inline float name##f(float x) { return (float)name((double)x); } \
    static inline float name(float x) { return name##f(x); }
CUDA_ON_CPU_BOTH(rsqrt, 1.0 / sqrt(x))
CUDA_ON_CPU_BOTH(rcbrt, 1.0 / cbrt(x))
CUDA_ON_CPU_BOTH(sinpi, sin(fmod(x, 2.0) * M_PI))
CUDA_ON_CPU_BOTH(cospi, cos(fmod(x, 2.0) * M_PI))
CUDA_ON_CPU_BOTH(normcdf, 0.5 * erfc(-x * M_SQRT1_2))
static inline double erfcx(double x) {
    if (x < 25) return exp(x * x) * erfc(x);
    double s = 0.5 / (x * x);
    return 0.56418958354775628695 / x * (1 - s * (1 - 3 * s * (1 - 5 * s)));
}
static inline float erfcxf(float x) { return (float)erfcx((double)x); }
static inline double normcdfinv(double p) {
    if (!(p >= 0 && p <= 1)) return NAN;
    if (p == 0) return -INFINITY;
    if (p == 1) return INFINITY;
    double lo = -40, hi = 40;
    for (int i = 0; i < 200 && lo < hi; i++) {
        double m = 0.5 * (lo + hi);
        if (m == lo || m == hi) break;
        (normcdf(m) < p ? lo : hi) = m;
    }
    return 0.5 * (lo + hi);
}
static inline float normcdfinvf(float p) { return (float)normcdfinv((double)p); }
static inline double erfinv(double x) {
    if (!(x >= -1 && x <= 1)) return NAN;
    if (x == 1) return INFINITY;
    if (x == -1) return -INFINITY;
    double a = 0.147, l = log1p(-x * x), t = 2 / (M_PI * a) + l / 2;
    double y = copysign(sqrt(sqrt(t * t - l / a) - t), x);
    for (int i = 0; i < 4; i++) y -= (erf(y) - x) / (M_2_SQRTPI * exp(-y * y));
    return y;
}
static inline float erfinvf(float x) { return (float)erfinv((double)x); }
static inline float erfinv(float x) { return erfinvf(x); }
static inline double erfcinv(double x) { return -normcdfinv(0.5 * x) * M_SQRT1_2; }
static inline float erfcinvf(float x) { return (float)erfcinv((double)x); }
static inline float erfcinv(float x) { return erfcinvf(x); }
static inline double cyl_bessel_i0(double x) {
    double s = 1, t = 1, q = x * x / 4;
    for (int k = 1; k < 2000 && t > s * 1e-17; k++) s += t *= q / ((double)k * k);
    return s;
}
static inline float cyl_bessel_i0f(float x) { return (float)cyl_bessel_i0((double)x); }
static inline double cyl_bessel_i1(double x) {
    double t = x / 2, s = t, q = x * x / 4;
    for (int k = 1; k < 2000 && fabs(t) > fabs(s) * 1e-17; k++) s += t *= q / ((double)k * (k + 1));
    return s;
}
static inline float cyl_bessel_i1f(float x) { return (float)cyl_bessel_i1((double)x); }
static inline void sincospi(double x, double* s, double* c) {
    *s = sinpi(x);
    *c = cospi(x);
}
static inline void sincospif(float x, float* s, float* c) {
    *s = sinpif(x);
    *c = cospif(x);
}
static inline void sincos(float x, float* s, float* c) {
    *s = sinf(x);
    *c = cosf(x);
}
static inline double rhypot(double a, double b) { return 1 / hypot(a, b); }
static inline float rhypotf(float a, float b) { return 1 / hypotf(a, b); }
static inline double norm3d(double a, double b, double c) { return sqrt(a * a + b * b + c * c); }
static inline float __saturatef(float x) { return x < 0 ? 0 : x > 1 ? 1 : x; }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float fdividef(float a, float b) { return a / b; }
#define __expf expf
#define __exp10f(x) powf(10.0f, x)
#define __logf logf
#define __log2f log2f
#define __log10f log10f
#define __powf powf
#define __sinf sinf
#define __cosf cosf
#define __tanf tanf
static inline float __frcp_rn(float x) { return 1 / x; }
static inline float __fsqrt_rn(float x) { return sqrtf(x); }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) {
    volatile float c = a * b;
    return c;
}
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dsub_rn(double a, double b) { return a - b; }
static inline double __dmul_rn(double a, double b) {
    volatile double c = a * b;
    return c;
}
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline double __dsqrt_rn(double x) { return sqrt(x); }
static inline double __drcp_rn(double x) { return 1 / x; }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
static inline int __float2int_rz(float x) { return (int)x; }
static inline int __float2int_rn(float x) { return (int)rintf(x); }
static inline int __float2int_rd(float x) { return (int)floorf(x); }
static inline int __float2int_ru(float x) { return (int)ceilf(x); }
static inline float __int2float_rn(int x) { return (float)x; }
static inline int __double2int_rz(double x) { return (int)x; }
static inline int __double2int_rn(double x) { return (int)rint(x); }
static inline float __double2float_rn(double x) { return (float)x; }
static inline double exp10(float x) { return pow(10.0, (double)x); }
#define CUDART_INF_F INFINITY
#define CUDART_NAN_F NAN
#define CUDART_INF ((double)INFINITY)
#define CUDART_NAN ((double)NAN)

// Half precision, by the compiler's own type.
static inline unsigned short __float2half_rn(float x) {
    return cuda_on_cpu_bits<unsigned short>((_Float16)x);
}
static inline float __half2float(unsigned short x) { return (float)cuda_on_cpu_bits<_Float16>(x); }
struct half;
template <class H>
static inline unsigned short __half_as_ushort(const H& h) {
    return cuda_on_cpu_bits<unsigned short>(h);
}
template <class H = half>
static inline H __ushort_as_half(unsigned short bits) {
    H h;
    memcpy((void*)&h, &bits, sizeof bits);
    return h;
}

// ---------------------------------------------------------------- atomics: threads run in turn
#define CUDA_ON_CPU_ATOMIC(T)               \
    static inline T atomicExch(T* p, T v) { \
        T o = *p;                           \
        *p = v;                             \
        return o;                           \
    }                                       \
    static inline T atomicAdd(T* p, T v) {  \
        T o = *p;                           \
        *p = o + v;                         \
        return o;                           \
    }
CUDA_ON_CPU_ATOMIC(int)
CUDA_ON_CPU_ATOMIC(unsigned)
CUDA_ON_CPU_ATOMIC(unsigned long long)
CUDA_ON_CPU_ATOMIC(float)
CUDA_ON_CPU_ATOMIC(double)
#define CUDA_ON_CPU_ATOMIC_INT(T)                      \
    static inline T atomicCAS(T* p, T expected, T v) { \
        T o = *p;                                      \
        if (o == expected) *p = v;                     \
        return o;                                      \
    }                                                  \
    static inline T atomicMin(T* p, T v) {             \
        T o = *p;                                      \
        if (v < o) *p = v;                             \
        return o;                                      \
    }                                                  \
    static inline T atomicMax(T* p, T v) {             \
        T o = *p;                                      \
        if (v > o) *p = v;                             \
        return o;                                      \
    }                                                  \
    static inline T atomicAnd(T* p, T v) {             \
        T o = *p;                                      \
        *p = o & v;                                    \
        return o;                                      \
    }                                                  \
    static inline T atomicOr(T* p, T v) {              \
        T o = *p;                                      \
        *p = o | v;                                    \
        return o;                                      \
    }                                                  \
    static inline T atomicXor(T* p, T v) {             \
        T o = *p;                                      \
        *p = o ^ v;                                    \
        return o;                                      \
    }
CUDA_ON_CPU_ATOMIC_INT(int)
CUDA_ON_CPU_ATOMIC_INT(unsigned)
CUDA_ON_CPU_ATOMIC_INT(long long)
CUDA_ON_CPU_ATOMIC_INT(unsigned long long)
static inline unsigned short atomicCAS(unsigned short* p, unsigned short e, unsigned short v) {
    unsigned short o = *p;
    if (o == e) *p = v;
    return o;
}
static inline int atomicSub(int* p, int v) {
    int o = *p;
    *p = o - v;
    return o;
}
static inline unsigned atomicSub(unsigned* p, unsigned v) {
    unsigned o = *p;
    *p = o - v;
    return o;
}
static inline unsigned atomicInc(unsigned* p, unsigned v) {
    unsigned o = *p;
    *p = o >= v ? 0 : o + 1;
    return o;
}
static inline unsigned atomicDec(unsigned* p, unsigned v) {
    unsigned o = *p;
    *p = (o == 0 || o > v) ? v : o - 1;
    return o;
}

// ---------------------------------------------------------------- launching
struct cuda_on_cpu_launch {
    unsigned grid[3], block[3];
    int fibers;
};
struct cuda_on_cpu_kernel {
    void (*run)(void** arguments, const cuda_on_cpu_launch* launch);
    int count;
    const size_t* sizes;
};
template <auto F>
struct cuda_on_cpu_entry;
template <class... A, void (*F)(A...)>
struct cuda_on_cpu_entry<F> {
    static inline const size_t sizes[sizeof...(A) + 1] = {sizeof(std::remove_reference_t<A>)..., 0};
    template <size_t... I>
    static inline __attribute__((always_inline)) void call(void** a, std::index_sequence<I...>) {
        F(*(std::remove_cv_t<std::remove_reference_t<A>>*)a[I]...);
    }
    static void thread(void* context, int i) {
        unsigned n = (unsigned)i;
        threadIdx.x = n % blockDim.x;
        threadIdx.y = n / blockDim.x % blockDim.y;
        threadIdx.z = n / blockDim.x / blockDim.y;
        call((void**)context, std::index_sequence_for<A...>{});
    }
    static void run(void** a, const cuda_on_cpu_launch* l) {
        gridDim = dim3(l->grid[0], l->grid[1], l->grid[2]);
        blockDim = dim3(l->block[0], l->block[1], l->block[2]);
        int n = (int)(blockDim.x * blockDim.y * blockDim.z);
        for (unsigned z = 0; z < l->grid[2]; z++)
            for (unsigned y = 0; y < l->grid[1]; y++)
                for (unsigned x = 0; x < l->grid[0]; x++) {
                    blockIdx.x = x, blockIdx.y = y, blockIdx.z = z;
                    if (l->fibers) {
                        cuda_on_cpu_run_block(n, thread, a);
                    } else {
                        for (unsigned tz = 0; tz < l->block[2]; tz++)
                            for (unsigned ty = 0; ty < l->block[1]; ty++)
                                for (unsigned tx = 0; tx < l->block[0]; tx++) {
                                    threadIdx.x = tx, threadIdx.y = ty, threadIdx.z = tz;
                                    call(a, std::index_sequence_for<A...>{});
                                }
                    }
                }
    }
    static constexpr cuda_on_cpu_kernel record() { return {run, (int)sizeof...(A), sizes}; }
};
#define CUDA_ON_CPU_KERNEL(symbol, function)                                           \
    extern "C" __attribute__((visibility("default"))) const cuda_on_cpu_kernel symbol; \
    const cuda_on_cpu_kernel symbol = cuda_on_cpu_entry<&function>::record();
// An instance of a template, or a variable, by the expression that names it.
template <class T>
inline void cuda_on_cpu_unused(T) {}
#define CUDA_ON_CPU_EXPRESSION(symbol, variable, function)                             \
    extern "C" __attribute__((visibility("default"))) const cuda_on_cpu_kernel symbol; \
    const cuda_on_cpu_kernel symbol = cuda_on_cpu_entry<function>::record();
