"""A safetensors file with a SHA-256: every changed bit is noticed when it is read.

The header's metadata holds the name of the format and the SHA-256 of the complete file, computed
with zeros in place of the hash itself. Nothing in the file is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NoReturn

import numpy as np

from backprop_xp.errors import ConfigurationError, ModelFileError
from backprop_xp.files import atomic_write
from backprop_xp.formatting import abridged

DAMAGED = "take another copy of the file, or train the model again"
"""The hint for a file whose content is not as it was written."""

_OUR_FILE = (
    "give the path of a file that 'backprop-xp train --out DIR' wrote: DIR/model.safetensors"
)
_SAFETENSORS = (
    "give a safetensors file; from PyTorch, safetensors.torch.save_file(net.state_dict(), path) "
    "writes one. Files of torch.save are not read: they can contain code"
)
_TYPES_READ = "save its tensors again, as float32 (in PyTorch, tensor.float())"
_WEIGHTS = (
    "if it holds the weights of nn.Linear layers from PyTorch, load it in Python with "
    "backprop_xp.from_torch_state(path, activations)"
)

_NO_HASH = b"0" * 64
_HASH_KEY = b'"sha256": "'  # within a text of JSON, the quotes would have backslashes

_TYPES = {
    **{"BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16"},
    **{"F16": "float16", "I32": "int32", "U32": "uint32", "F32": "float32", "C64": "complex64"},
    **{"F64": "float64", "I64": "int64", "U64": "uint64"},
}
"""The names of the data types in the header. The safetensors library stores tensors in the
opposite order of types, so that each begins at a multiple of the size of its numbers."""

_CODES = {name: code for code, name in _TYPES.items()}
_RANKS = {name: -rank for rank, name in enumerate(_CODES)}
_ENTRY = {"dtype", "shape", "data_offsets"}
_MAX_HEADER, _MAX_DIMENSIONS = 100_000_000, 32  # as in the safetensors library, and as in NumPy 1


def write_tensors(
    path: str | os.PathLike[str],
    file_format: str,
    tensors: dict[str, Any],
    metadata: dict[str, str],
    *,
    keep: str | os.PathLike[str] | None = None,
) -> None:
    """Write named NumPy arrays and texts to a file; the same content always gives the same bytes.

    Only arrays that are not in C order are copied.

    Parameters
    ----------
    path : path
        An existing file is replaced.
    file_format : str
        Stored in the file; `read_tensors` requires it.
    tensors : dict of numpy.ndarray
        Of booleans, integers, floating-point numbers or complex64.
    metadata : dict of str
    keep : path, optional
        A name in the same folder for the file that is replaced.

    Raises
    ------
    ConfigurationError
        If the file cannot be written, or a text has half of a surrogate pair.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = os.path.join(folder, "numbers.safetensors")
    ...     write_tensors(file, "numbers", {"x": np.arange(3)}, {"unit": "m"})
    ...     read_tensors(file, "numbers")
    ({'x': array([0, 1, 2])}, {'unit': 'm'})
    """
    arrays = {
        name: np.asarray(tensor, dtype=tensor.dtype.newbyteorder("<"), order="C")
        for name, tensor in tensors.items()
    }
    order = sorted(arrays, key=lambda name: (_RANKS[arrays[name].dtype.name], name))
    header: dict[str, Any] = {
        "__metadata__": {"format": file_format, **metadata, "sha256": _NO_HASH.decode()}
    }
    end = 0
    for name in order:
        array = arrays[name]
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": _CODES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    for text in (*metadata, *metadata.values(), *arrays):
        _check_text(text)
    content = json.dumps(header, sort_keys=True).encode()
    content += b" " * (-len(content) % 8)  # the tensors begin at a multiple of 8
    content = struct.pack("<Q", len(content)) + content
    buffers = [arrays[name].reshape(-1).view(np.uint8).data for name in order]
    digest = hashlib.sha256(content)
    for buffer in buffers:
        digest.update(buffer)
    content = content.replace(_HASH_KEY + _NO_HASH, _HASH_KEY + digest.hexdigest().encode())
    atomic_write(path, lambda file: file.writelines([content, *buffers]), keep=keep)


def text_tensor(text: str) -> Any:
    """Return a text as an array of bytes, for texts that are too long for the metadata."""
    return np.frombuffer(text.encode(), np.uint8)


def read_tensors(
    path: str | os.PathLike[str], file_format: str | None, what: str = "model file"
) -> tuple[dict[str, Any], dict[str, str]]:
    """Read the tensors and the metadata of a file, and check every bit of it.

    The file is read once, and the tensors share its memory. A file whose header does not fit its
    size is rejected before memory is allocated.

    Parameters
    ----------
    path : path
    file_format : str or None
        The format that was given to `write_tensors`. None reads a safetensors file of any program;
        its SHA-256 is checked if it has one.
    what : str
        The name of the kind of file in errors.

    Returns
    -------
    tensors : dict of numpy.ndarray
        They can be written to.
    metadata : dict of str

    Raises
    ------
    ModelFileError
        If the file is missing, truncated, changed in a single bit, of another format, or too large
        for the memory.
    """
    with memory_for(path, what):
        try:
            with _open(path) as file:
                return _read(path, file, file_format, what)
        except (OSError, ValueError) as error:  # a path that contains a NUL is a ValueError
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(
                f"the {what} {path} cannot be read: {getattr(error, 'strerror', None) or error}",
                "check the path" if file_format is None else _OUR_FILE,
            ) from error


@contextmanager
def memory_for(path: str | os.PathLike[str], what: str = "model file") -> Iterator[None]:
    """Return a context in which a lack of memory is a `ModelFileError` that names the file.

    Examples
    --------
    >>> with memory_for("m.safetensors"):
    ...     raise MemoryError
    Traceback (most recent call last):
    backprop_xp.errors.ModelFileError: there is not enough memory to read the model file \
