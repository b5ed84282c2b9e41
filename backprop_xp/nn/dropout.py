"""Dropout: in every training step each hidden unit is silenced with some probability."""

from __future__ import annotations

from typing import Any

from backprop_xp.backend import random
from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.errors import ConfigurationError


def check_rate(rate: float) -> None:
    """Refuse a rate that is no probability below 1.

    Raises
    ------
    ConfigurationError
    """
    if not isinstance(rate, (int, float)) or isinstance(rate, bool) or not 0.0 <= rate < 1.0:
        raise ConfigurationError(f"a dropout rate is {rate!r}", "give a number from 0 to below 1")


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
    """Return the mask of one layer in one step: 0 for a dropped unit, ``1 / (1 - rate)`` else.

    With this inverted scaling a unit's expected value stays what it is without dropout, so that
    prediction needs no change. Source: Srivastava and others (2014), "Dropout".

    Parameters
    ----------
    shape : (int, int)
        Batch and number of units.
    rate : float
        Probability of a unit to be dropped, rounded to a multiple of 1/65,536.
    key : (int, int)
        From `backprop_xp.backend.random.key_of`, another one for each layer.
    step : int, or integer array of shape ()
        The number of the step in the training.
    xp, dtype, device
        Where the mask shall be.

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
    # Each word of 32 bits decides on two units by 16 bits each: half the work of one each.
    halves = xp.concat((words & 0xFFFF, (words >> 16) & 0xFFFF), axis=0)[:n]
    mask = xp.astype(halves >= round(rate * 65536), dtype)
    mask *= 1.0 / (1.0 - rate)
    return xp.reshape(mask, shape)
