"""Loading of data sets by name, or from a folder of IDX or .npy files, a .csv or an .npz file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.data.dataset import NAMED, TASKS, Dataset, Split
from backprop_xp.data.digits import load_digits
from backprop_xp.data.labels import encode_labels
from backprop_xp.data.mnist import load_mnist, read_idx_folder
from backprop_xp.data.readers.csv_table import column_names, read_csv
from backprop_xp.data.readers.npz import is_npy_folder, read_npy_folder, read_npz
from backprop_xp.data.readers.row_files import RowFile, Rows
from backprop_xp.data.splits import random_split, stratified_split
from backprop_xp.errors import ConfigurationError, DataError, check_name, unknown_name

SOURCES = (*NAMED, "a folder of IDX files or of x.npy and y.npy", "a .csv file", "an .npz file")
SPLITS = ("train", "validation", "test")

_ROW_FILES = (".csv", ".npz", "folder of .npy files")
_Path = os.PathLike[str] | str


def load_dataset(
    source: str,
    *,
    data_dir: _Path | None = None,
    label: str | None = None,
    task: str = "classification",
    validation: _Path | None = None,
    validation_fraction: float = 0.15,
    seed: int = 0,
) -> Dataset:
    """Load a data set for training.

    Parameters
    ----------
    source : str
        ``"digits"``, ``"mnist"``, or the path of a .csv file, an .npz file, a folder of IDX
        files, or a folder with ``x.npy`` and ``y.npy``.
    data_dir : path, optional
        The folder of the MNIST files.
    label : str, optional
        The column of a .csv with the label or target; required for a .csv.
    task : {"classification", "regression"}
        Whether the targets of a .csv, .npz or .npy are class labels or numbers.
    validation : path, optional
        A file with the validation rows, of the same kind as the source, which must be a .csv,
        .npz or folder of .npy files.
    validation_fraction : float
        The fraction of the rows that is split off for validation, stratified by class for
        classification; 0 for none. Not used if there is a validation file, or the data set
        has a validation split.
    seed : int
        The seed of this split.

    Returns
    -------
    Dataset

    Raises
    ------
    ConfigurationError
        If the source or the task is unknown, the fraction is not in [0, 1), or an option does
        not apply to the source.
    DataError
        If the data is missing, damaged, or not suitable for training.

    Examples
    --------
    >>> digits = load_dataset("digits")
    >>> digits.n_inputs, digits.n_outputs
    (64, 10)
    """
    kind = _kind(source)
    check_name("task", task, TASKS)
    if not 0 <= validation_fraction < 1:
        raise ConfigurationError(
            f"validation fraction {validation_fraction}: must be at least 0 and below 1"
        )
    if kind in _ROW_FILES:
        if label is not None and kind != ".csv":
            raise ConfigurationError(f"{source}: only a .csv file has a label column")
        if validation is not None and _kind_of_file(validation) != kind:
            raise ConfigurationError(f"{validation}: the validation file must be a {kind} too")
        return _load_row_file(source, kind, label, task, validation, validation_fraction, seed)

    if label is not None or validation is not None or task != "classification":
        raise ConfigurationError(
            f"{source!r} is a set of labeled images with a validation split",
            "a label column, a validation file and regression are for .csv and .npz files",
        )
    return _load_images(source, data_dir)


def load_rows(
    source: str,
    *,
    split: str = "test",
    data_dir: _Path | None = None,
    label: str | None = None,
    classes: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    task: str = "classification",
) -> tuple[Array, Array | None]:
    """Load rows for the evaluation or the predictions of a trained network.

    Parameters
    ----------
    source : str
        As for `load_dataset`.
    split : {"train", "validation", "test"}
        The split of the data set. All rows of a file without splits are loaded.
    data_dir : path, optional
        The folder of the MNIST files.
    label : str, optional
        The column of a .csv with the label or target. By default there are no targets, and
        without ``features`` all columns are inputs.
    classes : sequence of str, optional
        The classes of the network; by default those of the source.
    features : sequence of str, optional
        The input columns of the network, which are selected from a .csv by name.
    task : {"classification", "regression"}
        Whether the targets are class labels or numbers.

    Returns
    -------
    inputs : array, shape (n, n_inputs)
        The inputs as stored.
    targets : array or None
        As in `backprop_xp.data.dataset.Split`; None if the file has none.

    Raises
    ------
    ConfigurationError
        If the source, the split or the task is unknown.
    DataError
        If the data is missing or damaged, has no such split, or contains an unknown label.

    Examples
    --------
    >>> inputs, targets = load_rows("digits")
    >>> inputs.shape, targets.shape
    ((357, 64), (357,))
    """
    kind = _kind(source)
    check_name("task", task, TASKS)
    check_name("split", split, SPLITS)
    if kind in _ROW_FILES:
        rows = _read(source, kind, label, features, task).pick(split)
        return rows.inputs, None if rows.y is None else rows.targets(task, classes)[0]

    if task != "classification":
        raise ConfigurationError(f"{source!r} is a set of labeled images, not for regression")
    dataset = _load_images(source, data_dir)
    loaded: Split | None = getattr(dataset, split)
    if loaded is None:
        raise DataError(f"{source}: has no {split} split", "choose another split")
    if classes is None or tuple(classes) == dataset.classes:
        return loaded.inputs, loaded.targets
    names = np.asarray(dataset.classes)[loaded.targets]
    return loaded.inputs, encode_labels(names, classes, where=f"{source}, row {{}}".format)[0]


def _kind(source: str) -> str:
    """Return the name of a named data set, one of `_ROW_FILES`, or ``"folder"`` for IDX files."""
    if source in NAMED:
        return source
    path = Path(source)
    if (kind := _kind_of_file(path)) in _ROW_FILES:
        return kind
    if path.is_dir():
        return "folder"
    if path.exists():
        raise DataError(f"{source} is not a data set", f"give one of: {', '.join(SOURCES)}")
    if os.path.basename(source) != source:  # a path, not a misspelled name
        raise DataError(f"{source}: there is no such file or folder", "check the path")
    raise unknown_name("data", source, SOURCES)


def _kind_of_file(path: _Path) -> str:
    return _ROW_FILES[2] if is_npy_folder(path) else Path(path).suffix.lower()


def _load_images(source: str, data_dir: _Path | None) -> Dataset:
    if source == "digits":
        return load_digits()
    return load_mnist(data_dir) if source == "mnist" else read_idx_folder(source)


def _read(
    path: _Path, kind: str, label: str | None, features: Sequence[str] | None, task: str
) -> RowFile:
    if kind == ".csv":
        return read_csv(path, label=label, features=features, task=task)
    return read_npz(path) if kind == ".npz" else read_npy_folder(path)


def _load_row_file(
    source: str,
    kind: str,
    label: str | None,
    task: str,
    validation: _Path | None,
    validation_fraction: float,
    seed: int,
) -> Dataset:
    if label is None and kind == ".csv":
        columns = ", ".join(column_names(source))
        raise DataError(
            f"{source}: which column is the label? The columns are: {columns}", "use --label NAME"
        )
    file = _read(source, kind, label, None, task)
    rows = file.splits.get("train")
    if rows is None:
        raise DataError(f"{source}: has no train split, only: {', '.join(file.splits)}")
    targets, classes = rows.targets(task)
    train = Split(rows.inputs, targets)
    if classes is not None and len(classes) < 2:
        raise DataError(
            f"{source}: every row has the class {classes[0]!r}", "give rows of at least two classes"
        )

    validation_rows = file.splits.get("validation")
    if validation is not None:
        validation_rows = _read(validation, kind, label, file.features, task).pick("validation")
    held_out = _matching_split(train, validation_rows, task, classes)
    if held_out is None and validation_fraction > 0:
        fractions = (1 - validation_fraction, validation_fraction)
        if classes is None:
            parts = random_split(train.size, fractions, seed)
        else:
            parts = stratified_split(train.targets, fractions, seed, classes=classes)
        train, held_out = map(train.take, parts)
    test_rows = file.splits.get("test")
    if test_rows is not None and test_rows.y is None:
        test_rows = None  # rows to predict, as in competitions: there are no targets to test on
    return Dataset(
        name=Path(source).name,
        train=train,
        validation=held_out,
        test=_matching_split(train, test_rows, task, classes),
        classes=classes,
        features=file.features,
        image_shape=file.image_shape,
        default_scaling="255" if train.inputs.dtype == np.uint8 else "standard",
    )


def _matching_split(
    train: Split, rows: Rows | None, task: str, classes: tuple[str, ...] | None
) -> Split | None:
    """Return rows as a split with the classes of the training split, and check their columns."""
    if rows is None:
        return None
    split = Split(rows.inputs, rows.targets(task, classes)[0])
    for what, array, train_array in zip(("inputs", "targets"), split, train, strict=True):
        if array.shape[1:] != train_array.shape[1:]:
            raise DataError(
                f"{rows.name}: the {what} have the shape {array.shape}, but those of the train "
                f"split have the shape {train_array.shape}",
                "all splits need the same columns",
            )
    return split
