"""Opening of data files: regular files only, and compressed ones only up to a sane size."""

from __future__ import annotations

import gzip
import io
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, cast

from backprop_xp.errors import DataError

EXPANDED_FREELY = 1 << 26
"""The bytes that the content of a compressed file may take in any case: 64 MB."""

MOST_EXPANDED, MOST_EXPANDED_TEXT = 750, 250
"""How many times the size of its file more content may be. ZIP and gzip reach 1000 for zeros, 720
for one-hot rows of 1000 numbers, and 200 for such rows as text."""

_GZIP = b"\x1f\x8b"


def open_file(path: os.PathLike[str] | str) -> BinaryIO:
    """Open a regular file for reading.

    Raises
    ------
    DataError
        If it is a pipe, which can wait forever, or a device such as ``/dev/zero``, which has no
        end.
    OSError
        If it cannot be opened.

    Examples
    --------
    >>> import pytest
    >>> with pytest.raises(DataError, match="is a pipe or a device, not a file"):
    ...     open_file(os.devnull)
    """
    try:
        file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 (the caller closes it)
    except ValueError as error:  # a NUL character
        raise DataError(f"{os.fspath(path)!r} is not a path: {error}", "check the path") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise DataError(
            f"{path}: is a pipe or a device, not a file",
            "save the data as a file first: it may be read more than once",
        )
    return file


def open_expanded(path: os.PathLike[str] | str) -> BinaryIO:
    """Open a file of text for reading, decompressing gzip, which its first bytes show.

    Raises
    ------
    DataError
        As for `open_file`; and from reading, once the content is larger than `check_expanded`
        allows.
    """
    file = open_file(path)
    if not is_gzip(file):
        return file
    return cast(BinaryIO, io.BufferedReader(_Expanded(Path(path), file), 1 << 16))


def is_gzip(file: BinaryIO) -> bool:
    """Return whether a file begins like one of gzip; it is at its start afterwards."""
    compressed = file.read(2) == _GZIP
    file.seek(0)
    return compressed


def check_expanded(claim: str, expanded: int, size: int, most: int | None = None) -> None:
    """Raise a `DataError` for content that is too large for a compressed file of this size.

    Parameters
    ----------
    claim : str
        The file, and how large its content is, for the message.
    expanded : int
        The number of bytes that the content takes.
    size : int
        The number of bytes of the file.
    most : int, optional
        How many times the size of the file is allowed; by default `MOST_EXPANDED`.

    Examples
    --------
    >>> check_expanded("rows.npz: takes 50 MB", 50_000_000, 1000)
    >>> try:
    ...     check_expanded("rows.npz: takes 500 MB", 500_000_000, 1000)
    ... except DataError as error:
    ...     print(error)
    rows.npz: takes 500 MB, too much for a compressed file of 1,000 bytes
    """
    if expanded > EXPANDED_FREELY + (MOST_EXPANDED if most is None else most) * size:
        raise DataError(
            f"{claim}, too much for a compressed file of {size:,} bytes",
            "if the file is not damaged, save it without compression",
        )


def _open_at_once(path: str, flags: int) -> int:
    # By default, opening a pipe waits for its other end. Windows has no such pipes.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class _Expanded(io.RawIOBase):
    """The text in a file of gzip; reading too much of it is an error."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._content = gzip.GzipFile(fileobj=file)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        n = self._content.readinto(buffer)
        expanded = self._content.tell()
        claim = f"{self._path}: takes {expanded:,} bytes or more"
        check_expanded(claim, expanded, self._size, MOST_EXPANDED_TEXT)
        return n

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        return self._content.tell()

    def close(self) -> None:
        super().close()
        self._content.close()
        self._file.close()
