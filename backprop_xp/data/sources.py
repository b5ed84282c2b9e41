"""Loading of data sets: by name, from files and folders, from data frames and arrays."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import numpy as np

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.data.dataset import MISSING, NAMED, TASKS, Dataset, Split
from backprop_xp.data.digits import load_digits
from backprop_xp.data.labels import class_labels, encode_labels, infer_task, label_type
from backprop_xp.data.mnist import load_mnist, read_idx_folder
from backprop_xp.data.preprocessing import (
    Preprocessing,
    as_numbers,
    as_text,
    check_mixture,
    fit_preprocessing,
    is_missing,
    parse_numbers,
)
from backprop_xp.data.readers import row_files
from backprop_xp.data.readers.cells import check_values
from backprop_xp.data.readers.csv_table import read_table
from backprop_xp.data.readers.frames import is_frame, read_columnar, table_from_frame
from backprop_xp.data.readers.npz import is_npy_folder, read_arrays, read_npy_folder, read_npz
from backprop_xp.data.readers.row_files import RowFile
from backprop_xp.data.scaling import value_range
from backprop_xp.data.splits import random_split, stratified_split
from backprop_xp.data.table import Table, is_number_column
from backprop_xp.data.table_format import TableFormat
from backprop_xp.errors import ConfigurationError, DataError, check_name, unknown_name
from backprop_xp.formatting import listed, pluralize

SOURCES = (
    *NAMED,
    "a .csv, .tsv, .parquet or .feather file",
    "an .npz file",
    "a folder of IDX files or of x.npy and y.npy",
)
SPLITS = ("train", "validation", "test")

_TEXT = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
_COLUMNAR = (".parquet", ".feather")
_INFINITE = "correct the value or leave it empty"
_INFINITE_TARGET = "correct the value or remove the row"
_Path = os.PathLike[str] | str


class Rows(NamedTuple):
    """Rows for a trained network, on the host.

    Attributes
    ----------
    inputs : array, shape (n, n_inputs)
        As stored.
    targets : array or None
        As in `backprop_xp.data.dataset.Split`; None if the source has none.
    lines : array of int, shape (n,), or None
        The line of each row in its file, for a text file.
    """

    inputs: Array
    targets: Array | None
    lines: Array | None


def load_dataset(
    source: Any,
    *,
    label: Any = None,
    task: str | None = None,
    validation: Any = None,
    validation_fraction: float = 0.15,
    test_fraction: float = 0.0,
    seed: int = 0,
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    missing: str = "impute",
    table_format: TableFormat | None = None,
    data_dir: _Path | None = None,
) -> Dataset:
    """Load a data set for training.

    The columns of a table become inputs as `backprop_xp.data.preprocessing` describes.

    Parameters
    ----------
    source : str, path, data frame, or arrays
        ``"digits"``, ``"mnist"``; the path of a .csv, .tsv, .parquet, .feather or .npz file, of a
        folder of IDX files, or of a folder with ``x.npy`` and ``y.npy``; a data frame of pandas or
        polars, a pyarrow table, a dict of columns; a pair of arrays ``(x, y)``, or the array ``x``.
    label : str, sequence of str, or array, optional
        The column of a table with the label or target; required for a table. Several columns, as
        a list or separated by commas, are the targets of a regression. Or the labels themselves.
    task : {"classification", "regression"}, optional
        By default it follows from the labels; see `backprop_xp.data.labels.infer_task`.
    validation : as ``source``, optional
        The validation rows, of the same kind as the source, which must not be images.
    validation_fraction, test_fraction : float
        The fractions of the rows that are split off for validation and for a test, stratified by
        class for classification; 0 for none. Not used where the data set has such a split.
    seed : int
        The seed of this split.
    drop : sequence of str
        Columns of a table to leave out.
    categorical, numeric : sequence of str
        Columns of a table that contain categories, or numbers, whatever they look like.
    missing : {"impute", "drop", "error"}
        What is done about missing inputs of a table: they are filled in; the training rows with
        missing inputs are left out; or an error is raised.
    table_format : TableFormat, optional
        How a text file is written; by default this is detected.
    data_dir : path, optional
        The folder of the MNIST files.

    Returns
    -------
    Dataset

    Raises
    ------
    ConfigurationError
        If the source or the task is unknown, the fractions are not in [0, 1), or an option does
        not apply to the source.
    DataError
        If the data is missing, damaged, or not suitable for training.

    Examples
    --------
    >>> digits = load_dataset("digits")
    >>> digits.n_inputs, digits.n_outputs
    (64, 10)
    >>> data = load_dataset({"a": [1.0, 2.0, 3.5, 4.0], "b": list("xyxy")}, label="b")
    >>> data
    <Dataset the data: 1 input, 2 classes; rows: train 2, validation 2>
    """
    if task is not None:
        check_name("task", task, TASKS)
    check_name("missing", missing, MISSING)
    fractions = (1.0 - validation_fraction - test_fraction, validation_fraction, test_fraction)
    if not (fractions[0] > 0 and min(fractions[1:]) >= 0):  # also if one is NaN
        raise ConfigurationError(
            f"the fractions {validation_fraction} for validation and {test_fraction} for the test "
            "leave no rows for training",
            "give fractions from 0 up, together below 1",
        )
    drop, categorical, numeric = map(_as_names, (drop, categorical, numeric))
    data, names = _read(*separate_labels(source, label), table_format, data_dir)
    if not isinstance(data, Table) and (
        drop or categorical or numeric or any(_given(table_format))
    ):
        name = data.name if isinstance(data, Dataset) else data.path
        raise ConfigurationError(
            f"{name} has no named columns, and is not a text file",
            "columns can be chosen, and separators given, for a table such as a .csv file",
        )
    if isinstance(data, Dataset):
        if validation is not None or task == "regression" or test_fraction:
            raise ConfigurationError(
                f"{source!r} is a set of labeled images with its own splits",
                "a validation file, a test fraction and regression are for tables and arrays",
            )
        return data
    held_out = None
    if validation is not None:
        rows, labels = separate_labels(validation, None)
        held_out, given = _read(rows, labels, table_format, data_dir)
        if isinstance(held_out, Table) and labels is not None:
            held_out = _renamed(held_out, given, names)
        if type(held_out) is not type(data):
            raise ConfigurationError(
                "the validation data is not of the same kind as the training data",
                "give both as tables, or both as arrays",
            )
    if isinstance(data, Table):
        if not names:
            raise DataError(
                f"{data.name}: which column is the label? The columns are: "
                f"{listed(list(data.columns), 50)}",
                "use --label NAME",
            )
        chosen = _input_columns(data, names, drop, categorical, numeric)
        return _of_table(
            data, held_out, names, chosen, task, fractions, seed, categorical, numeric, missing
        )
    return _of_row_file(data, held_out, task, fractions, seed)


def load_rows(
    source: Any,
    *,
    label: Any = None,
    default_label: Sequence[str] | None = None,
    split: str = "test",
    task: str = "classification",
    classes: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    labeled: bool = True,
    table_format: TableFormat | None = None,
    data_dir: _Path | None = None,
) -> Rows:
    """Load rows for the evaluation or the predictions of a trained network.

    Parameters
    ----------
    source, label, table_format, data_dir
        As for `load_dataset`.
    default_label : sequence of str, optional
        The label columns if no label is given, and if the table has them.
    split : {"train", "validation", "test"}
        The split of the data set. All rows of a file without splits are loaded.
    task : {"classification", "regression"}
        Whether the targets are class labels or numbers.
    classes : sequence of str, optional
        The classes of the network; by default those of the source.
    features : sequence of str, optional
        The input columns of the network, which are selected from a table by name.
    preprocessing : Preprocessing, optional
        How the columns of a table become inputs; by default they are numbers.
    labeled : bool
        Whether targets are read where there are any. Without them, missing and unknown labels do
        not matter.

    Returns
    -------
    Rows

    Raises
    ------
    ConfigurationError
        If the source, the split or the task is unknown.
    DataError
        If the data is missing or damaged, has no such split, or contains an unknown label.

    Examples
    --------
    >>> rows = load_rows("digits")
    >>> rows.inputs.shape, rows.targets.shape
    ((357, 64), (357,))
    """
    check_name("task", task, TASKS)
    check_name("split", split, SPLITS)
    data, names = _read(*separate_labels(source, label), table_format, data_dir)
    if isinstance(data, Table):
        if not names and all(name in data.columns for name in default_label or ()):
            names = list(default_label or ())
        if preprocessing is not None:
            known = [name for name in preprocessing.names if name in data.columns]
            check_values(data, known, _INFINITE)
            inputs = preprocessing.apply(data, warn=True)
        else:
            inputs = _numbers(
                data, features or [name for name in data.columns if name not in names]
            )
        if not names or not labeled:
            return Rows(inputs, None, data.lines)
        check_values(data, names, _INFINITE_TARGET)
        y = _labels_of(data, names, task)
        return Rows(inputs, _encode(data, names, y, task, classes)[0], data.lines)
    if isinstance(data, RowFile):
        rows = data.pick(split)
        with_targets = labeled and rows.y is not None
        return Rows(rows.inputs, rows.targets(task, classes)[0] if with_targets else None, None)
    if task != "classification":
        raise ConfigurationError(f"{source!r} is a set of labeled images, not for regression")
    loaded = data.splits[split]
    if loaded is None:
        raise DataError(f"{source}: has no {split} split", "choose another split")
    if not labeled:
        return Rows(loaded.inputs, None, None)
    if classes is None or tuple(classes) == data.classes:
        return Rows(*loaded)
    texts = np.asarray(data.classes)[loaded.targets]
    indices, _ = encode_labels(texts, classes, where=f"{source}, row {{}}".format)
    return Rows(loaded.inputs, indices, None)


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
    return _read(source, label, table_format, data_dir)[0]


def _given(table_format: TableFormat | None) -> list[bool]:
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


def _read(
    source: Any,
    label: Any,
    table_format: TableFormat | None = None,
    data_dir: _Path | None = None,
) -> tuple[Table | RowFile | Dataset, list[str]]:
    """Return what `read_source` returns, and the names of the label columns of a table."""
    in_memory = not isinstance(source, (str, os.PathLike))
    data: Table | RowFile | Dataset
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
    if Path(path).is_dir():
        return read_idx_folder(path)
    if Path(path).exists():
        raise DataError(f"{path} is not a data set", f"give one of: {', '.join(SOURCES)}")
    if os.path.basename(path) != path:  # a path, not a misspelled name
        raise DataError(f"{path}: there is no such file or folder", "check the path")
    raise unknown_name("data", path, SOURCES)


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
    return check_values(table, None, _INFINITE_TARGET).columns["y"]


def _as_array(values: Any, rows: Any) -> Any:
    """Return an array or a list as a NumPy array; ``rows`` is the list as a list of rows."""
    if arrays.is_array(values):
        return arrays.to_numpy(values)
    try:
        return np.asarray(values, dtype=_list_type(rows))
    except ValueError as error:
        raise DataError(
            "the rows have different numbers of values", "give every row as many"
        ) from error


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
        table_from_frame(y, "the labels", check=False), None, _INFINITE_TARGET
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


def _as_names(names: Any) -> Sequence[str]:
    """Return names of columns as a sequence of text; a single name is text or a number."""
    several = isinstance(names, Iterable) and not isinstance(names, str)
    return [str(name) for name in (names if several else (names,))]


def _column_names(label: Any, columns: Collection[str]) -> list[str] | None:
    """Return the label columns that a label names; None if it contains the labels themselves."""
    if isinstance(label, (str, int)):
        name = str(label)
        return [name] if name in columns else [part.strip() for part in name.split(",")]
    if not isinstance(label, (list, tuple)) or not label:
        return None
    names = [str(name) for name in label]
    # Labels can have the names of columns too, but they repeat.
    named = all(name in columns for name in names) and len(set(names)) == len(names)
    return names if named else None


def _renamed(table: Table, given: list[str], names: list[str]) -> Table:
    """Return a table whose label columns have the names of those of the training data."""
    if len(given) != len(names):
        raise DataError(
            f"{table.name}: {pluralize(len(given), 'label column')} for validation, but "
            f"{len(names)} for training",
            "give the same labels for both",
        )
    labels = {name: table.columns[old] for name, old in zip(names, given, strict=True)}
    columns = {name: column for name, column in table.columns.items() if name not in given}
    return table._replace(columns=columns | labels)


def _input_columns(
    table: Table,
    names: list[str],
    drop: Sequence[str],
    categorical: Sequence[str],
    numeric: Sequence[str],
) -> list[str]:
    """Return the columns of the inputs, and check the names in the settings."""
    table.check_columns(drop, "check the names of the columns to leave out")
    for name in (*drop, *categorical, *numeric):
        if name in names:
            raise ConfigurationError(
                f"the column {name!r} is the label, and not an input",
                "leave it out of the columns to drop and of the categorical and numeric ones; "
                "--task says whether a label is a class or a number",
            )
    for name in (*categorical, *numeric):
        if name in drop:
            raise ConfigurationError(
                f"the column {name!r} is left out, and cannot be categorical or numeric",
                "name it once",
            )
    return [name for name in table.columns if name not in (*names, *drop)]


def _of_table(
    table: Table,
    held_out: Any,
    names: list[str],
    chosen: list[str],
    task: str | None,
    fractions: tuple[float, float, float],
    seed: int,
    categorical: Sequence[str],
    numeric: Sequence[str],
    missing: str,
) -> Dataset:
    """Return the data set of a table with these label columns and input columns."""
    notes = list(table.notes)
    check_values(table, names, _INFINITE_TARGET)
    check_values(table, chosen)
    y = _labels_of(table, names, task)
    if task is None:
        task, reason = infer_task(y)
        kind = "classification" if task == "regression" else "regression"
        possible = y.ndim == 1 and y.dtype != object
        change = f" (--task {kind} if that is wrong)" if possible else ""
        notes.append(f"task: {task}, because {reason}{change}")
    kept = np.arange(table.size)
    if missing != "impute":
        kept = np.flatnonzero(_complete_rows(table, chosen, missing))
        if n_left_out := table.size - kept.size:
            notes.append(
                f"{pluralize(n_left_out, 'row')} with missing values left out, {kept.size:,} kept"
            )
    y = y[kept]
    targets, classes = _encode(table, names, y, task, None, kept)
    if held_out is not None:
        fractions = (1.0 - fractions[2], 0.0, fractions[2])
    where = f"{table.name}, column {names[0]!r}: "
    parts = _split_rows(targets, classes, fractions, seed, where)
    if classes is None:
        notes += [
            f"the target {name!r} is {values[0]:g} in every row"
            for name, values in zip(names, targets.T, strict=True)
            if np.all(values == values[0])
        ]
    preprocessing = fit_preprocessing(
        table, chosen, kept[parts[0]], categorical=categorical, numeric=numeric
    )
    notes += [f"left out {name!r}: {why}" for name, why in preprocessing.left_out.items()]
    notes += preprocessing.notes
    validation = None
    if held_out is not None:
        held_out.check_columns(names, "name the label as in the training data, or give (x, y)")
        held_out.check_columns(preprocessing.names, "give the columns of the training data")
        check_values(held_out, names, _INFINITE_TARGET)
        check_values(held_out, preprocessing.names, _INFINITE)
        if missing == "error":
            _complete_rows(held_out, preprocessing.names, missing)
        inputs = preprocessing.apply(held_out, warn=True)
        held_out_y = _labels_of(held_out, names, task)
        held_out_targets, _ = _encode(held_out, names, held_out_y, task, classes)
        validation = Split(inputs, held_out_targets, held_out.lines)

    # One array for all rows, in the order of the splits: only one copy is made, and the columns of
    # the table are freed meanwhile.
    order = np.concatenate(parts)
    lines = None if table.lines is None else table.lines[kept[order]]
    rows = Split(preprocessing.apply(table, kept[order], free=True), targets[order], lines)
    ends = np.cumsum([len(part) for part in parts])
    splits = [
        rows.take(slice(end - len(part), end)) if len(part) else None
        for part, end in zip(parts, ends, strict=True)
    ]
    train = splits[0]
    assert train is not None
    return Dataset(
        name=Path(table.name).name,
        train=train,
        validation=validation or splits[1],
        test=splits[2],
        classes=classes,
        features=preprocessing.inputs,
        image_shape=None,
        default_scaling="standard",
        label=tuple(names),
        label_type="number" if classes is None else label_type(y),
        preprocessing=preprocessing,
        notes=tuple(notes),
    )


def _labels_of(table: Table, names: list[str], task: str | None) -> Array:
    """Return the label columns as they are: numbers or text, without missing values."""
    for name in names:
        missing = is_missing(table.columns[name])
        if missing.any():
            row = int(np.argmax(missing))
            raise DataError(
                f"{table.location(row, name)}: the label is missing",
                "fill it in or remove the row; if this text is the name of a class, rename the "
                "class",
            )
    if task == "regression" or len(names) > 1:
        hint = "the targets of a regression must be numbers; for classes, use --task classification"
        columns = [as_numbers(table, name, hint) for name in names]
        return columns[0] if len(names) == 1 else np.stack(columns, axis=1)
    column = table.columns[names[0]]
    if is_number_column(column):
        return column
    if task is None and infer_task(parse_numbers(column)[0])[0] == "regression":
        hint = "correct the cell; if the labels are classes, use --task classification"
        numbers = check_mixture(table, names[0], hint)
        if numbers is not None:
            return numbers
    return as_text(column)


def _complete_rows(table: Table, chosen: Sequence[str], missing: str) -> Array:
    """Return whether each row has all values; a missing one is an error if ``missing`` says so."""
    incomplete, counts = np.zeros(table.size, dtype=bool), {}
    for name in chosen:
        is_none = is_missing(table.columns[name])
        counts[name] = int(is_none.sum())
        if missing == "error" and is_none.any():
            raise DataError(
                f"{table.location(int(np.argmax(is_none)), name)}: the value is missing",
                "fill it in, or use --missing impute or --missing drop",
            )
        incomplete |= is_none
    if incomplete.all():
        name = max(counts, key=counts.__getitem__)
        raise DataError(
            f"{table.name}: every row has a missing value, {counts[name]:,} of them in the column "
            f"{name!r}",
            f"leave it out with --drop {quote(name)}, or use --missing impute",
        )
    return ~incomplete


def _encode(
    table: Table,
    names: list[str],
    y: Array,
    task: str,
    classes: Sequence[str] | None,
    rows: Array | None = None,
) -> tuple[Array, tuple[str, ...] | None]:
    """Return labels of some rows as targets, with the classes; None for a regression."""
    if task == "regression":
        return y.reshape(len(y), -1), None
    if len(names) > 1:
        raise ConfigurationError(
            f"{len(names)} label columns were given, and a classification has one",
            "name one column, or use --task regression",
        )

    def where(row: int) -> str:
        return table.location(row if rows is None else int(rows[row]), names[0])

    return encode_labels(y, classes, where=where)


def _numbers(table: Table, names: Sequence[str]) -> Array:
    """Return columns of numbers as an array; a missing value is an error."""
    table.check_columns(names, "the model was trained on this column; add it")
    check_values(table, names, _INFINITE)
    columns = []
    for name in names:
        numbers = as_numbers(table, name)
        if np.isnan(numbers).any():
            row = int(np.argmax(np.isnan(numbers)))
            raise DataError(
                f"{table.location(row, name)}: the value is missing",
                "fill it in or remove the row: this model has no values to fill in",
            )
        columns.append(numbers)
    if not columns:
        raise DataError(f"{table.name}: no column is left for the inputs", "add columns")
    return np.stack(columns, axis=1)


def _of_row_file(
    file: RowFile, other: Any, task: str | None, fractions: tuple[float, float, float], seed: int
) -> Dataset:
    """Return the data set of arrays, and of the validation rows in another file."""
    rows = file.splits.get("train")
    if rows is None:
        raise DataError(f"{file.path}: has no train split, only: {', '.join(file.splits)}")
    notes = []
    if task is None:
        task, reason = infer_task(np.zeros(1, dtype=int) if rows.y is None else rows.y)
        if task == "regression":
            notes = [f"task: {task}, because {reason} (--task classification if that is wrong)"]
    targets, classes = rows.targets(task)
    train = Split(rows.inputs, targets)
    validation_rows = file.splits.get("validation") if other is None else other.pick("validation")
    test_rows = file.splits.get("test")
    if test_rows is not None and test_rows.y is None:
        test_rows = None  # rows to predict, as in competitions: there are no targets to test on
    held_out = _matching_split(train, validation_rows, task, classes)
    test = _matching_split(train, test_rows, task, classes)
    _, for_validation, for_test = fractions
    for_validation = 0.0 if held_out else for_validation
    for_test = 0.0 if test else for_test
    fractions = (1.0 - for_validation - for_test, for_validation, for_test)
    parts = _split_rows(targets, classes, fractions, seed, f"{rows.name}: ")
    if for_validation or for_test:
        everything = train
        train, drawn, tested = (everything.take(part) for part in parts)
        held_out = drawn if for_validation else held_out
        test = tested if for_test else test
    scaling = "standard"
    if train.inputs.dtype == np.uint8 or file.image_shape is not None:
        low, high = value_range(train.inputs)
        scaling = f"{high or 1.0:g}" if low >= 0.0 else "standard"
    y = None if rows.y is None else rows.y
    return Dataset(
        name=Path(file.path).name,
        train=train,
        validation=held_out,
        test=test,
        classes=classes,
        features=file.features,
        image_shape=file.image_shape,
        default_scaling=scaling,
        label_type="number" if classes is None or y is None else label_type(class_labels(y, "y")),
        notes=tuple(notes),
    )


def _split_rows(
    targets: Array,
    classes: tuple[str, ...] | None,
    fractions: tuple[float, float, float],
    seed: int,
    where: str,
) -> tuple[Array, ...]:
    """Return the rows of the three splits, stratified by class.

    ``where`` says where the labels are, in an error message.
    """
    if classes is None:
        return random_split(targets.shape[0], fractions, seed)
    if len(classes) < 2:
        raise DataError(
            f"{where}every row has the class {classes[0]!r}", "give rows of at least two classes"
        )
    return stratified_split(targets, fractions, seed, classes=classes, where=where)


def _matching_split(
    train: Split, rows: row_files.Rows | None, task: str, classes: tuple[str, ...] | None
) -> Split | None:
    """Return rows as a split with the classes of the training split, and check their columns."""
    if rows is None:
        return None
    split = Split(rows.inputs, rows.targets(task, classes)[0])
    for what, array, train_array in (
        ("inputs", split.inputs, train.inputs),
        ("targets", split.targets, train.targets),
    ):
        if array.shape[1:] != train_array.shape[1:]:
            raise DataError(
                f"{rows.name}: the {what} have the shape {array.shape}, but those of the train "
                f"split have the shape {train_array.shape}",
                "all splits need the same columns",
            )
    return split
