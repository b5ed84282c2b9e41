"""Sparse rows: inputs that are mostly zeros."""

from __future__ import annotations

from typing import Any

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array, Namespace


class SparseRows:
    """Inputs that stay sparse on the host. NumPy multiplies by them as they are; for other
    libraries they are made dense, a batch or a chunk at a time.

    Parameters
    ----------
    matrix : SciPy's sparse rows (CSR), shape (n, n_inputs)
    xp, dtype, device
        Where each part shall be, and in which data type.
    """

    ndim = 2

    def __init__(self, matrix: Any, *, xp: Namespace, dtype: Any, device: Any = None) -> None:
        # A number too large for the type becomes infinite, which `place` then tells.
        self.matrix = matrix.astype("float64" if dtype == xp.float64 else "float32", copy=False)
        self.shape = tuple(matrix.shape)
        self.dtype = dtype
        self.made_dense = arrays.backend_name(xp) != "numpy"
        self._xp, self._device = xp, device

    def take(self, rows: Array | slice) -> Any:
        """Return the rows of these numbers: sparse ones for ``direct(xp).matmul`` on NumPy, which
        takes as long as they have numbers, or a dense array."""
        rows = rows if isinstance(rows, slice) else arrays.to_numpy(rows)
        part = self.matrix[rows]
        if not self.made_dense:
            return part
        dense = part.toarray()
        return arrays.asarray(dense, xp=self._xp, dtype=self.dtype, device=self._device)

    def first_not_finite(self) -> tuple[int, Array] | None:
        """Return the number of the first row with an infinite number, and that row, dense."""
        host = arrays.namespace(self.matrix.data)
        finite = host.isfinite(self.matrix.data)
        if bool(host.all(finite)):
            return None
        place = host.argmin(finite)  # the first False
        row = int(host.searchsorted(self.matrix.indptr, place, side="right")) - 1
        return row, self.matrix[[row]].toarray()

    def __getitem__(self, index: tuple[slice, Any]) -> Any:
        """Return some rows, as ``x[start:stop, ...]`` does of an array."""
        return self.take(index[0])
