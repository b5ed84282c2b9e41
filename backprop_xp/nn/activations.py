"""Activation functions: what a neuron makes of its weighted input z, and how errors pass back.

Each function stands beside its derivative. An elementwise activation is a pair (f, f');
softmax, where every output depends on every input, brings its Jacobian from a file of its own.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import NamedTuple

from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.errors import ConfigurationError, look_up
from backprop_xp.nn.softmax import softmax, softmax_pull_back


class Activation(NamedTuple):
    """An activation function ``a = f(z)`` with its derivative.

    Attributes
    ----------
    name : str
        Its key in `ACTIVATIONS`.
    formula, derivative : str
        The mathematics as text.
    function : callable ``(z, xp) -> a``
        The function itself; ``z`` has shape (batch, n).
    slope : callable ``(z, a, xp) -> f'(z)`` or None
        Elementwise derivative, from whichever of ``z`` and ``a`` is cheaper; a new array.
        None if the function is not elementwise.
    pull_back : callable ``(da, z, a, xp) -> dz``
        From dL/da, which is consumed, to dL/dz: the product with the (transposed) Jacobian.
    output_range : (float, float)
        Bounds of the outputs; a loss of probabilities asks for (0, 1).
    """

    name: str
    formula: str
    derivative: str
    function: Callable[[Array, Namespace], Array]
    slope: Callable[[Array, Array, Namespace], Array] | None
    pull_back: Callable[[Array, Array, Array, Namespace], Array]
    output_range: tuple[float, float]


_INF = float("inf")


def elementwise(
    name: str,
    function: Callable[[Array, Namespace], Array],
    slope: Callable[[Array, Array, Namespace], Array],
    *,
    formula: str = "",
    derivative: str = "",
    output_range: tuple[float, float] = (-_INF, _INF),
) -> Activation:
    """Make an activation of a pair (f, f') that works on each number alone.

    Parameters
    ----------
    name : str
        What to call it.
    function : callable ``(z, xp) -> a``
    slope : callable ``(z, a, xp) -> f'(z)``
        Must return a new array, never ``z`` or ``a`` themselves.

    Examples
    --------
    >>> import numpy as np
    >>> square = elementwise("square", lambda z, xp: z * z, lambda z, a, xp: 2.0 * z)
    >>> z = np.asarray([[3.0]])
    >>> square.pull_back(np.asarray([[10.0]]), z, square.function(z, np), np)
    array([[60.]])
    """

    def pull_back(da: Array, z: Array, a: Array, xp: Namespace) -> Array:
        dz = slope(z, a, xp)
        dz *= da
        return dz

    return Activation(name, formula, derivative, function, slope, pull_back, output_range)


# --- step: the perceptron's activation; no error passes it ---------------------------------


def _step(z: Array, xp: Namespace) -> Array:
    return xp.astype(z > 0.0, z.dtype)


def _step_slope(z: Array, a: Array, xp: Namespace) -> Array:
    return xp.zeros_like(z)


# --- identity ------------------------------------------------------------------------------


def _identity(z: Array, xp: Namespace) -> Array:
    return z


def _identity_slope(z: Array, a: Array, xp: Namespace) -> Array:
    return xp.ones_like(z)


# --- sigmoid -------------------------------------------------------------------------------


def _sigmoid(z: Array, xp: Namespace) -> Array:
    # 1 / (1 + exp(-z)) overflows for z << 0. The same function written with tanh is finite for
    # every z, needs no branch, and was measured the fastest form from 300 to a million numbers.
    a = xp.tanh(z * 0.5)
    a *= 0.5
    a += 0.5
    return a


def _sigmoid_slope(z: Array, a: Array, xp: Namespace) -> Array:
    slope = 1.0 - a
    slope *= a
    return slope


# --- tanh ----------------------------------------------------------------------------------


def _tanh(z: Array, xp: Namespace) -> Array:
    return xp.tanh(z)


def _tanh_slope(z: Array, a: Array, xp: Namespace) -> Array:
    slope = a * a
    slope *= -1.0
    slope += 1.0
    return slope


# --- ReLU and leaky ReLU -------------------------------------------------------------------


def _relu(z: Array, xp: Namespace) -> Array:
    return xp.maximum(z, 0.0)


def _relu_slope(z: Array, a: Array, xp: Namespace) -> Array:
    return xp.astype(z > 0.0, z.dtype)


def leaky_relu(alpha: float = 0.01) -> Activation:
    """Return a leaky ReLU, ``z if z > 0 else alpha * z``, for ``0 < alpha < 1``.

    Source: Maas, Hannun and Ng (2013), "Rectifier nonlinearities improve neural network
    acoustic models".

    Raises
    ------
    ConfigurationError
        If ``alpha`` is not between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> leaky_relu(0.1).function(np.asarray([-2.0, 3.0]), np)
    array([-0.2,  3. ])
    """
    if not 0.0 < alpha < 1.0:
        raise ConfigurationError(f"alpha is {alpha}", "give a number between 0 and 1")

    def function(z: Array, xp: Namespace) -> Array:
        return xp.maximum(z, z * alpha)

    def slope(z: Array, a: Array, xp: Namespace) -> Array:
        result = xp.astype(z > 0.0, z.dtype)
        result *= 1.0 - alpha
        result += alpha
        return result

    return elementwise(
        "leaky_relu",
        function,
        slope,
        formula=f"z if z > 0 else {alpha:g} z",
        derivative=f"1 if z > 0 else {alpha:g}",
    )


# --- smooth relatives of ReLU --------------------------------------------------------------


def elu(alpha: float = 1.0) -> Activation:
    """Return an exponential linear unit, ``z if z > 0 else alpha * (exp(z) - 1)``.

    Source: Clevert, Unterthiner and Hochreiter (2016), "Fast and accurate deep network learning
    by exponential linear units (ELUs)".

    Raises
    ------
    ConfigurationError
        If ``alpha`` is not a number above 0.

    Examples
    --------
    >>> import numpy as np
    >>> elu().function(np.asarray([-50.0, 0.0, 3.0]), np)
    array([-1.,  0.,  3.])
    """
    if not 0.0 < alpha < _INF:
        raise ConfigurationError(f"alpha is {alpha}", "give a number above 0")

    def function(z: Array, xp: Namespace) -> Array:
        a = xp.expm1(xp.minimum(z, 0.0))
        a *= alpha
        a += xp.maximum(z, 0.0)
        return a

    def slope(z: Array, a: Array, xp: Namespace) -> Array:
        result = xp.minimum(a, 0.0)  # alpha exp(z) = a + alpha
        result += alpha
        result += xp.astype(z > 0.0, z.dtype) * (1.0 - alpha)
        return result

    return elementwise(
        "elu",
        function,
        slope,
        formula=f"z if z > 0 else {alpha:g} (exp(z) - 1)",
        derivative=f"1 if z > 0 else {alpha:g} exp(z)",
        output_range=(-alpha, _INF),
    )


# Hendrycks and Gimpel (2016), "Gaussian error linear units (GELUs)". Their z Φ(z) needs the error
# function, which the array API standard lacks; this is their approximation of it by tanh, within
# 5e-4 everywhere, and its own derivative. PyTorch calls it ``gelu(z, approximate="tanh")``.
_GELU_LINEAR = math.sqrt(2.0 / math.pi)
_GELU_CUBIC = 0.044715 * _GELU_LINEAR


def _gelu_tanh(z: Array, xp: Namespace) -> Array:
    inner = z * z
    inner *= _GELU_CUBIC
    inner += _GELU_LINEAR
    inner *= z
    return xp.tanh(inner)


def _gelu(z: Array, xp: Namespace) -> Array:
    a = _gelu_tanh(z, xp)
    a += 1.0
    a *= z
    a *= 0.5
    return a


def _gelu_slope(z: Array, a: Array, xp: Namespace) -> Array:
    t = _gelu_tanh(z, xp)
    slope = z * z
    slope *= 3.0 * _GELU_CUBIC
    slope += _GELU_LINEAR
    slope *= z
    slope *= _tanh_slope(z, t, xp)
    slope += t
    slope += 1.0
    slope *= 0.5
    return slope


# Elfwing, Uchibe and Doya (2018), "Sigmoid-weighted linear units"; also called swish.
def _silu(z: Array, xp: Namespace) -> Array:
    a = _sigmoid(z, xp)
    a *= z
    return a


def _silu_slope(z: Array, a: Array, xp: Namespace) -> Array:
    s = _sigmoid(z, xp)
    slope = 1.0 - s
    slope *= a
    slope += s
    return slope


# Dugas and others (2001), "Incorporating second-order functional knowledge".
def _softplus(z: Array, xp: Namespace) -> Array:
    a = xp.log1p(xp.exp(-xp.abs(z)))  # log(1 + exp(z)) would overflow for z >> 0
    a += xp.maximum(z, 0.0)
    return a


def _softplus_slope(z: Array, a: Array, xp: Namespace) -> Array:
    return _sigmoid(z, xp)


# --- the records --------------------------------------------------------------------------

STEP = elementwise(
    "step",
    _step,
    _step_slope,
    formula="1 if z > 0 else 0",
    derivative="0 (everywhere but at the jump)",
    output_range=(0.0, 1.0),
)
IDENTITY = elementwise(
    "identity", _identity, _identity_slope, formula="z", derivative="1"
)._replace(pull_back=lambda da, z, a, xp: da)  # the product with ones, saved
SIGMOID = elementwise(
    "sigmoid",
    _sigmoid,
    _sigmoid_slope,
    formula="1 / (1 + exp(-z))",
    derivative="a (1 - a)",
    output_range=(0.0, 1.0),
)
TANH = elementwise(
    "tanh", _tanh, _tanh_slope, formula="tanh(z)", derivative="1 - a²", output_range=(-1.0, 1.0)
)
RELU = elementwise(
    "relu",
    _relu,
    _relu_slope,
    formula="max(z, 0)",
    derivative="1 if z > 0 else 0",
    output_range=(0.0, _INF),
)
LEAKY_RELU = leaky_relu()
ELU = elu()
GELU = elementwise(
    "gelu",
    _gelu,
    _gelu_slope,
    formula="½ z (1 + t), t = tanh(√(2/π) (z + 0.044715 z³))",
    derivative="½ (1 + t) + ½ z (1 - t²) √(2/π) (1 + 0.134145 z²)",
    output_range=(-0.1701, _INF),
)
SILU = elementwise(
    "silu",
    _silu,
    _silu_slope,
    formula="z σ(z), σ(z) = 1 / (1 + exp(-z))",
    derivative="σ(z) + a (1 - σ(z))",
    output_range=(-0.2785, _INF),
)
SOFTPLUS = elementwise(
    "softplus",
    _softplus,
    _softplus_slope,
    formula="log(1 + exp(z))",
    derivative="1 / (1 + exp(-z))",
    output_range=(0.0, _INF),
)
SOFTMAX = Activation(
    "softmax",
    "exp(z_i) / Σ_j exp(z_j)",
    "a_i (δ_ij - a_j)",
    softmax,
    None,
    softmax_pull_back,
    (0.0, 1.0),
)

ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        *(STEP, IDENTITY, SIGMOID, TANH, RELU, LEAKY_RELU, ELU, GELU, SILU, SOFTPLUS, SOFTMAX),
    )
}

EXP = elementwise(
    "exp",
    lambda z, xp: xp.exp(z),
    lambda z, a, xp: a * 1.0,
    formula="exp(z)",
    derivative="a",
    output_range=(0.0, _INF),
)

OUTPUTS: Mapping[str, Activation] = ChainMap({EXP.name: EXP}, ACTIVATIONS)
"""What an output layer may have: also the exponential, of rates. Hidden, it would overflow."""


def get_activation(activation: str | Activation) -> Activation:
    """Return the activation of that name (a record of one's own is returned as it is).

    Raises
    ------
    ConfigurationError
        If there is none of that name; the message suggests the nearest.

    Examples
    --------
    >>> get_activation("tanh").derivative
    '1 - a²'
    """
    if isinstance(activation, Activation):
        return activation
    return look_up("activation", activation, OUTPUTS)
