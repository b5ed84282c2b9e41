"""Tables from data frames of pandas, polars and pyarrow, and from the files of pyarrow."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from numbers import Complex, Real
from pathlib import Path
from typing import Any

import numpy as np

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.data.readers.binary import check_expanded, open_file
from backprop_xp.data.readers.cells import CleanText, check_values, is_row_numbers
from backprop_xp.data.table import Table, text_fault
from backprop_xp.errors import DataError
from backprop_xp.files import unreadable_file
from backprop_xp.formatting import abridged


def is_frame(data: object) -> bool:
    """Return whether `table_from_frame` reads this object, without importing any library.

    Examples
    --------
    >>> is_frame({"a": [1, 2]}), is_frame([[1, 2]]), is_frame("rows.csv")
    (True, False, False)
    """
    return isinstance(data, Mapping) or (hasattr(data, "columns") and hasattr(data, "shape"))


def table_from_frame(frame: Any, name: str = "the data frame", *, check: bool = True) -> Table:
    """Return the columns of a data frame as numbers or text.

    Parameters
    ----------
    frame : data frame
        A DataFrame of pandas or polars, a Table or RecordBatch of pyarrow, or a dict of columns.
    name : str, optional
        Its name in messages.
    check : bool
        Whether infinite numbers, and values that are neither numbers nor text, are an error.
        Without this, `check_values` finds them later, in the columns that are needed.

    Returns
    -------
    Table
        Integers, floats and decimal numbers are float64. Booleans, strings, categories and dates
        are text. The strings that `read_table` takes as missing are missing here too, so that a
        data frame and its CSV file give the same table. The index of pandas is left out.

    Raises
    ------
    DataError
        If there are no rows, two columns have the same name or different lengths, a column has
        values that are neither numbers, text nor dates, or a number is infinite.

    Examples
    --------
    >>> table = table_from_frame({"height": [1.5, None], "kind": ["cat", "NA"]})
    >>> table.columns
    {'height': array([1.5, nan]), 'kind': array(['cat', None], dtype=object)}
    """
    # The `columns` of a pyarrow table are the values; of the other libraries, the names.
    keys = list(frame) if isinstance(frame, Mapping) else _names(frame)
    titles = [str(key).strip() for key in keys]
    for title, count in Counter(titles).items():
        if fault := text_fault(title):
            raise DataError(
                f"{name}: the name of the column {abridged(title)} {fault}", "rename it"
            )
        if not title:
            position = titles.index(title) + 1
            raise DataError(f"{name}: column {position} has no name", "give it a name")
        if count > 1:
            raise DataError(f"{name}: {count} columns are named {title!r}", "rename them")
    columns: dict[str, Array] = {}
    categorical, notes, errors = [], [], dict[str, DataError]()
    for key, title in zip(keys, titles, strict=True):
        try:
            column = _column(frame[key], f"{name}, column {title!r}")
        except _UnreadableError as error:
            errors[title] = DataError(error.message, error.hint)
            column = np.full(len(frame[key]), np.nan)
        n_rows = next((len(other) for other in columns.values()), len(column))
        if len(column) != n_rows:
            raise DataError(
                f"{name}: column {title!r} has {len(column)} rows, but the others have {n_rows}",
                "give columns of equal length",
            )
        columns[title] = column
        if _is_categorical(frame[key]):
            categorical.append(title)
        # The names that pandas gives to a nameless column of a file, and to a nameless index.
        if title == "__index_level_0__" or (
            re.fullmatch(r"Unnamed: \d+", title) and is_row_numbers(column)
        ):
            del columns[title]
            notes.append(f"{name}: left out the column {title!r}, which has row numbers")
    table = Table(name, columns, None, tuple(notes), frozenset(categorical) & set(columns), errors)
    if not columns:
        raise DataError(f"{name}: has no columns", "give at least one column")
    if not table.size:
        raise DataError(f"{name}: has columns, but no rows", "give at least one row")
    return check_values(table) if check else table


def read_columnar(path: os.PathLike[str] | str, *, check: bool = True) -> Table:
    """Read a table from a .parquet or .feather file, for which pyarrow must be installed.

    Raises
    ------
    DataError
        If pyarrow is not installed, the file cannot be read, or `table_from_frame` rejects it.

    Examples
    --------
    >>> import pytest, tempfile
    >>> feather = pytest.importorskip("pyarrow.feather")
    >>> import pyarrow
    >>> with tempfile.NamedTemporaryFile(suffix=".feather") as file:
    ...     feather.write_feather(pyarrow.table({"a": [1, None]}), file.name)
    ...     table = read_columnar(file.name)
    >>> table.columns
    {'a': array([ 1., nan])}
    """
    path = Path(path)
    try:
        import pyarrow
        import pyarrow.feather
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(
            f"{path}: reading {path.suffix} files needs pyarrow",
            "pip install 'backprop-xp[data]', or save the table as .csv",
        ) from error
    try:
        files = [path]
        if path.is_dir():  # a table in several files; pyarrow leaves out names such as _SUCCESS
            files = [file for file in path.rglob("[!._]*") if not file.is_dir()]
        if path.suffix.lower() == ".parquet":
            texts = {name for file in files for name in _parquet_texts(file)}
            frame = pyarrow.parquet.read_table(path, read_dictionary=sorted(texts))
        else:
            texts = set()
            _check_feather(path)
            frame = pyarrow.feather.read_table(path)
        frame.validate(full=True)
        table = table_from_frame(frame, str(path), check=check)
    except DataError:
        raise
    except OSError as error:
        raise unreadable_file(path, error) from error
    except Exception as error:  # damage shows in many ways, not only as errors of pyarrow
        raise DataError(
            f"{path}: is not a valid {path.suffix} file: {error}", "write the file again"
        ) from error
    return table._replace(categorical=table.categorical - texts)


def _parquet_texts(path: Path) -> list[str]:
    """Return the columns of text of a .parquet file, and check the size of its content.

    Text is read as a dictionary: a long one that is repeated in a million rows takes no more
    memory than in the file. Columns that the file declares as categories are left out.
    """
    import pyarrow.parquet

    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = pyarrow.parquet.ParquetFile(file)
        stored, schema = content.metadata, content.metadata.schema
        groups = [stored.row_group(g) for g in range(stored.num_row_groups)]
        expanded = sum(group.total_byte_size for group in groups)
        n_rows, texts, entries = sum(group.num_rows for group in groups), [], 0
        for i in range(stored.num_columns):
            column = schema.column(i)
            n = n_rows
            if column.max_repetition_level:  # lists
                # Only here: pyarrow 26 aborts the process if the statistics of a part of a column
                # are damaged.
                n = sum(group.column(i).num_values for group in groups)
            entries += max(8, column.length or 0) * n
            if column.physical_type == "BYTE_ARRAY":
                texts.append(column.path)
        expanded = max(expanded, entries)
        check_expanded(f"{path}: takes {expanded:,} bytes", expanded, size)
        declared = {field.name for field in content.schema_arrow if _has_dictionary(field)}
        return [name for name in texts if name not in declared]


def _check_feather(path: Path) -> None:
    """Check the size of the content of a .feather file."""
    import pyarrow.dataset

    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(4) == b"FEA1":  # pyarrow crashes on most files of it that are damaged
            raise DataError(
                f"{path}: is a file of the first version of Feather, which is not safe to read",
                "write it again by a program of 2020 or later",
            )
    content = pyarrow.dataset.dataset(path, format="feather")
    expanded = 8 * content.count_rows() * len(content.schema)
    check_expanded(f"{path}: takes {expanded:,} bytes or more", expanded, size)


def _names(frame: Any) -> list[Any]:
    return list(frame.column_names if hasattr(frame, "column_names") else frame.columns)


def _is_categorical(column: Any) -> bool:
    """Return whether a data frame declares a column as categories."""
    dtype = getattr(column, "dtype", None)  # an instance or a class, depending on the library
    names = {type(dtype).__name__, getattr(dtype, "__name__", "")}
    return _has_dictionary(column) or bool(names & {"CategoricalDtype", "Categorical", "Enum"})


def _has_dictionary(column: Any) -> bool:
    """Return whether a column, or a field, of pyarrow consists of codes and their values."""
    return hasattr(getattr(column, "type", None), "index_type")


def _column(column: Any, where: str) -> Array:
    """Return a column as float64 or as an object array of str and None."""
    if _has_dictionary(column):
        column = _without_dictionary(column)
    if hasattr(column, "to_pylist") and not hasattr(column, "chunks"):
        values = column.to_numpy(zero_copy_only=False)  # a column of a record batch of pyarrow
    elif hasattr(column, "to_numpy"):
        values = column.to_numpy()
    elif isinstance(column, (list, tuple)):
        values = np.empty(len(column), dtype=object)
        values[:] = column
    else:
        values = arrays.to_numpy(column) if arrays.is_array(column) else np.asarray(column)
    if values.ndim != 1:
        raise DataError(
            f"{where}: the shape is {values.shape}, not (n,)", "give one number or text per row"
        )
    kind = values.dtype.kind
    if kind in "fiu":
        return values.astype(np.float64)
    if kind == "b":
        return np.where(values, "True", "False").astype(object)
    if kind == "M":
        return _dates(values)
    if kind in "OUT":
        return _objects(values.astype(object), where)
    raise _unreadable_values(where, str(values.dtype))


def _without_dictionary(column: Any) -> Any:
    """Return the values of a dictionary column of pyarrow; equal texts share one string."""
    # The to_numpy of pyarrow gives missing cells the last category.
    if str(column.type.value_type).removeprefix("large_") not in ("string", "binary"):
        return column.cast(column.type.value_type)
    texts = np.empty(0, dtype=object)
    parts, known = [texts], None
    for chunk in getattr(column, "chunks", [column]):
        dictionary = chunk.dictionary
        buffers = [buffer and buffer.address for buffer in dictionary.buffers()]
        if known != (buffers, dictionary.offset, len(dictionary)):  # many chunks can share one
            known = buffers, dictionary.offset, len(dictionary)
            texts = np.asarray([*dictionary.to_numpy(zero_copy_only=False), None], dtype=object)
        codes = chunk.indices.fill_null(len(dictionary)).to_numpy(zero_copy_only=False)
        parts.append(texts[codes])
    return np.concatenate(parts)


def _dates(values: Array) -> Array:
    """Return dates as pandas writes them to CSV files: without the time if it is midnight."""
    missing = np.isnat(values)
    for unit in ("D", "s", "ms", "us", "ns"):
        rounded = values.astype(f"datetime64[{unit}]")
        if (rounded == values)[~missing].all():
            break
    text = np.datetime_as_string(rounded).astype(object)
    text[:] = [None if nat else t.replace("T", " ") for t, nat in zip(text, missing, strict=True)]
    return _text_or_missing(text)


def _objects(values: Array, where: str) -> Array:
    cells = [None if _is_missing(cell) else cell for cell in values]
    kinds = {type(cell) for cell in cells if cell is not None}
    if all(issubclass(kind, (Real, Decimal)) and not issubclass(kind, bool) for kind in kinds):
        return np.asarray([np.nan if cell is None else _number(cell) for cell in cells])
    for kind in kinds:
        is_number = issubclass(kind, Complex) and not issubclass(kind, Real)
        if is_number or (not issubclass(kind, str) and issubclass(kind, Iterable)):
            raise _unreadable_values(where, kind.__name__)
    clean = CleanText()
    return _text_or_missing(
        np.asarray([None if cell is None else clean[str(cell)] for cell in cells], dtype=object)
    )


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except OverflowError:  # an integer of more than 308 digits
        return float("inf")


def _text_or_missing(text: Array) -> Array:
    """Return text, or numbers that are all NaN if it is missing in all rows."""
    return text if any(cell is not None for cell in text) else np.full(text.shape, np.nan)


def _is_missing(cell: object) -> bool:
    if isinstance(cell, (float, np.floating, Decimal)):
        return cell != cell
    return cell is None or type(cell).__name__ in ("NAType", "NaTType")  # of pandas


class _UnreadableError(DataError):
    """A column whose values are neither numbers nor text."""


def _unreadable_values(where: str, kind: str) -> DataError:
    return _UnreadableError(
        f"{where}: has values of the type {kind}, which are neither numbers nor text",
        "convert the column to numbers or text, or leave it out",
    )
