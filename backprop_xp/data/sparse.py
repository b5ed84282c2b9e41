"""Sparse rows: inputs that are mostly zeros."""

from __future__ import annotations

from typing import Any

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.backend.devices import Placement


class SparseRows:
    """Inputs that stay sparse on the host.

    NumPy multiplies sparse rows as they are. For other libraries they are made dense, one batch or
    chunk at a time.

    Parameters
    ----------
    matrix : SciPy sparse array in CSR format, shape (n, n_inputs)
    placement : Placement
        The library, data type and device of the rows that are taken.
    """

    ndim = 2

    def __init__(self, matrix: Any, placement: Placement) -> None:
        # A number too large for the data type becomes infinite, which `to_device` reports.
        self.matrix = matrix.astype(placement.precision, copy=False)
        self.shape = tuple(matrix.shape)
        self.dtype = placement.dtype
        self.made_dense = placement.backend != "numpy"
        self._placement = placement

    def take(self, rows: Array | slice) -> Any:
        """Return some rows: sparse for NumPy, where the time of a product is proportional to the
        number of nonzero entries, and dense for other libraries."""
        rows = rows if isinstance(rows, slice) else arrays.to_numpy(rows)
        taken = self.matrix[rows]
        return self._placement.asarray(taken.toarray()) if self.made_dense else taken

    def first_not_finite(self) -> tuple[int, Array] | None:
        """Return the index of the first row with an infinite entry, and that row, dense."""
        host = arrays.namespace(self.matrix.data)
        finite = host.isfinite(self.matrix.data)
        if bool(host.all(finite)):
            return None
        first = host.argmin(finite)  # the first False
        row = int(host.searchsorted(self.matrix.indptr, first, side="right")) - 1
        return row, self.matrix[[row]].toarray()

    def __getitem__(self, index: tuple[slice, Any]) -> Any:
        """Return some rows, as ``x[start:stop, ...]`` does for an array."""
        return self.take(index[0])
