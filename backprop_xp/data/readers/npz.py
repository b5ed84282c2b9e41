"""The readers of .npz archives and folders of .npy files: inputs `x` and targets `y` of one or
more splits."""

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

# The suffixes of the array names of each split.
_SUFFIXES = {
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
        An archive with ``x`` and ``y``, or with ``x_train`` and ``y_train``, and optionally
        ``x_validation``, ``y_validation``, ``x_test`` and ``y_test``, in lower or upper case.
        Each ``x`` has the shape (n, n_inputs), or more dimensions, which are flattened.

    Returns
    -------
    RowFile
        Inputs of type uint8, float32 or float64 are read as stored, others as float64.

    Raises
    ------
    DataError
        If the file cannot be read or is not an archive, an array is missing, damaged, empty,
        or of the wrong type or shape, ``x`` contains NaN or infinity, or the lengths differ.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".npz") as file:
    ...     np.savez(file, X_train=np.zeros((5, 2, 3)), y_train=np.zeros(5))
    ...     file.flush()
    ...     archive = read_npz(file.name)
    >>> archive.splits["train"].inputs.shape, archive.image_shape
    ((5, 6), (2, 3))
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            archive = _open_archive(path, file)
            return _read(path, archive.files, lambda name: _load_member(path, archive, name))
    except OSError as error:
        raise unreadable_file(path, error) from error


def is_npy_folder(path: os.PathLike[str] | str) -> bool:
    """Return whether a path is a folder with inputs such as ``x.npy`` or ``x_train.npy``."""
    path = Path(path)
    return path.is_dir() and any(
        _find(path, [file.stem for file in path.glob("*.npy")], "x", split) for split in _SUFFIXES
    )


def read_npy_folder(path: os.PathLike[str] | str) -> RowFile:
    """Read a folder of .npy files with the names and shapes of the arrays in an .npz archive.

    Inputs of more than `backprop_xp.data.memory_map.MAX_LOADED` entries are not loaded: they are
    returned as `MemoryMap`.

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
    >>> rows.splits["train"].inputs.shape
    (5, 3)
    """
    path = Path(path)
    files = {file.stem: file for file in sorted(path.glob("*.npy"))}
    try:
        return _read(path, list(files), lambda name: _load_file(files[name], name))
    except OSError as error:
        raise unreadable_file(path, error) from error


def read_arrays(name: str, found: dict[str, Array]) -> RowFile:
    """Return arrays in memory as a file of rows, with the names and checks of `read_npz`.

    Raises
    ------
    DataError
        As for `read_npz`.

    Examples
    --------
    >>> rows = read_arrays("the arrays", {"x": np.zeros((5, 3)), "y": np.zeros(5)})
    >>> rows.splits["train"].inputs.shape
    (5, 3)
    """
    return _read(Path(name), list(found), found.__getitem__)


def _load_file(path: Path, name: str) -> Array:
    """Load the array of a .npy file; inputs that are too large to be loaded are memory-mapped."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        large = array.size > memory_map.MAX_LOADED and name.lower().startswith("x")
        return array if large else np.array(array)
    except (ValueError, EOFError) as error:
        raise DataError(
            f"{path}: is not a complete .npy file of numbers or text: {error}",
            "save it again: np.save(path, x)",
        ) from error


def _read(path: Path, names: list[str], load: Callable[[str], Array]) -> RowFile:
    splits = {
        split: rows
        for split in _SUFFIXES
        if (rows := _read_split(path, names, load, split)) is not None
    }
    if not splits:
        raise DataError(
            f"{path}: it has neither x nor x_train, only: {', '.join(names) or 'nothing'}",
            _SAVE_AGAIN,
        )
    shapes = {split: rows.inputs.shape[1:] for split, rows in splits.items()}
    shape = next(iter(shapes.values()))
    if any(other != shape for other in shapes.values()):
        raise DataError(
            f"{path}: rows of different shapes: "
            + ", ".join(f"{split} {other}" for split, other in shapes.items()),
            "all splits need the same input columns",
        )
    return RowFile(
        str(path),
        {
            split: rows._replace(inputs=memory_map.as_memory_map(_flat(rows.inputs)))
            for split, rows in splits.items()
        },
        image_shape=shape if len(shape) == 2 else None,
    )


def _open_archive(path: Path, file: object) -> np.lib.npyio.NpzFile:
    try:
        archive = np.load(file, allow_pickle=False)  # type: ignore[arg-type]
    except Exception as error:
        # NumPy tries to unpickle files of an unknown format, which can fail in many ways.
        raise DataError(f"{path}: is not an .npz archive", _SAVE_AGAIN) from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise DataError(f"{path}: holds a single array without a name", _SAVE_AGAIN)
    return archive


def _read_split(
    path: Path, names: list[str], load: Callable[[str], Array], split: str
) -> Rows | None:
    """Return the rows of a split, with inputs that are not yet flattened; None if it is missing."""
    x_name, y_name = (_find(path, names, letter, split) for letter in "xy")
    if x_name is None:
        return None
    x = _check_inputs(f"{path}: {x_name!r}", load(x_name))
    if y_name is None:
        return Rows(x, None, str(path))
    y = load(y_name)
    if y.dtype.kind == "f":
        y = y.astype(np.float64, copy=False)  # the names of classes need a float of Python
    if y.shape[:1] != x.shape[:1]:
        raise DataError(
            f"{path}: {x_name!r} has {x.shape[0]} rows, but {y_name!r} has the shape {y.shape}",
            "give one target per row",
        )
    return Rows(x, y, f"{path}: {y_name!r}")


def _find(path: Path, names: list[str], letter: str, split: str) -> str | None:
    """Return the name of the array of a split, or None if there is none."""
    spellings = {letter + suffix for suffix in _SUFFIXES[split]}
    matches = [name for name in names if name.lower() in spellings]
    if len(matches) > 1:
        raise DataError(f"{path}: {' and '.join(matches)} mean the same", "remove one of them")
    return matches[0] if matches else None


def _load_member(path: Path, archive: np.lib.npyio.NpzFile, name: str) -> Array:
    try:
        value = archive[name]
    except Exception as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{path}: {name!r} holds Python objects, which are never loaded: loading them "
                "can run arbitrary code",
                "save it as numbers, or as text: y.astype(str)",
            ) from error
        # Damage shows in many ways: errors of zip, zlib, the header, or memory.
        raise DataError(f"{path}: {name!r} is damaged: {error}", _SAVE_AGAIN) from error
    if not isinstance(value, np.ndarray):
        raise DataError(f"{path}: {name!r} is not an array", _SAVE_AGAIN)
    return value


def _check_inputs(what: str, x: Array) -> Array:
    """Return inputs of a supported data type, with their original shape."""
    if x.dtype.kind not in "biuf":
        raise DataError(f"{what} has the type {x.dtype}", "inputs must be numbers")
    if x.ndim < 2 or 0 in x.shape:
        raise DataError(
            f"{what} has the shape {x.shape}, but (n, n_inputs) is expected",
            "for one input column, use x.reshape(-1, 1)",
        )
    if x.dtype not in _AS_STORED and not isinstance(x, np.memmap):
        x = x.astype(np.float64)
    check_finite(_flat(x), what)
    return x


def _flat(x: Array) -> Array:
    return x.reshape(x.shape[0], -1)
