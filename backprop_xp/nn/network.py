"""The network: a description of its layers, and their weights and biases.

A `Network` has the sizes and the activation functions of the layers. It does not hold weights:
these are a separate list of `Layer`, so that all computations are functions of plain data.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, NamedTuple

from backprop_xp.backend import random
from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.errors import ConfigurationError
from backprop_xp.formatting import abridged
from backprop_xp.nn.activations import Activation, get_activation
from backprop_xp.nn.initializers import Initializer, get_initializer, initializer_for

MAX_LAYERS, MAX_NEURONS = 1000, 2**31 - 1
"""Bounds of a network: a mistake beyond them would run for hours, or for ever."""


class Layer(NamedTuple):
    """The parameters of one layer, or their gradients.

    Attributes
    ----------
    weights : array, shape (n_out, n_in)
        ``weights[j, k]`` connects neuron k of the previous layer to neuron j of this one.
    bias : array, shape (n_out,), or None
    """

    weights: Array
    bias: Array | None


Parameters = list[Layer]


@dataclass(frozen=True, repr=False)
class Network:
    """The description of a fully connected feed-forward network; it holds no weights.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of neurons from the input to the output layer, for example (784, 30, 10).
    activations : name, `Activation`, or a sequence of them
        One for each layer after the input, or a single one for all of them.
    bias : bool
        Whether the neurons have biases.

    Raises
    ------
    ConfigurationError
        If a size is not a positive integer, an activation is unknown, or the number of
        activations does not match the number of layers.

    Examples
    --------
    >>> network = Network((784, 30, 10), ("sigmoid", "softmax"))
    >>> network
    Network(784-30-10, sigmoid, softmax)
    >>> network.n_parameters
    23860
    """

    sizes: tuple[int, ...]
    activations: tuple[Activation, ...] = field(default=())
    bias: bool = True

    def __init__(
        self,
        sizes: Iterable[int],
        activations: str | Activation | Sequence[str | Activation],
        bias: bool = True,
    ) -> None:
        sizes = tuple(sizes)
        if len(sizes) < 2:
            raise ConfigurationError(
                f"a network of the sizes {sizes} has no layer of weights",
                "give at least the number of inputs and the number of outputs",
            )
        if len(sizes) > MAX_LAYERS + 1:
            raise ConfigurationError(
                f"a network of {len(sizes) - 1:,} layers is too deep to train",
                f"give at most {MAX_LAYERS:,} layers",
            )
        for index, size in enumerate(sizes):
            if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
                raise ConfigurationError(
                    f"layer {index} has the size {abridged(size)}",
                    "every layer needs at least one neuron",
                )
            if size > MAX_NEURONS:
                raise ConfigurationError(
                    f"layer {index} has the size {abridged(size)}",
                    f"give at most {MAX_NEURONS:,} neurons",
                )
        if isinstance(activations, (str, Activation)):
            activations = [activations] * (len(sizes) - 1)
        if len(activations) != len(sizes) - 1:
            raise ConfigurationError(
                f"{len(activations)} activations were given for {len(sizes) - 1} layers",
                "give one for each layer after the input, or a single one for all",
            )
        object.__setattr__(self, "sizes", tuple(map(int, sizes)))
        object.__setattr__(self, "activations", tuple(get_activation(f) for f in activations))
        object.__setattr__(self, "bias", bool(bias))

    def __repr__(self) -> str:
        sizes = "-".join(map(str, self.sizes))
        names = [activation.name for activation in self.activations]
        return f"Network({', '.join([sizes, *names])}{'' if self.bias else ', without biases'})"

    @property
    def n_parameters(self) -> int:
        """The number of weights and biases."""
        return sum(n_out * (n_in + self.bias) for n_in, n_out in itertools.pairwise(self.sizes))

    @property
    def largest_layer(self) -> int:
        """The number of weights in the largest layer."""
        return max(n_out * n_in for n_in, n_out in itertools.pairwise(self.sizes))


def initial_parameters(
    network: Network,
    seed: int,
    initializer: str | Initializer = "auto",
    *,
    xp: Namespace,
    dtype: Any,
    device: Any = None,
) -> Parameters:
    """Draw the parameters of a network; the same seed gives the same numbers on every backend.

    Parameters
    ----------
    network : Network
    seed : int
    initializer : name or `Initializer`
        ``"auto"`` is He's for ReLU and its variants, and Glorot's for other activations.
    xp, dtype, device
        The array library, the data type and the device of the parameters.

    Raises
    ------
    ConfigurationError
        If the initializer is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> layers = initial_parameters(Network((2, 3, 1), "tanh"), 0, xp=np, dtype=np.float32)
    >>> [layer.weights.shape for layer in layers]
    [(3, 2), (1, 3)]
    """
    rng = random.generator(seed, random.INITIAL_WEIGHTS)
    layers = []
    pairs = itertools.pairwise(network.sizes)
    for (n_in, n_out), activation in zip(pairs, network.activations, strict=True):
        chosen = (
            initializer_for(activation) if initializer == "auto" else get_initializer(initializer)
        )
        weights = chosen.weights(rng, n_out, n_in)
        layers.append(Layer(weights, chosen.bias(rng, n_out) if network.bias else None))
    # Rounded to the data type on the host, so that every backend rounds in the same way.
    precision = "float64" if dtype == xp.float64 else "float32"
    return map_arrays(
        lambda p: xp.asarray(p.astype(precision), dtype=dtype, device=device, copy=True), layers
    )


def map_arrays(function: Callable[[Array], Array], parameters: Parameters) -> Parameters:
    """Apply a function to every weight matrix and bias."""
    return [
        Layer(function(layer.weights), None if layer.bias is None else function(layer.bias))
        for layer in parameters
    ]


def check_parameters(network: Network, parameters: Parameters) -> None:
    """Raise a `ConfigurationError` for parameters whose number or shapes do not fit the network.

    Examples
    --------
    >>> import numpy as np
    >>> check_parameters(Network((2, 1), "relu"), [Layer(np.ones((1, 3)), np.ones(1))])
    Traceback (most recent call last):
    backprop_xp.errors.ConfigurationError: the weights of layer 1 have the shape (1, 3), not (1, 2)
    """
    n_layers = len(network.sizes) - 1
    if len(parameters) != n_layers:
        raise ConfigurationError(f"{len(parameters)} layers of weights for a network of {n_layers}")
    for number, (weights, bias) in enumerate(parameters, start=1):
        shape = network.sizes[number], network.sizes[number - 1]
        if tuple(weights.shape) != shape:
            raise ConfigurationError(
                f"the weights of layer {number} have the shape {tuple(weights.shape)}, not {shape}"
            )
        expected = shape[:1] if network.bias else None
        actual = None if bias is None else tuple(bias.shape)
        if actual != expected:
            raise ConfigurationError(
                f"the bias of layer {number} has the shape {actual}, not {expected}"
            )
