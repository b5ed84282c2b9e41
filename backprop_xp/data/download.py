"""Downloads: files that are checked by SHA-256, and stored completely or not at all."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from backprop_xp.errors import DataError


def cache_folder() -> Path:
    """Return the default folder of downloads."""
    try:
        pooch = import_module("pooch")
    except ImportError:  # nothing can be downloaded then, but files in this folder are still read
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(base) / "backprop_xp"
    return Path(pooch.os_cache("backprop_xp"))


def download_files(folder: Path, registry: Mapping[str, str], urls: Sequence[str]) -> None:
    """Download files into a folder.

    Parameters
    ----------
    folder : Path
        Created if it does not exist.
    registry : mapping of str to str
        The SHA-256 of each file, by file name.
    urls : sequence of str
        The addresses of the servers, tried in this order for each file.

    Raises
    ------
    DataError
        If pooch is not installed, the folder cannot be written to, or no server has a file
        with the right content. Files that were downloaded before stay in the folder.
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
        raise DataError(f"{folder}: cannot be written: {error}", "choose another folder") from error
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
            # pooch writes to a temporary file in the same folder, and moves it once it is checked.
            retrieve(address, known_hash=f"sha256:{sha256}", fname=name, path=folder)
        except (OSError, ValueError) as error:  # the errors of requests are OSErrors
            failures.append(f"{address}: {_reason(error)}")
        else:
            # Only the owner may read a temporary file, but others may use a shared folder.
            (folder / name).chmod(0o644)
            return
    raise DataError(
        f"cannot download {name} into {folder}: {'; '.join(failures)}",
        f"check the network, or {by_hand}",
    )


def _reason(error: Exception) -> str:
    """Return the reason for an error, without the layers that requests wraps around it."""
    inner = getattr(error.args[0] if error.args else None, "reason", None)
    return " ".join(str(inner or error).split())
