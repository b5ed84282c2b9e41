"""The readers of .npz archives and folders of .npy files: inputs `x` and targets `y` of one or
more splits."""

from __future__ import annotations

import io
import math
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Literal, NamedTuple

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.data import memory_map
from backprop_xp.data.readers.binary import check_expanded, open_file
from backprop_xp.data.readers.row_files import RowFile, Rows
from backprop_xp.data.scaling import check_finite
from backprop_xp.errors import DataError
from backprop_xp.files import unreadable_file
from backprop_xp.formatting import abridged, listed

# The suffixes of the array names of each split.
_SUFFIXES = {
    "train": ("", "_train"),
    "validation": ("_validation", "_val"),
    "test": ("_test",),
}
_AS_STORED = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))
_SAVE_AGAIN = "save it again: np.savez_compressed(path, x=x, y=y)"
_ARRAY, _ZIP = b"\x93NUMPY", b"PK"
_LONGEST_HEADER = 10_000  # of NumPy, which evaluates the header
_PIECE = 1 << 20
_LAST_CHARACTER = 0x10FFFF


def read_npz(path: os.PathLike[str] | str) -> RowFile:
    """Read an .npz archive of inputs and targets. Pickled objects are never loaded.

    Parameters
    ----------
    path : path
        An archive with ``x`` and ``y``, or with ``x_train`` and ``y_train``, and optionally
        ``x_validation``, ``y_validation``, ``x_test`` and ``y_test``, in lower or upper case.
        Each ``x`` has the shape (n, n_inputs), or more dimensions, which are flattened.

    Returns
    -------
    RowFile
        Inputs of type uint8, float32 or float64 are read as stored, others as float64.

    Raises
    ------
    DataError
        If the file cannot be read or is not an archive, an array is missing, damaged, empty,
        or of the wrong type or shape, ``x`` contains NaN or infinity, or the lengths differ.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".npz") as file:
    ...     np.savez(file, X_train=np.zeros((5, 2, 3)), y_train=np.zeros(5))
    ...     file.flush()
    ...     archive = read_npz(file.name)
    >>> archive.splits["train"].inputs.shape, archive.image_shape
    ((5, 6), (2, 3))
    """
    path = Path(path)
    try:
        with open_file(path) as file, _open_archive(path, file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            return _read(path, names, lambda name: _load_member(path, archive, name))
    except OSError as error:
        raise unreadable_file(path, error) from error


def is_npy_folder(path: os.PathLike[str] | str) -> bool:
    """Return whether a path is a folder with inputs such as ``x.npy`` or ``x_train.npy``."""
    path = Path(path)
    return os.path.isdir(path) and any(
        _find(path, [file.stem for file in path.glob("*.npy")], "x", split) for split in _SUFFIXES
    )


def read_npy_folder(path: os.PathLike[str] | str) -> RowFile:
    """Read a folder of .npy files with the names and shapes of the arrays in an .npz archive.

    Inputs of more than `backprop_xp.data.memory_map.MAX_LOADED` entries are not loaded: they are
    returned as `MemoryMap`.

    Raises
    ------
    DataError
        As for `read_npz`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder, "x.npy"), np.zeros((5, 3)))
    ...     np.save(Path(folder, "y.npy"), np.zeros(5))
    ...     rows = read_npy_folder(folder)
    >>> rows.splits["train"].inputs.shape
    (5, 3)
    """
    path = Path(path)
    files = {file.stem: file for file in sorted(path.glob("*.npy"))}
    return _read(path, list(files), lambda name: _load_file(files[name], name))


def read_arrays(name: str, found: dict[str, Array]) -> RowFile:
    """Return arrays in memory as a file of rows, with the names and checks of `read_npz`.

    Raises
    ------
    DataError
        As for `read_npz`.

    Examples
    --------
    >>> rows = read_arrays("the arrays", {"x": np.zeros((5, 3)), "y": np.zeros(5)})
    >>> rows.splits["train"].inputs.shape
    (5, 3)
    """
    return _read(Path(name), list(found), found.__getitem__)


class _Header(NamedTuple):
    """What the header of a .npy file says about its array."""

    dtype: np.dtype
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    start: int  # of the numbers, in bytes

    @property
    def size(self) -> int:
        """The number of bytes that follow the header."""
        return math.prod(self.shape) * self.dtype.itemsize


def _read_header(file: IO[bytes], held: int) -> _Header:
    """Return the header of a .npy file of ``held`` bytes, and compare what it promises with them.

    Raises
    ------
    ValueError
        If this is not a header of numbers or text, or if fewer or more bytes follow than it says.
    """
    content = io.BytesIO(file.read(12 + _LONGEST_HEADER))
    if content.getvalue().startswith(_ZIP):
        raise ValueError("it is an .npz archive: rename it, or save one array")
    if not content.getvalue().startswith(_ARRAY):
        raise ValueError("it does not begin like one")
    try:
        version = np.lib.format.read_magic(content)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]  # 3.0 is only for names of columns
        shape, fortran_order, dtype = read(content, max_header_size=_LONGEST_HEADER)
    except Exception as error:
        # NumPy evaluates the header as an expression of Python, which can fail in many ways.
        raise ValueError("its header is damaged") from error
    if dtype.hasobject:
        raise _PickledError
    if not dtype.itemsize or dtype.kind == "V":
        raise ValueError(f"its values have the type {abridged(str(dtype))}")
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"its header gives the shape {abridged(shape)}")
    header = _Header(dtype, shape, "F" if fortran_order else "C", content.tell())
    if math.prod(max(1, size) for size in shape) * dtype.itemsize > sys.maxsize:
        raise ValueError(f"its header gives the shape {abridged(shape)}")
    follow = held - header.start
    if follow != header.size:
        raise ValueError(f"its header promises {header.size:,} bytes, and {follow:,} follow it")
    return header


