"""Losses: how wrong the outputs are, and the error δ = dL/dz where backpropagation starts.

The loss of one sample is a sum over its n outputs, or a mean where the formula has 1/n; the loss
of a batch is the mean over its samples. The error at the output layer is equation (BP1),
δ = ∇_a L ⊙ f'(z). With some output activations this product has a simpler and more stable form,
the fused form, which the loss provides as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.backend.checks import reject_entries
from backprop_xp.errors import ConfigurationError, look_up
from backprop_xp.nn.activations import ACTIVATIONS, STEP, Activation

LossTerms = tuple[Array, Array]
"""The loss terms and their derivative, both of shape (batch, n_outputs)."""


class Loss(NamedTuple):
    """A loss with its derivative.

    Attributes
    ----------
    name : str
        Its key in `LOSSES`.
    formula : str
        The loss of one sample as text.
    value_and_gradient : callable ``(a, y, xp) -> (terms, dL/da)``
        The loss from the outputs ``a`` and the targets ``y``, for any output activation.
    fused : mapping of activation name to callable ``(z, a, y, xp) -> (terms, dL/dz)``
        The fused form, from the weighted inputs ``z``, for each activation that has one.
    needs_probabilities : bool
        Whether outputs and targets must be between 0 and 1.
    needs_positive : bool
        Whether outputs must be above 0 and targets at least 0.
    derivative_formula : str
        The derivative of the loss of one sample with respect to one output, as text.
    fused_formulas : mapping of activation name to str
        The error δ of each fused form, as text.
    scale_power : int or None
        The power of a factor c by which the loss grows if outputs and targets are multiplied by
        c, for the losses of a regression whose targets can be standardized; None for others.
    """

    name: str
    formula: str
    value_and_gradient: Callable[[Array, Array, Namespace], LossTerms]
    fused: Mapping[str, Callable[[Array, Array, Array, Namespace], LossTerms]] = {}
    needs_probabilities: bool = False
    needs_positive: bool = False
    derivative_formula: str = ""
    fused_formulas: Mapping[str, str] = {}
    scale_power: int | None = None


def loss_and_delta(
    loss: Loss,
    activation: Activation,
    z: Array,
    a: Array,
    y: Array,
    sample_weight: Array | None = None,
    loss_scale: Any = 1.0,
    *,
    xp: Namespace,
) -> tuple[Array, Array]:
    """Return the mean loss of a batch and the error δ at the output layer, equation (BP1).

    Parameters
    ----------
    loss : Loss
    activation : Activation
        The activation of the output layer.
    z, a, y : array, shape (batch, n_outputs)
        Weighted inputs, outputs and targets.
    sample_weight : array, shape (batch,), optional
        How much each sample counts: the mean is ``Σ w L / Σ w``.
    loss_scale : float, or array of shape ()
        A factor on δ.
    xp : namespace

    Returns
    -------
    value : array, shape ()
        The mean loss of the batch, on the device.
    delta : array, shape (batch, n_outputs)
        dL/dz of the mean loss, times ``loss_scale``.

    Examples
    --------
    >>> import numpy as np
    >>> from backprop_xp.nn.activations import SIGMOID
    >>> z = np.asarray([[0.0]]); a = SIGMOID.forward(z, np)
    >>> loss_and_delta(LOSSES["half_squared_error"], SIGMOID, z, a, np.asarray([[1.0]]), xp=np)
    (np.float64(0.125), array([[-0.125]]))
    """
    fused = fused_form(loss, activation)
    if fused is not None:
        terms, delta = fused(z, a, y, xp)
    else:
        terms, da = loss.value_and_gradient(a, y, xp)
        delta = activation.backward(da, z, a, xp)
    if sample_weight is None:
        factor = 1.0 / y.shape[0]
        delta *= factor * loss_scale
        return xp.sum(terms) * factor, delta
    factors = (sample_weight / xp.sum(sample_weight))[:, None]  # (batch, 1)
    delta *= factors * loss_scale
    terms *= factors
    return xp.sum(terms), delta


def fused_form(loss: Loss, activation: Activation) -> Callable[..., LossTerms] | None:
    """Return the fused form of a loss with an output activation, or None if there is none."""
    # A custom activation may have the name of a built-in one but must not use its fused form.
    return loss.fused.get(activation.name) if activation in ACTIVATIONS.values() else None


# --- squared errors: one function in four common conventions --------------------------------


def _squared(
    name: str, factor: float, formula: str, derivative_formula: str, *, over_outputs: bool
) -> Loss:
    """Return the loss ``factor * Σ_j (a_j - y_j)²``, a mean over the outputs or a sum."""

    def value_and_gradient(a: Array, y: Array, xp: Namespace) -> LossTerms:
        scale = factor / a.shape[-1] if over_outputs else factor
        difference = a - y
        terms = difference * difference
        terms *= scale
        if scale != 0.5:
            difference *= 2.0 * scale
        return terms, difference

    return Loss(
        name, formula, value_and_gradient, derivative_formula=derivative_formula, scale_power=2
    )


SQUARED_ERRORS = (
    _squared("half_squared_error", 0.5, "½ Σ_j (a_j - y_j)²", "a_j - y_j", over_outputs=False),
    _squared(
        "mean_half_squared_error",
        0.5,
        "1/(2n) Σ_j (a_j - y_j)²",
        "(a_j - y_j) / n",
        over_outputs=True,
    ),
    _squared("squared_error", 1.0, "Σ_j (a_j - y_j)²", "2 (a_j - y_j)", over_outputs=False),
    _squared(
        "mean_squared_error", 1.0, "1/n Σ_j (a_j - y_j)²", "2 (a_j - y_j) / n", over_outputs=True
    ),
)


# --- absolute errors: outliers affect them less than squared errors --------------------------


def _absolute(
    name: str, above: float, below: float, formula: str, derivative_formula: str = ""
) -> Loss:
    """Return a loss that grows by ``above`` or ``below`` per unit that an output is above or below
    its target, averaged over the outputs; where they are equal, the subgradient is 0."""

    def value_and_gradient(a: Array, y: Array, xp: Namespace) -> LossTerms:
        n = a.shape[-1]
        difference = a - y
        derivative = xp.astype(difference > 0.0, a.dtype)
        derivative *= above / n
        derivative -= xp.astype(difference < 0.0, a.dtype) * (below / n)
        return derivative * difference, derivative

    return Loss(
        name, formula, value_and_gradient, derivative_formula=derivative_formula, scale_power=1
    )


MEAN_ABSOLUTE_ERROR = _absolute(
    "mean_absolute_error", 1.0, 1.0, "1/n Σ_j |a_j - y_j|", "sign(a_j - y_j) / n"
)


def quantile(q: float) -> Loss:
    """Return the pinball loss, ``1/n Σ_j max(q (y_j - a_j), (1 - q) (a_j - y_j))``.

    The constant output that minimizes it is the quantile ``q`` of the targets. For the median,
    ``q`` = 0.5, it is half of ``mean_absolute_error``.

    Source: Koenker and Bassett (1978), "Regression quantiles".

    Raises
    ------
    ConfigurationError
        If ``q`` is not between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> quantile(0.75).value_and_gradient(np.asarray([[1.0, 9.0]]), np.asarray([[5.0, 5.0]]), np)[0]
    array([[1.5, 0.5]])
    """
    if not 0.0 < q < 1.0:
        raise ConfigurationError(f"the quantile is {q}", "give a number between 0 and 1")
    formula = f"1/n Σ_j max({q:g} (y_j - a_j), {1.0 - q:g} (a_j - y_j))"
    return _absolute("quantile", 1.0 - q, q, formula)


def huber(delta: float = 1.0) -> Loss:
    """Return Huber's loss: half the squared error up to ``delta``, and a straight line beyond it.

    ``1/n Σ_j h(a_j - y_j)`` with ``h(d) = ½ d² if |d| <= delta else delta (|d| - ½ delta)``, a mean
    over the outputs as in PyTorch.

    Source: Huber (1964), "Robust estimation of a location parameter".

    Raises
    ------
    ConfigurationError
        If ``delta`` is not a number above 0.

    Examples
    --------
    >>> import numpy as np
    >>> huber(2.0).value_and_gradient(np.asarray([[1.0], [-9.0]]), np.zeros((2, 1)), np)[0]
    array([[ 0.5],
           [16. ]])
    """
    if not 0.0 < delta < float("inf"):
        raise ConfigurationError(f"delta is {delta}", "give a number above 0")

    def value_and_gradient(a: Array, y: Array, xp: Namespace) -> LossTerms:
        factor = 1.0 / a.shape[-1]
        difference = a - y
        derivative = xp.minimum(xp.maximum(difference, -delta), delta)
        difference -= 0.5 * derivative
        terms = derivative * difference  # d (d - ½ d), or ±δ (d ∓ ½ δ)
        if factor != 1.0:
            terms *= factor
            derivative *= factor
        return terms, derivative

    return Loss(
        "huber",
        f"1/n Σ_j [½ d² if |d| <= {delta:g} else {delta:g} (|d| - {0.5 * delta:g})], d = a_j - y_j",
        value_and_gradient,
        derivative_formula=f"max(-{delta:g}, min(a_j - y_j, {delta:g})) / n",
        scale_power=2,  # if delta is multiplied by the factor as well
    )


HUBER = huber()


# --- cross-entropies ------------------------------------------------------------------------

# Keeps log and 1/x finite for outputs of exactly 0 or 1; far below the float32 resolution at 1.
_FLOOR = 1e-12


def _binary_cross_entropy(a: Array, y: Array, xp: Namespace) -> LossTerms:
    b = 1.0 - a
    terms = y * xp.log(xp.maximum(a, _FLOOR))
    terms += (1.0 - y) * xp.log(xp.maximum(b, _FLOOR))
    terms *= -1.0
    return terms, (a - y) / xp.maximum(a * b, _FLOOR)


def _binary_cross_entropy_of_sigmoid(z: Array, a: Array, y: Array, xp: Namespace) -> LossTerms:
    # -y log σ(z) - (1 - y) log(1 - σ(z)) = max(z, 0) - y z + log(1 + exp(-|z|))
    terms = xp.log1p(xp.exp(-xp.abs(z)))
    terms += xp.maximum(z, 0.0)
    terms -= y * z
    return terms, a - y  # σ'(z) has canceled, so a saturated output does not slow down learning


BINARY_CROSS_ENTROPY = Loss(
    "binary_cross_entropy",
    "-Σ_j [y_j log a_j + (1 - y_j) log(1 - a_j)]",
    _binary_cross_entropy,
    {"sigmoid": _binary_cross_entropy_of_sigmoid},
    needs_probabilities=True,
    derivative_formula="(a_j - y_j) / (a_j (1 - a_j))",
    fused_formulas={"sigmoid": "δ = (a - y) / batch"},
)


def _cross_entropy(a: Array, y: Array, xp: Namespace) -> LossTerms:
    a = xp.maximum(a, _FLOOR)
    terms = y * xp.log(a)
    terms *= -1.0
    return terms, -y / a


def _cross_entropy_of_softmax(z: Array, a: Array, y: Array, xp: Namespace) -> LossTerms:
    # log a_j = z_j - log Σ exp(z). The largest output is at least 1/n, so its logarithm is finite,
    # and log Σ exp(z) = max(z) - log max(a) needs no further exponential.
    log_sum = xp.max(z, axis=-1, keepdims=True) - xp.log(xp.max(a, axis=-1, keepdims=True))
    terms = log_sum - z
    terms *= y
    delta = a * xp.sum(y, axis=-1, keepdims=True)  # Σ_j y_j (a_i - δ_ij); the sum is usually 1
    delta -= y
    return terms, delta


CROSS_ENTROPY = Loss(
    "cross_entropy",
    "-Σ_j y_j log a_j",
    _cross_entropy,
    {"softmax": _cross_entropy_of_softmax},
    needs_probabilities=True,
    derivative_formula="-y_j / a_j",
    fused_formulas={"softmax": "δ = (a Σ_j y_j - y) / batch"},
)


# --- the Poisson likelihood: targets are counts, outputs are their rates ---------------------

# Added to both sides of a quotient of two numbers near exp(z), which is 1 where both underflow.
_TINY = 1e-30


def _poisson(a: Array, y: Array, xp: Namespace) -> LossTerms:
    positive = xp.maximum(a, _FLOOR)
    terms = y * xp.log(positive)
    terms *= -1.0
    terms += a
    return terms, 1.0 - y / positive


def _poisson_of_softplus(z: Array, a: Array, y: Array, xp: Namespace) -> LossTerms:
    # For z << 0, a = log(1 + exp(z)) is about exp(z) and underflows, but its logarithm is about z:
    # log a = min(z, 0) + log(a / exp(min(z, 0))).
    low = xp.minimum(z, 0.0)
    terms = xp.log((a + _TINY) / (xp.exp(low) + _TINY))
    terms += low
    terms *= -y
    terms += a
    derivative = -xp.expm1(-a)  # σ(z) = 1 - exp(-a)
    delta = (derivative + _TINY) / (a + _TINY)
    delta *= -y
    delta += derivative
    return terms, delta


POISSON = Loss(
    "poisson",
    "Σ_j (a_j - y_j log a_j)",
    _poisson,
    {"softplus": _poisson_of_softplus},
    needs_positive=True,
    derivative_formula="1 - y_j / a_j",
    fused_formulas={"softplus": "δ = σ(z) (1 - y / a) / batch"},
)


# --- the registry ----------------------------------------------------------------------------

LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        *SQUARED_ERRORS,
        *(MEAN_ABSOLUTE_ERROR, HUBER, BINARY_CROSS_ENTROPY, CROSS_ENTROPY, POISSON),
    )
}


def get_loss(loss: str | Loss) -> Loss:
    """Return the loss with the given name; a `Loss` is returned unchanged.

    Raises
    ------
    ConfigurationError
        If the name is unknown; the hint suggests the nearest one.

    Examples
    --------
    >>> get_loss("squared_error").formula
    'Σ_j (a_j - y_j)²'
    """
    return look_up("loss", loss, LOSSES, Loss)


def default_loss(activation: Activation) -> Loss:
    """Return the usual loss for an output activation.

    It is the cross-entropy that has a fused form with the activation, otherwise half the squared
    error.

    Examples
    --------
    >>> from backprop_xp.nn.activations import SIGMOID, SOFTMAX, TANH
    >>> [default_loss(f).name for f in (SOFTMAX, SIGMOID, TANH)]
    ['cross_entropy', 'binary_cross_entropy', 'half_squared_error']
    """
    for loss in LOSSES.values():
        if loss.needs_probabilities and activation.name in loss.fused:
            return loss
    return LOSSES["half_squared_error"]


def check_pair(loss: Loss, activation: Activation) -> None:
    """Raise a `ConfigurationError` for an output activation whose values a loss cannot use."""
    low, high = activation.output_range
    if loss.needs_probabilities and (low < 0.0 or high > 1.0):
        needed, outputs = "between 0 and 1", [*loss.fused] or ["sigmoid", "softmax"]
    # Other activations only come close to 0; these two are exactly 0 for every z below 0.
    elif loss.needs_positive and (low < 0.0 or activation.name in ("step", "relu")):
        needed, outputs = "above 0", ["exp", "softplus"]
    else:
        return
    raise ConfigurationError(
        f"the loss {loss.name!r} needs outputs {needed}, "
        f"but {activation.name!r} gives values from {low:g} to {high:g}",
        f"use the output {' or '.join(map(repr, outputs))}, or the loss 'half_squared_error'",
    )


def check_learnable(loss: Loss, activation: Activation, n_outputs: int | None = None) -> None:
    """Raise a `ConfigurationError` for a loss and an output layer that cannot learn together.

    These are the pairs that `check_pair` rejects, and those whose formulas are right but which
    give the same outputs for every input, or never change a weight.

    Parameters
    ----------
    loss : Loss
    activation : Activation
        The activation of the output layer.
    n_outputs : int, optional
        The number of outputs, if it is known.

    Examples
    --------
    >>> from backprop_xp.nn.activations import SIGMOID
    >>> check_learnable(CROSS_ENTROPY, SIGMOID)
    Traceback (most recent call last):
    backprop_xp.errors.ConfigurationError: the loss 'cross_entropy' only rewards the output of \
