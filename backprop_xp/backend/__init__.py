"""The array libraries and their devices, and random numbers that are the same on all of them."""
