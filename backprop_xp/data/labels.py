"""Targets: labels as class indices, and the `y` of an array file as labels or as numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.data.scaling import check_finite
from backprop_xp.errors import DataError

_INTEGER = re.compile(r"[+-]?\d{1,18}")
_LISTED = 20  # as many classes as an error message names


def encode_labels(
    labels: Array | Sequence[str],
    classes: Sequence[str] | None = None,
    *,
    where: Callable[[int], str] = "row {}".format,
) -> tuple[Array, tuple[str, ...]]:
    """Return labels as class indices, with the names of the classes.

    Parameters
    ----------
    labels : sequence of str, or array of integers or text, shape (n,)
        One label per row.
    classes : sequence of str, optional
        The classes of a trained network. By default those that occur, in numerical order
        if all of them are integers, else alphabetically.
    where : callable, optional
        Says where a row stands, for the error; by default ``row 3``, counting from 0.

    Returns
    -------
    indices : array, shape (n,), int64
        The index into ``classes`` of each label.
    classes : tuple of str
        The names of the classes.

    Raises
    ------
    DataError
        If a label is not among the given ``classes``.

    Examples
    --------
    >>> encode_labels(["10", "9", "10"])
    (array([1, 0, 1]), ('9', '10'))
    """
    values, codes = np.unique(np.asarray(labels), return_inverse=True)
    names = [str(value) for value in values.tolist()]
    classes = _ordered(names) if classes is None else tuple(classes)
    index = {name: position for position, name in enumerate(classes)}
    unknown = [code for code, name in enumerate(names) if name not in index]
    if unknown:
        row = int(np.argmax(np.isin(codes, unknown)))
        known = ", ".join(classes[:_LISTED]) + (", ..." if len(classes) > _LISTED else "")
        raise DataError(
            f"{where(row)}: the label {names[int(codes[row])]!r} is none of the known classes",
            f"the classes are: {known}",
        )
    indices = np.asarray([index[name] for name in names], dtype=np.int64)
    return indices[codes], classes


def class_labels(y: Array, what: str) -> Array:
    """Return the ``y`` of an array file as labels: integers or text, shape (n,).

    Raises
    ------
    DataError
        If it is not one label per row, or holds numbers that are not whole.

    Examples
    --------
    >>> import numpy as np
    >>> class_labels(np.asarray([[2.0], [0.0]]), "y")
    array([2, 0])
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise DataError(
            f"{what}: shape {y.shape}, where one class per row is expected",
            "of one-hot rows take the argmax; for real numbers say --task regression",
        )
    if y.dtype.kind in "biuU":
        return y
    if y.dtype.kind != "f":
        raise DataError(f"{what}: type {y.dtype}", "classes are integers or text")
    broken = ~(np.isfinite(y) & (y == np.floor(y)) & (np.abs(y) < 2**53))
    if broken.any():
        row = int(np.argmax(broken))
        raise DataError(
            f"{what}, row {row}: {y[row]} is no class",
            "classes are whole numbers or text; for real numbers say --task regression",
        )
    return y.astype(np.int64)


def regression_targets(y: Array, what: str) -> Array:
    """Return the ``y`` of an array file as float64 targets of shape (n, n_outputs).

    Raises
    ------
    DataError
        If it holds anything but finite numbers, or has more than two dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> regression_targets(np.asarray([1, 2]), "y")
    array([[1.],
           [2.]])
    """
    if y.dtype.kind not in "biuf":
        raise DataError(
            f"{what}: type {y.dtype}, but regression needs numbers",
            "for classes say --task classification",
        )
    if y.ndim not in (1, 2) or 0 in y.shape:
        raise DataError(
            f"{what}: shape {y.shape}, where (n,) or (n, n_outputs) is expected",
            "give one row of numbers per row of x",
        )
    targets = y.astype(np.float64).reshape(y.shape[0], -1)
    check_finite(targets, what=what)
    return targets


def _ordered(names: list[str]) -> tuple[str, ...]:
    if all(_INTEGER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))
