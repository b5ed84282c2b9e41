"""The plain words for a file that the operating system does not let us read."""

from __future__ import annotations

import os

from backprop_xp.errors import DataError


def cannot_read(path: os.PathLike[str] | str, error: OSError) -> DataError:
    """Return the error to raise for a file that could not be opened or read.

    Examples
    --------
    >>> print(cannot_read("rows.csv", FileNotFoundError()))
    rows.csv: there is no such file
    """
    path = os.fspath(path)
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: there is no such file", "check the path and its spelling")
    if isinstance(error, IsADirectoryError):
        return DataError(f"{path}: is a folder, not a file", "name a file inside it")
    if isinstance(error, PermissionError):
        return DataError(f"{path}: no permission to read it", "check the permissions of the file")
    return DataError(f"{path}: cannot be read: {error}", "check the disk, or fetch the file again")
