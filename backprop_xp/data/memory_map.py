"""Rows that stay in their file and are read when they are needed."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, replace
from typing import Any

from backprop_xp.backend.arrays import Array
from backprop_xp.errors import DataError

MAX_LOADED = 1 << 28
"""The most entries that are loaded (1 GB in float32); larger files are read in place."""


@dataclass(frozen=True)
class MemoryMap:
    """Rows of a memory-mapped file; indexing reads them as they are stored.

    Attributes
    ----------
    file : numpy.memmap, shape (n_stored, n_inputs)
    picked : array of int or None
        The rows of the file that belong to the set; None for all of them.
    scaling : `backprop_xp.data.scaling.Scaling` or None
        The scaling that `read` applies.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryFile() as file:
    ...     _ = file.write(bytes([0, 51, 102, 153, 204, 255]))
    ...     rows = MemoryMap(np.memmap(file, dtype=np.uint8, mode="r", shape=(3, 2)))
    >>> last = rows.pick(np.asarray([2, 1]))
    >>> last.shape, last[:1], last.read(slice(1, 2), "float32")
    ((2, 2), array([[204, 255]], dtype=uint8), array([[102., 153.]], dtype=float32))
    """

    file: Array
    picked: Array | None = None
    scaling: Any = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of rows, and of columns."""
        n = self.file.shape[0] if self.picked is None else self.picked.shape[0]
        return (int(n), *self.file.shape[1:])

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return int(self.file.ndim)

    @property
    def dtype(self) -> Any:
        """The data type in the file."""
        return self.file.dtype

    def __getitem__(self, rows: Any) -> Array:
        """Read rows as they are stored: a copy for indices, a view of the file for a slice."""
        import numpy as np

        check_complete(self.file)
        return np.asarray(self.file[rows if self.picked is None else self.picked[rows]])

    def read(self, rows: Array | slice, dtype: str) -> Array:
        """Return scaled rows in a data type, as an array with memory of its own."""
        stored = self[rows]
        if self.scaling is not None:
            scaled: Array = self.scaling.apply(stored, dtype)
            return scaled
        return stored.astype(dtype, copy=isinstance(rows, slice))

    def pick(self, rows: Array | slice) -> MemoryMap:
        """Return some of the rows without reading them."""
        import numpy as np

        picked = np.arange(self.shape[0]) if self.picked is None else self.picked
        return replace(self, picked=picked[rows])


def check_complete(array: Any) -> None:
    """Raise a `DataError` if the file of a memory-mapped array has become too short for it.

    Reading beyond the end of a file kills the process (SIGBUS). Other arrays are not checked.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryFile() as file:
    ...     _ = file.write(bytes(6))
    ...     array = np.memmap(file, dtype=np.uint8, mode="r", shape=(3, 2))
    ...     check_complete(array)
    ...     _ = file.truncate(4)
    ...     try:
    ...         check_complete(array)
    ...     except DataError as error:
    ...         print(error)
    the data was truncated while it was read: it needs 6 bytes, and 4 are left
    """
    mapped = getattr(array, "_mmap", None)  # of `numpy.memmap`, also of its views
    if mapped is None:
        return
    needed = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY + len(mapped)
    left = mapped.size()  # of the file that is mapped, even if its name is another file's by now
    if left < needed:
        name = getattr(array, "filename", None)
        raise DataError(
            f"{name or 'the data'} was truncated while it was read: it needs {needed:,} bytes, "
            f"and {left:,} are left",
            "write the file again, and replace a file rather than change it while it is in use",
        )


def as_memory_map(inputs: Any) -> Any:
    """Return a memory-mapped array as a `MemoryMap`, and anything else unchanged.

    Examples
    --------
    >>> as_memory_map([[1.0]])
    [[1.0]]
    """
    import numpy as np

    return MemoryMap(inputs) if isinstance(inputs, np.memmap) else inputs
