"""Data sets: training, validation and test splits, each with inputs and targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from backprop_xp.backend.arrays import Array
from backprop_xp.data.memory_map import MemoryMap
from backprop_xp.formatting import pluralize

if TYPE_CHECKING:  # the command line reads the names below without NumPy
    from backprop_xp.data.preprocessing import Preprocessing

NAMED = ("digits", "mnist")
"""The data sets that are loaded by name instead of by path."""

TASKS = ("classification", "regression")
"""The kinds of targets: classes, or numbers."""

MISSING = ("impute", "drop", "error")
"""What is done about missing inputs of a table: they are filled in, the training rows that have
them are left out, or an error is raised."""


class Split(NamedTuple):
    """The rows of one split of a data set, on the host.

    Attributes
    ----------
    inputs : array, shape (n, n_inputs)
        As stored: uint8 for images, floating point for tables. A `MemoryMap` if the file is
        too large to be loaded.
    targets : array
        Class indices, int64 of shape (n,); for regression float64 of shape (n, n_outputs).
    lines : array of int, shape (n,), or None
        The line of each row in its file, for a text file.

    Examples
    --------
    >>> import numpy as np
    >>> split = Split(np.zeros((3, 2)), np.asarray([0, 1, 1]))
    >>> split.size, split.take(np.asarray([2, 0])).targets
    (3, array([1, 0]))
    """

    inputs: Array
    targets: Array
    lines: Array | None = None

    @property
    def size(self) -> int:
        """The number of rows."""
        return int(self.inputs.shape[0])

    def name_row(self, row: int) -> dict[str, int]:
        """Return the number of a row and, if it has one, its line in the file."""
        return {"row": row} | ({} if self.lines is None else {"line": int(self.lines[row])})

    def take(self, rows: Array) -> Split:
        """Return a split with some of the rows: a view for a slice, a copy for indices.

        `MemoryMap` inputs stay in their file.
        """
        inputs = self.inputs
        inputs = inputs.pick(rows) if isinstance(inputs, MemoryMap) else inputs[rows]
        return Split(inputs, self.targets[rows], None if self.lines is None else self.lines[rows])


@dataclass(frozen=True, repr=False)
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
        The name of each input, if the source has names.
    image_shape : tuple of int or None
        The height and width of the images, if each row is an image.
    default_scaling : str
        The default scaling, as for `backprop_xp.data.scaling.scaling_for`.
    label : tuple of str or None
        The names of the target columns, if the source has names.
    label_type : {"text", "integer", "number", "boolean"}
        What the classes are in the source; their names are always text.
    preprocessing : Preprocessing or None
        The columns of a table that became the inputs.
    notes : tuple of str
        What was detected and decided about the source, for people.
    """

    name: str
    train: Split
    validation: Split | None
    test: Split | None
    classes: tuple[str, ...] | None
    features: tuple[str, ...] | None
    image_shape: tuple[int, int] | None
    default_scaling: str
    label: tuple[str, ...] | None = None
    label_type: str = "text"
    preprocessing: Preprocessing | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = [f"{name} {split.size}" for name, split in self.splits.items() if split]
        kind = "regression" if self.classes is None else pluralize(len(self.classes), "class")
        rows = ", ".join(parts)
        return f"<Dataset {self.name}: {pluralize(self.n_inputs, 'input')}, {kind}; rows: {rows}>"

    @property
    def splits(self) -> dict[str, Split | None]:
        """The splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def task(self) -> str:
        """``"classification"`` or ``"regression"``."""
        return "regression" if self.classes is None else "classification"

    @property
    def n_inputs(self) -> int:
        """The number of input columns."""
        return int(self.train.inputs.shape[1])

    @property
    def n_outputs(self) -> int:
        """The number of classes, or of target columns for regression."""
        return int(self.train.targets.shape[1]) if self.classes is None else len(self.classes)
