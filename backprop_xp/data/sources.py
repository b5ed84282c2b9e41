"""The one door to data: a named set, a folder of IDX or .npy files, a .csv or an .npz file."""

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
from backprop_xp.errors import ConfigurationError, DataError, unknown_name

SOURCES = (*NAMED, "a folder of IDX files or of x.npy and y.npy", "a .csv file", "an .npz file")
SPLITS = ("train", "validation", "test")

_FILES = (".csv", ".npz", "folder of .npy files")
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
    """Return a data set to train on.

    Parameters
    ----------
    source : str
        ``"digits"``, ``"mnist"``, or the path of a folder of IDX files or of ``x.npy`` and
        ``y.npy``, a .csv or an .npz.
    data_dir : path, optional
        Where MNIST is kept.
    label : str, optional
        The column of a .csv that holds the label or target; required there.
    task : {"classification", "regression"}
        What the targets of a .csv, .npz or .npy are: class labels, or numbers.
    validation : path, optional
        A file of the same kind as a .csv or .npz with the rows to validate on. Nothing is
        then split off.
    validation_fraction : float
        The share of the rows of a .csv or .npz that is split off to validate on, class by
        class for a classification; 0 for none. Not used for sets that bring such a part.
    seed : int
        The seed of that split.

    Raises
    ------
    ConfigurationError
        If the source or the task is unknown, the fraction is not in [0, 1), or an option has
        no meaning for this source.
    DataError
        If the data are missing, damaged, or not fit to train on.

    Examples
    --------
    >>> digits = load_dataset("digits")
    >>> digits.n_inputs, digits.n_outputs
    (64, 10)
    """
    kind = _kind(source)
    _check_task(task)
    if not 0 <= validation_fraction < 1:
        raise ConfigurationError(
            f"validation fraction {validation_fraction}: must be at least 0 and below 1"
        )
    if kind in _FILES:
        if label is not None and kind != ".csv":
            raise ConfigurationError(f"{source}: only a .csv file has a label column to be named")
        if validation is not None and _kind_of_file(validation) != kind:
            raise ConfigurationError(f"{validation}: the validation file must be a {kind} too")
        return _from_file(source, label, task, validation, validation_fraction, seed)

    if label is not None or validation is not None or task != "classification":
        raise ConfigurationError(
            f"{source!r} is a set of labelled images with parts of its own",
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
    """Return rows for a trained network to be evaluated on, or to predict.

    Parameters
    ----------
    source : str
        As for `load_dataset`.
    split : {"train", "validation", "test"}
        Which part of a set that has parts; a .csv, or an .npz with one part, is taken whole.
    data_dir : path, optional
        Where MNIST is kept.
    label : str, optional
        The column of a .csv that holds the label or target. By default none is read, and
        without ``features`` every column is an input.
    classes : sequence of str, optional
        The classes of the network; by default those of the source.
    features : sequence of str, optional
        The input columns of the network, by which those of a .csv are picked.
    task : {"classification", "regression"}
        What the targets are.

    Returns
    -------
    inputs : array, shape (n, n_inputs)
        As stored.
    targets : array or None
        As in `backprop_xp.data.dataset.Split`; ``None`` where the file has none.

    Raises
    ------
    ConfigurationError
        If the source, the split or the task is unknown.
    DataError
        If the data are missing or damaged, have no such part, or hold an unknown label.

    Examples
    --------
    >>> inputs, targets = load_rows("digits")
    >>> inputs.shape, targets.shape
    ((357, 64), (357,))
    """
    kind = _kind(source)
    _check_task(task)
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if kind in _FILES:
        rows = _read(source, label, features, task).pick(split)
        known = None if classes is None else tuple(classes)
        return rows.inputs, None if rows.y is None else rows.targets(task, known)[0]

    if task != "classification":
        raise ConfigurationError(f"{source!r} is a set of labelled images, not for regression")
    dataset = _load_images(source, data_dir)
    part: Split | None = getattr(dataset, split)
    if part is None:
        raise DataError(f"{source}: has no {split} part", "choose another part")
    if classes is None or tuple(classes) == dataset.classes:
        return part.inputs, part.targets
    names = np.asarray(dataset.classes)[part.targets]
    return part.inputs, encode_labels(names, classes, where=f"{source}, row {{}}".format)[0]


def _kind(source: str) -> str:
    """Return the named set, ``"folder"``, or the ending of a file of rows."""
    if source in NAMED:
        return source
    path = Path(source)
    if (kind := _kind_of_file(path)) in _FILES:
        return kind
    if path.is_dir():
        return "folder"
    if path.exists():
        raise DataError(f"{source} is no data set", f"data is one of: {', '.join(SOURCES)}")
    if os.path.basename(source) != source:  # a path, no misspelt name
        raise DataError(f"{source}: there is no such file or folder", "check the path")
    raise unknown_name("data", source, SOURCES)


def _kind_of_file(path: _Path) -> str:
    return _FILES[2] if is_npy_folder(path) else Path(path).suffix.lower()


def _check_task(task: str) -> None:
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)


