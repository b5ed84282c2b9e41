"""The one door to data: a named set, a folder of IDX files, a .csv or an .npz file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from backprop_xp.arrays import Array
from backprop_xp.data.archives import Archive, Rows, read_npz
from backprop_xp.data.digits import load_digits
from backprop_xp.data.labels import class_labels, encode_labels, regression_targets
from backprop_xp.data.mnist import load_mnist, read_idx_folder
from backprop_xp.data.records import Dataset, Part
from backprop_xp.data.splits import random_split, stratified_split
from backprop_xp.data.tables import column_names, read_csv
from backprop_xp.errors import ConfigurationError, DataError, unknown_name

NAMED = ("digits", "mnist")
SOURCES = (*NAMED, "a folder of IDX files", "a .csv file", "an .npz file")
TASKS = ("classification", "regression")
SPLITS = ("train", "validation", "test")

_PathLike = os.PathLike[str] | str
_Kind = Literal["digits", "mnist", "folder", ".csv", ".npz"]


def load_dataset(
    source: str,
    *,
    data_dir: _PathLike | None = None,
    label: str | None = None,
    task: str = "classification",
    validation: _PathLike | None = None,
    validation_fraction: float = 0.15,
    seed: int = 0,
) -> Dataset:
    """Return a data set to train on.

    Parameters
    ----------
    source : str
        ``"digits"``, ``"mnist"``, or the path of a folder of IDX files, a .csv or an .npz.
    data_dir : path, optional
        Where MNIST is kept.
    label : str, optional
        The column of a .csv that holds the label or target; required there.
    task : {"classification", "regression"}
        What the targets of a .csv or .npz are: class labels, or numbers.
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
    if kind in (".csv", ".npz"):
        loader = _load_csv if kind == ".csv" else _load_npz
        if kind == ".npz" and label is not None:
            raise ConfigurationError("a label column can be named only for a .csv file")
        if validation is not None and Path(validation).suffix.lower() != kind:
            raise ConfigurationError(f"{validation}: the validation file must be a {kind} too")
        train, given, rest = loader(Path(source), label, task, validation)
        if given is None and validation_fraction > 0:
            train, given = _split_off(train, validation_fraction, seed, rest["classes"])
        return Dataset(name=Path(source).name, train=train, validation=given, **rest)

    if label is not None or validation is not None or task != "classification":
        raise ConfigurationError(
            f"{source!r} is a set of labelled pictures with parts of its own",
            "a label column, a validation file and regression are for .csv and .npz files",
        )
    return _load_pictures(kind, source, data_dir)


def load_rows(
    source: str,
    *,
    split: str = "test",
    data_dir: _PathLike | None = None,
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
        As in `backprop_xp.data.records.Part`; ``None`` where the file has none.

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
    if kind == ".csv":
        return _csv_rows(Path(source), label, features, classes, task)
    if kind == ".npz":
        rows, what = _npz_split(Path(source), split)
        return rows.inputs, None if rows.y is None else _npz_targets(rows, what, task, classes)[0]

    if task != "classification":
        raise ConfigurationError(f"{source!r} is a set of labelled pictures, not for regression")
    dataset = _load_pictures(kind, source, data_dir)
    part: Part | None = getattr(dataset, split)
    if part is None:
        raise DataError(f"{source}: has no {split} part", "choose another --split")
    if classes is None or dataset.classes is None or tuple(classes) == dataset.classes:
        return part.inputs, part.targets
    names = np.asarray(dataset.classes)[part.targets]
    return part.inputs, encode_labels(names, classes, where=f"{source}, row {{}}".format)[0]


def _kind(source: str) -> _Kind:
    if source == "digits":
        return "digits"
    if source == "mnist":
        return "mnist"
    path = Path(source)
    if path.is_dir():
        return "folder"
    match path.suffix.lower():
        case ".csv":
            return ".csv"
        case ".npz":
            return ".npz"
    raise unknown_name("data", source, SOURCES)


def _check_task(task: str) -> None:
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)


def _load_pictures(kind: _Kind, source: str, data_dir: _PathLike | None) -> Dataset:
    if kind == "digits":
        return load_digits()
    return load_mnist(data_dir) if kind == "mnist" else read_idx_folder(source)


# What a loader of files returns: the rows, the validation rows it was given, and the other
# fields of the `Dataset`.
_Loaded = tuple[Part, Part | None, dict[str, Any]]


def _load_csv(path: Path, label: str | None, task: str, validation: _PathLike | None) -> _Loaded:
    columns = column_names(path)
    if label is None:
        raise DataError(
            f"{path}: which column holds the label? There are: {', '.join(columns)}",
            "say --label NAME",
        )
    features = tuple(name for name in columns if name != label)
    ...
