"""The feed: the rows of a training set in the order of each epoch, all at once or in windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from backprop_xp.backend import arrays, random
from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.data.device_data import (
    Placed,
    class_factors,
    place_weights,
    smooth_labels,
    weights_of_classes,
)
from backprop_xp.data.streaming import Streamed
from backprop_xp.training.execution.replay import Batch, rows_of
from backprop_xp.training.settings import TrainingSettings

Shuffle = Callable[[int, int], Sequence[int]]
"""``(epoch, n) -> order``: the rows of the training set in the order of one epoch."""


class Feed:
    """What an epoch is trained on, in its order.

    Parameters
    ----------
    data : Placed or Streamed
        The training set.
    batch_size : int
    shuffle : bool or callable ``(epoch, n) -> order``
    sample_weight : array, shape (n,), or None
    options : TrainingSettings
        Say how classes are weighed, and labels smoothed.
    xp, dtype, device
        Where the data is, or is brought to.

    Raises
    ------
    DataError
        If the weights do not fit the data.
    """

    def __init__(
        self,
        data: Placed | Streamed,
        batch_size: int,
        shuffle: bool | Shuffle,
        sample_weight: Any,
        options: TrainingSettings,
        *,
        xp: Namespace,
        dtype: Any,
        device: Any,
    ) -> None:
        self.data = data
        self.batch_size = batch_size
        self.order = shuffle if callable(shuffle) else None
        self.shuffled = bool(shuffle)
        self.smoothing = options.label_smoothing
        self.xp, self.device = xp, device
        self.weights: Array | None = None
        if sample_weight is not None:
            self.weights = place_weights(sample_weight, data.n, xp=xp, dtype=dtype, device=device)
        self.factors: list[float] | None = None
        if options.class_weight is not None:
            self.factors = class_factors(data, options.class_weight, xp=xp)
        self.whole = self._batch(data, self.weights) if isinstance(data, Placed) else None

    def windows(self, seed: int, epoch: int) -> Iterator[tuple[Batch, Array]]:
        """Yield what is trained on in one epoch, each with the order of its rows: a set in
        memory all at once, one that stays in its file a window at a time."""
        if self.whole is not None:
            yield self.whole, self._order(seed, epoch)
            return
        assert isinstance(self.data, Streamed)
        order: Sequence[int] | None = None if self.shuffled else range(self.data.n)
        if self.order is not None:
            order = self.order(epoch, self.data.n)
        for rows, within in self.data.windows(order, self.batch_size, seed, epoch):
            yield self._rows(rows), self._index(within)

    def sample(self, seed: int, size: int) -> Batch:
        """Return rows drawn from the seed: always the same ones, or all if there are no more."""
        n = self.data.n
        if n <= size and self.whole is not None:
            return self.whole
        drawn = random.generator(seed, random.DIAGNOSTICS).permutation(n)[:size]
        drawn.sort()
        return self._rows(drawn)

    def _rows(self, rows: Any) -> Batch:
        """Return the rows of a host array of rising numbers."""
        if self.whole is not None:
            return rows_of(self.whole, self._index(rows), self.xp)
        assert isinstance(self.data, Streamed)
        weights = self.weights
        if weights is not None:
            weights = self.xp.take(weights, self._index(rows), axis=0)
        return self._batch(self.data.read(rows), weights)

    def _batch(self, rows: Placed, weights: Array | None) -> Batch:
        """Return rows as they are trained on: weighed by class, labels smoothed."""
        y = rows.y
        if self.factors is not None:
            per_class = weights_of_classes(y, self.factors, xp=self.xp)
            weights = per_class if weights is None else weights * per_class
        if self.smoothing:
            y = smooth_labels(y, self.smoothing)
        return rows.x, y, weights

    def _order(self, seed: int, epoch: int) -> Array:
        n = self.data.n
        if self.order is not None:
            return self._index(self.order(epoch, n))
        if self.shuffled:
            return self._index(random.permutation(seed, epoch, n))
        return self.xp.arange(n, dtype=arrays.index_dtype(self.xp), device=self.device)

    def _index(self, rows: Any) -> Array:
        return arrays.asarray(
            rows, xp=self.xp, dtype=arrays.index_dtype(self.xp), device=self.device
        )