class _PickledError(ValueError):
    """An array holds Python objects."""

    def __str__(self) -> str:
        return "it holds Python objects, which are never loaded"


def _as_described(content: Array, header: _Header) -> Array:
    """Return bytes as the array that the header describes."""
    if header.dtype.kind == "U":
        points = content.view(f"{header.dtype.byteorder}u4")
        if points.max(initial=0) > _LAST_CHARACTER:
            raise ValueError("it has numbers that are not characters of text")
    return content.view(header.dtype).reshape(header.shape, order=header.order)


def _load_file(path: Path, name: str) -> Array:
    """Load the array of a .npy file; inputs that are too large to be loaded are memory-mapped."""
    try:
        with open_file(path) as file:
            header = _read_header(file, os.fstat(file.fileno()).st_size)
            if math.prod(header.shape) > memory_map.MAX_LOADED and name.lower().startswith("x"):
                return np.memmap(file, header.dtype, "r", header.start, header.shape, header.order)
            file.seek(header.start)
            content = np.fromfile(file, np.uint8, header.size)
        if content.size < header.size:
            raise ValueError("it was cut off while it was read")
        return _as_described(content, header)
    except DataError:
        raise
    except OSError as error:
        raise unreadable_file(path, error) from error
    except ValueError as error:
        raise DataError(
            f"{path}: is not a complete .npy file of numbers or text: {error}",
            "save it again: np.save(path, x)",
        ) from error


def _read(path: Path, names: list[str], load: Callable[[str], Array]) -> RowFile:
    splits = {
        split: rows
        for split in _SUFFIXES
        if (rows := _read_split(path, names, load, split)) is not None
    }
    if not splits:
        raise DataError(
            f"{path}: it has neither x nor x_train, only: {listed(names, 10) or 'nothing'}",
            _SAVE_AGAIN,
        )
    shapes = {split: rows.inputs.shape[1:] for split, rows in splits.items()}
    shape = next(iter(shapes.values()))
    if any(other != shape for other in shapes.values()):
        raise DataError(
            f"{path}: rows of different shapes: "
            + ", ".join(f"{split} {other}" for split, other in shapes.items()),
            "all splits need the same input columns",
        )
    return RowFile(
        str(path),
        {
            split: rows._replace(inputs=memory_map.as_memory_map(_flat(rows.inputs)))
            for split, rows in splits.items()
        },
        image_shape=shape if len(shape) == 2 else None,
    )


