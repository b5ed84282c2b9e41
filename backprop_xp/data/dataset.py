"""The records of a data set: a part (inputs with their targets), and the parts of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from backprop_xp.backend.arrays import Array
from backprop_xp.data.memory_map import MemoryMap

NAMED = ("digits", "mnist")
"""Data sets that are called by a name instead of a path."""

TASKS = ("classification", "regression")
"""What targets can be: classes, or numbers."""


class Split(NamedTuple):
    """The rows of one part of a data set, on the host.

    Attributes
    ----------
    inputs : array, shape (n, n_inputs)
        As stored: uint8 for images, floating point for tables. `MemoryMap` where they stay in
        a file that is too large to be loaded.
    targets : array
        Class indices, int64 of shape (n,); for regression float64 of shape (n, n_outputs).

    Examples
    --------
    >>> import numpy as np
    >>> part = Split(np.zeros((3, 2)), np.asarray([0, 1, 1]))
    >>> part.size, part.take(np.asarray([2, 0])).targets
    (3, array([1, 0]))
    """

    inputs: Array
    targets: Array

    @property
    def size(self) -> int:
        """The number of rows."""
        return int(self.inputs.shape[0])

    def take(self, rows: Array) -> Split:
        """Return the part that holds the given rows: a view for a slice, a copy for indices;
        `MemoryMap` inputs stay in their file."""
        inputs = self.inputs
        inputs = inputs.pick(rows) if isinstance(inputs, MemoryMap) else inputs[rows]
        return Split(inputs, self.targets[rows])


@dataclass(frozen=True)
class Dataset:
    """A data set, split, as it was stored: nothing is scaled yet.

    Attributes
    ----------
    name : str
        The name of the set or of its file.
    train, validation, test : Split
        ``None`` where the set has no such part.
    classes : tuple of str or None
        The name of each class index; ``None`` for regression.
    features : tuple of str or None
        The name of each input column, where the source gives names.
    image_shape : tuple of int or None
        Height and width, where each row is an image.
    default_scaling : str
        What `backprop_xp.data.scaling.scaling_for` is to be told unless the user says otherwise.
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
        """The number of classes, or for regression of target columns."""
        return int(self.train.targets.shape[1]) if self.classes is None else len(self.classes)
