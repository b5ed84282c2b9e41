"""Data sets: training, validation and test splits, each with inputs and targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from backprop_xp.backend.arrays import Array
from backprop_xp.data.memory_map import MemoryMap

NAMED = ("digits", "mnist")
"""The data sets that are loaded by name instead of by path."""

TASKS = ("classification", "regression")
"""The kinds of targets: classes, or numbers."""


class Split(NamedTuple):
    """The rows of one split of a data set, on the host.

    Attributes
    ----------
    inputs : array, shape (n, n_inputs)
        As stored: uint8 for images, floating point for tables. A `MemoryMap` if the file is
        too large to be loaded.
    targets : array
        Class indices, int64 of shape (n,); for regression float64 of shape (n, n_outputs).

    Examples
    --------
    >>> import numpy as np
    >>> split = Split(np.zeros((3, 2)), np.asarray([0, 1, 1]))
    >>> split.size, split.take(np.asarray([2, 0])).targets
    (3, array([1, 0]))
    """

    inputs: Array
    targets: Array

    @property
    def size(self) -> int:
        """The number of rows."""
        return int(self.inputs.shape[0])

    def take(self, rows: Array) -> Split:
        """Return a split with some of the rows: a view for a slice, a copy for indices.

        `MemoryMap` inputs stay in their file.
        """
        inputs = self.inputs
        inputs = inputs.pick(rows) if isinstance(inputs, MemoryMap) else inputs[rows]
        return Split(inputs, self.targets[rows])


@dataclass(frozen=True)
class Dataset:
    """A data set with its splits, as stored: the inputs are not scaled.

    Attributes
    ----------
    name : str
        The name of the data set or of its file.
    train : Split
    validation, test : Split or None
        None if the data set has no such split.
    classes : tuple of str or None
        The name of each class index; None for regression.
    features : tuple of str or None
        The name of each input column, if the source has names.
    image_shape : tuple of int or None
        The height and width of the images, if each row is an image.
    default_scaling : str
        The default scaling, as for `backprop_xp.data.scaling.scaling_for`.
    """

    name: str
    train: Split
    validation: Split | None
    test: Split | None
    classes: tuple[str, ...] | None
    features: tuple[str, ...] | None
    image_shape: tuple[int, int] | None
    default_scaling: str

    @property
    def n_inputs(self) -> int:
        """The number of input columns."""
        return int(self.train.inputs.shape[1])

    @property
    def n_outputs(self) -> int:
        """The number of classes, or of target columns for regression."""
        return int(self.train.targets.shape[1]) if self.classes is None else len(self.classes)
