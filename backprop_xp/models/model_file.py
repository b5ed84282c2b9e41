"""The model file: one safetensors file that holds a whole model, checked bit by bit when read.

The header's metadata holds a JSON description and a SHA-256 of the whole file, computed with
zeros in the place of the hash itself. Nothing in the file is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from backprop_xp.backend import arrays
from backprop_xp.backend.devices import Placement, select
from backprop_xp.data.scaling import Scaling
from backprop_xp.errors import ConfigurationError, ModelFileError
from backprop_xp.models.model import Model
from backprop_xp.nn.activations import OUTPUTS
from backprop_xp.nn.losses import LOSSES, check_pair, get_loss
from backprop_xp.nn.network import Layer, Network, check_parameters

FORMAT = "backprop_xp.models.model"
FORMAT_VERSION = 1

_NO_HASH = "0" * 64
_DAMAGED = "take another copy of the file, or train the model again"


def save_model(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model to one file; the file appears whole or not at all.

    Parameters
    ----------
    model : Model
    path : path
        Usually ends in ``.safetensors``. An existing file is replaced.

    Raises
    ------
    ConfigurationError
        If an activation or the loss is one of the user's own, which no file can hold, or the
        file cannot be written.
    """
    tensors = {}
    for place, layer in enumerate(model.parameters):
        for kind, p in zip(Layer._fields, layer, strict=True):
            if p is not None:
                tensors[f"layers.{place}.{kind}"] = arrays.to_numpy(p)
    if model.scaling is not None:
        tensors["scaling.offset"], tensors["scaling.divisor"] = model.scaling
    metadata = {
        "format": FORMAT,
        "model": json.dumps(_describe(model), ensure_ascii=False, sort_keys=True),
        "sha256": _NO_HASH,
    }
    content = _in_order(
        safetensors.numpy.save(
            {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, metadata
        )
    )
    start = content.index(_NO_HASH.encode(), 8)
    digest = hashlib.sha256(content).hexdigest().encode()
    write_whole(
        path, lambda file: file.writelines((content[:start], digest, content[start + 64 :]))
    )


def load_model(path: str | os.PathLike[str], placement: Placement | None = None) -> Model:
    """Read a model file, check all of it, and put its weights on a device.

    Parameters
    ----------
    path : path
    placement : Placement, optional
        Where the weights shall live; by default NumPy on the CPU.

    Raises
    ------
    ModelFileError
        If the file is missing, cut off, changed in a single bit, or no model of this package.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"the model file {path} cannot be read: {error.strerror or error}",
            "give the path of a file that 'backprop-xp train --out DIR' wrote: "
            "DIR/model.safetensors",
        ) from error
    metadata = _checked_metadata(path, content)
    try:
        tensors = safetensors.numpy.load(content)
        described = json.loads(metadata["model"])
        model = _model(described, tensors)
    except Exception as error:
        # The hash is right, so this file is forged or of another version: that can fail anywhere.
        hint = error.hint if isinstance(error, ModelFileError) else None
        raise ModelFileError(
            f"the model file {path} does not describe a model: {error}", hint or _DAMAGED
        ) from error
    return model if placement is None else model.to(placement)


def write_whole(path: str | os.PathLike[str], write: Callable[[Any], object]) -> None:
    """Write a file so that it appears whole or not at all, and survives a loss of power.

    Raises
    ------
    ConfigurationError
        If the folder cannot be written to.
    """
    path = Path(path)
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            temporary = file.name
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # a temporary file is made for its owner alone
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror or error}",
            "name a folder that exists, may be written to and has space left",
        ) from error
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder last, where the system can do that."""
    with suppress(OSError):  # Windows opens no folders, and some file systems do not sync them
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _in_order(content: bytes) -> bytes:
    """Return a safetensors file with its header's keys sorted, so that the same model is always
    the same bytes: the library writes them in an order that changes from run to run."""
    (length,) = struct.unpack_from("<Q", content)
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # the tensors begin at a multiple of 8
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _describe(model: Model) -> dict[str, Any]:
    activations = [activation.name for activation in model.network.activations]
    for kind, registry, names in (
        ("activation", OUTPUTS, zip(activations, model.network.activations, strict=True)),
        ("loss", LOSSES, [(model.loss.name, model.loss)]),
    ):
        for name, record in names:
            if registry.get(name) is not record:
                raise ConfigurationError(
                    f"the {kind} {name!r} is one of your own, and a file cannot hold functions",
                    "use one of the package's, or save the parameters alone",
                )
    return {
        "format_version": FORMAT_VERSION,
        "version": model.version,
        "sizes": list(model.network.sizes),
        "activations": activations,
        "bias": model.network.bias,
        "loss": model.loss.name,
        "dtype": model.dtype,
        "classes": model.classes,
        "features": model.features,
        "image_shape": model.image_shape,
        "seed": model.seed,
    }


def _checked_metadata(path: Path, content: bytes) -> dict[str, str]:
    """Return the metadata of a file whose every bit is as it was written."""
    try:
        (length,) = struct.unpack_from("<Q", content)
        header = content[8 : 8 + length]
        metadata = json.loads(header)["__metadata__"]
        if metadata["format"] != FORMAT:
            raise ValueError("another format")
        stored = metadata["sha256"]
        if header.count(stored.encode()) != 1 or len(stored) != 64:
            raise ValueError("no hash")
    except (
        struct.error,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise ModelFileError(
            f"{path} is no model file of this package, or it is damaged: its header cannot be read",
            _DAMAGED,
        ) from error
    start = content.index(stored.encode(), 8)
    digest = hashlib.sha256(content[:start])
    digest.update(_NO_HASH.encode())
    digest.update(memoryview(content)[start + 64 :])
    if digest.hexdigest() != stored:
        raise ModelFileError(
            f"the model file {path} is damaged: its content does not match its SHA-256", _DAMAGED
        )
    checked: dict[str, str] = metadata
    return checked


def _model(described: dict[str, Any], tensors: dict[str, Any]) -> Model:
    if described["format_version"] != FORMAT_VERSION:
        raise ModelFileError(
            f"its format version is {described['format_version']}, and this package reads "
            f"{FORMAT_VERSION}: it was written by version {described['version']}",
            "read it with that version of backprop_xp",
        )
    network = Network(described["sizes"], described["activations"], described["bias"])
    placement = select("cpu", "numpy", dtype=described["dtype"])
    parameters = [
        Layer(tensors[f"layers.{place}.weights"], tensors.get(f"layers.{place}.bias"))
        for place in range(len(network.activations))
    ]
    check_parameters(network, parameters)
    _check_types(tensors, described["dtype"])
    scaling = None
    if "scaling.offset" in tensors:
        scaling = Scaling(tensors["scaling.offset"], tensors["scaling.divisor"])
    model = Model(
        network=network,
        parameters=parameters,
        loss=get_loss(described["loss"]),
        scaling=scaling,
        classes=_tuple_of(str, described["classes"]),
        features=_tuple_of(str, described["features"]),
        image_shape=_tuple_of(int, described["image_shape"]),
        seed=_typed(int, described["seed"]),
        version=_typed(str, described["version"]),
        placement=placement,
    )
    _check_widths(model)
    return model


def _typed(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{value!r} is not of the type {kind.__name__}")
    return value


def _tuple_of(kind: type, items: Any) -> tuple[Any, ...] | None:
    if items is None:
        return None
    return tuple(_typed(kind, item) for item in _typed(list, items))


def _check_types(tensors: dict[str, Any], dtype: str) -> None:
    for name, tensor in tensors.items():
        wanted = "float64" if name.startswith("scaling.") else dtype
        if tensor.dtype != wanted:
            raise ValueError(f"{name} has the type {tensor.dtype}, not {wanted}")


def _check_widths(model: Model) -> None:
    """Refuse what would fail, or give nonsense, only when the model is used."""
    check_pair(model.loss, model.network.activations[-1])
    n_inputs, n_outputs = model.network.sizes[0], model.network.sizes[-1]
    for what, given, wanted in (
        ("classes", model.classes and len(model.classes), max(n_outputs, 2)),
        ("features", model.features and len(model.features), n_inputs),
        ("pixels", model.image_shape and math.prod(model.image_shape), n_inputs),
    ):
        if given is not None and given != wanted:
            raise ValueError(f"it has {given} {what}, where the network needs {wanted}")
    if model.scaling is not None:
        offset, divisor = model.scaling
        if not (offset.shape == divisor.shape == (n_inputs,)):
            raise ValueError("its scaling has another width than its inputs")
        if not (np.isfinite(offset).all() and np.isfinite(divisor).all() and divisor.all()):
            raise ValueError("its scaling divides by 0, or is not finite")
