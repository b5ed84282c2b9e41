"""Streaming: a data set larger than memory, moved to a device one chunk at a time.

A chunk is a run of an epoch's rows that fits in memory: as many complete batches as there is room
for. Its rows are read from the file in ascending order, converted, scaled and moved to the device
together, and then trained on like a set in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from backprop_xp.backend import arrays, random
from backprop_xp.backend.arrays import Array
from backprop_xp.backend.devices import Placement
from backprop_xp.data.device_data import (
    DeviceData,
    check_columns,
    check_lengths,
    check_width,
    to_device,
)
from backprop_xp.data.memory_map import MemoryMap, as_memory_map, check_complete

CHUNK_BYTES = 1 << 25
"""The size of a chunk of inputs, in the data type of the training: 32 MB."""

BLOCKS = 128
"""The number of blocks of neighboring rows that a shuffled chunk is gathered from."""


class StreamedData(NamedTuple):
    """A data set that stays in its file.

    Attributes
    ----------
    x : MemoryMap, shape (n, n_inputs)
    y : host array
        The targets as they were given.
    to_device : callable ``((inputs, targets)) -> DeviceData``
        Moves rows that were checked before.
    labeled : bool
        Whether the targets are class indices.
    dtype : str
        The data type in which rows are read.
    chunk_bytes : int
        The size of a chunk of inputs.
    """

    x: MemoryMap
    y: Array
    to_device: Callable[[tuple[Any, Any]], DeviceData]
    labeled: bool
    dtype: str
    chunk_bytes: int = CHUNK_BYTES

    @property
    def n(self) -> int:
        """The number of rows."""
        return self.x.shape[0]

    def read(self, rows: Array | slice) -> DeviceData:
        """Read rows and move them to the device; fastest if they are in ascending order."""
        check_complete(self.y)
        return self.to_device((self.x.read(rows, self.dtype), np.array(self.y[rows])))

    def chunks(self) -> Iterator[DeviceData]:
        """Yield all rows in the order of the file, one chunk at a time."""
        for rows in _slices(self.n, _rows_in_chunk(self.x, self.dtype, self.chunk_bytes)):
            yield self.read(rows)

    def epoch_chunks(
        self, order: Sequence[int] | None, batch_size: int, seed: int, epoch: int
    ) -> Iterator[tuple[Array, Array]]:
        """Yield the chunks of an epoch: the rows of each, ascending, and their order within it.

        Parameters
        ----------
        order : sequence of int or None
            The order of the rows in the epoch; None shuffles them as `shuffled_chunks` does.
        batch_size : int
            Every chunk except the last consists of complete batches.
        seed, epoch : int
        """
        size = _rows_in_chunk(self.x, self.dtype, self.chunk_bytes)
        size = max(1, size // batch_size) * batch_size
        if order is None:
            chunks = shuffled_chunks(seed, epoch, self.n, size)
        else:
            rows = np.asarray(order)
            chunks = (rows[chunk] for chunk in _slices(rows.shape[0], size))
        for chunk in chunks:
            ascending = np.argsort(chunk)
            yield chunk[ascending], np.argsort(ascending)


def load_data(
    data: tuple[Any, Any],
    n_inputs: int,
    n_outputs: int,
    placement: Placement,
    *,
    check_targets: Callable[..., None] | None = None,
    what: str = "the data",
    chunk_bytes: int | None = None,
) -> DeviceData | StreamedData:
    """Check a data set, and move it to the device, or leave it in its file if it is large.

    A memory-mapped array (or `MemoryMap`) of more than one chunk is streamed. Data that is in
    memory already, or smaller, is moved to the device at once.

    Parameters
    ----------
    data, n_inputs, n_outputs, placement, what
        As for `backprop_xp.data.device_data.to_device`.
    check_targets : callable ``(y, xp=..., what=..., first=...)``, optional
        Raises an error for targets that the loss cannot use.
    chunk_bytes : int, optional
        The size of a chunk; by default `CHUNK_BYTES`.

    Raises
    ------
    DataError
        For data that does not fit the network or the loss, or contains NaN or infinity.
    """
    x = as_memory_map(data[0])
    check_complete(data[1])
    precision = placement.precision
    chunk_bytes = CHUNK_BYTES if chunk_bytes is None else chunk_bytes

    move = functools.partial(
        to_device, n_inputs=n_inputs, n_outputs=n_outputs, placement=placement, what=what
    )

    def move_unchecked(rows: tuple[Any, Any], first: int = 0) -> DeviceData:
        moved = move(rows, first=first)
        if check_targets is not None:
            check_targets(moved.y, xp=placement.xp, what=what, first=first)
        return moved

    streamed = isinstance(x, MemoryMap) and x.ndim == 2
    if not streamed or x.shape[0] <= (size := _rows_in_chunk(x, precision, chunk_bytes)):
        # PyTorch warns of arrays that cannot be written to, such as memory maps.
        y = np.array(data[1]) if isinstance(data[1], np.memmap) else data[1]
        return move_unchecked((x, y))
    check_width(x, n_inputs, what)
    y = arrays.to_numpy(data[1]) if arrays.is_array(data[1]) else np.asarray(data[1])
    if y.ndim != 1 or y.dtype.kind not in "iu":
        check_columns(y, n_outputs, what)
    check_lengths(x, y, what)
    labeled = False
    for rows in _slices(x.shape[0], size):
        check_complete(y)
        read = x.read(rows, precision), np.array(y[rows])
        labeled = move_unchecked(read, rows.start).labeled
    checked = functools.partial(move, checked=True)
    return StreamedData(x, y, checked, labeled, precision, chunk_bytes)


def read_chunks(inputs: Any, dtype: str) -> Iterator[tuple[int, Any]]:
    """Yield inputs in chunks, each with the number of its first row.

    Inputs in memory are a single chunk; a file is read one chunk at a time.

    Examples
    --------
    >>> list(read_chunks([[1.0], [2.0]], "float32"))
    [(0, [[1.0], [2.0]])]
    """
    x = as_memory_map(inputs)
    if not isinstance(x, MemoryMap) or x.ndim != 2:
        yield 0, inputs
        return
    for rows in _slices(x.shape[0], _rows_in_chunk(x, dtype, CHUNK_BYTES)):
        yield rows.start, x.read(rows, dtype)


def sample_rows(data: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return a data set, or as many evenly spaced rows of a streamed one as fit in a chunk.

    Examples
    --------
    >>> sample_rows(([[1.0]], [0]))
    ([[1.0]], [0])
    """
    x = as_memory_map(data[0])
    in_file = isinstance(x, MemoryMap)
    if not in_file or x.shape[0] <= (room := _rows_in_chunk(x, "float64", CHUNK_BYTES)):
        return x, data[1]
    rows = np.linspace(0, x.shape[0] - 1, room).astype(np.int64)
    return x.pick(rows), data[1][rows]


