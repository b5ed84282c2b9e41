"""MNIST, and folders of four IDX files like it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from backprop_xp.backend.arrays import Array
from backprop_xp.data.dataset import Dataset, Split
from backprop_xp.data.download import cache_folder, download_files
from backprop_xp.data.labels import encode_labels
from backprop_xp.data.memory_map import as_memory_map
from backprop_xp.data.readers.idx import read_idx
from backprop_xp.data.scaling import value_range
from backprop_xp.errors import DataError

SHA256 = {  # of the files compressed by gzip
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
FILES = tuple(SHA256)
URLS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_VALIDATION_SHARE = 6  # one row in six: 10,000 of the 60,000 of MNIST


def load_mnist(folder: os.PathLike[str] | str | None = None) -> Dataset:
    """Load the MNIST data set of handwritten digits, and download it first if needed.

    It has 50,000 training, 10,000 validation and 10,000 test images of 28 x 28 pixels. The
    environment variable ``BACKPROP_XP_MNIST_URL`` sets a different server to download from.

    Parameters
    ----------
    folder : path, optional
        The folder of the four IDX files, into which missing files are downloaded. By default
        the environment variable ``BACKPROP_XP_DATA_DIR``, or else the user's cache.

    Returns
    -------
    Dataset
        The inputs are uint8 of shape (n, 784) with values from 0 to 255, and the classes are
        ``"0"`` to ``"9"``.

    Raises
    ------
    DataError
        If a file is damaged, or is missing and cannot be downloaded.

    References
    ----------
    Y. LeCun, C. Cortes and C. J. C. Burges, The MNIST database of handwritten digits, 1998.
    """
    folder = Path(folder or os.environ.get("BACKPROP_XP_DATA_DIR") or cache_folder())
    paths = _find_files(folder)
    registry = {f"{name}.gz": sha256 for name, sha256 in SHA256.items() if name not in paths}
    if registry:
        mirror = os.environ.get("BACKPROP_XP_MNIST_URL")
        download_files(folder, registry, (mirror,) if mirror else URLS)
    return read_idx_folder(folder, name="mnist")


def read_idx_folder(folder: os.PathLike[str] | str, *, name: str | None = None) -> Dataset:
    """Read an image data set from a folder of four IDX files.

    Parameters
    ----------
    folder : path
        A folder with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
        ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``. Each may be compressed
        (``.gz``), and may have a dot instead of the hyphen before ``idx``.
    name : str, optional
        The name of the data set; by default that of the folder.

    Returns
    -------
    Dataset
        The last sixth of the training rows is the validation split. The inputs are flattened
        uint8 images, or `MemoryMap` if an uncompressed file is too large to be loaded.

    Raises
    ------
    DataError
        If a file is missing or damaged, or the files do not belong together.
    """
    folder = Path(folder)
    paths = _find_files(folder)
    if missing := [file for file in FILES if file not in paths]:
        raise DataError(
            f"{folder}: these files are missing: {', '.join(missing)}",
            f"a folder of IDX files needs all four, as they are or as .gz: {', '.join(FILES)}",
        )
    images, labels = _read_pair(paths[FILES[0]], paths[FILES[1]])
    test_images, test_labels = _read_pair(paths[FILES[2]], paths[FILES[3]])
    if images.shape[1:] != test_images.shape[1:]:
        raise DataError(
            f"{folder}: the training images have the shape {images.shape[1:]}, but the test "
            f"images have the shape {test_images.shape[1:]}",
            "the four files must belong to one data set",
        )
    targets, classes = encode_labels(labels)
    test_targets, _ = encode_labels(
        test_labels, classes, where=f"{paths[FILES[3]]}, row {{}}".format
    )

    rows = Split(_flat(images), targets)
    n_validation = rows.size // _VALIDATION_SHARE
    n_train = rows.size - n_validation
    train = rows.take(slice(None, n_train))
    return Dataset(
        name=name or folder.resolve().name,
        train=train,
        validation=rows.take(slice(n_train, None)) if n_validation else None,
        test=Split(_flat(test_images), test_targets),
        classes=classes,
        features=None,
        image_shape=(images.shape[1], images.shape[2]) if images.ndim == 3 else None,
        default_scaling=f"{value_range(train.inputs)[1] or 1.0:g}",
        label_type="integer",
    )


def _find_files(folder: Path) -> dict[str, Path]:
    """Return the paths of those of the four files that are in a folder, by name."""
    paths: dict[str, Path] = {}
    for name in FILES:
        for stem in (name, name.replace("-idx", ".idx")):
            for path in (folder / stem, folder / f"{stem}.gz"):
                if os.path.isfile(path):
                    paths.setdefault(name, path)
    return paths


def _read_pair(images_path: Path, labels_path: Path) -> tuple[Array, Array]:
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim < 2 or labels.ndim != 1:
        raise DataError(
            f"{images_path} has {images.ndim} dimensions, and {labels_path} has {labels.ndim}",
            "images have 3 dimensions and labels 1: are the file names swapped?",
        )
    if images.shape[0] != labels.shape[0]:
        raise DataError(
            f"{images_path} holds {images.shape[0]} images, but {labels_path} holds "
            f"{labels.shape[0]} labels",
            "the two files must belong to one data set",
        )
    return images, labels


def _flat(images: Array) -> Any:
    return as_memory_map(images.reshape(images.shape[0], -1))
