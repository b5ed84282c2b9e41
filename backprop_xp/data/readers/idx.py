"""The reader of IDX files, the format of MNIST: a header of sizes, then unsigned bytes."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.data import memory_map
from backprop_xp.errors import DataError
from backprop_xp.files import unreadable_file

_GZIP = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08
_OTHER_TYPES = {
    0x09: "signed bytes",
    0x0B: "16-bit integers",
    0x0C: "32-bit integers",
    0x0D: "32-bit floats",
    0x0E: "64-bit floats",
}
_MAX_DIMENSIONS = 8
_CHUNK = 1 << 20
_FETCH_AGAIN = "the file is damaged or not complete: fetch it again"


def read_idx(path: os.PathLike[str] | str) -> Array:
    """Return what an IDX file of unsigned bytes holds.

    Parameters
    ----------
    path : path
        The file, plain or packed by gzip (told by its first bytes, not by its name).

    Returns
    -------
    numpy.ndarray of uint8
        Of the shape that the header gives; a `numpy.memmap` of a plain file that is too large
        to be loaded.

    Raises
    ------
    DataError
        If the file cannot be read, is no IDX file of unsigned bytes, is cut off, or holds
        another number of bytes than its header promises.

    Notes
    -----
    The header is not trusted: memory grows with the bytes that are there, and no more than
    one byte beyond the promise is ever unpacked.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]))
    ...     file.flush()
    ...     read_idx(file.name)
    array([[1, 2, 3],
           [4, 5, 6]], dtype=uint8)
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            if not packed:
                return _parse(path, file)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _parse(path, cast(BinaryIO, unpacked))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the gzip packing is damaged: {error}", _FETCH_AGAIN) from error
    except OSError as error:
        raise unreadable_file(path, error) from error


def _parse(path: Path, file: BinaryIO) -> Array:
    shape = _read_shape(path, file)
    promised = math.prod(shape)  # Python's integers: no header can make this overflow
    if promised > memory_map.MAX_LOADED and not isinstance(file, gzip.GzipFile):
        start = file.tell()
        if os.fstat(file.fileno()).st_size == start + promised:
            return np.memmap(file, dtype=np.uint8, mode="r", offset=start, shape=shape)
        # What is wrong with it is found below.
    # One byte more than promised is asked for: it shows trailing bytes, and for a packed
    # file it is what makes gzip compare its checksum.
    content = bytearray()
    while chunk := file.read(min(_CHUNK, promised + 1 - len(content))):
        content += chunk
    sizes = " x ".join(map(str, shape))
    if len(content) < promised:
        raise DataError(
            f"{path}: the header promises {promised} bytes ({sizes}), the file holds "
            f"{len(content)} after it",
            _FETCH_AGAIN,
        )
    if len(content) > promised:
        raise DataError(
            f"{path}: bytes follow after the {promised} ({sizes}) that the header promises",
            _FETCH_AGAIN,
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _read_shape(path: Path, file: BinaryIO) -> tuple[int, ...]:
    """Return the sizes that the header gives, every one of them at least 1."""
    magic = file.read(4)
    if len(magic) < 4:
        _refuse_header(path, 4, len(magic))
    zeros, type_code, n_dimensions = struct.unpack(">HBB", magic)
    if zeros != 0 or not 1 <= n_dimensions <= _MAX_DIMENSIONS:
        raise DataError(
            f"{path}: no IDX file: it begins with 0x{magic.hex()}",
            "an IDX file begins with 0x00000801 (labels) or 0x00000803 (images)",
        )
    if type_code != _UNSIGNED_BYTE:
        held = _OTHER_TYPES.get(type_code, "an unknown type")
        raise DataError(
            f"{path}: type code 0x{type_code:02x} ({held}) at byte 2 of the header",
            "only unsigned bytes (0x08) are read; save other numbers as .npz",
        )
    sizes = file.read(4 * n_dimensions)
    if len(sizes) < 4 * n_dimensions:
        _refuse_header(path, 4 + 4 * n_dimensions, 4 + len(sizes))
    shape: tuple[int, ...] = struct.unpack(f">{n_dimensions}I", sizes)
    if 0 in shape:
        raise DataError(
            f"{path}: the header gives size 0 for dimension {shape.index(0)}: nothing is in it",
            _FETCH_AGAIN,
        )
    return shape


def _refuse_header(path: Path, needed: int, held: int) -> NoReturn:
    raise DataError(
        f"{path}: the header is cut off: it needs {needed} bytes, the file holds {held}",
        _FETCH_AGAIN,
    )
