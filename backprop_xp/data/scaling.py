"""Scaling: the offset and the divisor of each input column, computed from the training rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.backend.checks import reject_entries
from backprop_xp.data.memory_map import MemoryMap, as_memory_map
from backprop_xp.errors import ConfigurationError, DataError

_BLOCK_ENTRIES = 1 << 20  # the entries that are processed at a time: 8 MB of float64


class Scaling(NamedTuple):
    """The scaling of stored inputs x to the inputs of a network, (x - offset) / divisor.

    Attributes
    ----------
    offset, divisor : array, shape (n_inputs,), float64
        One number per column.
    """

    offset: Array
    divisor: Array

    def apply(self, inputs: Array, dtype: str = "float32") -> Array:
        """Return scaled inputs.

        Rows of a memory-mapped file are not read here: they are scaled when they are read.

        Parameters
        ----------
        inputs : array, shape (n, n_inputs)
            Of any real data type; not modified.
        dtype : {"float32", "float64"}
            The data type of the result.

        Returns
        -------
        array, shape (n, n_inputs)
            A new array in C order, the only copy that is made; a `MemoryMap` for a
            memory-mapped file.

        Raises
        ------
        DataError
            If the number of columns is different, or a value is too large for ``dtype``.

        Examples
        --------
        >>> import numpy as np
        >>> Scaling(np.zeros(2), np.full(2, 255.0)).apply(np.asarray([[0, 255]], dtype=np.uint8))
        array([[0., 1.]], dtype=float32)
        """
        if inputs.ndim != 2 or inputs.shape[1] != self.offset.size:
            raise DataError(
                f"the inputs have the shape {tuple(inputs.shape)}, but (n, {self.offset.size}) "
                "is expected",
                "give the columns that the network was trained on",
            )
        inputs = as_memory_map(inputs)
        if isinstance(inputs, MemoryMap):
            return replace(inputs, scaling=self)
        try:
            with np.errstate(over="raise", divide="raise"):
                if self.offset.any():
                    # The difference is computed in float64 and rounded when it is stored: a
                    # column far from 0 (a year, a timestamp) would lose its digits in float32.
                    scaled = np.empty(inputs.shape, dtype=dtype)
                    np.subtract(inputs, self.offset, out=scaled, casting="same_kind")
                else:
                    scaled = inputs.astype(dtype, order="C")
                if (self.divisor != 1).any():
                    scaled /= self.divisor.astype(dtype)
        except FloatingPointError as error:
            raise DataError(
                f"an input is too large for {dtype}: {error}",
                "use --dtype float64, or rescale the column",
            ) from error
        return scaled


def scaling_for(spec: str, train_inputs: Array, is_number: Array | None = None) -> Scaling:
    """Compute the scaling of the inputs.

    Parameters
    ----------
    spec : str
        - ``"none"``: inputs are used as they are.
        - ``"standard"``: each column is scaled to mean 0 and standard deviation 1 over the
          training rows; a constant column is only shifted.
        - a positive number, such as ``"255"``: inputs are divided by it.
    train_inputs : array, shape (n, n_inputs)
        The inputs of the training rows. Do not include other rows: the results measured on
        them would be too good.
    is_number : array of bool, shape (n_inputs,), optional
        Whether each input is a number; the others, which stand for categories, are not scaled.

    Returns
    -------
    Scaling

    Raises
    ------
    ConfigurationError
        If ``spec`` is not one of these.
    DataError
        If a column cannot be standardized because its values are not finite or too large.

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
        scaling = _standard(train_inputs)
    else:
        divisor = 1.0 if spec == "none" else _positive_number(spec)
        scaling = Scaling(np.zeros(n_inputs), np.full(n_inputs, divisor))
    if is_number is None:
        return scaling
    return Scaling(
        np.where(is_number, scaling.offset, 0.0), np.where(is_number, scaling.divisor, 1.0)
    )


def value_range(inputs: Array) -> tuple[float, float]:
    """Return the smallest and the largest of all inputs."""
    ends = [(float(block.min()), float(block.max())) for _, block in _blocks(inputs)]
    return min(low for low, _ in ends), max(high for _, high in ends)


def check_finite(inputs: Array, what: str = "the inputs") -> None:
    """Raise a `DataError` that names the first NaN or infinity in a table, if there is one."""
    if inputs.dtype.kind != "f":
        return
    for start, block in _blocks(inputs):
        hint = "fill in the value or remove the row"
        reject_entries(~np.isfinite(block), block, np, what, hint, start)


def _standard(inputs: Array) -> Scaling:
    """Return the scaling by the mean and standard deviation of each column, in two passes."""
    n = inputs.shape[0]
    with np.errstate(over="ignore", invalid="ignore"):
        mean = sum(np.sum(block, axis=0, dtype=np.float64) for _, block in _blocks(inputs)) / n
        squares = np.zeros_like(mean)
        for _, block in _blocks(inputs):
            squares += np.sum(np.square(block - mean), axis=0)
        deviation = np.sqrt(squares / n)
    broken = ~(np.isfinite(mean) & np.isfinite(deviation))
    if broken.any():
        raise DataError(
            f"column {int(np.argmax(broken))} (counting from 0) cannot be standardized: its values "
            "are too large or not finite",
            "rescale the column",
        )
    # A constant column can have a tiny deviation, as its mean is rounded: compare the values.
    first = inputs[:1]
    constant = np.all([np.all(block == first, axis=0) for _, block in _blocks(inputs)], axis=0)
    return Scaling(mean, np.where(constant | (deviation == 0), 1.0, deviation))


def _positive_number(spec: str) -> float:
    try:
        number = float(spec)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ConfigurationError(
            f"unknown scaling {spec!r}",
            "use none, standard, or a positive number to divide by, such as 255",
        )
    return number


def _blocks(inputs: Array) -> Iterator[tuple[int, Array]]:
    """Yield blocks of rows, each with the index of its first row."""
    rows = max(1, _BLOCK_ENTRIES // max(1, inputs.shape[1]))
    for start in range(0, inputs.shape[0], rows):
        yield start, inputs[start : start + rows]
