"""The model file: one file that holds a complete model, as `tensor_file` writes and checks it.

Its metadata describes the network, the classes and the inputs as JSON under ``"model"``.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from typing import Any

import numpy as np

from backprop_xp.backend import arrays
from backprop_xp.backend.devices import select_device
from backprop_xp.data.labels import LABEL_TYPES, from_names
from backprop_xp.data.preprocessing import Preprocessing, preprocessing_from_dict
from backprop_xp.data.scaling import Scaling
from backprop_xp.errors import ConfigurationError, ModelFileError
from backprop_xp.formatting import abridged
from backprop_xp.nn.activations import OUTPUTS
from backprop_xp.nn.losses import LOSSES, Loss, check_pair, get_loss
from backprop_xp.nn.network import Layer, Network, Parameters, check_parameters
from backprop_xp.tensor_file import (
    DAMAGED,
    memory_for,
    parse_json,
    read_tensors,
    write_tensors,
)

FORMAT = "backprop_xp.model"
FORMAT_VERSION = 2
"""Version 2 added preprocessing, scaled targets and the label; version 1 can still be read."""


def write_model(path: str | os.PathLike[str], model: Any) -> None:
    """Write a `backprop_xp.Model` to one file; the file appears complete or not at all.

    Raises
    ------
    ConfigurationError
        If an activation or the loss is a custom one, which a file cannot hold; if a weight is not
        finite, or `read_model` would reject the model for another reason; or if the file cannot be
        written.
    """
    tensors = tensors_of(model)
    description = json.dumps(_describe(model), ensure_ascii=False, sort_keys=True)
    try:
        _fields(json.loads(description), tensors)
    except ValueError as error:
        raise ConfigurationError(
            f"this model cannot be saved: {error}",
            "correct the model; if weights are not finite, train again with a lower learning rate",
        ) from error
    write_tensors(path, FORMAT, tensors, {"model": description})


def tensors_of(model: Any) -> dict[str, Any]:
    """Return the weights, biases and scalings of a `backprop_xp.Model` by their names in its file.

    These are ``layers.0.weights``, ``layers.0.bias`` and so on, and the ``offset`` and ``divisor``
    of ``scaling`` and ``target_scaling``, all as NumPy arrays.
    """
    tensors: dict[str, Any] = {}
    for index, layer in enumerate(model.parameters):
        for kind, p in zip(Layer._fields, layer, strict=True):
            if p is not None:
                tensors[f"layers.{index}.{kind}"] = arrays.to_numpy(p)
    for name in _SCALINGS:
        if (scaling := getattr(model, name)) is not None:
            tensors[f"{name}.offset"], tensors[f"{name}.divisor"] = scaling
    return tensors


def read_model(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a model file, check all of it, and return the fields of its `backprop_xp.Model`.

    Raises
    ------
    ModelFileError
        If the file is missing, truncated, changed in a single bit, not a model of this package,
        too large for the memory, or describes a model that cannot be used.
    """
    tensors, metadata = read_tensors(path, FORMAT)
    # The hash is right, so from here on the file is forged or of another version.
    with memory_for(path):
        try:
            return _fields(parse_json(metadata["model"]), tensors)
        except KeyError as error:
            fault, hint = f"its header has no {error}", DAMAGED
        except (ValueError, RecursionError) as error:
            fault, hint = str(error), getattr(error, "hint", None) or DAMAGED
    raise ModelFileError(f"the model file {path} does not describe a model: {fault}", hint)


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


