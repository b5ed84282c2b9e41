"""Streaming: a data set larger than memory, brought to a device window by window.

A window is a run of an epoch's rows that fits in memory: as many whole batches as there is room
for. Its rows are read from the file in rising order, cast, scaled and placed at once, and trained
on as a set in memory is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from backprop_xp.backend import arrays, random
from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.data.device_data import (
    Placed,
    check_columns,
    check_lengths,
    check_targets,
    check_width,
    place,
)
from backprop_xp.data.memory_map import Mapped, mapped
from backprop_xp.nn.losses import Loss

WINDOW = 1 << 25
"""Bytes of a window's inputs, in the data type of the training: 32 MB."""

BLOCKS = 128
"""Blocks of neighbouring rows that a shuffled window is gathered from."""


class Streamed(NamedTuple):
    """A data set that stays in its file.

    Attributes
    ----------
    x : Mapped, shape (n, n_inputs)
    y : host array
        Targets as they were given.
    bring : callable ``((inputs, targets)) -> Placed``
        Places rows that were checked before.
    labelled : bool
        Whether the targets are class indices.
    dtype : str
        The data type in which rows are read.
    """

    x: Mapped
    y: Array
    bring: Callable[[tuple[Any, Any]], Placed]
    labelled: bool
    dtype: str

    @property
    def n(self) -> int:
        """The number of rows."""
        return self.x.shape[0]

    def read(self, rows: Array | slice) -> Placed:
        """Bring rows to the device: quickest if they are in rising order."""
        return self.bring((self.x.read(rows, self.dtype), np.array(self.y[rows])))

    def parts(self) -> Iterator[Placed]:
        """Yield all rows in the order of the file, a window at a time."""
        for rows in _in_turn(self.n, _rows_of_window(self.x, self.dtype)):
            yield self.read(rows)

    def windows(
        self, order: Sequence[int] | None, batch_size: int, seed: int, epoch: int
    ) -> Iterator[tuple[Array, Array]]:
        """Yield the windows of an epoch: the rows of each, rising, and their order within it.

        Parameters
        ----------
        order : sequence of int or None
            That of the whole epoch; None shuffles, as `shuffled` does.
        batch_size : int
            Every window but the last is of whole batches.
        seed, epoch : int
        """
        size = max(1, _rows_of_window(self.x, self.dtype) // batch_size) * batch_size
        if order is None:
            windows = shuffled(seed, epoch, self.n, size)
        else:
            rows = np.asarray(order)
            windows = (rows[part] for part in _in_turn(rows.shape[0], size))
        for window in windows:
            rising = np.argsort(window)
            yield window[rising], np.argsort(rising)


def hold(
    data: tuple[Any, Any],
    n_inputs: int,
    n_outputs: int,
    loss: Loss,
    *,
    xp: Namespace,
    dtype: Any,
    device: Any = None,
    what: str = "the data",
) -> Placed | Streamed:
    """Check a data set, and place it, or leave it in its file where it is a large one.

    A memory-mapped array (or `Mapped`) of more than one window is streamed; what is in memory
    already, and what is smaller, is placed whole. The parameters are those of `placing.place`.

    Raises
    ------
    DataError
        For data that does not fit the network or the loss, or holds NaN or infinity.
    """
    x = mapped(data[0])
    precision = "float64" if dtype == xp.float64 else "float32"
    told = {"xp": xp, "dtype": dtype, "device": device, "what": what}

    def bring(rows: tuple[Any, Any], first: int = 0, checked: bool = True) -> Placed:
        return place(rows, n_inputs, n_outputs, first=first, checked=checked, **told)

    if not isinstance(x, Mapped) or x.ndim != 2 or x.shape[0] <= _rows_of_window(x, precision):
        # PyTorch warns of arrays that cannot be written to, as mapped ones are.
        y = np.array(data[1]) if isinstance(data[1], np.memmap) else data[1]
        placed = bring((x, y), checked=False)
        check_targets(placed.y, loss, xp=xp, what=what)
        return placed
    check_width(x, n_inputs, what)
    y = arrays.to_numpy(data[1]) if arrays.is_array(data[1]) else np.asarray(data[1])
    if y.ndim != 1 or y.dtype.kind not in "iu":
        check_columns(y, n_outputs, what)
    check_lengths(x, y, what)
    labelled = False
    for rows in _in_turn(x.shape[0], _rows_of_window(x, precision)):
        read = x.read(rows, precision), np.array(y[rows])
        placed = bring(read, rows.start, checked=False)
        check_targets(placed.y, loss, xp=xp, what=what, first=rows.start)
        labelled = placed.labelled
    return Streamed(x, y, bring, labelled, precision)


def in_windows(inputs: Any, dtype: str) -> Iterator[tuple[int, Any]]:
    """Yield inputs in parts, each with the number of its first row: those in memory as they are,
    a file's a window at a time.

    Examples
    --------
    >>> list(in_windows([[1.0], [2.0]], "float32"))
    [(0, [[1.0], [2.0]])]
    """
    x = mapped(inputs)
    if not isinstance(x, Mapped) or x.ndim != 2:
        yield 0, inputs
        return
    for rows in _in_turn(x.shape[0], _rows_of_window(x, dtype)):
        yield rows.start, x.read(rows, dtype)


def some(data: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return a data set, of a streamed one as many rows, evenly spaced, as fit in a window.

    Examples
    --------
    >>> some(([[1.0]], [0]))
    ([[1.0]], [0])
    """
    x = mapped(data[0])
    if not isinstance(x, Mapped) or x.shape[0] <= (room := _rows_of_window(x, "float64")):
        return x, data[1]
    rows = np.linspace(0, x.shape[0] - 1, room).astype(np.int64)
    return x.pick(rows), data[1][rows]


def shuffled(seed: int, epoch: int, n: int, size: int) -> Iterator[Array]:
    """Yield the rows of an epoch, shuffled in blocks, ``size`` of them at a time.

    The rows are cut into blocks of ``size / BLOCKS`` neighbours. The blocks come in a random
    order, and the rows of those that make up a window in a random order. So every row comes
    once, rows that are far apart in the file meet in a batch as often as any, and all follows
    from the seed and the epoch; but rows of one block stay within a window or two, so a file
    that is sorted is to be shuffled once before.

    Examples
    --------
    >>> windows = list(shuffled(seed=0, epoch=1, n=10, size=4))
    >>> [window.size for window in windows], sorted(np.concatenate(windows).tolist())
    ([4, 4, 2], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    rng = random.generator(seed, random.SHUFFLE, epoch)
    block = max(1, size // BLOCKS)
    rows, parts = 0, []
    for start in (rng.permutation(-(-n // block)) * block).tolist():
        parts.append(np.arange(start, min(start + block, n)))
        rows += parts[-1].size
        if rows >= size:
            whole = np.concatenate(parts)
            yield rng.permutation(whole[:size])
            rows, parts = rows - size, [whole[size:]]
    if rows:
        yield rng.permutation(np.concatenate(parts))


def _rows_of_window(x: Mapped, dtype: str) -> int:
    return max(1, WINDOW // max(1, x.shape[1] * np.dtype(dtype).itemsize))


def _in_turn(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
