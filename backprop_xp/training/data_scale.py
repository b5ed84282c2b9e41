"""The scale of inputs and targets: training starts badly where they are far from 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.backend.host import ignore_overflow
from backprop_xp.nn.losses import Loss

SMALLEST, LARGEST = 0.01, 10.0
"""The bounds of a root mean square that counts as about 1."""

SCALE_INPUTS = (
    "scale them to about 1: subtract the mean and divide by the standard deviation "
    "(--scaling standard), or divide images by their largest value"
)
SCALE_TARGETS = (
    "standardize them: subtract the mean and divide by the standard deviation, as "
    "'backprop-xp train' does by default"
)


class DataScale(NamedTuple):
    """The scale of a data set.

    Attributes
    ----------
    inputs, targets : float
        The largest root mean square of a column.
    input_column, target_column : int
        The column that has it.
    target_mean, target_deviation : float
        The mean and the standard deviation of that target column.
    n_targets : int
        The number of target columns.
    """

    inputs: float
    input_column: int
    targets: float
    target_column: int
    target_mean: float
    target_deviation: float
    n_targets: int

    @classmethod
    def of(cls, x: Array, y: Array) -> DataScale:
        """Return the scale of inputs and targets, both with one row for each sample.

        Examples
        --------
        >>> import numpy as np
        >>> DataScale.of(np.asarray([[3.0, 0.1], [-3.0, 0.1]]), np.asarray([[-400.0], [400.0]]))
        DataScale(inputs=3.0, input_column=0, targets=400.0, target_column=0, \
target_mean=0.0, target_deviation=400.0, n_targets=1)
        """
        xp = arrays.namespace(y)
        with ignore_overflow(xp):
            squares, target_squares = (xp.mean(a * a, axis=0) for a in (x, y))
            means = arrays.to_numpy(xp.mean(y, axis=0)).tolist()
            deviations = arrays.to_numpy(xp.std(y, axis=0)).tolist()
        inputs, input_column = _largest_root(squares)
        targets, column = _largest_root(target_squares)
        return cls(
            *(inputs, input_column, targets, column, means[column], deviations[column], len(means))
        )

    def unscaled_inputs(self, names: Sequence[str] | None = None) -> str:
        """Return evidence that the inputs are far from 1; empty if they are not."""
        if _is_about_1(self.inputs):
            return ""
        column = self.input_column if names is None else names[self.input_column]
        return f"the inputs of column {column} have a root mean square of {self.inputs:.3g}" + (
            ", and all others a smaller one" if self.inputs < SMALLEST else ""
        )

    def unscaled_targets(self, loss: Loss) -> str:
        """Return evidence that the targets of a regression are far from 1; else empty.

        Targets that cannot be standardized for the loss, such as counts, are never too large.
        """
        if loss.scale_power is None or _is_about_1(self.targets):
            return ""
        column = f" of column {self.target_column}" if self.n_targets > 1 else ""
        return (
            f"the targets{column} have a mean of {self.target_mean:.3g} and a standard deviation "
            f"of {self.target_deviation:.3g}"
        )

    def advice(self, loss: Loss) -> str:
        """Return evidence and remedy for inputs and targets far from 1; empty if none are."""
        found = [
            (self.unscaled_inputs(), SCALE_INPUTS),
            (self.unscaled_targets(loss), SCALE_TARGETS),
        ]
        return "; ".join(f"{evidence}; {remedy}" for evidence, remedy in found if evidence)


def _largest_root(squares: Any) -> tuple[float, int]:
    """Return the largest root of the mean squares of columns, and its column."""
    values = arrays.to_numpy(squares).tolist()
    return math.sqrt(max(values)), values.index(max(values))


def _is_about_1(root_mean_square: float) -> bool:
    return root_mean_square == 0.0 or SMALLEST <= root_mean_square <= LARGEST