def shuffled_chunks(seed: int, epoch: int, n: int, size: int) -> Iterator[Array]:
    """Yield the rows of an epoch, shuffled in blocks, ``size`` of them at a time.

    The rows are cut into blocks of ``size / BLOCKS`` neighbors. The blocks come in a random
    order, and so do the rows of the blocks that make up a chunk. Every row therefore comes once,
    rows that are far apart in the file meet in a batch as often as any others, and the order
    follows from the seed and the epoch alone. Rows of one block stay within one or two chunks, so
    shuffle a sorted file once beforehand.

    Examples
    --------
    >>> chunks = list(shuffled_chunks(seed=0, epoch=1, n=10, size=4))
    >>> [chunk.size for chunk in chunks], sorted(np.concatenate(chunks).tolist())
    ([4, 4, 2], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    rng = random.generator(seed, random.SHUFFLE, epoch)
    block = max(1, size // BLOCKS)
    n_rows, blocks = 0, []
    for start in (rng.permutation(-(-n // block)) * block).tolist():
        blocks.append(np.arange(start, min(start + block, n)))
        n_rows += blocks[-1].size
        if n_rows >= size:
            gathered = np.concatenate(blocks)
            yield rng.permutation(gathered[:size])
            n_rows, blocks = n_rows - size, [gathered[size:]]
    if n_rows:
        yield rng.permutation(np.concatenate(blocks))


def _rows_in_chunk(x: MemoryMap, dtype: str, chunk_bytes: int) -> int:
    return max(1, chunk_bytes // max(1, x.shape[1] * np.dtype(dtype).itemsize))


def _slices(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
