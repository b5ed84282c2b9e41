"""Random numbers that depend on the seed alone and are the same on every backend.

Initial weights and the order of each epoch are drawn by NumPy's PCG64 on the host and moved to
the device. The draws of every step (dropout, data augmentation) are computed on the device by a
counter-based generator. No generator is kept: the numbers depend on (seed, purpose, counter), so
a training run can stop anywhere and continue.
"""

from __future__ import annotations

import functools
from typing import Any

from backprop_xp.backend.arrays import Array, Namespace

INITIAL_WEIGHTS, SHUFFLE, SPLIT, CHECK, DROPOUT, AUGMENTATION, DIAGNOSTICS = range(7)
"""The purposes; a new one is added at the end, so that the draws of the others do not change."""


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
    """Return a seed from the operating system's entropy, for runs without a given seed.

    Examples
    --------
    >>> 0 <= draw_seed() < 2**32
    True
    """
    import secrets

    return secrets.randbits(32)


@functools.cache
def key_of(seed: int, purpose: int, stream: int = 0) -> tuple[int, int]:
    """Return the key of a counter-based generator: two signed 32-bit numbers.

    Examples
    --------
    >>> key_of(0, DROPOUT) == key_of(0, DROPOUT, 1)
    False
    """
    import numpy as np

    words = np.random.SeedSequence(seed, spawn_key=(purpose, stream)).generate_state(2)
    first, second = (_signed(int(word)) for word in words)
    return first, second


def bits(key: tuple[int, int], n: int, step: Any, *, xp: Namespace, device: Any = None) -> Array:
    """Return ``n`` random 32-bit words, an int32 array of shape (n,), for one training step.

    Threefry-2x32 with 20 rounds on the counters ``(i, step)``, the same on every backend, bit for
    bit. ``step`` is an integer array of shape () in compiled steps. Source: Salmon and others
    (2011), "Parallel random numbers: as easy as 1, 2, 3".
    """
    half = max(1, (n + 1) // 2)
    first = xp.arange(half, dtype=xp.int32, device=device)
    second = xp.zeros(half, dtype=xp.int32, device=device) + step
    words = xp.concat(_threefry(key, first, second), axis=0)
    return words if words.shape[0] == n else words[:n]


def uniform(
    key: tuple[int, int], n: int, step: Any, *, xp: Namespace, dtype: Any, device: Any = None
) -> Array:
    """Return ``n`` uniform random numbers from [-1, 1), exact multiples of 2⁻²³; see `bits`.

    Examples
    --------
    >>> import numpy as np
    >>> x = uniform((1, 2), 100_000, 0, xp=np, dtype=np.float64)
    >>> bool(abs(x.mean()) < 0.01 and x.min() >= -1.0 and x.max() < 1.0)
    True
    """
    words = xp.astype((bits(key, n, step, xp=xp, device=device) >> 8) & 0xFFFFFF, dtype)
    words *= 2.0**-23
    words -= 1.0
    return words


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def _threefry(key: tuple[int, int], a: Array, b: Array) -> tuple[Array, Array]:
    """Encrypt pairs of counters; ``a`` and ``b`` are int32 arrays and are consumed.

    Every library supports int32 with masked shifts: PyTorch lacks uint32 arithmetic, and JAX has
    no 64-bit integers unless configured.
    """
    keys = (*key, _signed((key[0] ^ key[1] ^ 0x1BD11BDA) & 0xFFFFFFFF))
    a += keys[0]
    b += keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            a += b
            left = b << rotation
            b = b >> (32 - rotation)  # copies the sign bit,
            b &= (1 << rotation) - 1  # so it is masked here
            b |= left
            b ^= a
        a += keys[(group + 1) % 3]
        b += _signed((keys[(group + 2) % 3] + group + 1) & 0xFFFFFFFF)
    return a, b


def _signed(word: int) -> int:
    """Return a 32-bit word as a signed number."""
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >= 1 << 31 else word