m.safetensors
    close other programs, or use a machine with more memory
    """
    try:
        yield
    except MemoryError as error:
        raise ModelFileError(
            f"there is not enough memory to read the {what} {path}",
            "close other programs, or use a machine with more memory",
        ) from error


def parse_json(text: str) -> Any:
    """Return the content of a JSON text, and reject what Python's parser accepts beyond JSON.

    Raises
    ------
    ValueError
        If it is not JSON, an object has a key twice, a number is NaN or infinite, or a text has
        half of a surrogate pair, which cannot be printed.
    RecursionError
        If it is nested too deeply.

    Examples
    --------
    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: the key 'a' occurs twice
    """
    value = json.loads(text, object_pairs_hook=_without_repetition, parse_constant=_reject)
    if "\\u" in text or "\\U" in text:
        json.dumps(value, ensure_ascii=False).encode()  # UnicodeEncodeError is a ValueError
    return value


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"the key {key!r} occurs twice")
        values[key] = value
    return values


def _reject(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number in JSON")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"half of a surrogate pair, {text[error.start]!r}, is in the text "
            f"{text[max(0, error.start - 20) : error.start + 20]!r}, and no file can hold it",
            "correct the name of the class or column that contains it",
        ) from error


def _open(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file; a pipe, which could wait forever, and a device are an `OSError`."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        folder = stat.S_ISDIR(mode)
        raise OSError(None, f"it is a {'folder' if folder else 'pipe or a device'}, not a file")
    return open(path, "rb")


def _read(
    path: str | os.PathLike[str], file: BinaryIO, file_format: str | None, what: str
) -> tuple[dict[str, Any], dict[str, str]]:
    damaged = f"the {what} {path} {'is damaged' if file_format else 'cannot be used'}"
    size = os.fstat(file.fileno()).st_size
    try:
        start = file.read(8)
        (length,) = struct.unpack("<Q", start)
        if length > min(size - 8, _MAX_HEADER):
            raise ValueError("it is longer than the file")
        content = file.read(length)
        header = parse_json(content.decode())
        metadata = header.pop("__metadata__", {})
        found = str(metadata.get("format", ""))
        well_formed = all(entry.keys() == _ENTRY for entry in header.values())
    except (ValueError, AttributeError, TypeError, RecursionError, struct.error) as error:
        fault = f"{path} is not a {what} of this package, or it is damaged"
        if file_format is None:
            fault = f"{path} is not a safetensors file, or it is damaged"
        raise ModelFileError(
            f"{fault}: its header cannot be read", _SAFETENSORS if file_format is None else DAMAGED
        ) from error
    if file_format is not None and found != file_format:
        fault = f"is not a {what} of this package, or it is damaged"
        if well_formed:
            fault = f"is a safetensors file, but not a {what} of this package"
        raise ModelFileError(
            f"{path} {fault}" + (found and f": its format is {abridged(found)}"),
            _WEIGHTS if any(name.endswith("weight") for name in header) else _OUR_FILE,
        )
    hashed = file_format is not None or "sha256" in metadata
    try:
        stored = str(metadata.pop("sha256", "")).encode()
        if not well_formed:
            raise ValueError("its header does not describe tensors")
        if hashed and (len(stored) != 64 or content.count(_HASH_KEY + stored + b'"') != 1):
            raise ValueError("its header has no SHA-256")
        for key, text in metadata.items():
            if type(text) is not str:
                raise ValueError(f"{abridged(key)} in its header is {abridged(text)}, not a text")
        layout = _layout(header, size - 8 - length)
    except ValueError as error:
        raise ModelFileError(f"{damaged}: {error}", DAMAGED if hashed else _TYPES_READ) from error
    data = bytearray(size - 8 - length)
    if file.readinto(data) != len(data):  # type: ignore[attr-defined]
        raise ModelFileError(f"{damaged}: it became shorter while it was read", DAMAGED)
    digest = hashlib.sha256(start)
    digest.update(content.replace(_HASH_KEY + stored, _HASH_KEY + _NO_HASH))
    digest.update(data)
    if hashed and digest.hexdigest().encode() != stored:
        raise ModelFileError(f"{damaged}: its content does not match its SHA-256", DAMAGED)
    metadata.pop("format", None)
    tensors = {}
    for name, (dtype, shape, begin) in layout.items():
        tensors[name] = np.frombuffer(data, dtype, math.prod(shape), begin).reshape(shape)
        if dtype == "|b1" and (tensors[name].view(np.uint8) > 1).any():
            raise ModelFileError(
                f"{damaged}: {abridged(name)} has other values than 0 and 1", DAMAGED
            )
    return tensors, metadata


def _layout(header: dict[str, Any], size: int) -> dict[str, tuple[str, list[int], int]]:
    """Return the type, the shape and the first byte of each tensor, which must fill the file."""
    layout, spans = {}, []
    for name, entry in header.items():
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if type(dtype) is not str or dtype not in _TYPES:
            raise ValueError(f"the tensor {abridged(name)} has the unknown type {abridged(dtype)}")
        if not _are_sizes(shape) or len(shape) > _MAX_DIMENSIONS:
            raise ValueError(f"the tensor {abridged(name)} has the shape {abridged(shape)}")
        length = math.prod(shape) * np.dtype(_TYPES[dtype]).itemsize
        if not _are_sizes(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != length:
            raise ValueError(
                f"the tensor {abridged(name)} has the place {abridged(offsets)}, but {length} bytes"
            )
        layout[name] = np.dtype(_TYPES[dtype]).newbyteorder("<").str, shape, offsets[0]
        spans.append(offsets)
    end = 0
    for first, last in sorted(spans):
        if first != end:
            raise ValueError(f"its tensors overlap or leave a gap at byte {first}")
        end = last
    if end != size:
        raise ValueError(f"it has {size:,} bytes of tensors, but its header describes {end:,}")
    return layout


def _are_sizes(values: Any) -> bool:
    """Return whether a value from JSON is a list of whole numbers that NumPy takes as sizes."""
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 2**63 for value in values
    )
