"""Tables from data frames, and from the columnar files that pyarrow reads."""

from __future__ import annotations

import os
from pathlib import Path

from backprop_xp.data.table import Table
from backprop_xp.errors import DataError

# The strings that pandas 3.1 reads as missing by default ("Other na_values" in the documentation
# of pandas.read_csv), and "?" of the UCI repository.
MISSING = frozenset(
    {
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"),
        *("1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null", "?"),
    }
)
"""The text, after removing spaces around it, of cells that are missing."""


def read_columnar(path: os.PathLike[str] | str) -> Table:
    """Read a table from a .parquet or .feather file."""
    raise DataError(f"{Path(path)}: not yet", "wait")
