"""Dropout: in every training step, each hidden unit is set to 0 with a given probability."""

from __future__ import annotations

from typing import Any

from backprop_xp.backend import random
from backprop_xp.backend.arrays import Array, Namespace


def dropout_mask(
    shape: tuple[int, int],
    rate: float,
    key: tuple[int, int],
    step: Any,
    *,
    xp: Namespace,
    dtype: Any,
    device: Any = None,
) -> Array:
    """Return the mask of one layer in one step: 0 for dropped units, else ``1 / (1 - rate)``.

    With this scaling ("inverted dropout") the expected value of a unit is the same as without
    dropout, so prediction needs no scaling. Source: Srivastava and others (2014), "Dropout".

    Parameters
    ----------
    shape : (int, int)
        Batch and number of units.
    rate : float
        Probability that a unit is dropped, rounded to a multiple of 1/65,536.
    key : (int, int)
        From `backprop_xp.backend.random.key_of`, a different one for each layer.
    step : int, or integer array of shape ()
        The number of the training step.
    xp, dtype, device
        The array library, the data type and the device of the mask.

    Returns
    -------
    array, shape ``shape``
        The same on every backend, bit for bit.

    Examples
    --------
    >>> import numpy as np
    >>> mask = dropout_mask((200, 500), 0.5, (1, 2), step=3, xp=np, dtype=np.float32)
    >>> sorted(set(mask.flatten().tolist())), bool(abs(mask.mean() - 1.0) < 0.01)
    ([0.0, 2.0], True)
    """
    n = shape[0] * shape[1]
    words = random.bits(key, (n + 1) // 2, step, xp=xp, device=device)
    # Each word of 32 bits serves two units with 16 bits each, which halves the work.
    halves = xp.concat((words & 0xFFFF, (words >> 16) & 0xFFFF), axis=0)[:n]
    mask = xp.astype(halves >= round(rate * 65536), dtype)
    mask *= 1.0 / (1.0 - rate)
    return xp.reshape(mask, shape)
