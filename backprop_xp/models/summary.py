"""A summary of a network or a model, layer by layer, as plain data."""

from __future__ import annotations

from typing import Any, NamedTuple

from backprop_xp.data.scaling import Scaling
from backprop_xp.models.model import Model
from backprop_xp.nn.network import Network

_BYTES = {"float32": 4, "float64": 8}


class LayerSummary(NamedTuple):
    """One layer of a network.

    Attributes
    ----------
    name : str
        ``"hidden 1"`` and so on, and ``"output"``.
    activation : str
    shape : (int, int)
        The shape of its weights, (n_out, n_in).
    biases, parameters : int
        Their number; ``parameters`` counts weights and biases.
    bytes : int
        The memory that the parameters take.
    """

    name: str
    activation: str
    shape: tuple[int, int]
    biases: int
    parameters: int
    bytes: int


def summary(network: Network, dtype: str = "float32") -> list[LayerSummary]:
    """Return a row for each layer of weights, from the first hidden layer to the output.

    Parameters
    ----------
    network : Network
    dtype : {"float32", "float64"}
        The data type of the parameters, which determines their bytes.

    Examples
    --------
    >>> for row in summary(Network((784, 30, 10), ("sigmoid", "softmax"))):
    ...     print(*row)
    hidden 1 sigmoid (30, 784) 30 23550 94200
    output softmax (10, 30) 10 310 1240
    """
    rows = []
    for index, activation in enumerate(network.activations, start=1):
        n_in, n_out = network.sizes[index - 1], network.sizes[index]
        name = "output" if index == len(network.activations) else f"hidden {index}"
        biases = n_out if network.bias else 0
        parameters = n_out * n_in + biases
        size = parameters * _BYTES[dtype]
        rows.append(LayerSummary(name, activation.name, (n_out, n_in), biases, parameters, size))
    return rows


def describe(model: Model) -> dict[str, Any]:
    """Return a description of a model, without its weights, as data that JSON can hold.

    Parameters
    ----------
    model : Model

    Returns
    -------
    dict
        ``layers`` (the rows of `summary`), ``parameters`` and ``bytes`` of all of them, ``dtype``,
        ``inputs`` (their ``number``, ``features`` and ``image_shape``), ``scaling`` in words,
        ``classes``, ``loss``, ``seed`` and ``version``.
    """
    layers = summary(model.network, model.dtype)
    return {
        "layers": [layer._asdict() for layer in layers],
        "parameters": sum(layer.parameters for layer in layers),
        "bytes": sum(layer.bytes for layer in layers),
        "dtype": model.dtype,
        "inputs": {
            "number": model.network.sizes[0],
            "features": model.features,
            "image_shape": model.image_shape,
        },
        "scaling": _in_words(model.scaling),
        "classes": model.classes,
        "loss": model.loss.name,
        "seed": model.seed,
        "version": model.version,
    }


def _in_words(scaling: Scaling | None) -> str:
    if scaling is None:
        return "none"
    offset, divisor = scaling
    if offset.any() or (divisor != divisor[0]).any():
        return "a shift and a divisor for each input"
    return "none" if divisor[0] == 1.0 else f"divided by {divisor[0]:g}"
