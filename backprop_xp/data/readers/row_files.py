"""What a .csv or an .npz file holds: rows in one or more parts, as they were read."""

from __future__ import annotations

from typing import NamedTuple

from backprop_xp.backend.arrays import Array
from backprop_xp.data.labels import class_labels, encode_labels, regression_targets
from backprop_xp.errors import DataError


class Rows(NamedTuple):
    """The rows of one part.

    Attributes
    ----------
    inputs : array, shape (n, n_inputs)
        uint8 or floating point, finite.
    y : array, shape (n, ...) or None
        Labels or numbers as the file has them.
    name : str
        What the rows are called in an error message: the file, and where there are several
        the array.
    lines : list of int or None
        The line of the file on which each row stands, for a file of text.
    """

    inputs: Array
    y: Array | None
    name: str
    lines: list[int] | None = None

    def place(self, row: int) -> str:
        """Return where a row stands, as an error message is to say it."""
        if self.lines is not None:
            return f"{self.name}, line {self.lines[row]}"
        return f"{self.name}, row {row} (counting from 0)"

    def targets(
        self, task: str, classes: tuple[str, ...] | None = None
    ) -> tuple[Array, tuple[str, ...] | None]:
        """Return ``y`` as targets, with the classes of a classification.

        Parameters
        ----------
        task : {"classification", "regression"}
            What ``y`` means.
        classes : tuple of str, optional
            The classes of a trained network; by default those that occur.

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
            raise DataError(f"{self.name}: has inputs, but no targets y", "add y: one per row")
        if task == "regression":
            return regression_targets(self.y, self.name), None
        return encode_labels(class_labels(self.y, self.name), classes, where=self.place)


class RowFile(NamedTuple):
    """A file of rows.

    Attributes
    ----------
    path : str
        The file.
    parts : dict of str to Rows
        At least one of ``"train"``, ``"validation"`` and ``"test"``; rows that the file does
        not assign to a part are ``"train"``.
    features : tuple of str or None
        The names of the input columns, where the file has them.
    image_shape : tuple of int or None
        Height and width, where each row was stored as an image.
    """

    path: str
    parts: dict[str, Rows]
    features: tuple[str, ...] | None = None
    image_shape: tuple[int, int] | None = None

    def pick(self, part: str) -> Rows:
        """Return the rows of a part; those of a file with a single part whatever its name.

        Raises
        ------
        DataError
            If the file has several parts, but not this one.
        """
        if len(self.parts) == 1:
            return next(iter(self.parts.values()))
        if part not in self.parts:
            raise DataError(
                f"{self.path}: has no {part} part, only: {', '.join(self.parts)}",
                "choose another part",
            )
        return self.parts[part]
