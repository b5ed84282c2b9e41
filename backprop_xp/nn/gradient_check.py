"""The gradient check: backpropagation compared with central differences of the loss.

It finds errors in hand-written derivatives, and the entry where they show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.backend.fast_numpy import fast_namespace
from backprop_xp.nn.backpropagation import forward, loss_and_gradients
from backprop_xp.nn.losses import Loss, loss_and_delta
from backprop_xp.nn.network import Layer, Network, Parameters, check_parameters
from backprop_xp.nn.regularizers import Penalty, add_penalty, penalty_value


class GradientCheck(NamedTuple):
    """The result of a gradient check: the entry with the largest difference.

    Attributes
    ----------
    error : float
        The largest difference, divided by the largest gradient entry of its array if that is
        above 1.
    where : str
        The entry, for example ``"layer 2 weights[0, 3]"``; layers are counted from 1.
    analytic, numeric : float
        The gradient at this entry by backpropagation and by central differences.
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
    sample_weight: Array | None = None,
    dropout_masks: Sequence[Array | None] | None = None,
    step: float = 6e-6,
) -> GradientCheck:
    """Compare every gradient entry with ``(L(p + h) - L(p - h)) / 2h``.

    Parameters
    ----------
    network : Network
    loss : Loss
    parameters : list of Layer
        In float64: in float32 the difference of two losses has no accurate digits. Not changed.
    x, y : array, shape (batch, n_inputs) and (batch, n_outputs)
        A few samples; the cost is two forward passes for each parameter.
    penalty : Penalty, optional
        A penalty on large weights, added to the loss.
    sample_weight : array, shape (batch,), optional
        How much each sample counts.
    dropout_masks : sequence of array or None, optional
        As for `backprop_xp.forward`.
    step : float
        The step h. By default the cube root of float64's resolution ε, which balances the error
        of the formula, h², and the rounding error, ε/h.

    Returns
    -------
    GradientCheck
        An error below about 1e-8 means that the gradient is right, above 1e-4 that it is wrong.
        At a kink (a ReLU, or a weight with an L1 penalty, at exactly 0) there is no derivative to
        compare.

    Raises
    ------
    ConfigurationError
        If the parameters do not fit the network.

    Examples
    --------
    Find a wrong derivative:

    >>> import numpy as np
    >>> from backprop_xp.nn.activations import elementwise
    >>> from backprop_xp.nn.losses import get_loss
    >>> wrong = elementwise("wrong", lambda z, xp: z**2, lambda z, a, xp: z * 1.0)  # not 2z
    >>> parameters = [Layer(np.asarray([[0.5]]), None)]
    >>> x, y = np.asarray([[1.0]]), np.asarray([[1.0]])
    >>> check = check_gradients(
    ...     Network((1, 1), wrong, bias=False), get_loss("squared_error"), parameters, x, y
    ... )
    >>> print(f"{check.where}: {check.analytic:.3f} instead of {check.numeric:.3f}")
    layer 1 weights[0, 0]: -0.750 instead of -1.500
    """
    xp = fast_namespace(arrays.namespace(x))
    check_parameters(network, parameters)

    def value(changed: Parameters) -> float:
        tape = forward(network, changed, x, dropout_masks=dropout_masks, xp=xp)
        mean, _ = loss_and_delta(
            loss, network.activations[-1], tape.z[-1], tape.a[-1], y, sample_weight, xp=xp
        )
        return float(mean) + float(penalty_value(penalty, changed, xp=xp) if penalty else 0.0)

    with arrays.on_device_of(x):
        gradients = loss_and_gradients(
            network,
            loss,
            parameters,
            x,
            y,
            sample_weight=sample_weight,
            dropout_masks=dropout_masks,
            xp=xp,
        ).gradients.layers
        if penalty:
            gradients = add_penalty(penalty, gradients, parameters, xp=xp)
        worst = GradientCheck(0.0, "", 0.0, 0.0)
        for index, layer in enumerate(parameters):
            for kind, p, gradient in zip(Layer._fields, layer, gradients[index], strict=True):
                if p is None:
                    continue
                flat = arrays.to_numpy(gradient).reshape(-1).tolist()
                scale = max(1.0, *(abs(entry) for entry in flat))
                for entry, analytic in enumerate(flat):
                    # A sum, because not every library can assign to an entry.
                    change = _unit(p, entry) * step
                    above, below = (
                        value(
                            [
                                *parameters[:index],
                                layer._replace(**{kind: q}),
                                *parameters[index + 1 :],
                            ]
                        )
                        for q in (p + change, p - change)
                    )
                    numeric = (above - below) / (2.0 * step)
                    error = abs(analytic - numeric) / scale
                    if not error <= worst.error:  # so that NaN counts as the worst
                        where = f"layer {index + 1} {kind}{_index(entry, p.shape)}"
                        worst = GradientCheck(error, where, analytic, numeric)
        return worst


def _unit(p: Array, entry: int) -> Array:
    """Return an array of the shape of ``p`` that is 1 at one entry and 0 elsewhere."""
    xp = arrays.namespace(p)
    entries = xp.arange(math.prod(p.shape), device=arrays.device(p))
    return xp.reshape(xp.astype(entries == entry, p.dtype), p.shape)


def _index(entry: int, shape: tuple[int, ...]) -> str:
    return str([entry]) if len(shape) == 1 else str(list(divmod(entry, shape[1])))
