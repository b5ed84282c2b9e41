"""The array libraries: which one computes, on which device, and the random numbers they share."""
