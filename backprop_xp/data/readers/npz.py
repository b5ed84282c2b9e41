"""The readers of .npz archives and of folders of .npy files: inputs `x` and targets `y`, for one
part or for several."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.data import memory_map
from backprop_xp.data.readers.row_files import RowFile, Rows
from backprop_xp.data.scaling import check_finite
from backprop_xp.errors import DataError
from backprop_xp.files import unreadable_file

# The endings that the names of a part's arrays may have.
_ENDINGS = {
    "train": ("", "_train"),
    "validation": ("_validation", "_val"),
    "test": ("_test",),
}
_AS_STORED = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))
_SAVE_AGAIN = "save it again: np.savez_compressed(path, x=x, y=y)"


def read_npz(path: os.PathLike[str] | str) -> RowFile:
    """Read an .npz archive of inputs and targets. Pickled objects are never loaded.

    Parameters
    ----------
    path : path
        An archive with ``x`` and ``y``, or with ``x_train`` and ``y_train``, and perhaps
        ``x_validation``, ``y_validation``, ``x_test``, ``y_test``; capitals are as good.
        Each ``x`` has shape (n, n_inputs), or more dimensions, which are then flattened.

    Returns
    -------
    RowFile
        Inputs of type uint8, float32 and float64 as stored, any other numbers as float64.

    Raises
    ------
    DataError
        If the file cannot be read or is no archive, an array is absent, damaged, of the wrong
        type or shape, or empty, ``x`` holds NaN or infinity, or the lengths do not agree.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".npz") as file:
    ...     np.savez(file, X_train=np.zeros((5, 2, 3)), y_train=np.zeros(5))
    ...     file.flush()
    ...     archive = read_npz(file.name)
    >>> archive.parts["train"].inputs.shape, archive.image_shape
    ((5, 6), (2, 3))
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            archive = _opened(path, file)
            return _read(path, archive.files, lambda name: _member(path, archive, name))
    except OSError as error:
        raise unreadable_file(path, error) from error


def is_npy_folder(path: os.PathLike[str] | str) -> bool:
    """Say whether a path is a folder with an ``x.npy`` or its relatives."""
    path = Path(path)
    return path.is_dir() and any(
        _find(path, [file.stem for file in path.glob("*.npy")], "x", part) for part in _ENDINGS
    )


def read_npy_folder(path: os.PathLike[str] | str) -> RowFile:
    """Read a folder of .npy files, named and shaped like the arrays of an .npz archive.

    Inputs of more than `mapped.MAX_LOADED` numbers are not loaded: they are `MemoryMap`.

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
    >>> rows.parts["train"].inputs.shape
    (5, 3)
    """
    path = Path(path)
    files = {file.stem: file for file in sorted(path.glob("*.npy"))}
    try:
        return _read(path, list(files), lambda name: _load(files[name], name))
    except OSError as error:
        raise unreadable_file(path, error) from error


def _load(path: Path, name: str) -> Array:
    """Return the array of a .npy file, mapped where it holds inputs too large to be loaded."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        large = found.size > memory_map.MAX_LOADED and name.lower().startswith("x")
        return found if large else np.array(found)
    except (ValueError, EOFError) as error:
        raise DataError(
            f"{path}: is no .npy file of numbers or text, or is cut off: {error}",
            "save it again: np.save(path, x)",
        ) from error


def _read(path: Path, names: list[str], load: Callable[[str], Array]) -> RowFile:
    parts = {
        part: rows for part in _ENDINGS if (rows := _read_part(path, names, load, part)) is not None
    }
    if not parts:
        raise DataError(
            f"{path}: it has neither x nor x_train, only: {', '.join(names) or 'nothing'}",
            _SAVE_AGAIN,
        )
    shapes = {part: rows.inputs.shape[1:] for part, rows in parts.items()}
    shape = next(iter(shapes.values()))
    if any(other != shape for other in shapes.values()):
        raise DataError(
            f"{path}: rows of different shapes: "
            + ", ".join(f"{part} {other}" for part, other in shapes.items()),
            "every part needs the same input columns",
        )
    return RowFile(
        str(path),
        {
            part: rows._replace(inputs=memory_map.as_memory_map(_flat(rows.inputs)))
            for part, rows in parts.items()
        },
        image_shape=shape if len(shape) == 2 else None,
    )


def _opened(path: Path, file: object) -> np.lib.npyio.NpzFile:
    try:
        archive = np.load(file, allow_pickle=False)  # type: ignore[arg-type]
    except Exception as error:
        # NumPy takes what it does not know for a pickle, and fails in as many ways as there
        # are other files.
        raise DataError(f"{path}: is no .npz archive", _SAVE_AGAIN) from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise DataError(f"{path}: holds a single array without a name", _SAVE_AGAIN)
    return archive


def _read_part(
    path: Path, names: list[str], load: Callable[[str], Array], part: str
) -> Rows | None:
    """Return the rows of a part, the inputs not yet flattened; ``None`` if it is not there."""
    x_name, y_name = (_find(path, names, letter, part) for letter in "xy")
    if x_name is None:
        return None
    x = _checked_inputs(f"{path}: {x_name!r}", load(x_name))
    if y_name is None:
        return Rows(x, None, str(path))
    y = load(y_name)
    if y.shape[:1] != x.shape[:1]:
        raise DataError(
            f"{path}: {x_name!r} has {x.shape[0]} rows, {y_name!r} has shape {y.shape}",
            "they need one target per row",
        )
    return Rows(x, y, f"{path}: {y_name!r}")


def _find(path: Path, names: list[str], letter: str, part: str) -> str | None:
    wanted = {letter + ending for ending in _ENDINGS[part]}
    found = [name for name in names if name.lower() in wanted]
    if len(found) > 1:
        raise DataError(f"{path}: {' and '.join(found)} mean the same", "leave one of them out")
    return found[0] if found else None


def _member(path: Path, archive: np.lib.npyio.NpzFile, name: str) -> Array:
    try:
        value = archive[name]
    except Exception as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{path}: {name!r} holds Python objects, which are never loaded: loading them "
                "can run foreign code",
                "save it as numbers, or as text: y.astype(str)",
            ) from error
        # A damaged member can fail in a dozen ways: zip, zlib, header, memory.
        raise DataError(f"{path}: {name!r} is damaged: {error}", _SAVE_AGAIN) from error
    if not isinstance(value, np.ndarray):
        raise DataError(f"{path}: {name!r} is no array", _SAVE_AGAIN)
    return value


def _checked_inputs(what: str, x: Array) -> Array:
    if x.dtype.kind not in "biuf":
        raise DataError(f"{what} has type {x.dtype}", "inputs are numbers")
    if x.ndim < 2 or 0 in x.shape:
        raise DataError(
            f"{what} has shape {x.shape}, where (n, n_inputs) is expected",
            "for one input column: x.reshape(-1, 1)",
        )
    if x.dtype not in _AS_STORED and not isinstance(x, np.memmap):
        x = x.astype(np.float64)
    check_finite(_flat(x), what=what)
    return x


def _flat(x: Array) -> Array:
    return x.reshape(x.shape[0], -1)
