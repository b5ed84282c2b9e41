"""Files of rows, such as .csv and .npz: the rows of one or more splits, as they were read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from backprop_xp.backend.arrays import Array
from backprop_xp.data.labels import class_labels, encode_labels, regression_targets
from backprop_xp.errors import DataError


class Rows(NamedTuple):
    """The rows of one split.

    Attributes
    ----------
    inputs : array, shape (n, n_inputs)
        Finite numbers, uint8 or floating point.
    y : array, shape (n, ...) or None
        Labels or numbers, as stored; None if the file has none.
    name : str
        The name of the rows in error messages: the file, and the array if there are several.
    lines : list of int or None
        The line number of each row, for a text file.
    """

    inputs: Array
    y: Array | None
    name: str
    lines: list[int] | None = None

    def location(self, row: int) -> str:
        """Return the location of a row for an error message."""
        if self.lines is not None:
            return f"{self.name}, line {self.lines[row]}"
        return f"{self.name}, row {row} (counting from 0)"

    def targets(
        self, task: str, classes: Sequence[str] | None = None
    ) -> tuple[Array, tuple[str, ...] | None]:
        """Convert ``y`` to targets, and return them with the classes (None for regression).

        Parameters
        ----------
        task : {"classification", "regression"}
        classes : sequence of str, optional
            The classes of a trained network; by default those of ``y``.

        Raises
        ------
        DataError
            If there is no ``y``, or it does not fit the task or the classes.

        Examples
        --------
        >>> import numpy as np
        >>> rows = Rows(np.zeros((3, 2)), np.asarray(["b", "a", "b"]), "rows.npz")
        >>> rows.targets("classification")
        (array([1, 0, 1]), ('a', 'b'))
        """
        if self.y is None:
            raise DataError(
                f"{self.name}: has inputs, but no targets",
                "add one target y per row (in Python, a pair of arrays (x, y))",
            )
        if task == "regression":
            return regression_targets(self.y, self.name), None
        return encode_labels(class_labels(self.y, self.name), classes, where=self.location)


class RowFile(NamedTuple):
    """A file of rows.

    Attributes
    ----------
    path : str
    splits : dict of str to Rows
        At least one of ``"train"``, ``"validation"`` and ``"test"``; rows that the file does
        not assign to a split are ``"train"``.
    features : tuple of str or None
        The names of the input columns, if the file has names.
    image_shape : tuple of int or None
        The height and width of the images, if each row is stored as an image.
    """

    path: str
    splits: dict[str, Rows]
    features: tuple[str, ...] | None = None
    image_shape: tuple[int, int] | None = None

    def pick(self, split: str) -> Rows:
        """Return the rows of a split, or all rows if the file has a single split.

        Raises
        ------
        DataError
            If the file has several splits, but not this one.
        """
        if len(self.splits) == 1:
            return next(iter(self.splits.values()))
        if split not in self.splits:
            raise DataError(
                f"{self.path}: has no {split} split, only: {', '.join(self.splits)}",
                "choose another split",
            )
        return self.splits[split]
