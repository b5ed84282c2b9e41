"""Activation functions: what a neuron makes of its weighted input z, and how errors pass back.

Each function stands beside its derivative. An elementwise activation is a pair (f, f');
softmax, where every output depends on every input, brings its Jacobian instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from backprop_xp.arrays import Array, Namespace
from backprop_xp.errors import ConfigurationError, look_up


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
        From dL/da to dL/dz: the product with the (transposed) Jacobian.
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


# --- softmax -------------------------------------------------------------------------------


def _softmax(z: Array, xp: Namespace) -> Array:
    # Softmax does not change when all z shift together; with the largest at 0 nothing overflows.
    a = xp.exp(z - xp.max(z, axis=-1, keepdims=True))
    a /= xp.sum(a, axis=-1, keepdims=True)
    return a


def _softmax_pull_back(da: Array, z: Array, a: Array, xp: Namespace) -> Array:
    # The product with J = diag(a) - a aᵀ, without making J: a ⊙ (da - <da, a>).
    dz = da - xp.sum(da * a, axis=-1, keepdims=True)
    dz *= a
    return dz


def softmax_jacobian(a: Array, *, xp: Namespace) -> Array:
    """Return the full Jacobian of softmax, ``J[i, j] = da_i/dz_j = a_i (δ_ij - a_j)``.

    ``y (1 - y)`` is its diagonal only; off the diagonal stands ``-a_i a_j``.

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
    n = a.shape[-1]
    column = xp.expand_dims(a, axis=-1)  # (..., n, 1)
    row = xp.expand_dims(a, axis=-2)  # (..., 1, n)
    identity = xp.eye(n, dtype=a.dtype, device=getattr(a, "device", None))
    return column * (identity - row)


STEP = elementwise(
    "step",
    _step,
    _step_slope,
    formula="1 if z > 0 else 0",
    derivative="0 (everywhere but at the jump)",
    output_range=(0.0, 1.0),
)
IDENTITY = elementwise("identity", _identity, _identity_slope, formula="z", derivative="1")
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
SOFTMAX = Activation(
    "softmax",
    "exp(z_i) / Σ_j exp(z_j)",
    "a_i (δ_ij - a_j)",
    _softmax,
    None,
    _softmax_pull_back,
    (0.0, 1.0),
)

ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (STEP, IDENTITY, SIGMOID, TANH, RELU, LEAKY_RELU, SOFTMAX)
}


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
    return look_up("activation", activation, ACTIVATIONS)
