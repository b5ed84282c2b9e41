"""Files on disk: written completely or not at all, and errors that say why one cannot be read."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from backprop_xp.errors import ConfigurationError, DataError


def atomic_write(
    path: str | os.PathLike[str],
    write: Callable[[Any], object],
    *,
    keep: str | os.PathLike[str] | None = None,
) -> None:
    """Write a file so that it appears complete or not at all, and survives a loss of power.

    Parameters
    ----------
    path : path
        An existing file is replaced, but not a folder or a device such as ``/dev/null``.
    write : callable
        Receives the binary file object to write to.
    keep : path, optional
        A name in the same folder for the file that is replaced.

    Raises
    ------
    ConfigurationError
        If the file cannot be written.
    """
    try:
        target = Path(os.path.realpath(path))  # of a link, the file that it names is replaced
    except ValueError as error:  # a zero byte, or half of a surrogate pair
        raise ConfigurationError(
            f"{os.fspath(path)!r} cannot be written: it cannot be the name of a file",
            "give another name",
        ) from error
    temporary = ""
    try:
        if target.exists() and not target.is_file():
            raise OSError(None, "it is a folder or a device, not a file")
        # A kill leaves the temporary file behind; its name shows what it is. Names can have 255
        # bytes, and a character up to 4.
        prefix = f".{target.name[:50]}."
        with tempfile.NamedTemporaryFile(
            dir=target.parent, prefix=prefix, suffix=".tmp", delete=False
        ) as file:
            temporary = file.name
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # temporary files are readable by their owner alone
        if keep is not None and target.exists():
            os.replace(target, keep)
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror or error}",
            "name a folder that exists, may be written to and has space left",
        ) from error
    finally:
        if temporary and os.path.exists(temporary):
            with suppress(OSError):  # the disk has become read-only
                os.unlink(temporary)


def unreadable_file(path: str | os.PathLike[str], error: OSError) -> DataError:
    """Return the error to raise for a file that could not be opened or read.

    Examples
    --------
    >>> print(unreadable_file("rows.csv", FileNotFoundError()))
    rows.csv: there is no such file
    """
    path = os.fspath(path)
    if isinstance(error, FileNotFoundError):
        hint = f"{_similar_file(path)}check the path and its spelling"
        return DataError(f"{path}: there is no such file", hint)
    if isinstance(error, IsADirectoryError):
        return DataError(f"{path}: is a folder, not a file", "name a file inside it")
    if isinstance(error, PermissionError):
        return DataError(f"{path}: no permission to read it", "check the permissions of the file")
    return DataError(f"{path}: cannot be read: {error}", "check the disk, or fetch the file again")


def _similar_file(path: str) -> str:
    """Return a question that names the file with the most similar name beside a missing one."""
    folder, name = os.path.split(path)
    with suppress(OSError, ValueError):
        names = os.listdir(folder or ".")[:10_000]
        for near in difflib.get_close_matches(name[:100], names, n=1, cutoff=0.75):
            return f"did you mean {os.path.join(folder, near)!r}? Otherwise "
    return ""


def _sync_folder(folder: Path) -> None:
    """Flush a folder to disk, where the system can, so that a new name in it is not lost."""
    with suppress(OSError):  # Windows opens no folders, and some file systems do not sync them
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
