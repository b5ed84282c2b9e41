"""The reader of CSV tables: a header line of column names, then one row of numbers per line."""

from __future__ import annotations

import csv
import os
from array import array
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
    task : {"classification", "regression"}
        Whether the label is text or a number.

    Returns
    -------
    RowFile
        With one part, whose inputs are float64 and whose y is the label column.

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
    >>> table.features
    ('height', 'width')
    >>> rows = table.parts["train"]
    >>> rows.inputs
    array([[1.5, 2. ],
           [0.5, 3. ]])
    >>> rows.y.tolist(), rows.place(1)[-6:]
    (['cat', 'dog'], 'line 3')
    """
    path = Path(path)
    records = _records(path)
    header = _header(path, records)
    # A text label is kept apart; a number is one more column of numbers until the end.
    label_columns = [] if label is None else _columns(path, header, [label])
    texts = label_columns if task == "classification" else []
    if features is None:
        features = [name for name in header if name != label]
        _refuse_nameless(path, header)
    picked = _columns(path, header, features)
    if not picked:
        raise DataError(f"{path}: no column is left for the inputs", "add columns of numbers")

    numbers = picked if texts else picked + label_columns
    values, labels, lines = array("d"), [], []
    for line, cells in records:
        if len(cells) != len(header):
            raise DataError(
                f"{path}, line {line}: {len(cells)} cells, but the header names "
                f"{len(header)} columns",
                "every row needs one cell per column; a cell with a comma in it needs quotes",
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
        raise DataError(f"{path}: a header, but no rows", "add one line per row")

    table = np.frombuffer(values, dtype=np.float64).reshape(len(lines), len(numbers))
    bad = np.argwhere(~np.isfinite(table))
    if bad.size:
        row, column = bad[0]
        raise DataError(
            f"{path}, line {lines[row]}, column {header[numbers[column]]!r}: "
            f"{table[row, column]} is no finite number",
            "fill in the value or leave the row out",
        )
    inputs, y = table[:, : len(picked)], table[:, len(picked) :]
    if texts:
        y = np.asarray(labels)
    rows = Rows(inputs, None if label is None else y, str(path), lines)
    return RowFile(str(path), {"train": rows}, tuple(features))


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
        raise unreadable_file(path, error) from error


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
