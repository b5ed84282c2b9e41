"""The reader of IDX files, the format of MNIST: a header with the shape, then unsigned bytes."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.data import memory_map
from backprop_xp.data.readers.binary import check_expanded, is_gzip, open_file
from backprop_xp.errors import DataError
from backprop_xp.files import unreadable_file

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
_DOWNLOAD_AGAIN = "the file is damaged or incomplete: download it again"


def read_idx(path: os.PathLike[str] | str) -> Array:
    """Read an IDX file of unsigned bytes.

    Parameters
    ----------
    path : path
        The file may be compressed by gzip, which its first bytes show, whatever its name.

    Returns
    -------
    numpy.ndarray of uint8
        An array of the shape in the header; a `numpy.memmap` if the file is not compressed
        and too large to be loaded.

    Raises
    ------
    DataError
        If the file cannot be read, is not an IDX file of unsigned bytes, is cut off, or does
        not hold the number of bytes that its header promises; or if these are far too many for
        a compressed file of its size.

    Notes
    -----
    The header is not trusted: the memory used grows with the bytes in the file, and at most
    one byte more than promised is decompressed, within the bounds of
    `backprop_xp.data.readers.binary.check_expanded`.

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
        with open_file(path) as file:
            if not is_gzip(file):
                return _parse(path, file)
            with gzip.GzipFile(fileobj=file) as decompressed:
                return _parse(path, cast(BinaryIO, decompressed))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the gzip data is damaged: {error}", _DOWNLOAD_AGAIN) from error
    except OSError as error:
        raise unreadable_file(path, error) from error


def _parse(path: Path, file: BinaryIO) -> Array:
    shape = _read_shape(path, file)
    promised = math.prod(shape)  # an integer of Python, which cannot overflow
    sizes = " x ".join(map(str, shape))
    claim = f"{path}: the header promises {promised} bytes ({sizes})"
    size = os.fstat(file.fileno()).st_size
    if isinstance(file, gzip.GzipFile):
        check_expanded(claim, promised, size)
    elif promised > memory_map.MAX_LOADED:
        start = file.tell()
        if size == start + promised:
            return np.memmap(file, dtype=np.uint8, mode="r", offset=start, shape=shape)
        # A file of a wrong size is reported below.
    # Read one byte more than promised: this shows trailing bytes, and makes gzip compare its
    # checksum.
    content = bytearray()
    while chunk := file.read(min(_CHUNK, promised + 1 - len(content))):
        content += chunk
    if len(content) < promised:
        raise DataError(f"{claim}, but the file holds {len(content)} after it", _DOWNLOAD_AGAIN)
    if len(content) > promised:
        raise DataError(
            f"{path}: more bytes follow the {promised} ({sizes}) that the header promises",
            _DOWNLOAD_AGAIN,
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _read_shape(path: Path, file: BinaryIO) -> tuple[int, ...]:
    """Return the shape in the header; every size is at least 1."""
    magic = file.read(4)
    if len(magic) < 4:
        raise _truncated_header(path, 4, len(magic))
    zeros, type_code, n_dimensions = struct.unpack(">HBB", magic)
    if zeros != 0 or not 1 <= n_dimensions <= _MAX_DIMENSIONS:
        raise DataError(
            f"{path}: not an IDX file: it begins with 0x{magic.hex()}",
            "an IDX file begins with 0x00000801 (labels) or 0x00000803 (images)",
        )
    if type_code != _UNSIGNED_BYTE:
        type_name = _OTHER_TYPES.get(type_code, "an unknown type")
        raise DataError(
            f"{path}: the header has the type code 0x{type_code:02x} ({type_name})",
            "only unsigned bytes (0x08) can be read; save other numbers as .npz",
        )
    sizes = file.read(4 * n_dimensions)
    if len(sizes) < 4 * n_dimensions:
        raise _truncated_header(path, 4 + 4 * n_dimensions, 4 + len(sizes))
    shape: tuple[int, ...] = struct.unpack(f">{n_dimensions}I", sizes)
    if 0 in shape:
        raise DataError(
            f"{path}: the header gives size 0 for dimension {shape.index(0)}", _DOWNLOAD_AGAIN
        )
    return shape


def _truncated_header(path: Path, needed: int, size: int) -> DataError:
    return DataError(
        f"{path}: the header is cut off: it needs {needed} bytes, but the file holds {size}",
        _DOWNLOAD_AGAIN,
    )
