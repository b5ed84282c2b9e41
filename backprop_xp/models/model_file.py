"""The model file: one file that holds a complete model, as `tensor_file` writes and checks it.

Its metadata describes the network, the classes and the inputs as JSON under ``"model"``.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any

import numpy as np

from backprop_xp.backend import arrays
from backprop_xp.backend.devices import Placement, select_device
from backprop_xp.data.scaling import Scaling
from backprop_xp.errors import ConfigurationError, ModelFileError
from backprop_xp.models.model import Model
from backprop_xp.models.tensor_file import DAMAGED, read_tensors, write_tensors
from backprop_xp.nn.activations import OUTPUTS
from backprop_xp.nn.losses import LOSSES, check_pair, get_loss
from backprop_xp.nn.network import Layer, Network, check_parameters

FORMAT = "backprop_xp.model"
FORMAT_VERSION = 1


def save_model(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model to one file; the file appears complete or not at all.

    Parameters
    ----------
    model : Model
    path : path
        Usually ends in ``.safetensors``. An existing file is replaced.

    Raises
    ------
    ConfigurationError
        If an activation or the loss is a custom one, which a file cannot hold, or the file
        cannot be written.
    """
    tensors = {}
    for index, layer in enumerate(model.parameters):
        for kind, p in zip(Layer._fields, layer, strict=True):
            if p is not None:
                tensors[f"layers.{index}.{kind}"] = arrays.to_numpy(p)
    if model.scaling is not None:
        tensors["scaling.offset"], tensors["scaling.divisor"] = model.scaling
    description = json.dumps(_describe(model), ensure_ascii=False, sort_keys=True)
    write_tensors(path, FORMAT, tensors, {"model": description})


def load_model(path: str | os.PathLike[str], placement: Placement | None = None) -> Model:
    """Read a model file, check all of it, and put its weights on a device.

    Parameters
    ----------
    path : path
    placement : Placement, optional
        Where the weights are to be; by default NumPy on the CPU.

    Raises
    ------
    ModelFileError
        If the file is missing, truncated, changed in a single bit, or not a model of this package.
    """
    tensors, metadata = read_tensors(path, FORMAT)
    try:
        model = _model(json.loads(metadata["model"]), tensors)
    except Exception as error:
        # The hash is right, so this file is forged or of another version: that can fail anywhere.
        hint = error.hint if isinstance(error, ModelFileError) else None
        raise ModelFileError(
            f"the model file {path} does not describe a model: {error}", hint or DAMAGED
        ) from error
    return model if placement is None else model.to(placement)


def _describe(model: Model) -> dict[str, Any]:
    activations = model.network.activations
    functions: list[tuple[str, Any, Any]] = [("activation", OUTPUTS, f) for f in activations]
    for kind, registry, record in [*functions, ("loss", LOSSES, model.loss)]:
        if registry.get(record.name) is not record:
            raise ConfigurationError(
                f"the {kind} {record.name!r} is a custom one, and a file cannot hold functions",
                "use one of the package's, or save the parameters alone",
            )
    return {
        "format_version": FORMAT_VERSION,
        "version": model.version,
        "sizes": list(model.network.sizes),
        "activations": [activation.name for activation in activations],
        "bias": model.network.bias,
        "loss": model.loss.name,
        "dtype": model.dtype,
        "classes": model.classes,
        "features": model.features,
        "image_shape": model.image_shape,
        "seed": model.seed,
    }


def _model(description: dict[str, Any], tensors: dict[str, Any]) -> Model:
    if description["format_version"] != FORMAT_VERSION:
        raise ModelFileError(
            f"its format version is {description['format_version']}, and this package reads "
            f"{FORMAT_VERSION}: it was written by version {description['version']}",
            "read it with that version of backprop_xp",
        )
    network = Network(description["sizes"], description["activations"], description["bias"])
    placement = select_device("cpu", "numpy", dtype=description["dtype"])
    parameters = [
        Layer(tensors[f"layers.{index}.weights"], tensors.get(f"layers.{index}.bias"))
        for index in range(len(network.activations))
    ]
    check_parameters(network, parameters)
    _check_types(tensors, description["dtype"])
    scaling = None
    if "scaling.offset" in tensors:
        scaling = Scaling(tensors["scaling.offset"], tensors["scaling.divisor"])
    model = Model(
        network=network,
        parameters=parameters,
        loss=get_loss(description["loss"]),
        scaling=scaling,
        classes=_tuple_of(str, description["classes"]),
        features=_tuple_of(str, description["features"]),
        image_shape=_tuple_of(int, description["image_shape"]),
        seed=_typed(int, description["seed"]),
        version=_typed(str, description["version"]),
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
    """Raise an error for what would fail, or give nonsense, only when the model is used."""
    check_pair(model.loss, model.network.activations[-1])
    n_inputs, n_outputs = model.network.sizes[0], model.network.sizes[-1]
    for what, number, wanted in (
        ("classes", model.classes and len(model.classes), max(n_outputs, 2)),
        ("features", model.features and len(model.features), n_inputs),
        ("pixels", model.image_shape and math.prod(model.image_shape), n_inputs),
    ):
        if number is not None and number != wanted:
            raise ValueError(f"it has {number} {what}, where the network needs {wanted}")
    if model.scaling is not None:
        offset, divisor = model.scaling
        if not (offset.shape == divisor.shape == (n_inputs,)):
            raise ValueError("its scaling has another width than its inputs")
        if not (np.isfinite(offset).all() and np.isfinite(divisor).all() and divisor.all()):
            raise ValueError("its scaling divides by 0, or is not finite")
