"""Labels: conversion to class indices, and checks of the targets of a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.data.preprocessing import as_text, number_name, plain_name, spellings
from backprop_xp.data.scaling import check_finite
from backprop_xp.data.table import text_fault
from backprop_xp.errors import DataError
from backprop_xp.formatting import abridged, listed, pluralize

LABEL_TYPES = ("text", "integer", "number", "boolean")
"""What the labels of a classification can be; the names of classes are always text."""

_MAX_LISTED = 20  # the most classes that an error message lists
MANY_CLASSES, _RARE = 20, 5  # bounds of `infer_task`


def encode_labels(
    labels: Array | Sequence[str],
    classes: Sequence[str] | None = None,
    *,
    where: Callable[[int], str] = "row {}".format,
) -> tuple[Array, tuple[str, ...]]:
    """Convert labels to class indices.

    The name of a class does not depend on how it is written: the labels 3, 3.0 and ``"3"`` are one
    class.

    Parameters
    ----------
    labels : array or list of numbers, booleans or text, shape (n,)
    classes : sequence of str, optional
        The classes of a trained network. By default those of the labels, in numerical order
        if all of them are numbers, otherwise in alphabetical order.
    where : callable ``(row) -> str``, optional
        Returns the location of a row for the error message; by default ``row 3``, counting
        from 0.

    Returns
    -------
    indices : array, shape (n,), int64
        The index of each label in ``classes``.
    classes : tuple of str
        The names of the classes.

    Raises
    ------
    DataError
        If a label is missing, or not in ``classes``, or cannot be the name of a class.

    Examples
    --------
    >>> encode_labels(["10", "9", "10"])
    (array([1, 0, 1]), ('9', '10'))
    >>> encode_labels(np.asarray([3.0, 1.0]), ["1", "2", "3"])
    (array([2, 0]), ('1', '2', '3'))
    """
    values, codes = _distinct(np.asarray(labels))
    names = [label_name(value) for value in values]
    missing = [code for code, name in enumerate(names) if name is None]
    if missing:
        row = int(np.argmax(np.isin(codes, missing)))
        raise DataError(
            f"{where(row)}: the label is missing",
            "fill it in or remove the row; if this text is the name of a class, rename the class",
        )
    if classes is None:
        for code, name in enumerate(map(str, names)):
            if fault := text_fault(name):
                row = int(np.argmax(codes == code))
                raise DataError(
                    f"{where(row)}: the label {abridged(name)} {fault}", "correct the label"
                )
        classes = _ordered(sorted({str(name) for name in names}))
    classes = tuple(classes)
    positions = spellings(classes)
    found = [positions.get(str(n), positions.get(plain_name(str(n)), -1)) for n in names]
    unknown = [code for code, position in enumerate(found) if position < 0]
    if unknown:
        row = int(np.argmax(np.isin(codes, unknown)))
        raise DataError(
            f"{where(row)}: the label {abridged(names[int(codes[row])])} is not a known class",
            f"the classes are: {listed(classes, _MAX_LISTED)}",
        )
    return np.asarray(found, dtype=np.int64)[codes], classes


def label_name(value: Any) -> str | None:
    """Return the name of the class of a label, or None if the label is missing.

    Examples
    --------
    >>> label_name(3.0), label_name("cat"), label_name(True), label_name(float("nan"))
    ('3', 'cat', 'True', None)
    """
    if isinstance(value, float):
        return None if math.isnan(value) else number_name(value)
    return None if value is None else str(value)


def label_type(labels: Array) -> str:
    """Return what labels are: ``"text"``, ``"integer"``, ``"number"`` or ``"boolean"``.

    Examples
    --------
    >>> label_type(np.asarray([1.0, 2.0])), label_type(np.asarray(["a", "b"]))
    ('integer', 'text')
    """
    kind = labels.dtype.kind
    if kind in "iu":
        return "integer"
    if kind == "f":
        # Above 2^53, float64 skips integers, so these may not be the digits of the file.
        whole = np.all(labels == np.floor(labels)) and np.all(np.abs(labels) < 2**53)
        return "integer" if whole else "number"
    texts = {str(value) for value in _distinct(labels)[0]}
    return "boolean" if texts <= {"True", "False"} else "text"


def from_names(names: Sequence[str], kind: str) -> Array:
    """Return class names as labels of the type that `label_type` returned.

    Examples
    --------
    >>> from_names(["3", "1"], "integer"), from_names(["True"], "boolean").tolist()
    (array([3, 1]), [True])
    """
    if kind == "boolean":
        return np.asarray([name == "True" for name in names], dtype=bool)
    # An integer too large for int64 makes an array of objects, so that no digit is lost.
    convert: type = {"integer": int, "number": float}.get(kind, str)
    return np.asarray([convert(name) for name in names])


def infer_task(y: Array) -> tuple[str, str]:
    """Return the task that targets are for, and the reason in words.

    Text, booleans and few different whole numbers are classes. Other numbers are the targets of a
    regression: fractions, more than 20 different whole numbers of which some are rare, and numbers
    with gaps that hardly repeat.

    Parameters
    ----------
    y : array, shape (n,) or (n, n_outputs)

    Raises
    ------
    DataError
        If each row has a single 1 among zeros, which is a class and not several numbers.

    Examples
    --------
    >>> infer_task(np.asarray([0.5, 0.25]))
    ('regression', 'the targets are fractions')
    >>> infer_task(np.asarray([1, 0, 1]))[0]
    'classification'
    """
    if y.ndim == 2 and y.shape[1] > 1:
        if y.dtype.kind in "biuf" and bool(np.all((y == 0) | (y == 1)) and np.all(y.sum(1) == 1)):
            raise DataError(
                f"the targets are one-hot: each row has one 1 among {y.shape[1]} targets",
                "give one label per row, such as y.argmax(axis=1); for a regression, use "
                "--task regression (in Python, task='regression')",
            )
        return "regression", "each row has several targets"
    if y.dtype.kind not in "iuf":
        kind = "true or false" if label_type(y) == "boolean" else "text"
        return "classification", f"the labels are {kind}"
    numbers = y[np.isfinite(y)]
    if not np.all(numbers == np.floor(numbers)):
        return "regression", "the targets are fractions"
    values, counts = np.unique(numbers, return_counts=True)
    if values.size > MANY_CLASSES and counts.min() < _RARE:
        return "regression", f"the targets are {values.size:,} different numbers"
    if values.size > 2 and numbers.size < 2 * values.size and np.any(np.diff(values) != 1):
        return (
            "regression",
            f"the targets are {values.size:,} different numbers in {numbers.size:,} rows",
        )
    return "classification", f"the labels are {pluralize(values.size, 'different whole number')}"


def _distinct(labels: Array) -> tuple[list[Any], Array]:
    """Return the different labels, and for each row the index of its label among them."""
    if labels.dtype != object:
        values, codes = np.unique(labels, return_inverse=True)
        return values.tolist(), codes
    index: dict[Any, int] = {}
    found = (index.setdefault(label, len(index)) for label in labels)
    codes = np.fromiter(found, dtype=np.int64, count=len(labels))
    return list(index), codes


def class_labels(y: Array, what: str) -> Array:
    """Return the targets of a file as labels of shape (n,).

    Raises
    ------
    DataError
        If there is not one label per row, or a label is infinite or of another type.

    Examples
    --------
    >>> class_labels(np.asarray([[2], [0]]), "y")
    array([2, 0])
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise DataError(
            f"{what}: the shape is {y.shape}, but one class per row is expected",
            "convert one-hot rows with argmax; for real numbers, use --task regression",
        )
    if y.dtype.kind not in "biufUO":
        raise DataError(f"{what}: the type is {y.dtype}", "classes must be numbers or text")
    if y.dtype.kind == "f" and np.isinf(y).any():
        row = int(np.argmax(np.isinf(y)))
        raise DataError(f"{what}, row {row}: {y[row]} is not a class", "correct the label")
    return as_text(y) if y.dtype == object else y


def regression_targets(y: Array, what: str) -> Array:
    """Return the targets of a file as numbers, float64 of shape (n, n_outputs).

    Raises
    ------
    DataError
        If a target is not a finite number, or there are more than two dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> regression_targets(np.asarray([1, 2]), "y")
    array([[1.],
           [2.]])
    """
    if y.dtype.kind not in "biuf":
        kind = "text" if y.dtype.kind in "OUS" else f"of the type {y.dtype}"
        raise DataError(
            f"{what}: the targets are {kind}, but a regression needs numbers",
            "for classes, use --task classification",
        )
    if y.ndim not in (1, 2) or 0 in y.shape:
        raise DataError(
            f"{what}: the shape is {y.shape}, but (n,) or (n, n_outputs) is expected",
            "give one row of numbers per row of x",
        )
    targets = y.astype(np.float64).reshape(y.shape[0], -1)
    check_finite(targets, what)
    return targets


def _ordered(names: list[str]) -> tuple[str, ...]:
    try:
        return tuple(sorted(names, key=lambda name: (float(name), name)))
    except ValueError:
        return tuple(sorted(names))
