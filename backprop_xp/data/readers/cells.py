"""What the readers of text files and of data frames have in common: missing cells, checks."""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.data.table import Table, is_number_column
from backprop_xp.errors import DataError

# The strings that pandas.read_csv reads as missing by default (pandas 3.1), and "?", by which the
# data sets of the UCI repository mark them.
MISSING = frozenset(
    {
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"),
        *("1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null", "?"),
    }
)
"""The text of missing cells, after spaces around it are removed."""


class CleanText(dict[str, str | None]):
    """A mapping of the text of a cell to the same without spaces around it, None if missing.

    Examples
    --------
    >>> clean = CleanText()
    >>> clean[" a "], clean["NA"]
    ('a', None)
    """

    def __missing__(self, cell: str) -> str | None:
        stripped = cell.strip()
        text = None if stripped in MISSING else stripped
        # Equal cells share one string, which saves most of the memory for categories.
        if len(self) < 10_000:
            self[cell] = text
        return text


INFINITE = "correct the value or leave it empty"
INFINITE_TARGET = "correct the value or remove the row"
"""The hints for an infinite input, and for an infinite target."""


def is_row_numbers(column: Array) -> bool:
    """Return whether a column counts the rows, from 0 or from 1.

    Examples
    --------
    >>> is_row_numbers(np.asarray([1.0, 2.0])), is_row_numbers(np.asarray([1.0, 3.0]))
    (True, False)
    """
    counted = np.arange(column.shape[0])
    return is_number_column(column) and bool(
        (column == counted).all() or (column == counted + 1).all()
    )


def check_values(
    table: Table, names: Iterable[str] | None = None, hint: str | None = None
) -> Table:
    """Return the table, or raise a `DataError` for what cannot be used, such as infinity.

    Only the columns with these names are checked, by default all of them. ``hint`` replaces the
    hint of the error.

    Examples
    --------
    >>> table = Table("the data frame", {"a": np.asarray([1.0, np.inf])})
    >>> try:
    ...     check_values(table)
    ... except DataError as error:
    ...     print(error.message)
    the data frame, row 1 (counting from 0), column 'a': the number is infinite or too large
    """
    names = list(table.columns if names is None else names)
    for name in names:
        if name in table.errors:
            raise table.errors[name]
    infinite = [
        (int(np.argmax(np.isinf(column))), name)
        for name in names
        if is_number_column(column := table.columns[name]) and np.isinf(column).any()
    ]
    if infinite:
        row, name = min(infinite, key=lambda found: found[0])
        raise DataError(
            f"{table.location(row, name)}: the number is infinite or too large",
            hint
            or "correct the value or leave it empty, or leave out the column with "
            f"--drop {quote(name)}",
        )
    return table
