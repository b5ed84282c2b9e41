"""Checks of arrays that name the first wrong entry."""

from __future__ import annotations

from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.errors import DataError


def reject_entries(wrong: Array, x: Array, xp: Namespace, what: str, hint: str, first: int) -> None:
    """Raise a `DataError` that names the first wrong entry of a table, if there is one.

    ``wrong`` and ``x`` have the same shape, (n, columns). ``what`` is the name of the data, and
    ``first`` the number of its first row.
    """
    if bool(xp.any(wrong)):
        rows, columns = xp.nonzero(wrong)
        row, column = int(rows[0]), int(columns[0])
        raise DataError(
            f"{float(x[row, column])} is in row {first + row}, column {column} of {what} "
            "(both counted from 0)",
            hint,
        )