def _open_archive(path: Path, file: IO[bytes]) -> zipfile.ZipFile:
    if file.read(len(_ARRAY)) == _ARRAY:
        raise DataError(f"{path}: holds a single array without a name", _SAVE_AGAIN)
    try:
        return zipfile.ZipFile(file)
    except Exception as error:  # damage shows in many ways
        raise DataError(f"{path}: is not an .npz archive", _SAVE_AGAIN) from error


def _read_split(
    path: Path, names: list[str], load: Callable[[str], Array], split: str
) -> Rows | None:
    """Return the rows of a split, with inputs that are not yet flattened; None if it is missing."""
    x_name, y_name = (_find(path, names, letter, split) for letter in "xy")
    if x_name is None:
        return None
    x = _check_inputs(f"{path}: {x_name!r}", load(x_name))
    if y_name is None:
        return Rows(x, None, str(path))
    y = load(y_name)
    if y.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # NumPy warns of some kinds of NaN
            y = y.astype(np.float64, copy=False)  # the names of classes need a float of Python
    if y.shape[:1] != x.shape[:1]:
        raise DataError(
            f"{path}: {x_name!r} has {x.shape[0]} rows, but {y_name!r} has the shape {y.shape}",
            "give one target per row",
        )
    return Rows(x, y, f"{path}: {y_name!r}")


def _find(path: Path, names: list[str], letter: str, split: str) -> str | None:
    """Return the name of the array of a split, or None if there is none."""
    spellings = {letter + suffix for suffix in _SUFFIXES[split]}
    matches = [name for name in names if name.lower() in spellings]
    if len(matches) > 1:
        raise DataError(f"{path}: {' and '.join(matches[:2])} mean the same", "remove one of them")
    return matches[0] if matches else None


def _load_member(path: Path, archive: zipfile.ZipFile, name: str) -> Array:
    """Load an array of an archive, unless it is far too large for the file."""
    what = f"{path}: {name!r}"
    try:
        member = next(m for m in archive.infolist() if m.filename.removesuffix(".npy") == name)
        with archive.open(member) as file:
            header = _read_header(file, member.file_size)
        size = header.dtype.itemsize
        size = size if header.dtype in _AS_STORED else max(size, 8)  # of float64
        size *= math.prod(header.shape)
        check_expanded(f"{what} takes {size:,} bytes", size, path.stat().st_size)
        with archive.open(member) as file:
            file.read(header.start)
            content = np.empty(header.size, dtype=np.uint8)
            start = 0
            # Reading to the end compares the checksum, too.
            while piece := file.read(_PIECE):
                content[start : start + len(piece)] = np.frombuffer(piece, dtype=np.uint8)
                start += len(piece)
        if start < header.size:
            raise ValueError("it is cut off")
        return _as_described(content, header)
    except DataError:
        raise
    except _PickledError as error:
        raise DataError(
            f"{what} holds Python objects, which are never loaded: loading them can run arbitrary "
            "code",
            "save it as numbers, or as text: y.astype(str)",
        ) from error
    except Exception as error:
        # Damage shows in many ways: as errors of zip, of a compression or of encryption.
        raise DataError(f"{what} cannot be read: {error}", _SAVE_AGAIN) from error


def _check_inputs(what: str, x: Array) -> Array:
    """Return inputs of a supported data type, with their original shape."""
    if x.dtype.kind not in "biuf":
        raise DataError(f"{what} has the type {x.dtype}", "inputs must be numbers")
    if x.ndim < 2 or 0 in x.shape:
        raise DataError(
            f"{what} has the shape {x.shape}, but (n, n_inputs) is expected",
            "for one input column, use x.reshape(-1, 1)",
        )
    if x.dtype not in _AS_STORED and not isinstance(x, np.memmap):
        x = x.astype(np.float64)
    check_finite(memory_map.as_memory_map(_flat(x)), what)
    return x


def _flat(x: Array) -> Array:
    return x.reshape(x.shape[0], -1)
