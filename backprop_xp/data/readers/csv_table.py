"""The reader of CSV files: a header line of column names, then one row of numbers per line."""

from __future__ import annotations

import csv
import os
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from backprop_xp.data.readers.row_files import RowFile, Rows
from backprop_xp.errors import DataError
from backprop_xp.files import unreadable_file


def read_csv(
    path: os.PathLike[str] | str,
    *,
    label: str | None = None,
    features: Sequence[str] | None = None,
    task: str = "classification",
) -> RowFile:
    """Read a CSV file whose first line contains the names of the columns.

    Parameters
    ----------
    path : path
        A file in UTF-8, separated by commas. Blank lines are skipped.
    label : str, optional
        The column of the label or target; by default there is none.
    features : sequence of str, optional
        The input columns, in this order; others are skipped. By default all columns except
        the label, in the order of the file.
    task : {"classification", "regression"}
        Whether the label is text or a number.

    Returns
    -------
    RowFile
        A single split, with float64 inputs and with the label column as ``y``.

    Raises
    ------
    DataError
        If the file cannot be read or has no rows, a column is missing, unnamed or named twice,
        a row has the wrong number of cells, or a cell is empty or not a finite number.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("height,kind,width\\n1.5,cat,2\\n0.5,dog,3\\n")
    ...     file.flush()
    ...     table = read_csv(file.name, label="kind")
    >>> table.features
    ('height', 'width')
    >>> rows = table.splits["train"]
    >>> rows.inputs
    array([[1.5, 2. ],
           [0.5, 3. ]])
    >>> rows.y.tolist(), rows.location(1)[-6:]
    (['cat', 'dog'], 'line 3')
    """
    path = Path(path)
    records = _records(path)
    header = _header(path, records)
    # Text labels are collected separately; a numeric target is one more column of numbers.
    label_columns = [] if label is None else _columns(path, header, [label])
    texts = label_columns if task == "classification" else []
    if features is None:
        features = [name for name in header if name != label]
        # An unnamed column usually contains row numbers that another program added, and training
        # on them would be meaningless.
        if "" in header:
            raise DataError(
                f"{path}: column {header.index('') + 1} has no name",
                "name it in the first line, or remove it if it contains row numbers",
            )
    input_columns = _columns(path, header, features)
    if not input_columns:
        raise DataError(f"{path}: no column is left for the inputs", "add columns of numbers")

    numbers = input_columns if texts else input_columns + label_columns
    values, labels, lines = array("d"), [], []
    for line, cells in records:
        if len(cells) != len(header):
            raise DataError(
                f"{path}, line {line}: {len(cells)} cells, but the header names "
                f"{len(header)} columns",
                "give every row one cell per column; put quotes around cells with commas",
            )
        try:
            values.extend([float(cells[column]) for column in numbers])
        except ValueError:
            raise _bad_cell(path, line, header, cells, numbers) from None
        for column in texts:
            labels.append(cells[column].strip())
            if not labels[-1]:
                raise _bad_cell(path, line, header, cells, texts)
        lines.append(line)
    if not lines:
        raise DataError(f"{path}: has a header, but no rows", "add one line per row")

    table = np.frombuffer(values, dtype=np.float64).reshape(len(lines), len(numbers))
    bad = np.argwhere(~np.isfinite(table))
    if bad.size:
        row, column = bad[0]
        raise DataError(
            f"{path}, line {lines[row]}, column {header[numbers[column]]!r}: "
            f"{table[row, column]} is not a finite number",
            "fill in the value or remove the row",
        )
    inputs, y = table[:, : len(input_columns)], table[:, len(input_columns) :]
    if texts:
        y = np.asarray(labels)
    rows = Rows(inputs, None if label is None else y, str(path), lines)
    return RowFile(str(path), {"train": rows}, tuple(features))


def column_names(path: os.PathLike[str] | str) -> tuple[str, ...]:
    """Return the column names in the first line of a CSV file."""
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
            f"{path}, line {_undecodable_line(path)}: not UTF-8 text", "save the file as UTF-8"
        ) from error
    except csv.Error as error:
        raise DataError(
            f"{path}, after line {line}: {error}", 'check the quotes: "..." around an entire cell'
        ) from error
    except OSError as error:
        raise unreadable_file(path, error) from error


def _undecodable_line(path: Path) -> int:
    # The file is decoded far ahead of the reader, so the line is counted in the bytes.
    content = path.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return content.count(b"\n", 0, error.start) + 1
    return 1


def _header(path: Path, records: Iterator[tuple[int, list[str]]]) -> list[str]:
    _, cells = next(records, (0, None))
    if cells is None:
        raise DataError(f"{path}: the file is empty", "the first line must name the columns")
    header = [cell.strip() for cell in cells]
    for name, count in Counter(header).items():
        if name and count > 1:
            raise DataError(f"{path}: two columns are named {name!r}", "rename one of them")
    return header


def _columns(path: Path, header: list[str], names: Sequence[str]) -> list[int]:
    """Return the indices of the named columns."""
    position = {name: column for column, name in enumerate(header)}
    for name in names:
        if name not in position:
            raise DataError(
                f"{path}: there is no column {name!r}; the first line names: {', '.join(header)}",
                "the first line must name the columns, separated by commas",
            )
    return [position[name] for name in names]


def _bad_cell(
    path: Path, line: int, header: list[str], cells: list[str], columns: list[int]
) -> DataError:
    """Return the error for the first cell of some columns that is empty or not a number."""
    column = next(column for column in columns if not _is_number(cells[column]))
    location = f"{path}, line {line}, column {header[column]!r}"
    if not cells[column].strip():
        return DataError(f"{location}: the value is missing", "fill it in or remove the row")
    return DataError(
        f"{location}: {cells[column]!r} is not a number",
        "encode text as numbers, or remove the column",
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