def _fields(description: Any, tensors: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a model, and check everything that would fail only when it is used.

    Raises
    ------
    ValueError
        If something is missing or wrong; the message names its key.
    """
    _check_keys(description)
    sizes, names = description["sizes"], description["activations"]
    right = _is_list_of(int, sizes) and len(sizes) > 1 and min(sizes) > 0
    _check(right, "sizes", sizes, "a list of at least two positive whole numbers")
    right = _is_list_of(str, names) and len(names) == len(sizes) - 1 and {*names} <= {*OUTPUTS}
    _check(right, "activations", names, f"a list of {len(sizes) - 1} activations of this package")
    for key, known in (
        ("bias", (False, True)),
        ("dtype", ("float32", "float64")),
        ("loss", tuple(LOSSES)),
        ("label_type", (None, *LABEL_TYPES)),
    ):
        value = description.get(key)
        right = type(value) in {type(one) for one in known} and value in known
        _check(right, key, value, f"one of {', '.join(map(str, known))}")
    seed, version = description["seed"], description["version"]
    _check(type(seed) is int and seed >= 0, "seed", seed, "a whole number of at least 0")
    right = type(version) is str and version.isprintable()
    _check(right, "version", version, "a version such as 0.2.0")

    network = Network(sizes, names, description["bias"])
    _check_tensors(network, tensors, description["dtype"])
    parameters = [
        Layer(tensors[f"layers.{index}.weights"], tensors.get(f"layers.{index}.bias"))
        for index in range(len(names))
    ]
    check_parameters(network, parameters)
    preprocessing = description.get("preprocessing")
    if preprocessing is not None:
        preprocessing = preprocessing_from_dict(preprocessing)
    classes, label, features = (
        _names_of(key, description.get(key)) for key in ("classes", "label", "features")
    )
    kind = description.get("label_type")
    fields = dict(
        network=network,
        parameters=parameters,
        loss=get_loss(description["loss"]),
        classes=classes,
        features=features,
        image_shape=_image_shape(description["image_shape"], sizes[0]),
        seed=seed,
        version=version,
        placement=select_device("cpu", "numpy", dtype=description["dtype"]),
        label=label,
        label_type=kind or _guess_label_type(description["classes"]),
        preprocessing=preprocessing,
        **{
            name: Scaling(tensors[f"{name}.offset"], tensors[f"{name}.divisor"])
            for name in _SCALINGS
            if f"{name}.offset" in tensors
        },
    )
    _check_widths(**fields)
    return fields


_KEYS = {
    *("format_version", "version", "sizes", "activations", "bias", "loss", "dtype", "classes"),
    *("features", "image_shape", "seed"),
}
_KEYS_OF_VERSION_2 = {"label", "label_type", "preprocessing"}
_SCALINGS = ("scaling", "target_scaling")


def _check_keys(description: Any) -> None:
    _check(isinstance(description, dict), "the description", description, "an object with keys")
    number, version = description.get("format_version"), description.get("version")
    if type(number) is not int or not 1 <= number <= FORMAT_VERSION:
        writer = abridged(version).strip("'")
        raise ModelFileError(
            f"its format version is {abridged(number)}, and this package reads "
            f"1 to {FORMAT_VERSION}: it was written by version {writer}",
            "read it with that version of backprop_xp",
        )
    for key in sorted(_KEYS | (_KEYS_OF_VERSION_2 if number > 1 else set())):
        if key not in description:
            raise ValueError(f"{key} is missing")
    for key in description:
        if key not in _KEYS | _KEYS_OF_VERSION_2:
            raise ValueError(f"the key {abridged(key)} is unknown")


def _check(right: bool, key: str, value: Any, wanted: str) -> None:
    if not right:
        raise ValueError(f"{key} is {abridged(value)}, not {wanted}")


def _is_list_of(kind: type, value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is kind for item in value)


def _names_of(key: str, value: Any) -> tuple[str, ...] | None:
    """Return a list of names as a tuple."""
    _check(value is None or _is_list_of(str, value), key, value, "null or a list of texts")
    return None if value is None else tuple(value)


def _image_shape(value: Any, n_inputs: int) -> tuple[int, ...] | None:
    if value is None:
        return None
    right = _is_list_of(int, value) and len(value) == 2 and min(value) > 0
    right = right and math.prod(value) == n_inputs
    _check(right, "image_shape", value, f"null or a height and a width of {n_inputs} pixels")
    return tuple(value)


def _check_tensors(network: Network, tensors: dict[str, Any], dtype: str) -> None:
    """Raise an error for a tensor that is missing, unknown, of another type, or not finite."""
    parts = Layer._fields if network.bias else ("weights",)
    wanted = {
        f"layers.{index}.{part}": dtype
        for index in range(len(network.activations))
        for part in parts
    }
    for name in _SCALINGS:
        if f"{name}.offset" in tensors or f"{name}.divisor" in tensors:
            wanted |= {f"{name}.offset": "float64", f"{name}.divisor": "float64"}
    for name in sorted(wanted.keys() - tensors.keys()):
        raise ValueError(f"the tensor {name} is missing")
    for name, tensor in tensors.items():
        if name not in wanted:
            raise ValueError(f"the tensor {abridged(name)} is unknown")
        if tensor.dtype != wanted[name]:
            raise ValueError(f"{name} has the type {tensor.dtype}, not {wanted[name]}")
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} contains NaN or infinite numbers")


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


def _check_widths(
    *,
    network: Network,
    parameters: Parameters,
    loss: Loss,
    classes: tuple[str, ...] | None,
    features: tuple[str, ...] | None,
    preprocessing: Preprocessing | None,
    label: tuple[str, ...] | None,
    label_type: str,
    scaling: Scaling | None = None,
    target_scaling: Scaling | None = None,
    **other: Any,
) -> None:
    """Raise an error for parts of a model that do not fit each other."""
    check_pair(loss, network.activations[-1])
    n_inputs, n_outputs = network.sizes[0], network.sizes[-1]
    for key, names, wanted in (
        ("classes", classes, max(n_outputs, 2)),
        ("features", features, n_inputs),
        ("label", label, n_outputs if classes is None else 1),
    ):
        if names is not None and len(names) != wanted:
            raise ValueError(f"{key} has {len(names)} names, but the network needs {wanted}")
    # Inputs are shown by names that can coincide: the number "a=b", and the category b of a.
    distinct = ("features", features) if preprocessing is None else ("inputs", None)
    for key, names in (("classes", classes), ("label", label), distinct):
        if names is not None and len(set(names)) < len(names):
            twice = next(name for name, count in Counter(names).items() if count > 1)
            raise ValueError(f"{key} has the name {abridged(twice)} twice")
    if classes is not None:
        _check_label_type(classes, label_type)
        if target_scaling is not None:
            raise ValueError("it has classes, but target_scaling is for numbers")
    if preprocessing is not None and preprocessing.inputs != features:
        raise ValueError("features has other names than the columns of preprocessing")
    # Inputs are divided in the data type of the weights, targets in float64.
    for key, scaling_, width, dtype in (
        ("scaling", scaling, n_inputs, parameters[0].weights.dtype),
        ("target_scaling", target_scaling, n_outputs, np.float64),
    ):
        if scaling_ is None:
            continue
        offset, divisor = scaling_
        if not (offset.shape == divisor.shape == (width,)):
            raise ValueError(f"{key} does not have {width} offsets and divisors")
        with np.errstate(over="ignore"):
            divisor = divisor.astype(dtype)
        if not (np.isfinite(divisor).all() and divisor.all()):
            raise ValueError(f"{key}.divisor contains a number that is 0 or too large")


def _check_label_type(classes: tuple[str, ...], label_type: str) -> None:
    """Raise an error for classes that `predict` could not return in their type."""
    try:
        labels = from_names(classes, label_type).tolist()
    except ValueError:
        labels = []
    if len(set(labels)) < len(classes):
        raise ValueError(f"label_type is {label_type!r}, but classes is {abridged(list(classes))}")