def _load_images(source: str, data_dir: _Path | None) -> Dataset:
    if source == "digits":
        return load_digits()
    return load_mnist(data_dir) if source == "mnist" else read_idx_folder(source)


def _read(path: _Path, label: str | None, features: Sequence[str] | None, task: str) -> RowFile:
    if Path(path).suffix.lower() == ".csv":
        return read_csv(path, label=label, features=features, task=task)
    return read_npy_folder(path) if is_npy_folder(path) else read_npz(path)


def _from_file(
    source: str,
    label: str | None,
    task: str,
    validation: _Path | None,
    validation_fraction: float,
    seed: int,
) -> Dataset:
    if label is None and _kind(source) == ".csv":
        columns = ", ".join(column_names(source))
        raise DataError(
            f"{source}: which column holds the label? There are: {columns}", "say --label NAME"
        )
    file = _read(source, label, None, task)
    if "train" not in file.parts:
        raise DataError(f"{source}: has no rows to train on, only: {', '.join(file.parts)}")
    rows = file.parts["train"]
    targets, classes = rows.targets(task)
    train = Split(rows.inputs, targets)
    if classes is not None and len(classes) < 2:
        raise DataError(
            f"{source}: every row is of the class {classes[0]!r}", "give rows of two classes"
        )

    given = None if validation is None else _read(validation, label, file.features, task)
    validation_rows = file.parts.get("validation") if given is None else given.pick("validation")
    held_out = _part_like(train, validation_rows, task, classes)
    if held_out is None and validation_fraction > 0:
        train, held_out = _split_off(train, validation_fraction, seed, classes)
    test_rows = file.parts.get("test")
    if test_rows is not None and test_rows.y is None:
        test_rows = None  # rows to predict, as competitions hand them out: nothing to test on
    return Dataset(
        name=Path(source).name,
        train=train,
        validation=held_out,
        test=_part_like(train, test_rows, task, classes),
        classes=classes,
        features=file.features,
        image_shape=file.image_shape,
        default_scaling="255" if train.inputs.dtype == np.uint8 else "standard",
    )


def _part_like(
    train: Split, rows: Rows | None, task: str, classes: tuple[str, ...] | None
) -> Split | None:
    """Return rows as a part with the columns and the classes of the training part."""
    if rows is None:
        return None
    part = Split(rows.inputs, rows.targets(task, classes)[0])
    for what, here, there in zip(("inputs", "targets"), part, train, strict=True):
        if here.shape[1:] != there.shape[1:]:
            raise DataError(
                f"{rows.name}: {what} of shape {here.shape}, but those to train on have shape "
                f"{there.shape}",
                "all parts need the same columns",
            )
    return part


def _split_off(
    train: Split, fraction: float, seed: int, classes: tuple[str, ...] | None
) -> tuple[Split, Split]:
    fractions = (1 - fraction, fraction)
    if classes is None:
        kept, given = random_split(train.size, fractions, seed)
    else:
        kept, given = stratified_split(train.targets, fractions, seed, classes=classes)
    return train.take(kept), train.take(given)
