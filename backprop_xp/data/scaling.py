"""Scaling: the shift and the divisor of each input column, found on the training rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.data.memory_map import MemoryMap, as_memory_map
from backprop_xp.errors import ConfigurationError, DataError

_SLAB_ELEMENTS = 1 << 20  # how much is looked at in one go: 8 MB of float64


class Scaling(NamedTuple):
    """What turns stored inputs x into what a network is fed: (x - offset) / divisor.

    Attributes
    ----------
    offset, divisor : array, shape (n_inputs,), float64
        One number per column.
    """

    offset: Array
    divisor: Array

    def apply(self, inputs: Array, dtype: str = "float32") -> Array:
        """Return scaled inputs, as a new array that lies row by row in memory.

        Rows of a memory-mapped file are not read: they are scaled when they are.

        Parameters
        ----------
        inputs : array, shape (n, n_inputs)
            Any real type; never changed.
        dtype : {"float32", "float64"}
            The type of the result.

        Returns
        -------
        array, shape (n, n_inputs)
            The only copy that is made.

        Raises
        ------
        DataError
            If the number of columns is another one, or a value is too large for ``dtype``.

        Examples
        --------
        >>> import numpy as np
        >>> Scaling(np.zeros(2), np.full(2, 255.0)).apply(np.asarray([[0, 255]], dtype=np.uint8))
        array([[0., 1.]], dtype=float32)
        """
        if inputs.ndim != 2 or inputs.shape[1] != self.offset.size:
            raise DataError(
                f"the inputs have shape {tuple(inputs.shape)}, where (n, {self.offset.size}) "
                "is expected",
                "give the columns that the network was trained on",
            )
        inputs = as_memory_map(inputs)
        if isinstance(inputs, MemoryMap):
            return replace(inputs, scaling=self)
        try:
            with np.errstate(over="raise", divide="raise"):
                if self.offset.any():
                    # The difference is taken in float64 and rounded as it is stored: a column
                    # far from 0 (a year, a time stamp) would lose its digits in float32.
                    scaled = np.empty(inputs.shape, dtype=dtype)
                    np.subtract(inputs, self.offset, out=scaled, casting="same_kind")
                else:
                    scaled = inputs.astype(dtype, order="C")
                if (self.divisor != 1).any():
                    scaled /= self.divisor.astype(dtype)
        except FloatingPointError as error:
            raise DataError(
                f"an input is too large for {dtype}: {error}",
                "choose --dtype float64, or bring the column to another unit",
            ) from error
        return scaled


def scaling_for(spec: str, train_inputs: Array) -> Scaling:
    """Return the scaling that a name or a number asks for.

    Parameters
    ----------
    spec : str
        ``"none"``; ``"standard"``, which gives each column mean 0 and standard deviation 1
        over the training rows (a column that never changes is only shifted); or a positive
        number by which everything is divided, such as ``"255"``.
    train_inputs : array, shape (n, n_inputs)
        The training rows, and no others: what is learned from the rest would flatter the
        figures measured on it.

    Raises
    ------
    ConfigurationError
        If ``spec`` is none of these.
    DataError
        If ``"standard"`` meets values that are not finite, or too large to be squared.

    Examples
    --------
    >>> import numpy as np
    >>> scaling_for("standard", np.asarray([[1.0, 5.0], [3.0, 5.0]]))
    Scaling(offset=array([2., 5.]), divisor=array([1., 1.]))
    >>> scaling_for("16", np.zeros((4, 2))).divisor
    array([16., 16.])
    """
    n_inputs = train_inputs.shape[1]
    if spec == "standard":
        return _standard(train_inputs)
    divisor = 1.0 if spec == "none" else _positive_number(spec)
    return Scaling(np.zeros(n_inputs), np.full(n_inputs, divisor))


def check_finite(
    inputs: Array, features: Sequence[str] | None = None, what: str = "the inputs"
) -> None:
    """Refuse inputs that hold a NaN or an infinity.

    Parameters
    ----------
    inputs : array, shape (n, n_inputs)
        Numbers.
    features : sequence of str, optional
        The names of the columns.
    what : str
        What is looked at, for the error.

    Raises
    ------
    DataError
        Names the first bad row, counting from 0, and the column.

    Examples
    --------
    >>> import numpy as np
    >>> check_finite(np.zeros((3, 2)))
    """
    if inputs.dtype.kind != "f":
        return
    for start, slab in _slabs(inputs):
        bad = ~np.isfinite(slab)
        if bad.any():
            row, column = np.argwhere(bad)[0].tolist()
            name = column if features is None else repr(features[column])
            raise DataError(
                f"{what}: {slab[row, column]} at row {start + row}, column {name} "
                "(counting from 0)",
                "fill in the value or leave the row out",
            )


def _standard(inputs: Array) -> Scaling:
    """Return the mean and standard deviation of each column, taken in two passes."""
    n = inputs.shape[0]
    with np.errstate(over="ignore", invalid="ignore"):
        mean = sum(np.sum(slab, axis=0, dtype=np.float64) for _, slab in _slabs(inputs)) / n
        squares = np.zeros_like(mean)
        for _, slab in _slabs(inputs):
            squares += np.sum(np.square(slab - mean), axis=0)
        deviation = np.sqrt(squares / n)
    broken = ~(np.isfinite(mean) & np.isfinite(deviation))
    if broken.any():
        raise DataError(
            f"column {int(np.argmax(broken))} (counting from 0) cannot be standardised: its values "
            "are too large or not finite",
            "bring the column to another unit",
        )
    # Rounding of the mean can leave a constant column a tiny deviation: ask the values.
    first = inputs[:1]
    constant = np.all([np.all(slab == first, axis=0) for _, slab in _slabs(inputs)], axis=0)
    return Scaling(mean, np.where(constant | (deviation == 0), 1.0, deviation))


def _positive_number(spec: str) -> float:
    try:
        number = float(spec)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ConfigurationError(
            f"unknown scaling {spec!r}",
            "There are: none, standard, or a positive number to divide by, such as 255",
        )
    return number


def _slabs(inputs: Array) -> Iterator[tuple[int, Array]]:
    """Yield the rows in blocks, each with the number of its first row."""
    rows = max(1, _SLAB_ELEMENTS // max(1, inputs.shape[1]))
    for start in range(0, inputs.shape[0], rows):
        yield start, inputs[start : start + rows]
