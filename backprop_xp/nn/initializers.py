"""Initializers: the distributions from which the initial weights and biases are drawn.

They use NumPy's generator on the host, so that the numbers are the same, bit for bit, on every
backend.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from backprop_xp.errors import look_up
from backprop_xp.nn.activations import Activation

Generator = Any  # numpy.random.Generator, which this module uses without importing it
HostArray = Any


class Initializer(NamedTuple):
    """The distribution of the initial parameters of a layer.

    Attributes
    ----------
    name : str
        Its key in `INITIALIZERS`.
    formula : str
        The distribution as text.
    weights : callable ``(generator, n_out, n_in) -> host array of shape (n_out, n_in)``
    bias : callable ``(generator, n_out) -> host array of shape (n_out,)``
    """

    name: str
    formula: str
    weights: Callable[[Generator, int, int], HostArray]
    bias: Callable[[Generator, int], HostArray]


def _bias(deviation: float) -> Callable[[Generator, int], HostArray]:
    return lambda rng, n_out: rng.normal(0.0, deviation, n_out)


def _normal(
    name: str,
    formula: str,
    deviation: Callable[[int, int], float],
    bias_deviation: float = 0.0,
) -> Initializer:
    def weights(rng: Generator, n_out: int, n_in: int) -> HostArray:
        return rng.normal(0.0, deviation(n_in, n_out), (n_out, n_in))

    return Initializer(name, formula, weights, _bias(bias_deviation))


def _uniform(name: str, formula: str, limit: Callable[[int, int], float]) -> Initializer:
    def weights(rng: Generator, n_out: int, n_in: int) -> HostArray:
        bound = limit(n_in, n_out)
        return rng.uniform(-bound, bound, (n_out, n_in))

    return Initializer(name, formula, weights, _bias(0.0))


INITIALIZERS: dict[str, Initializer] = {
    initializer.name: initializer
    for initializer in (
        _normal("zeros", "0", lambda n_in, n_out: 0.0),
        _normal("standard_normal", "N(0, 1), biases too", lambda n_in, n_out: 1.0, 1.0),
        # Nielsen's default: small weights keep z = w·x + b of order 1; biases stay N(0, 1).
        _normal(
            "scaled_normal",
            "N(0, 1/n_in), biases N(0, 1)",
            lambda n_in, n_out: math.sqrt(1.0 / n_in),
            1.0,
        ),
        # Glorot and Bengio (2010): keeps the variance of activations and errors from layer to
        # layer; for tanh and sigmoid.
        _normal(
            "glorot_normal",
            "N(0, 2/(n_in + n_out))",
            lambda n_in, n_out: math.sqrt(2.0 / (n_in + n_out)),
        ),
        _uniform(
            "glorot_uniform",
            "U(±√(6/(n_in + n_out)))",
            lambda n_in, n_out: math.sqrt(6.0 / (n_in + n_out)),
        ),
        # He and others (2015): twice the variance, because ReLU sets half of its inputs to 0.
        _normal("he_normal", "N(0, 2/n_in)", lambda n_in, n_out: math.sqrt(2.0 / n_in)),
        _uniform("he_uniform", "U(±√(6/n_in))", lambda n_in, n_out: math.sqrt(6.0 / n_in)),
        # LeCun and others (1998), "Efficient BackProp".
        _normal("lecun_normal", "N(0, 1/n_in)", lambda n_in, n_out: math.sqrt(1.0 / n_in)),
        _uniform("lecun_uniform", "U(±√(3/n_in))", lambda n_in, n_out: math.sqrt(3.0 / n_in)),
    )
}


def get_initializer(initializer: str | Initializer) -> Initializer:
    """Return the initializer with the given name; an `Initializer` is returned unchanged.

    Raises
    ------
    ConfigurationError
        If the name is unknown; the hint suggests the nearest one.

    Examples
    --------
    >>> get_initializer("he_normal").formula
    'N(0, 2/n_in)'
    """
    return look_up("initializer", initializer, INITIALIZERS, Initializer, also="auto")


def initializer_for(activation: Activation) -> Initializer:
    """Return the usual initializer for an activation: He for ReLU and its variants, else Glorot.

    Examples
    --------
    >>> from backprop_xp.nn.activations import RELU, TANH
    >>> initializer_for(RELU).name, initializer_for(TANH).name
    ('he_normal', 'glorot_uniform')
    """
    rectifies = activation.name in ("relu", "leaky_relu", "elu", "gelu", "silu", "softplus")
    return INITIALIZERS["he_normal" if rectifies else "glorot_uniform"]
