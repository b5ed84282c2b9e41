"""MNIST, and any folder of four IDX files that is laid out like it."""

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
from backprop_xp.errors import DataError

SHA256 = {  # of the files as packed by gzip
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
_VALIDATION_SHARE = 6  # one row in six: 10,000 of MNIST's 60,000


def load_mnist(folder: os.PathLike[str] | str | None = None) -> Dataset:
    """Return MNIST: 50,000 rows to train on, 10,000 to validate, 10,000 to test.

    Parameters
    ----------
    folder : path, optional
        Where the four IDX files are; what is missing is downloaded into it. By default the
        folder in the environment variable ``BACKPROP_XP_DATA_DIR``, else the user's cache.
        ``BACKPROP_XP_MNIST_URL`` names another server to download from.

    Raises
    ------
    DataError
        If a file is damaged, or missing and cannot be downloaded.

    References
    ----------
    Y. LeCun, C. Cortes and C. J. C. Burges, The MNIST database of handwritten digits, 1998.
    """
    folder = Path(folder or os.environ.get("BACKPROP_XP_DATA_DIR") or cache_folder())
    present = _present(folder)
    registry = {f"{name}.gz": sha256 for name, sha256 in SHA256.items() if name not in present}
    if registry:
        mirror = os.environ.get("BACKPROP_XP_MNIST_URL")
        download_files(folder, registry, (mirror,) if mirror else URLS)
    return read_idx_folder(folder, name="mnist")


def read_idx_folder(folder: os.PathLike[str] | str, *, name: str | None = None) -> Dataset:
    """Read a folder with the four IDX files of an image set.

    Parameters
    ----------
    folder : path
        It holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
        ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, each plain or as ``.gz``,
        or with a dot before ``idx``.
    name : str, optional
        The name of the set; by default that of the folder.

    Returns
    -------
    Dataset
        The last sixth of the training rows is the validation part; inputs are flat uint8
        views of what was read, or `MemoryMap` where a plain file is too large to be loaded.

    Raises
    ------
    DataError
        If a file is missing or damaged, or the files do not belong together.
    """
    folder = Path(folder)
    present = _present(folder)
    if missing := [file for file in FILES if file not in present]:
        raise DataError(
            f"{folder}: missing {', '.join(missing)}",
            "a folder of IDX files needs all four, plain or packed as .gz: " + ", ".join(FILES),
        )
    images, labels = _read_pair(present[FILES[0]], present[FILES[1]])
    test_images, test_labels = _read_pair(present[FILES[2]], present[FILES[3]])
    if images.shape[1:] != test_images.shape[1:]:
        raise DataError(
            f"{folder}: images to train on have shape {images.shape[1:]}, those to test on "
            f"{test_images.shape[1:]}",
            "the four files must be of one set",
        )
    targets, classes = encode_labels(labels)
    test_targets, _ = encode_labels(
        test_labels, classes, where=lambda row: f"{present[FILES[3]]}, row {row}"
    )

    whole = Split(_flat(images), targets)
    n_validation = whole.size // _VALIDATION_SHARE
    n_train = whole.size - n_validation
    return Dataset(
        name=name or folder.resolve().name,
        train=whole.take(slice(None, n_train)),
        validation=whole.take(slice(n_train, None)) if n_validation else None,
        test=Split(_flat(test_images), test_targets),
        classes=classes,
        features=None,
        image_shape=(images.shape[1], images.shape[2]) if images.ndim == 3 else None,
        default_scaling="255",
    )


def _present(folder: Path) -> dict[str, Path]:
    """Return where those of the four files are that a folder holds."""
    found: dict[str, Path] = {}
    for name in FILES:
        for stem in (name, name.replace("-idx", ".idx")):
            for path in (folder / stem, folder / f"{stem}.gz"):
                if path.is_file():
                    found.setdefault(name, path)
    return found


def _read_pair(images_path: Path, labels_path: Path) -> tuple[Array, Array]:
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim < 2 or labels.ndim != 1:
        raise DataError(
            f"{images_path} has {images.ndim} dimensions, {labels_path} has {labels.ndim}",
            "images have 3 dimensions, labels 1: are the names exchanged?",
        )
    if images.shape[0] != labels.shape[0]:
        raise DataError(
            f"{images_path} holds {images.shape[0]} images, {labels_path} holds "
            f"{labels.shape[0]} labels",
            "the two files must be of one set",
        )
    return images, labels


def _flat(images: Array) -> Any:
    return as_memory_map(images.reshape(images.shape[0], -1))
