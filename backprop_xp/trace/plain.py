"""Numbers as plain data: host arrays as lists of Python's floats, which JSON can hold."""

from __future__ import annotations

from typing import Any

from backprop_xp.nn.network import Layer


def plain(x: Any) -> Any:
    """Return a number or a host array as Python's floats; None for what is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> plain(np.asarray([[0.1, np.inf]], dtype=np.float32))
    [[0.1, None]]
    """
    if isinstance(x, list):
        return [plain(item) for item in x]
    if isinstance(x, float):
        return x if x - x == 0.0 else None
    if x.dtype == "float32":
        x = x.astype("U").astype("float64")  # the shortest decimals that tell its numbers apart
    return plain(x.tolist())


def plain_layer(layer: Layer) -> dict[str, Any]:
    """Return the weights and the bias of a layer by their names."""
    return {name: None if p is None else plain(p) for name, p in layer._asdict().items()}
