"""The reader of CSV tables: a header line of column names, then one row of numbers per line."""

from __future__ import annotations

import csv
import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from backprop_xp.arrays import Array
from backprop_xp.data.files import cannot_read
from backprop_xp.errors import DataError


class Table(NamedTuple):
    """What a CSV file holds.

    Attributes
    ----------
    inputs : array, shape (n, n_features), float64
        The numbers of the feature columns.
    labels : list of str or None
        The text of the label column, where one was named.
    features : tuple of str
        The names of the columns of ``inputs``.
    path : Path
        The file.
    lines : list of int
        The line of the file on which each row stands.
    """

    inputs: Array
    labels: list[str] | None
    features: tuple[str, ...]
    path: Path
    lines: list[int]

    def place(self, row: int) -> str:
        """Return where a row stands, as an error message is to say it."""
        return f"{self.path}, line {self.lines[row]}"


def read_csv(
    path: os.PathLike[str] | str,
    *,
    label: str | None = None,
    features: Sequence[str] | None = None,
) -> Table:
    """Read a CSV file whose first line names the columns.

    Parameters
    ----------
    path : path
        A file in UTF-8, separated by commas. Blank lines are passed over.
    label : str, optional
        The column that holds the label; by default none does.
    features : sequence of str, optional
        The columns wanted, in this order; others are passed over. By default every column
        but the label, in the order of the file.

    Raises
    ------
    DataError
        If the file cannot be read or has no rows, a column is absent, named twice or not at
        all, a row is ragged, or a cell is empty or no finite number.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("height,kind,width\\n1.5,cat,2\\n0.5,dog,3\\n")
    ...     file.flush()
    ...     table = read_csv(file.name, label="kind")
    >>> table.features, table.labels
    (('height', 'width'), ['cat', 'dog'])
    >>> table.inputs
    array([[1.5, 2. ],
           [0.5, 3. ]])
    """
    path = Path(path)
    records = _records(path)
    header = _header(path, records)
    label_column = None if label is None else _columns(path, header, [label])[0]
    if features is None:
        features = [name for name in header if name != label]
        _refuse_nameless(path, header)
    picked = _columns(path, header, features)
    if not picked:
        raise DataError(f"{path}: no column is left for the inputs", "add columns of numbers")

    values, labels, lines = array("d"), [], []
    for line, cells in records:
        if len(cells) != len(header):
            raise DataError(
                f"{path}, line {line}: {len(cells)} cells, but the header names "
                f"{len(header)} columns",
                "every row needs one cell per column; a cell with a comma in it needs quotes",
            )
        try:
            values.extend([float(cells[column]) for column in picked])
        except ValueError:
            raise _bad_cell(path, line, header, cells, picked) from None
        if label_column is not None:
            labels.append(cells[label_column].strip())
            if not labels[-1]:
                raise _bad_cell(path, line, header, cells, [label_column])
        lines.append(line)
    if not lines:
        raise DataError(f"{path}: a header, but no rows", "add one line per row")

    inputs = np.frombuffer(values, dtype=np.float64).reshape(len(lines), len(picked))
    bad = np.argwhere(~np.isfinite(inputs))
    if bad.size:
        row, column = bad[0]
        raise DataError(
            f"{path}, line {lines[row]}, column {features[column]!r}: "
            f"{inputs[row, column]} is no finite number",
            "fill in the value or leave the row out",
        )
    return Table(inputs, None if label is None else labels, tuple(features), path, lines)


def column_names(path: os.PathLike[str] | str) -> tuple[str, ...]:
    """Return the column names in the first line of a CSV file.

    Raises
    ------
    DataError
        If the file cannot be read, is empty, or names a column twice.
    """
    path = Path(path)
    return tuple(_header(path, _records(path)))


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of each line that is not blank."""
    line = 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                line = reader.line_num
                if cells:
                    yield line, cells
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {_undecodable_line(path)}: no UTF-8 text", "save the file as UTF-8"
        ) from error
    except csv.Error as error:
        raise DataError(
            f"{path}, after line {line}: {error}", 'check the quotes: "..." around a whole cell'
        ) from error
    except OSError as error:
        raise cannot_read(path, error) from error


def _undecodable_line(path: Path) -> int:
    # The text layer decodes far ahead of the reader: the line must be sought in the bytes.
    content = path.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return content.count(b"\n", 0, error.start) + 1
    return 1


def _header(path: Path, records: Iterator[tuple[int, list[str]]]) -> list[str]:
    _, cells = next(records, (0, None))
    if cells is None:
        raise DataError(f"{path}: the file is empty", "the first line is to name the columns")
    header = [cell.strip() for cell in cells]
    seen = set()
    for name in filter(None, header):
        if name in seen:
            raise DataError(f"{path}: two columns are named {name!r}", "rename one of them")
        seen.add(name)
    return header


def _refuse_nameless(path: Path, header: list[str]) -> None:
    # A nameless column is most often a row number that some program added: training on it
    # would look fine and mean nothing.
    if "" in header:
        raise DataError(
            f"{path}: column {header.index('') + 1} has no name",
            "name it in the first line; leave it out if it only counts the rows",
        )


def _columns(path: Path, header: list[str], names: Sequence[str]) -> list[int]:
    """Return where the named columns stand."""
    position = {name: column for column, name in enumerate(header)}
    for name in names:
        if name not in position:
            raise DataError(
                f"{path}: there is no column {name!r}; the first line names: {', '.join(header)}",
                "the first line is to name the columns, separated by commas",
            )
    return [position[name] for name in names]


def _bad_cell(
    path: Path, line: int, header: list[str], cells: list[str], picked: list[int]
) -> DataError:
    """Return the error for the first of the picked cells that is empty or no number."""
    column = next(column for column in picked if not _is_number(cells[column]))
    place = f"{path}, line {line}, column {header[column]!r}"
    if not cells[column].strip():
        return DataError(f"{place}: the value is missing", "fill it in or leave the row out")
    return DataError(
        f"{place}: {cells[column]!r} is no number",
        "inputs are numbers; give text a number first, or leave the column out",
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