the true class, so independent outputs such as 'sigmoid' all become 1
    use the output 'softmax', or the loss 'binary_cross_entropy'
    """
    if n_outputs == 1 and (activation.name == "softmax" or loss.name == CROSS_ENTROPY.name):
        raise ConfigurationError(
            "a softmax over one output is always 1, so the network cannot learn"
            if activation.name == "softmax"
            else f"the loss {loss.name!r} needs one output for each class, and there is only one",
            "for two classes, use two outputs with 'softmax', or one output 'sigmoid' with the "
            "loss 'binary_cross_entropy'; for a regression, use the output 'identity' with the "
            "loss 'half_squared_error'",
        )
    check_pair(loss, activation)
    if activation is STEP:
        raise ConfigurationError(
            "the derivative of the output 'step' is 0, so the network cannot learn",
            "use the output 'sigmoid', a smooth step",
        )
    # With softmax, one output can only grow at the expense of the others.
    if loss.name == CROSS_ENTROPY.name and activation.derivative is not None:
        raise ConfigurationError(
            f"the loss {loss.name!r} only rewards the output of the true class, so independent "
            f"outputs such as {activation.name!r} all become 1",
            "use the output 'softmax', or the loss 'binary_cross_entropy'",
        )


def check_targets(
    y: Array, loss: Loss, *, xp: Namespace, what: str = "the data", first: int = 0
) -> None:
    """Raise a `DataError` for targets outside the range that a loss needs.

    The message names the data, ``what``, and counts its rows from ``first``.
    """
    if loss.needs_probabilities:
        wrong, allowed = xp.logical_or(y < 0.0, y > 1.0), "between 0 and 1"
    elif loss.needs_positive:
        wrong, allowed = y < 0.0, "from 0 up"
    else:
        return
    hint = f"the loss {loss.name!r} needs targets {allowed}; fix them, or choose another loss"
    reject_entries(wrong, y, xp, f"the targets of {what}", hint, first)
