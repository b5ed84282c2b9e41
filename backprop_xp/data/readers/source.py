"""The reader of any source of data: a name, a path, a data frame or arrays."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.data.dataset import NAMED, Dataset
from backprop_xp.data.digits import load_digits
from backprop_xp.data.mnist import load_mnist, read_idx_folder
from backprop_xp.data.readers.cells import INFINITE_TARGET, check_values
from backprop_xp.data.readers.csv_table import read_table
from backprop_xp.data.readers.frames import is_frame, read_columnar, table_from_frame
from backprop_xp.data.readers.npz import is_npy_folder, read_arrays, read_npy_folder, read_npz
from backprop_xp.data.readers.row_files import RowFile
from backprop_xp.data.table import Table, is_number_column
from backprop_xp.data.table_format import TableFormat
from backprop_xp.errors import ConfigurationError, DataError, unknown_name
from backprop_xp.formatting import pluralize

SOURCES = (
    *NAMED,
    "a .csv, .tsv, .parquet or .feather file",
    "an .npz file",
    "a folder of IDX files or of x.npy and y.npy",
)
_TEXT = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
_COLUMNAR = (".parquet", ".feather")
_IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".pgm")
_IMAGE_FILES = "image files are not read; save them as a .npz: backprop-xp guide images"
_RUN_FILES = ("model.safetensors", "checkpoint.safetensors")
_Path = os.PathLike[str] | str


def read_source(
    source: Any,
    label: Any = None,
    table_format: TableFormat | None = None,
    data_dir: _Path | None = None,
) -> Table | RowFile | Dataset:
    """Read a source as it is: a table, arrays with one row per sample, or a set of images.

    The parameters are those of `load_dataset`. Infinite numbers in a table are not an error here.

    Raises
    ------
    ConfigurationError, DataError
        As for `load_dataset`.
    """
    return read_labeled(source, label, table_format, data_dir)[0]


def given_parts(table_format: TableFormat | None) -> list[bool]:
    """Return whether each part of a format was given, and is not to be detected."""
    return [part is not None for part in table_format or ()]


def separate_labels(source: Any, label: Any) -> tuple[Any, Any]:
    """Return the rows and the labels of a pair ``(x, y)``, or the source and the label unchanged.

    Examples
    --------
    >>> separate_labels(([[1.0], [2.0]], ["a", "b"]), None)
    ([[1.0], [2.0]], ['a', 'b'])
    >>> separate_labels("pets.csv", "kind")
    ('pets.csv', 'kind')
    """
    if not isinstance(source, tuple) or len(source) != 2:
        return source, label
    if label is None:
        return source
    if isinstance(label, str) or is_frame(source[0]):
        raise ConfigurationError(
            "the labels are given twice: in a pair (x, y), and as the label",
            "give either the pair or the label",
        )
    return source, label  # a tuple of two rows


def read_labeled(
    source: Any,
    label: Any,
    table_format: TableFormat | None = None,
    data_dir: _Path | None = None,
) -> tuple[Table | RowFile | Dataset, list[str]]:
    """Return what `read_source` returns, and the names of the label columns of a table."""
    in_memory = not isinstance(source, (str, os.PathLike))
    data: Table | RowFile | Dataset
    _check_order(source, label)
    if not in_memory:
        data = _read_path(os.fspath(source), table_format, data_dir)
    elif is_frame(source):
        name = "the data" if isinstance(source, Mapping) else "the data frame"
        data = table_from_frame(source, name, check=False)
    else:
        data = _from_arrays(source, None if isinstance(label, str) else label)
    if isinstance(data, Table):
        if label is None:
            return data, []
        names = _column_names(label, data.columns)
        if names is None:
            return _with_labels(data, label)
        data.check_columns(names, "check the name of the label column")
        if len(set(names)) < len(names):
            raise ConfigurationError(f"the label {label!r} names a column twice", "name it once")
        return data, names
    if label is not None and (isinstance(label, str) or not in_memory):
        name = "an array" if in_memory else repr(source)
        raise ConfigurationError(
            f"{name} has no column for the label {label!r}"
            if isinstance(label, str)
            else f"{name} has its own labels",
            "give the labels as a second array" if in_memory else "leave the label out",
        )
    return data, []


def _check_order(x: Any, y: Any) -> None:
    """Raise an error if labels have the index of a data frame of pandas in another order."""
    ours: Any = getattr(x, "index", None)
    theirs: Any = getattr(y, "index", None)
    if not (hasattr(ours, "equals") and hasattr(theirs, "equals")) or ours.equals(theirs):
        return
    alike = len(ours) == len(theirs) and ours.is_unique and theirs.is_unique
    if alike and theirs.isin(ours).all():
        raise DataError(
            "the labels have the index of the data frame, but in another order",
            "use labels.loc[frame.index], or labels.to_numpy() if they are in the right order",
        )


def _read_path(
    path: str, table_format: TableFormat | None, data_dir: _Path | None
) -> Table | RowFile | Dataset:
    if path == "digits":
        return load_digits()
    if path == "mnist":
        return load_mnist(data_dir)
    if path.lower().endswith(_TEXT):
        options = (table_format or TableFormat())._asdict()
        return read_table(path, **options, check=False)
    if path.lower().endswith(_COLUMNAR):
        return read_columnar(path, check=False)
    if path.lower().endswith(".npz"):
        return read_npz(path)
    if is_npy_folder(path):
        return read_npy_folder(path)
    if os.path.isdir(path):
        if not any(Path(path).glob("*-ubyte*")):
            raise _no_data_set(path)
        return read_idx_folder(path)
    if os.path.exists(path):
        if path.lower().endswith(_IMAGES):
            raise DataError(f"{path} is not a data set", _IMAGE_FILES)
        raise DataError(
            f"{path} is not a data set",
            "the name of a table of text ends with .csv, .tsv or .txt, and a spreadsheet can be "
            f"saved as .csv; give one of: {', '.join(SOURCES)}",
        )
    if os.path.basename(path) != path or Path(path).suffix:  # a path, not a misspelled name
        raise DataError(f"{path}: there is no such file or folder", "check the path")
    raise unknown_name("data", path, SOURCES)


def _no_data_set(folder: str) -> DataError:
    """Return the error for a folder without any file of a data set."""
    if any(os.path.isfile(os.path.join(folder, name)) for name in _RUN_FILES):
        return DataError(
            f"{folder}: this is the folder of a run", "use predict, evaluate or train --resume"
        )
    return DataError(
        f"{folder}: no data set was found in this folder",
        f"{_IMAGE_FILES}; a folder of data has four IDX files, or x.npy and y.npy",
    )


def _from_arrays(x: Any, y: Any) -> Table | RowFile:
    """Return arrays, or lists of rows, as a table if they contain text or NaN, else as they are.

    A table does not contain the labels yet.
    """
    host: Any
    if isinstance(x, np.memmap):
        host = x
    else:
        host = _as_array(x, x)
        if host.ndim == 0:
            raise DataError(
                f"data of the type {type(x).__name__} cannot be read",
                "give a path, a data frame, a dict of columns, an array or a list of rows",
            )
        if host.dtype.kind in "OUS" or (host.dtype.kind == "f" and np.isnan(host).any()):
            if host.ndim != 2:
                raise DataError(
                    f"the inputs have the shape {host.shape}, but (n, n_columns) is expected",
                    "give one row per sample, all with as many values",
                )
            columns = {f"c{index + 1}": host[:, index] for index in range(host.shape[1])}
            return table_from_frame(columns, "the inputs", check=False)
    found = {"x": host}
    if y is not None:
        found["y"] = _host_labels(y)
    return read_arrays("the arrays", found)


def _host_labels(y: Any) -> Array:
    """Return labels as an array; those that NumPy has no type for become numbers or text."""
    host = _as_array(y, [y])
    if host.dtype != object:
        return host
    host = host[:, 0] if host.ndim == 2 and host.shape[1] == 1 else host
    table = table_from_frame({"y": host}, "the labels", check=False)
    return check_values(table, None, INFINITE_TARGET).columns["y"]


def _list_type(x: Any) -> type | None:
    """Return object for rows that contain text or None, which NumPy would turn into text."""
    rows = x if isinstance(x, (list, tuple)) else ()
    mixed = any(
        isinstance(cell, str) or cell is None
        for row in rows
        for cell in (row if isinstance(row, (list, tuple)) else (row,))
    )
    return object if mixed else None


def _with_labels(table: Table, y: Any) -> tuple[Table, list[str]]:
    """Return a table with labels that were given apart from it, and the names of their columns."""
    if not is_frame(y):
        nested = isinstance(y, (list, tuple)) and len(y) > 0 and isinstance(y[0], (list, tuple))
        known = nested or arrays.is_array(y)
        host = _as_array(y, y) if known else y  # a Series has its own types
        shape: tuple[int, ...] = np.shape(host) if known else ()
        name = getattr(y, "name", None)
        name = "label" if name is None else str(name)
        if len(shape) == 2 and shape[1] > 1:
            y = {f"{name} {k + 1}": host[:, k] for k in range(shape[1])}
        else:
            y = {name: host.reshape(-1) if len(shape) == 2 else host}
    labels = check_values(
        table_from_frame(y, "the labels", check=False), None, INFINITE_TARGET
    ).columns
    n = len(next(iter(labels.values())))
    if n != table.size:
        raise DataError(
            f"{table.name}: {pluralize(table.size, 'row')}, but {pluralize(n, 'label')}",
            "give one label per row, or the names of label columns",
        )
    columns, names = dict(table.columns), []
    for name, column in labels.items():
        # A column that was taken out of the table and is still in it is not an input.
        if name in columns and not _equal(columns[name], column):
            name = f"{name} (target)"
        columns[name] = column
        names.append(name)
    return table._replace(columns=columns), names


def _equal(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and bool(
        np.array_equal(one, other, equal_nan=is_number_column(one))
    )


def _column_names(label: Any, columns: Collection[str]) -> list[str] | None:
    """Return the label columns that a label names; None if it contains the labels themselves."""
    if isinstance(label, (str, int)) or (isinstance(label, tuple) and str(label) in columns):
        name = str(label)  # a tuple is a name of a data frame with several levels of names
        return [name] if name in columns else [part.strip() for part in name.split(",")]
    if not isinstance(label, (list, tuple)) or not label:
        return None
    names = [str(name) for name in label]
    # Labels can have the names of columns too, but they repeat.
    named = all(name in columns for name in names) and len(set(names)) == len(names)
    return names if named else None


def _as_array(values: Any, rows: Any) -> Any:
    """Return an array or a list as a NumPy array; ``rows`` is the list as a list of rows."""
    if arrays.is_array(values):
        return arrays.to_numpy(values)
    try:
        return np.asarray(values, dtype=_list_type(rows))
    except ValueError as error:
        raise DataError(
            "the rows have different numbers of values", "give every row the same number of them"
        ) from error
