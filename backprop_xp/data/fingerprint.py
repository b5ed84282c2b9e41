"""The fingerprint of a data set: whether two runs were given the same rows."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from backprop_xp.backend import arrays
from backprop_xp.data.device_data import DeviceData
from backprop_xp.data.sparse import SparseRows
from backprop_xp.data.streaming import StreamedData

SAMPLE_ROWS, SAMPLE_ENTRIES = 1000, 1_000_000
"""The most rows, and entries of inputs, by which data is measured or identified."""


def sample(data: DeviceData | StreamedData) -> tuple[Any, Any]:
    """Return the inputs and targets of evenly spaced rows, as NumPy arrays."""
    width = data.x.shape[1]
    size = min(data.n, SAMPLE_ROWS, max(1, SAMPLE_ENTRIES // width))
    every = data.n // size
    rows = slice(0, size * every, every)
    if isinstance(data, StreamedData):
        x, y, _ = data.read(rows)
    else:
        x, y = data.x[rows, ...], data.y[rows, ...]
    x = x.toarray() if isinstance(data.x, SparseRows) and hasattr(x, "toarray") else x
    return arrays.to_numpy(x), arrays.to_numpy(y)


def fingerprint(data: DeviceData | StreamedData) -> dict[str, Any]:
    """Return the number of rows, and the SHA-256 of a sample of the inputs and of all targets.

    The sample has at most `SAMPLE_ROWS` evenly spaced rows.

    Examples
    --------
    >>> from backprop_xp.backend.devices import placement_of
    >>> from backprop_xp.data.streaming import load_data
    >>> rows = [[0.0], [1.0]], [0, 1]
    >>> found = fingerprint(load_data(rows, 1, 2, placement_of(rows[0])))
    >>> found["rows"], found["targets"][:8]
    (2, '4eaff77c')
    """
    inputs, _ = sample(data)
    targets = arrays.to_numpy(data.y)
    if targets.dtype.kind in "iu":  # the type of indices is another one on each backend
        targets = targets.astype("int64")
    return {"rows": data.n, "inputs": sha256(inputs), "targets": sha256(targets)}


def sha256(array: Any) -> str:
    """Return the hash of the shape, the type and the numbers of a NumPy array."""
    content = hashlib.sha256(f"{array.shape} {array.dtype}".encode())
    content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()
