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
from backprop_xp.backend.devices import select_device
from backprop_xp.data.labels import LABEL_TYPES
from backprop_xp.data.preprocessing import Preprocessing, preprocessing_from_dict
from backprop_xp.data.scaling import Scaling
from backprop_xp.errors import ConfigurationError, ModelFileError
from backprop_xp.tensor_file import DAMAGED, read_tensors, write_tensors
from backprop_xp.nn.activations import OUTPUTS
from backprop_xp.nn.losses import LOSSES, Loss, check_pair, get_loss
from backprop_xp.nn.network import Layer, Network, check_parameters

FORMAT = "backprop_xp.model"
FORMAT_VERSION = 2
"""Version 2 added preprocessing, scaled targets and the label; version 1 can still be read."""


def write_model(path: str | os.PathLike[str], model: Any) -> None:
    """Write a `backprop_xp.Model` to one file; the file appears complete or not at all.

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
    if model.target_scaling is not None:
        offset, divisor = model.target_scaling
        tensors["target_scaling.offset"], tensors["target_scaling.divisor"] = offset, divisor
    description = json.dumps(_describe(model), ensure_ascii=False, sort_keys=True)
    write_tensors(path, FORMAT, tensors, {"model": description})


def read_model(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a model file, check all of it, and return the fields of its `backprop_xp.Model`.

    Raises
    ------
    ModelFileError
        If the file is missing, truncated, changed in a single bit, or not a model of this package.
    """
    tensors, metadata = read_tensors(path, FORMAT)
    try:
        return _fields(json.loads(metadata["model"]), tensors)
    except Exception as error:
        # The hash is right, so this file is forged or of another version: that can fail anywhere.
        hint = error.hint if isinstance(error, ModelFileError) else None
        raise ModelFileError(
            f"the model file {path} does not describe a model: {error}", hint or DAMAGED
        ) from error


def _describe(model: Any) -> dict[str, Any]:
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
        "label": model.label,
        "label_type": model.label_type,
        "preprocessing": model.preprocessing and model.preprocessing.as_dict(),
    }


def _fields(description: dict[str, Any], tensors: dict[str, Any]) -> dict[str, Any]:
    version = description["format_version"]
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ModelFileError(
            f"its format version is {version}, and this package reads "
            f"1 to {FORMAT_VERSION}: it was written by version {description['version']}",
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
    scalings = {
        name: Scaling(tensors[f"{name}.offset"], tensors[f"{name}.divisor"])
        for name in ("scaling", "target_scaling")
        if f"{name}.offset" in tensors
    }
    preprocessing = description.get("preprocessing")
    kind = description.get("label_type")
    if kind is None:  # version 1
        kind = _guess_label_type(description["classes"])
    fields = dict(
        network=network,
        parameters=parameters,
        loss=get_loss(description["loss"]),
        classes=_tuple_of(str, description["classes"]),
        features=_tuple_of(str, description["features"]),
        image_shape=_tuple_of(int, description["image_shape"]),
        seed=_typed(int, description["seed"]),
        version=_typed(str, description["version"]),
        placement=placement,
        label=_tuple_of(str, description.get("label")),
        label_type=_one_of(LABEL_TYPES, kind),
        preprocessing=preprocessing and preprocessing_from_dict(preprocessing),
        **scalings,
    )
    _check_widths(**fields)
    return fields


def _guess_label_type(classes: list[str] | None) -> str:
    """Return the type of the labels of a file of version 1, which does not say it."""
    names = classes or ["0.5"]
    if set(names) <= {"False", "True"}:
        return "boolean"
    for kind, name in ((int, "integer"), (float, "number")):
        try:
            if [str(kind(text)) for text in names] == names:
                return name
        except ValueError:
            continue
    return "text"


def _one_of(known: tuple[str, ...], value: Any) -> str:
    if value not in known:
        raise ValueError(f"{value!r} is not one of {', '.join(known)}")
    return str(value)


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
        wanted = "float64" if name.startswith(("scaling.", "target_scaling.")) else dtype
        if tensor.dtype != wanted:
            raise ValueError(f"{name} has the type {tensor.dtype}, not {wanted}")


def _check_widths(
    *,
    network: Network,
    loss: Loss,
    classes: tuple[str, ...] | None,
    features: tuple[str, ...] | None,
    image_shape: tuple[int, ...] | None,
    preprocessing: Preprocessing | None,
    scaling: Scaling | None = None,
    target_scaling: Scaling | None = None,
    **other: Any,
) -> None:
    """Raise an error for what would fail, or give nonsense, only when the model is used."""
    check_pair(loss, network.activations[-1])
    n_inputs, n_outputs = network.sizes[0], network.sizes[-1]
    for what, number, wanted in (
        ("classes", classes and len(classes), max(n_outputs, 2)),
        ("features", features and len(features), n_inputs),
        ("pixels", image_shape and math.prod(image_shape), n_inputs),
    ):
        if number is not None and number != wanted:
            raise ValueError(f"it has {number} {what}, where the network needs {wanted}")
    if preprocessing is not None and preprocessing.inputs != features:
        raise ValueError("its columns do not give the inputs that it names")
    for array, width in ((scaling, n_inputs), (target_scaling, n_outputs)):
        if array is None:
            continue
        offset, divisor = array
        if not (offset.shape == divisor.shape == (width,)):
            raise ValueError("a scaling has another width than what it scales")
        if not (np.isfinite(offset).all() and np.isfinite(divisor).all() and divisor.all()):
            raise ValueError("a scaling divides by 0, or is not finite")
