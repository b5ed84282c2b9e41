"""A safetensors file with a SHA-256: every changed bit is noticed when it is read.

The header's metadata holds the name of the format and the SHA-256 of the complete file, computed
with zeros in place of the hash itself. Nothing in the file is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from backprop_xp.errors import ModelFileError
from backprop_xp.files import atomic_write

DAMAGED = "take another copy of the file, or train the model again"
"""The hint for a file whose content is not as it was written."""

_NO_HASH = "0" * 64


def write_tensors(
    path: str | os.PathLike[str],
    file_format: str,
    tensors: dict[str, Any],
    metadata: dict[str, str],
) -> None:
    """Write named NumPy arrays and texts to a file; the same content always gives the same bytes.

    Parameters
    ----------
    path : path
        An existing file is replaced.
    file_format : str
        Stored in the file; `read_tensors` requires it.
    tensors : dict of numpy.ndarray
    metadata : dict of str

    Raises
    ------
    ConfigurationError
        If the file cannot be written.
    """
    content = _sort_header(
        safetensors.numpy.save(
            {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
            {"format": file_format, **metadata, "sha256": _NO_HASH},
        )
    )
    start = content.index(_NO_HASH.encode(), 8)
    digest = hashlib.sha256(content).hexdigest().encode()
    atomic_write(
        path, lambda file: file.writelines((content[:start], digest, content[start + 64 :]))
    )


def read_tensors(
    path: str | os.PathLike[str], file_format: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """Read the tensors and the metadata of a file, and check every bit of it.

    Raises
    ------
    ModelFileError
        If the file is missing, truncated, changed in a single bit, or of another format.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"the model file {path} cannot be read: {error.strerror or error}",
            "give the path of a file that 'backprop-xp train --out DIR' wrote: "
            "DIR/model.safetensors",
        ) from error
    metadata = _checked_metadata(path, content, file_format)
    try:
        return safetensors.numpy.load(content), metadata
    except Exception as error:  # the hash is right, so this file is forged: that can fail anywhere
        raise ModelFileError(
            f"the tensors of the model file {path} cannot be read: {error}", DAMAGED
        ) from error


def _sort_header(content: bytes) -> bytes:
    """Return a safetensors file with the keys of its header sorted.

    The library writes them in an order that changes from run to run.
    """
    (length,) = struct.unpack_from("<Q", content)
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # the tensors begin at a multiple of 8
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def _checked_metadata(
    path: str | os.PathLike[str], content: bytes, file_format: str
) -> dict[str, str]:
    """Return the metadata of a file, after comparing the file with its hash."""
    try:
        (length,) = struct.unpack_from("<Q", content)
        header = content[8 : 8 + length]
        metadata: dict[str, str] = json.loads(header)["__metadata__"]
        if metadata["format"] != file_format:
            raise ValueError("another format")
        stored = metadata["sha256"]
        if header.count(stored.encode()) != 1 or len(stored) != 64:
            raise ValueError("no hash")
    except Exception as error:  # any bytes may be in its place, so this can fail anywhere
        raise ModelFileError(
            f"{path} is not a model file of this package, or it is damaged: its header cannot be "
            "read",
            DAMAGED,
        ) from error
    start = content.index(stored.encode(), 8)
    digest = hashlib.sha256(content[:start])
    digest.update(_NO_HASH.encode())
    digest.update(memoryview(content)[start + 64 :])
    if digest.hexdigest() != stored:
        raise ModelFileError(
            f"the model file {path} is damaged: its content does not match its SHA-256", DAMAGED
        )
    return metadata
