"""Tables: named columns of numbers or text, as they are in a file or a data frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple

from backprop_xp.backend.arrays import Array
from backprop_xp.errors import DataError
from backprop_xp.formatting import listed


class Table(NamedTuple):
    """Named columns, on the host.

    Attributes
    ----------
    name : str
        The file, or a description of the object in memory, for messages.
    columns : dict of str to array, each of shape (n,)
        Numbers are float64, with NaN where a value is missing. Text is an object array of str,
        with None where a value is missing.
    lines : array of int, shape (n,), or None
        The line of each row in a text file, counting from 1.
    notes : tuple of str
        What was detected about the file, such as its separator.
    categorical : frozenset of str
        The columns that a data frame declares as categories, even if they are numbers.
    errors : dict of str to DataError
        The errors for columns that cannot be read, which are raised where one is needed. Their
        values are all missing.
    zero_padded : frozenset of str
        The columns of numbers that a text file has with leading zeros, such as ``01234``.

    Examples
    --------
    >>> import numpy as np
    >>> table = Table("pets.csv", {"height": np.asarray([1.5, 0.5])}, np.asarray([2, 3]))
    >>> table.size, table.location(1, "height")
    (2, "pets.csv, line 3, column 'height'")
    """

    name: str
    columns: dict[str, Array]
    lines: Array | None = None
    notes: tuple[str, ...] = ()
    categorical: frozenset[str] = frozenset()
    errors: dict[str, DataError] = {}  # noqa: RUF012 (never changed)
    zero_padded: frozenset[str] = frozenset()

    @property
    def size(self) -> int:
        """The number of rows."""
        return next((int(column.shape[0]) for column in self.columns.values()), 0)

    def take(self, rows: Array) -> Table:
        """Return a table with some of the rows, given by their indices or as booleans."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        return self._replace(
            columns=columns, lines=None if self.lines is None else self.lines[rows]
        )

    def location(self, row: int, column: str | None = None) -> str:
        """Return the location of a row or a cell for an error message."""
        if self.lines is not None:
            where = f"{self.name}, line {int(self.lines[row])}"
        else:
            where = f"{self.name}, row {row} (counting from 0)"
        return where if column is None else f"{where}, column {column!r}"

    def check_columns(self, names: Sequence[str], hint: str) -> None:
        """Raise a `DataError` that names the columns that are missing, if there are any."""
        missing = [name for name in dict.fromkeys(names) if name not in self.columns]
        if not missing:
            return
        known = {column.lower(): column for column in self.columns}
        if close := get_close_matches(missing[0].lower(), known, n=1):
            hint = f"{hint} (a similar one is {known[close[0]]!r})"
        none = f"is no column {missing[0]!r}"
        if len(missing) > 1:
            none = f"are no columns {listed(list(map(repr, missing)), 10)}"
        raise DataError(
            f"{self.name}: there {none}; the columns are: {listed(list(self.columns), 20)}", hint
        )


def is_number_column(column: Array) -> bool:
    """Return whether a column of a `Table` has numbers, and not text.

    Examples
    --------
    >>> import numpy as np
    >>> is_number_column(np.asarray([1.0, np.nan])), is_number_column(np.asarray(["a", None]))
    (True, False)
    """
    return bool(column.dtype != object)


_ZERO_PADDED = re.compile(r"0\d+")


def is_zero_padded(text: str) -> bool:
    """Return whether a text is a whole number with leading zeros, as in a code.

    Examples
    --------
    >>> is_zero_padded("01234"), is_zero_padded("0"), is_zero_padded("0.5")
    (True, False, False)
    """
    return _ZERO_PADDED.fullmatch(text) is not None


_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
_LONGEST_NAME = 1000


def text_fault(text: str) -> str | None:
    """Return why text cannot be the name of a class, a category or a column; None if it can.

    Arrays of NumPy drop NUL characters at the end of text, so that two classes could become one.
    Half of a surrogate pair cannot be saved. Very long text is the sign of a missing quote, and
    NumPy would take its length for every row of an array of classes.

    Examples
    --------
    >>> text_fault("cat"), text_fault("cat\\0")
    (None, 'contains a NUL character')
    """
    if found := _NOT_TEXT.search(text):
        return f"contains {'a NUL character' if found[0] == chr(0) else 'half a surrogate pair'}"
    if len(text) > _LONGEST_NAME:
        return f"has {len(text):,} characters: is a quote missing?"
    return None
