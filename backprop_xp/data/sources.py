"""Loading of data sets: by name, from files and folders, from data frames and arrays."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.data.dataset import MISSING, TASKS, Dataset, Split
from backprop_xp.data.labels import class_labels, encode_labels, infer_task, label_type
from backprop_xp.data.preprocessing import (
    Preprocessing,
)
from backprop_xp.data.readers import row_files
from backprop_xp.data.readers.cells import INFINITE, INFINITE_TARGET, check_values
from backprop_xp.data.readers.row_files import RowFile
from backprop_xp.data.readers.source import given_parts, read_labeled, separate_labels
from backprop_xp.data.scaling import value_range
from backprop_xp.data.table import Table
from backprop_xp.data.table_dataset import (
    dataset_of_table,
    encode_targets,
    input_columns,
    label_values,
    number_columns,
    split_rows,
)
from backprop_xp.data.table_format import TableFormat
from backprop_xp.errors import ConfigurationError, DataError, check_name
from backprop_xp.formatting import listed, pluralize

SPLITS = ("train", "validation", "test")

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
            "give fractions of at least 0 that add up to less than 1",
        )
    drop, categorical, numeric = map(_as_names, (drop, categorical, numeric))
    data, names = read_labeled(*separate_labels(source, label), table_format, data_dir)
    if not isinstance(data, Table) and (
        drop or categorical or numeric or any(given_parts(table_format))
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
        held_out, given = read_labeled(rows, labels, table_format, data_dir)
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
                "use --label NAME (in Python, label=NAME)",
            )
        chosen = input_columns(data, names, drop, categorical, numeric)
        return dataset_of_table(
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
    n_inputs: int | None = None,
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
    n_inputs : int, optional
        The number of inputs of a network that was not trained on named columns, for the error for
        a table with another number of columns.
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
    data, names = read_labeled(*separate_labels(source, label), table_format, data_dir)
    if isinstance(data, Table):
        if not names and all(name in data.columns for name in default_label or ()):
            names = list(default_label or ())
        if preprocessing is not None:
            known = [name for name in preprocessing.names if name in data.columns]
            check_values(data, known, INFINITE)
            inputs = preprocessing.apply(data, warn=True)
        else:
            chosen = features or [name for name in data.columns if name not in names]
            if not features and n_inputs is not None and len(chosen) != n_inputs:
                raise DataError(
                    f"{data.name}: the model was trained on {n_inputs} pixels or other numbers "
                    f"without names, not on a table with {pluralize(len(chosen), 'column')}",
                    f"give a .npz whose array x has {n_inputs} numbers in each row",
                )
            inputs = number_columns(data, chosen)
        if not names or not labeled:
            return Rows(inputs, None, data.lines)
        check_values(data, names, INFINITE_TARGET)
        y = label_values(data, names, task)
        return Rows(inputs, encode_targets(data, names, y, task, classes)[0], data.lines)
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


def _as_names(names: Any) -> Sequence[str]:
    """Return names of columns as a sequence of text; a single name is text or a number."""
    several = isinstance(names, Iterable) and not isinstance(names, str)
    return [str(name) for name in (names if several else (names,))]


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
    parts = split_rows(targets, classes, fractions, seed, f"{rows.name}: ")
    if for_validation or for_test:
        everything = train
        train, drawn, tested = (everything.take(part) for part in parts)
        held_out = drawn if for_validation else held_out
        test = tested if for_test else test
    scaling = "standard"
    if train.inputs.dtype == np.uint8 or file.image_shape is not None:
        low, high = value_range(train.inputs)
        scaling = f"{high or 1.0:g}" if low >= 0.0 else "standard"
    return Dataset(
        name=Path(file.path).name,
        train=train,
        validation=held_out,
        test=test,
        classes=classes,
        features=file.features,
        image_shape=file.image_shape,
        default_scaling=scaling,
        label_type="number" if classes is None else label_type(class_labels(rows.y, "y")),
        notes=tuple(notes),
    )


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
