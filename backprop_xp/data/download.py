"""The download of named files: checked by SHA-256, and whole or not at all."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from backprop_xp.errors import DataError


def cache_folder() -> Path:
    """Return the folder where downloads are kept unless the user names one."""
    try:
        pooch = import_module("pooch")
    except ImportError:  # then nothing can be downloaded, but files put there are still found
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(base) / "backprop_xp"
    return Path(pooch.os_cache("backprop_xp"))


def download_files(folder: Path, registry: Mapping[str, str], urls: Sequence[str]) -> None:
    """Download files into a folder.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    registry : mapping of str to str
        The SHA-256 of each file wanted, by its name.
    urls : sequence of str
        The addresses under which the files lie, tried in this order for each file.

    Raises
    ------
    DataError
        If pooch is not installed, the folder cannot be written, or no address gives a file
        with the right content. Such a file is then not in the folder; those before it are.
    """
    by_hand = f"put {', '.join(registry)} into {folder}"
    try:
        pooch = import_module("pooch")
    except ImportError as error:
        raise DataError(
            f"{', '.join(registry)} not found in {folder}, and a download needs pooch, which is "
            "not installed",
            f"pip install 'backprop-xp[data]', or {by_hand}",
        ) from error

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, sha256 in registry.items():
            _download(pooch.retrieve, folder, name, sha256, urls, by_hand)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error}", "name another folder") from error
    finally:
        logger.setLevel(level)


def _download(
    retrieve: Callable[..., object],
    folder: Path,
    name: str,
    sha256: str,
    urls: Sequence[str],
    by_hand: str,
) -> None:
    failures = []
    for url in urls:
        address = f"{url.rstrip('/')}/{name}"
        try:
            # pooch writes to a temporary file of the same folder, and moves it when it is right.
            retrieve(address, known_hash=f"sha256:{sha256}", fname=name, path=folder)
        except (OSError, ValueError) as error:  # those of requests are OSErrors
            failures.append(f"{address}: {_reason(error)}")
        else:
            # A temporary file is the owner's alone; a shared folder is to be read by others.
            (folder / name).chmod(0o644)
            return
    raise DataError(
        f"cannot download {name} into {folder}: {'; '.join(failures)}",
        f"check the network, or {by_hand}",
    )


def _reason(error: Exception) -> str:
    """Return what went wrong, without the layers that requests wraps around it."""
    inner = getattr(error.args[0] if error.args else None, "reason", None)
    return " ".join(str(inner or error).split())
