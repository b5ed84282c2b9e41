"""A batch: the inputs, targets and sample weights of some rows."""

from __future__ import annotations

from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.data.sparse import SparseRows

Batch = tuple[Array, Array, Array | None]
"""Inputs, targets and sample weights; the weights are None where every row counts the same."""


def take_rows(data: Batch, rows: Array | None, xp: Namespace) -> Batch:
    """Return the given rows of a data set, or all of it if ``rows`` is None."""
    if rows is None:
        return data
    x, y, weights = data
    return (
        x.take(rows) if isinstance(x, SparseRows) else xp.take(x, rows, axis=0),
        xp.take(y, rows, axis=0),
        None if weights is None else xp.take(weights, rows, axis=0),
    )
