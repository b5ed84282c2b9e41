"""PyTorch: the weights of a model as the state dict of an ``nn.Sequential``, and the reverse."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.backend.devices import select_device
from backprop_xp.data.labels import label_name, label_type
from backprop_xp.errors import ConfigurationError, ModelFileError
from backprop_xp.formatting import abridged, listed, pluralize
from backprop_xp.models.model import Model
from backprop_xp.nn.activations import OUTPUTS, Activation
from backprop_xp.nn.losses import default_loss
from backprop_xp.nn.network import Layer, Network
from backprop_xp.tensor_file import read_tensors, write_tensors

_FORMAT = "pt"
"""The format in the metadata, by which other libraries recognize the tensors of PyTorch."""

_MODULES = {
    "identity": "nn.Identity()",
    "sigmoid": "nn.Sigmoid()",
    "tanh": "nn.Tanh()",
    "relu": "nn.ReLU()",
    "leaky_relu": "nn.LeakyReLU(0.01)",
    "elu": "nn.ELU()",
    "gelu": "nn.GELU(approximate='tanh')",
    "silu": "nn.SiLU()",
    "softplus": "nn.Softplus()",
    "softmax": "nn.Softmax(dim=-1)",
}
"""The module of PyTorch for each activation that has one."""

_NAME = re.compile(r"(?P<before>.*?)(?P<number>0|[1-9]\d*)\.(?P<kind>weight|bias)")
_EXAMPLE = "0.weight, 0.bias, 2.weight, 2.bias"


def to_torch_state(model: Model) -> dict[str, Array]:
    """Return the weights of a model as the state dict of an ``nn.Sequential``.

    The layers of the ``nn.Sequential`` are ``nn.Linear`` and activations in turn, also where the
    activation is the identity, so the linear layers have the numbers 0, 2, 4, ... The state dict
    has only weights and biases: rows must be preprocessed and scaled before they enter the network,
    as `Model.read` and `Model.scaled` do it.

    Parameters
    ----------
    model : Model

    Returns
    -------
    dict of numpy.ndarray
        ``0.weight`` of shape (n_out, n_in), ``0.bias`` of shape (n_out,), ``2.weight`` and so on;
        no biases for a network without them. PyTorch takes them as tensors:
        ``{name: torch.from_numpy(array) for name, array in state.items()}``.

    Examples
    --------
    >>> from backprop_xp import initial_parameters
    >>> network = Network((64, 30, 10), ("relu", "softmax"))
    >>> parameters = initial_parameters(network, seed=0, xp=np, dtype=np.float32)
    >>> model = Model(network, parameters, default_loss(network.activations[-1]))
    >>> {name: array.shape for name, array in to_torch_state(model).items()}
    {'0.weight': (30, 64), '0.bias': (30,), '2.weight': (10, 30), '2.bias': (10,)}
    """
    state = {}
    for index, (weights, bias) in enumerate(model.parameters):
        state[f"{2 * index}.weight"] = arrays.to_numpy(weights)
        if bias is not None:
            state[f"{2 * index}.bias"] = arrays.to_numpy(bias)
    return state


def from_torch_state(
    state: str | os.PathLike[str] | Mapping[str, Any],
    activations: str | Activation | Sequence[str | Activation],
    *,
    classes: Sequence[Any] | None = None,
) -> Model:
    """Return a model with the weights of a network of ``nn.Linear`` layers from PyTorch.

    The sizes of the layers are those of the weights. Activations have no weights, so a state dict
    does not contain them: they have to be given, and wrong ones are not noticed. The model takes
    inputs as the PyTorch network did, without scaling; ``dataclasses.replace(model, scaling=...)``
    adds one.

    Parameters
    ----------
    state : path or dict of arrays
        A safetensors file, or a state dict of NumPy arrays or tensors. The names are those of an
        ``nn.Sequential``, ``0.weight``, ``0.bias``, ``2.weight`` and so on, or other names that
        differ only in a number, such as ``net.fc1.weight`` and ``net.fc2.weight``; the layers are
        in the order of these numbers. A layer without a bias gets one of zeros if another layer has
        one.
    activations : name, `Activation`, or a sequence of them
        One for each layer, or a single one for all of them.
    classes : sequence of labels, optional
        The class of each output of a classification, or two classes for a single output. Without
        them the model is a regression, whose predictions are the outputs.

    Returns
    -------
    Model
        On the CPU, in float64 if all weights are, otherwise in float32. Its loss is the default of
        the output activation.

    Raises
    ------
    ConfigurationError
        If the number of activations or of classes does not fit the layers, an activation is
        unknown, or two classes are the same.
    ModelFileError
        If the file cannot be read, or the tensors are not the weights and biases of linear layers
        that follow each other, or contain NaN or infinity.

    Examples
    --------
    >>> weights = np.asarray([[1.0, -1.0], [0.0, 2.0]])
    >>> model = from_torch_state(
    ...     {"0.weight": weights, "0.bias": np.zeros(2)}, "softmax", classes=["cat", "dog"]
    ... )
    >>> model
    <Model 2-2: 2 classes, 6 parameters>
    >>> model.predict([[5.0, 1.0], [1.0, 5.0]]).tolist()
    ['cat', 'dog']
    """
    name = "the state dict"
    if not isinstance(state, Mapping):
        name = f"the state dict {os.fspath(state)}"
        state = read_tensors(state, None, "state dict")[0]
    parameters = _layers(state, name)
    dtype = str(parameters[0].weights.dtype)
    sizes = [parameters[0].weights.shape[1], *(layer.weights.shape[0] for layer in parameters)]
    network = Network(sizes, activations, bias=parameters[0].bias is not None)
    names: list[Any] | None = None
    kind = "number"
    if classes is not None:
        names, kind = [label_name(label) for label in classes], label_type(np.asarray(classes))
        n_classes = max(sizes[-1], 2)
        if len(names) != n_classes or len(set(names)) < n_classes or None in names:
            raise ConfigurationError(
                f"the classes are {abridged(list(classes))}, but {n_classes} different ones are "
                "needed",
                "give one class for each output, in their order, or two for a single output",
            )
    return Model(
        network=network,
        parameters=parameters,
        loss=default_loss(network.activations[-1]),
        classes=None if names is None else tuple(names),
        label_type=kind,
        placement=select_device("cpu", "numpy", dtype=dtype),
    )


def torch_module(network: Network) -> str | None:
    """Return the Python code of the ``nn.Sequential`` that loads the weights of a network.

    It is None if PyTorch has no module for one of the activations.

    Examples
    --------
    >>> torch_module(Network((64, 30, 10), ("relu", "softmax"), bias=False))
    'nn.Sequential(nn.Linear(64, 30, bias=False), nn.ReLU(), nn.Linear(30, 10, bias=False), \
nn.Softmax(dim=-1))'
    >>> torch_module(Network((2, 1), "step"))
    """
    parts = []
    for index, activation in enumerate(network.activations):
        if activation.name not in _MODULES or OUTPUTS[activation.name] is not activation:
            return None
        n_in, n_out = network.sizes[index : index + 2]
        bias = "" if network.bias else ", bias=False"
        parts += [f"nn.Linear({n_in}, {n_out}{bias})", _MODULES[activation.name]]
    return f"nn.Sequential({', '.join(parts)})"


def not_included(model: Model) -> list[str]:
    """Return what a prediction needs besides the weights, in words.

    Examples
    --------
    >>> not_included(from_torch_state({"0.weight": np.ones((1, 2))}, "identity"))
    []
    """
    missing = []
    if (columns := model.preprocessing) is not None and columns.inputs != columns.names:
        missing.append(
            f"the preprocessing of the columns {listed(columns.names, 10)}: categories become "
            "inputs of 0 and 1, and missing values are filled in"
        )
    if (scaling := model.scaling) is not None and (
        scaling.offset.any() or (scaling.divisor != 1.0).any()
    ):
        formula = "(x - offset) / divisor"
        if not scaling.offset.any() and (scaling.divisor == scaling.divisor[0]).all():
            formula = f"x / {scaling.divisor[0]:g}"
        missing.append(f"the scaling of the inputs, {formula}")
    if model.target_scaling is not None:
        missing.append("the conversion of the outputs to the units of the targets")
    return missing


def write_torch_state(path: str | os.PathLike[str], model: Model) -> dict[str, Any]:
    """Write the weights of `to_torch_state` to a file; see `backprop_xp.export_model`.

    The metadata of the file has texts: ``sizes``, ``activations`` and ``classes`` as JSON,
    ``module``, the code of `torch_module`, and ``not_included``.
    """
    state, module, missing = to_torch_state(model), torch_module(model.network), not_included(model)
    names = [activation.name for activation in model.network.activations]
    metadata = {
        "sizes": json.dumps(model.network.sizes),
        "activations": json.dumps(names),
        "classes": json.dumps(model.classes, ensure_ascii=False),
        "module": module or "",
        "not_included": "; ".join(missing),
        "written_by": f"backprop_xp {model.version}",
    }
    write_tensors(path, _FORMAT, state, metadata)
    notes = [f"not in the file: {text}" for text in missing]
    if missing:
        notes.append("the numpy format contains these numbers, and the onnx format applies them")
    if module is None:
        without = sorted({name for name in names if name not in _MODULES})
        notes.append(
            f"PyTorch has no module for the activation {listed(without or names, 10)}: write it as "
            "a module of its own"
        )
    return {"tensors": list(state), "module": module, "notes": notes}


def _layers(state: Mapping[str, Any], what: str) -> list[Layer]:
    """Return the layers of a state dict in their order, checked."""
    found: dict[int, dict[str, Array]] = {}
    before = set()
    for key, value in state.items():
        match = _NAME.fullmatch(key) if isinstance(key, str) else None
        array = arrays.to_numpy(value) if arrays.is_array(value) else np.asarray(value)
        wanted = {"weight": 2, "bias": 1}.get(match["kind"]) if match else None
        if match is None or array.ndim != wanted:
            raise ModelFileError(
                f"{what}: the tensor {abridged(key)} of the shape {array.shape} is not the weight "
                "or the bias of a numbered linear layer",
                f"give those of nn.Linear layers alone, under names such as {_EXAMPLE}",
            )
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            fault = f"has the type {array.dtype}"
            if array.dtype.kind == "f":
                fault = "contains NaN or infinite numbers"
            raise ModelFileError(
                f"{what}: the tensor {key!r} {fault}",
                "give finite floating-point numbers; quantized weights are not supported",
            )
        before.add(match["before"])
        found.setdefault(int(match["number"]), {})[match["kind"]] = array
    if not found:
        raise ModelFileError(f"{what} has no tensors", "give the weights of nn.Linear layers")
    if len(before) > 1:
        names = listed([f"{name}N" for name in sorted(before)], 10)
        raise ModelFileError(
            f"{what}: the order of its layers is not known, since their names differ in more than "
            f"a number: {names}",
            f"rename them in their order, to {_EXAMPLE} and so on",
        )
    dtype = (
        "float64"
        if all(a.dtype == np.float64 for p in found.values() for a in p.values())
        else "float32"
    )
    biased = any("bias" in parts for parts in found.values())
    layers: list[Layer] = []
    for number, parts in sorted(found.items()):
        if "weight" not in parts:
            raise ModelFileError(
                f"{what}: layer {number} has a bias, but no weight",
                "give the weight and the bias of each nn.Linear layer",
            )
        weights = parts["weight"]
        n_out, n_in = weights.shape
        bias = parts.get("bias", np.zeros(n_out)) if biased else None
        if bias is not None and bias.shape != (n_out,):
            raise ModelFileError(
                f"{what}: the bias of layer {number} has the shape {bias.shape}, but its weight "
                f"the shape {weights.shape}",
                "the weight of a linear layer has the shape (n_out, n_in), the bias (n_out,)",
            )
        if layers and n_in != layers[-1].weights.shape[0]:
            raise ModelFileError(
                f"{what}: layer {number} takes {pluralize(n_in, 'number')}, but the layer before "
                f"it gives {layers[-1].weights.shape[0]:,}",
                "give the linear layers of one network, with numbers in their order",
            )
        layers.append(Layer(weights.astype(dtype), None if bias is None else bias.astype(dtype)))
    return layers
