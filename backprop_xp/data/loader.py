"""The data loader: the rows of a training set in the order of each epoch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from backprop_xp.backend import arrays, random
from backprop_xp.backend.arrays import Array
from backprop_xp.backend.devices import Placement
from backprop_xp.data.batch import Batch, take_rows
from backprop_xp.data.device_data import DeviceData
from backprop_xp.data.streaming import StreamedData
from backprop_xp.data.targets import (
    check_sample_weight,
    class_weights,
    sample_weights_from_classes,
    smooth_labels,
)
from backprop_xp.errors import ConfigurationError

Shuffle = Callable[[int, int], Sequence[int]]
"""``(epoch, n) -> order``: the rows of the training set in the order of one epoch."""


class DataLoader:
    """Iterates over the training rows in the order of each epoch.

    A set in memory is one chunk; a set that stays in its file is read one chunk at a time.

    Parameters
    ----------
    data : DeviceData or StreamedData
        The training set.
    batch_size : int
        Chunks consist of complete batches.
    placement : Placement
        Where the data is, or is moved to.
    shuffle : bool or callable ``(epoch, n) -> order``
    sample_weight : array, shape (n,), or None
    class_weight : "balanced", mapping or None
    label_smoothing : float

    Raises
    ------
    DataError
        If the weights do not fit the data.
    """

    def __init__(
        self,
        data: DeviceData | StreamedData,
        batch_size: int,
        placement: Placement,
        *,
        shuffle: bool | Shuffle = True,
        sample_weight: Any = None,
        class_weight: str | Mapping[int, float] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        self.data = data
        self.batch_size = batch_size
        self.placement = placement
        self._custom_order = shuffle if callable(shuffle) else None
        self._shuffled = bool(shuffle)
        self._label_smoothing = label_smoothing
        self.sample_weight: Array | None = None
        if sample_weight is not None:
            self.sample_weight = check_sample_weight(sample_weight, data.n, placement)
        self._class_weights: list[float] | None = None
        if class_weight is not None:
            self._class_weights = class_weights(data, class_weight, xp=placement.xp)
        self.in_memory: Batch | None = None
        if isinstance(data, DeviceData):
            self.in_memory = self._batch(data, self.sample_weight)

    def chunks(
        self, seed: int, epoch: int, done: tuple[int, int] = (0, 0)
    ) -> Iterator[tuple[Batch, Array]]:
        """Yield the chunks of one epoch, each with the order of its rows.

        Parameters
        ----------
        seed, epoch : int
        done : (int, int)
            The numbers of chunks to leave out at the beginning, and of their rows.

        Raises
        ------
        ConfigurationError
            If these chunks have another number of rows, or the data is in memory, which is one
            chunk.
        """
        if self.in_memory is not None and done[0]:
            raise ConfigurationError(
                "the state is from within an epoch of data that stays in its file, and this data "
                "is in memory",
                "give the data as a memory-mapped array, or begin with the next epoch: "
                "state._replace(within_epoch=None)",
            )
        if self.in_memory is not None:
            yield self.in_memory, self._order(seed, epoch)
            return
        assert isinstance(self.data, StreamedData)
        order: Sequence[int] | None = None if self._shuffled else range(self.data.n)
        if self._custom_order is not None:
            order = self._custom(epoch)
        chunks = self.data.epoch_chunks(order, self.batch_size, seed, epoch)
        n_rows = sum(rows.shape[0] for rows, _ in itertools.islice(chunks, done[0]))
        if n_rows != done[1]:
            raise ConfigurationError(
                f"the epoch was left after {done[1]:,} rows, but {done[0]} chunks have {n_rows:,}",
                "continue with the version of backprop_xp that it was begun with",
            )
        for rows, within in chunks:
            yield self._rows(rows), self.placement.index_array(within)

    def sample(self, seed: int, size: int) -> Batch:
        """Return rows drawn from the seed: the same ones each time, or all if there are fewer."""
        n = self.data.n
        if n <= size and self.in_memory is not None:
            return self.in_memory
        drawn = random.generator(seed, random.DIAGNOSTICS).permutation(n)[:size]
        drawn.sort()
        return self._rows(drawn)

    def _rows(self, rows: Any) -> Batch:
        """Return the rows whose ascending indices are in a host array."""
        if self.in_memory is not None:
            return take_rows(self.in_memory, self.placement.index_array(rows), self.placement.xp)
        assert isinstance(self.data, StreamedData)
        weights = self.sample_weight
        if weights is not None:
            weights = self.placement.xp.take(weights, self.placement.index_array(rows), axis=0)
        return self._batch(self.data.read(rows), weights)

    def _batch(self, rows: DeviceData, weights: Array | None) -> Batch:
        """Return rows with the weights of their classes, and with smoothed labels."""
        y = rows.y
        if self._class_weights is not None:
            by_class = sample_weights_from_classes(y, self._class_weights, xp=self.placement.xp)
            weights = by_class if weights is None else weights * by_class
        if self._label_smoothing:
            y = smooth_labels(y, self._label_smoothing)
        return rows.x, y, weights

    def _order(self, seed: int, epoch: int) -> Array:
        n = self.data.n
        if self._custom_order is not None:
            return self.placement.index_array(self._custom(epoch))
        if self._shuffled:
            return self.placement.index_array(random.permutation(seed, epoch, n))
        xp = self.placement.xp
        return xp.arange(n, dtype=arrays.index_dtype(xp), device=self.placement.device)

    def _custom(self, epoch: int) -> Any:
        """Return the order that ``shuffle`` gives, checked: some libraries wrap a wrong index."""
        assert self._custom_order is not None
        n = self.data.n
        order: Any = self._custom_order(epoch, n)
        order = arrays.to_numpy(order) if arrays.is_array(order) else np.asarray(order)
        fault = ""
        if order.shape != (n,) or order.dtype.kind not in "iu":
            fault = f"an array of the shape {order.shape} and the type {order.dtype}"
        elif n and not 0 <= int(order.min()) <= int(order.max()) < n:
            fault = f"rows from {order.min()} to {order.max()}"
        if fault:
            raise ConfigurationError(
                f"shuffle returned {fault} for the {n} training rows",
                f"return {n} row numbers from 0 to {n - 1}",
            )
        return order
