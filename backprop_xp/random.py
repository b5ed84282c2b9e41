"""Randomness that follows from the seed alone: a fresh host generator for every purpose.

All draws are made on the host by NumPy's PCG64 and moved to the device once, so that the same
seed gives the same numbers on every backend. A generator is never kept: which numbers are drawn
depends on (seed, purpose, counter), so a training can stop anywhere and go on.
"""

from __future__ import annotations

from typing import Any

INITIAL_WEIGHTS, SHUFFLE, SPLIT, CHECK = range(4)
"""The purposes; a new one is added at the end, so that the draws of the others stay."""


def generator(seed: int, purpose: int, counter: int = 0) -> Any:
    """Return the `numpy.random.Generator` of a seed, a purpose and a counter.

    Examples
    --------
    >>> int(generator(0, SHUFFLE, 1).integers(1000)) == int(generator(0, SHUFFLE, 1).integers(1000))
    True
    """
    import numpy as np

    sequence = np.random.SeedSequence(seed, spawn_key=(purpose, counter))
    return np.random.Generator(np.random.PCG64(sequence))


def permutation(seed: int, epoch: int, n: int) -> Any:
    """Return the order of the ``n`` training rows in one epoch: a host array of shape (n,).

    Examples
    --------
    >>> sorted(permutation(seed=0, epoch=3, n=4).tolist())
    [0, 1, 2, 3]
    """
    return generator(seed, SHUFFLE, epoch).permutation(n)


def draw_seed() -> int:
    """Return a seed from the operating system's entropy, for users who give none.

    Examples
    --------
    >>> 0 <= draw_seed() < 2**32
    True
    """
    import secrets

    return secrets.randbits(32)
