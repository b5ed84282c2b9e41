"""Activation functions: each turns the weighted input z of a neuron into its output a = f(z).

Every function is next to its derivative, which backpropagation needs. Most activations work on
each number separately and are a pair (f, f'). Softmax is different: each of its outputs depends
on all inputs, so its derivative is a matrix, the Jacobian.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import NamedTuple

from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.errors import ConfigurationError, look_up


class Activation(NamedTuple):
    """An activation function ``a = f(z)`` with its derivative.

    Attributes
    ----------
    name : str
        Its key in `ACTIVATIONS`.
    formula, derivative_formula : str
        The function and its derivative as text.
    forward : callable ``(z, xp) -> a``
        The function; ``z`` has shape (batch, n).
    derivative : callable ``(z, a, xp) -> f'(z)`` or None
        The elementwise derivative as a new array, from ``z`` or ``a``, whichever is cheaper.
        None if the function is not elementwise.
    backward : callable ``(da, z, a, xp) -> dz``
        The product of dL/da with the (transposed) Jacobian, which is dL/dz; ``da`` is consumed.
    output_range : (float, float)
        Bounds of the outputs; cross-entropies need bounds within (0, 1).
    """

    name: str
    formula: str
    derivative_formula: str
    forward: Callable[[Array, Namespace], Array]
    derivative: Callable[[Array, Array, Namespace], Array] | None
    backward: Callable[[Array, Array, Array, Namespace], Array]
    output_range: tuple[float, float]


_INF = float("inf")


def elementwise(
    name: str,
    forward: Callable[[Array, Namespace], Array],
    derivative: Callable[[Array, Array, Namespace], Array],
    *,
    formula: str = "",
    derivative_formula: str = "",
    output_range: tuple[float, float] = (-_INF, _INF),
) -> Activation:
    """Return an activation from a pair (f, f') that works on each number separately.

    Parameters
    ----------
    name : str
        The name of the activation.
    forward : callable ``(z, xp) -> a``
    derivative : callable ``(z, a, xp) -> f'(z)``
        Must return a new array, never ``z`` or ``a`` themselves.
    formula, derivative_formula : str, optional
        The function and its derivative as text.
    output_range : (float, float), optional
        Bounds of the outputs.

    Examples
    --------
    >>> import numpy as np
    >>> square = elementwise("square", lambda z, xp: z * z, lambda z, a, xp: 2.0 * z)
    >>> z = np.asarray([[3.0]])
    >>> square.backward(np.asarray([[10.0]]), z, square.forward(z, np), np)
    array([[60.]])
    """

    def backward(da: Array, z: Array, a: Array, xp: Namespace) -> Array:
        dz = derivative(z, a, xp)
        dz *= da
        return dz

    return Activation(
        name, formula, derivative_formula, forward, derivative, backward, output_range
    )


# --- step: the perceptron's activation; its derivative is 0, so no error passes back -------


STEP = elementwise(
    "step",
    lambda z, xp: xp.astype(z > 0.0, z.dtype),
    lambda z, a, xp: xp.zeros_like(z),
    formula="1 if z > 0 else 0",
    derivative_formula="0 (everywhere except at the jump)",
    output_range=(0.0, 1.0),
)


# --- identity ------------------------------------------------------------------------------


IDENTITY = elementwise(
    "identity",
    lambda z, xp: z,
    lambda z, a, xp: xp.ones_like(z),
    formula="z",
    derivative_formula="1",
)._replace(backward=lambda da, z, a, xp: da)  # saves the product with ones


# --- sigmoid -------------------------------------------------------------------------------


def _sigmoid(z: Array, xp: Namespace) -> Array:
    # 1 / (1 + exp(-z)) overflows for z << 0. The equal ½ (1 + tanh(½ z)) is finite for every z,
    # needs no branch, and was measured to be the fastest form for 300 to a million numbers.
    a = xp.tanh(z * 0.5)
    a *= 0.5
    a += 0.5
    return a


def _sigmoid_derivative(z: Array, a: Array, xp: Namespace) -> Array:
    result = 1.0 - a
    result *= a
    return result


SIGMOID = elementwise(
    "sigmoid",
    _sigmoid,
    _sigmoid_derivative,
    formula="1 / (1 + exp(-z))",
    derivative_formula="a (1 - a)",
    output_range=(0.0, 1.0),
)


# --- tanh ----------------------------------------------------------------------------------


def _tanh_derivative(z: Array, a: Array, xp: Namespace) -> Array:
    result = a * a
    result *= -1.0
    result += 1.0
    return result


TANH = elementwise(
    "tanh",
    lambda z, xp: xp.tanh(z),
    _tanh_derivative,
    formula="tanh(z)",
    derivative_formula="1 - a²",
    output_range=(-1.0, 1.0),
)


# --- ReLU and leaky ReLU -------------------------------------------------------------------


RELU = elementwise(
    "relu",
    lambda z, xp: xp.maximum(z, 0.0),
    lambda z, a, xp: xp.astype(z > 0.0, z.dtype),
    formula="max(z, 0)",
    derivative_formula="1 if z > 0 else 0",
    output_range=(0.0, _INF),
)


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
    >>> leaky_relu(0.1).forward(np.asarray([-2.0, 3.0]), np)
    array([-0.2,  3. ])
    """
    if not 0.0 < alpha < 1.0:
        raise ConfigurationError(f"alpha is {alpha}", "give a number between 0 and 1")

    def derivative(z: Array, a: Array, xp: Namespace) -> Array:
        result = xp.astype(z > 0.0, z.dtype)
        result *= 1.0 - alpha
        result += alpha
        return result

    return elementwise(
        "leaky_relu",
        lambda z, xp: xp.maximum(z, z * alpha),
        derivative,
        formula=f"z if z > 0 else {alpha:g} z",
        derivative_formula=f"1 if z > 0 else {alpha:g}",
    )


LEAKY_RELU = leaky_relu()


# --- smooth variants of ReLU ---------------------------------------------------------------


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
    >>> elu().forward(np.asarray([-50.0, 0.0, 3.0]), np)
    array([-1.,  0.,  3.])
    """
    if not 0.0 < alpha < _INF:
        raise ConfigurationError(f"alpha is {alpha}", "give a number above 0")

    def forward(z: Array, xp: Namespace) -> Array:
        a = xp.expm1(xp.minimum(z, 0.0))
        a *= alpha
        a += xp.maximum(z, 0.0)
        return a

    def derivative(z: Array, a: Array, xp: Namespace) -> Array:
        result = xp.minimum(a, 0.0)  # alpha exp(z) = a + alpha
        result += alpha
        result += xp.astype(z > 0.0, z.dtype) * (1.0 - alpha)
        return result

    return elementwise(
        "elu",
        forward,
        derivative,
        formula=f"z if z > 0 else {alpha:g} (exp(z) - 1)",
        derivative_formula=f"1 if z > 0 else {alpha:g} exp(z)",
        output_range=(-alpha, _INF),
    )


ELU = elu()


# Hendrycks and Gimpel (2016), "Gaussian error linear units (GELUs)". Their z Φ(z) needs the error
# function, which the array API standard lacks. This is their approximation by tanh, accurate to
# 5e-4 everywhere, with the derivative of the approximation. In PyTorch it is
# ``gelu(z, approximate="tanh")``.
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


def _gelu_derivative(z: Array, a: Array, xp: Namespace) -> Array:
    t = _gelu_tanh(z, xp)
    result = z * z
    result *= 3.0 * _GELU_CUBIC
    result += _GELU_LINEAR
    result *= z
    result *= _tanh_derivative(z, t, xp)
    result += t
    result += 1.0
    result *= 0.5
    return result


GELU = elementwise(
    "gelu",
    _gelu,
    _gelu_derivative,
    formula="½ z (1 + t), t = tanh(√(2/π) (z + 0.044715 z³))",
    derivative_formula="½ (1 + t) + ½ z (1 - t²) √(2/π) (1 + 0.134145 z²)",
    output_range=(-0.1701, _INF),
)


# Elfwing, Uchibe and Doya (2018), "Sigmoid-weighted linear units"; also called swish.
def _silu(z: Array, xp: Namespace) -> Array:
    a = _sigmoid(z, xp)
    a *= z
    return a


def _silu_derivative(z: Array, a: Array, xp: Namespace) -> Array:
    s = _sigmoid(z, xp)
    result = 1.0 - s
    result *= a
    result += s
    return result


SILU = elementwise(
    "silu",
    _silu,
    _silu_derivative,
    formula="z σ(z), σ(z) = 1 / (1 + exp(-z))",
    derivative_formula="σ(z) + a (1 - σ(z))",
    output_range=(-0.2785, _INF),
)


# Dugas and others (2001), "Incorporating second-order functional knowledge".
def _softplus(z: Array, xp: Namespace) -> Array:
    a = xp.log1p(xp.exp(-xp.abs(z)))  # log(1 + exp(z)) would overflow for z >> 0
    a += xp.maximum(z, 0.0)
    return a


SOFTPLUS = elementwise(
    "softplus",
    _softplus,
    lambda z, a, xp: _sigmoid(z, xp),
    formula="log(1 + exp(z))",
    derivative_formula="1 / (1 + exp(-z))",
    output_range=(0.0, _INF),
)


# --- softmax: every output depends on every input ------------------------------------------


def softmax(z: Array, xp: Namespace) -> Array:
    """Return ``exp(z_i) / Σ_j exp(z_j)`` for ``z`` of shape (..., n).

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.asarray([[1e3, 1e3]]), np)
    array([[0.5, 0.5]])
    """
    # Adding a constant to all z does not change softmax; with the largest z at 0 nothing overflows.
    a = xp.exp(z - xp.max(z, axis=-1, keepdims=True))
    a /= xp.sum(a, axis=-1, keepdims=True)
    return a


def softmax_backward(da: Array, z: Array, a: Array, xp: Namespace) -> Array:
    """Return dL/dz from dL/da, both of shape (..., n).

    Examples
    --------
    >>> import numpy as np
    >>> softmax_backward(np.asarray([8.0, 0.0]), np.zeros(2), np.asarray([0.5, 0.5]), np)
    array([ 2., -2.])
    """
    # The product with J = diag(a) - a aᵀ, without forming J: a ⊙ (da - <da, a>).
    dz = da - xp.sum(da * a, axis=-1, keepdims=True)
    dz *= a
    return dz


def softmax_jacobian(a: Array, *, xp: Namespace) -> Array:
    """Return the full Jacobian of softmax, ``J[i, j] = da_i/dz_j = a_i (δ_ij - a_j)``.

    Its diagonal is ``a_i (1 - a_i)``; the other entries are ``-a_i a_j``.

    Parameters
    ----------
    a : array, shape (..., n)
        Softmax outputs.
    xp : namespace

    Returns
    -------
    array, shape (..., n, n)

    Examples
    --------
    >>> import numpy as np
    >>> softmax_jacobian(np.asarray([0.25, 0.75]), xp=np)
    array([[ 0.1875, -0.1875],
           [-0.1875,  0.1875]])
    """
    column = xp.expand_dims(a, axis=-1)  # (..., n, 1)
    row = xp.expand_dims(a, axis=-2)  # (..., 1, n)
    identity = xp.eye(a.shape[-1], dtype=a.dtype, device=getattr(a, "device", None))
    return column * (identity - row)


SOFTMAX = Activation(
    "softmax",
    "exp(z_i) / Σ_j exp(z_j)",
    "a_i (δ_ij - a_j)",
    softmax,
    None,
    softmax_backward,
    (0.0, 1.0),
)


# --- exp: for the rates of a Poisson loss, at the output only; hidden layers would overflow -----

EXP = elementwise(
    "exp",
    lambda z, xp: xp.exp(z),
    lambda z, a, xp: a * 1.0,
    formula="exp(z)",
    derivative_formula="a",
    output_range=(0.0, _INF),
)


# --- the registry --------------------------------------------------------------------------

ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        *(STEP, IDENTITY, SIGMOID, TANH, RELU, LEAKY_RELU, ELU, GELU, SILU, SOFTPLUS, SOFTMAX),
    )
}


OUTPUTS: Mapping[str, Activation] = ChainMap({EXP.name: EXP}, ACTIVATIONS)
"""The activations of an output layer: those above and the exponential, for rates."""


def get_activation(activation: str | Activation) -> Activation:
    """Return the activation with the given name; an `Activation` is returned unchanged.

    Raises
    ------
    ConfigurationError
        If the name is unknown; the hint suggests the nearest one.

    Examples
    --------
    >>> get_activation("tanh").derivative_formula
    '1 - a²'
    """
    return look_up("activation", activation, OUTPUTS, Activation)
