"""The gradient check: hand-written derivatives held against central differences of the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.nn.losses import Loss, output_error
from backprop_xp.nn.network import (
    Layer,
    Network,
    Parameters,
    check_parameters,
    forward,
    loss_and_gradients,
)
from backprop_xp.nn.regularizers import Penalty, add_penalty, penalty_value


class GradientCheck(NamedTuple):
    """The outcome of a gradient check: the entry on which both sides differ most.

    Attributes
    ----------
    error : float
        The largest difference, relative to the largest gradient entry of that array, or
        absolute where that is below 1.
    where : str
        The entry, for example ``"layer 2 weights[0, 3]"``; layers are counted from 1.
    analytic, numeric : float
        The two values at that entry: by backpropagation and by central differences.
    """

    error: float
    where: str
    analytic: float
    numeric: float


def check_gradients(
    network: Network,
    loss: Loss,
    parameters: Parameters,
    x: Array,
    y: Array,
    *,
    penalty: Penalty | None = None,
    weights: Array | None = None,
    masks: Sequence[Array | None] | None = None,
    step: float = 6e-6,
) -> GradientCheck:
    """Compare every gradient entry with ``(L(p + h) - L(p - h)) / 2h``.

    Parameters
    ----------
    network : Network
    loss : Loss
    parameters : list of Layer
        In float64: in float32 the difference of two losses has no digits left. Not changed.
    x, y : array, shape (batch, n_inputs) and (batch, n_outputs)
        A few samples; the cost is two forward passes for each parameter.
    penalty : Penalty, optional
        What is added to the loss for large weights.
    weights : array, shape (batch,), optional
        How much each sample counts.
    masks : sequence of array or None, optional
        Those of dropout, as for `backprop_xp.nn.network.forward`.
    step : float
        The step h. The cube root of float64's resolution balances the error of the formula,
        h², against that of rounding, ε/h.

    Returns
    -------
    GradientCheck
        An error below about 1e-8 says the gradient is right, above 1e-4 that it is wrong. At
        a kink (a ReLU or a weight under L1 at exactly 0) the comparison means nothing.

    Raises
    ------
    ConfigurationError
        If the parameters do not fit the network.

    Examples
    --------
    A wrong derivative is found, with its place:

    >>> import numpy as np
    >>> from backprop_xp.nn.activations import elementwise
    >>> from backprop_xp.nn.losses import get_loss
    >>> wrong = elementwise("wrong", lambda z, xp: z**2, lambda z, a, xp: z * 1.0)  # not 2z
    >>> parameters = [Layer(np.asarray([[0.5]]), None)]
    >>> x, y = np.asarray([[1.0]]), np.asarray([[1.0]])
    >>> found = check_gradients(
    ...     Network((1, 1), wrong, bias=False), get_loss("squared_error"), parameters, x, y
    ... )
    >>> print(f"{found.where}: {found.analytic:.3f} instead of {found.numeric:.3f}")
    layer 1 weights[0, 0]: -0.750 instead of -1.500
    """
    xp = arrays.direct(arrays.namespace(x))
    check_parameters(network, parameters)

    def value(changed: Parameters) -> float:
        tape = forward(network, changed, x, masks=masks, xp=xp)
        mean, _ = output_error(
            loss, network.activations[-1], tape.z[-1], tape.a[-1], y, weights, xp=xp
        )
        return float(mean) + float(penalty_value(penalty, changed, xp=xp) if penalty else 0.0)

    told: dict[str, Any] = {"weights": weights, "masks": masks, "xp": xp}
    gradients = loss_and_gradients(network, loss, parameters, x, y, **told).gradients.layers
    if penalty:
        gradients = add_penalty(penalty, gradients, parameters, xp=xp)
    worst = GradientCheck(0.0, "", 0.0, 0.0)
    for place, layer in enumerate(parameters):
        for kind, p, gradient in zip(Layer._fields, layer, gradients[place], strict=True):
            if p is None:
                continue
            flat = arrays.to_numpy(gradient).reshape(-1).tolist()
            scale = max(1.0, *(abs(entry) for entry in flat))
            for entry, analytic in enumerate(flat):
                # No array is written to: the perturbed one is a sum, on every library.
                nudge = _unit(p, entry) * step
                above, below = (
                    value(
                        [*parameters[:place], layer._replace(**{kind: q}), *parameters[place + 1 :]]
                    )
                    for q in (p + nudge, p - nudge)
                )
                numeric = (above - below) / (2.0 * step)
                error = abs(analytic - numeric) / scale
                if not error <= worst.error:  # so that NaN counts as the worst
                    where = f"layer {place + 1} {kind}{_index(entry, p.shape)}"
                    worst = GradientCheck(error, where, analytic, numeric)
    return worst


def _unit(p: Array, entry: int) -> Array:
    """Return zeros of the shape of ``p`` with a 1 at one place."""
    xp = arrays.namespace(p)
    places = xp.arange(math.prod(p.shape), device=arrays.device(p))
    return xp.reshape(xp.astype(places == entry, p.dtype), p.shape)


def _index(entry: int, shape: tuple[int, ...]) -> str:
    return str([entry]) if len(shape) == 1 else str(list(divmod(entry, shape[1])))
