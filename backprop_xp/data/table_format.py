"""The format of a text file with a table."""

from __future__ import annotations

from typing import NamedTuple


class TableFormat(NamedTuple):
    """How a text file is written; None is detected.

    Attributes
    ----------
    separator : str or None
        Between cells, or ``"tab"``.
    decimal : {".", ","} or None
    encoding : str or None
        By default UTF-8, or UTF-16 with a byte-order mark.
    header : bool or None
        Whether the first line names the columns. If not, they are named c1, c2, and so on.
    """

    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    header: bool | None = None
