"""Layer statistics: the sizes of δ, gradient and update, and the units that no longer learn."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.data.batch import Batch
from backprop_xp.nn.activations import Activation
from backprop_xp.nn.backpropagation import StepResult
from backprop_xp.nn.network import Layer, Network, Parameters, map_arrays
from backprop_xp.nn.optimizers import Scalars, Slots, gradient_scale
from backprop_xp.nn.regularizers import clip_by_norm
from backprop_xp.training.step import TrainingStep

MEASURES = ("delta", "gradient", "update", "saturated", "dead")
"""The quantities that are measured for each layer; see `measure`."""

SATURATED = 0.05
"""A unit is saturated for a sample if its derivative is below this fraction of that at z = 0."""

SAMPLE = 128
"""Training rows on which a step is measured."""

STEPS_BETWEEN = 100
"""Steps of training for each one that is measured, which costs a few percent of their time."""

_PART = 1 << 18
"""The number of weights whose update is tried at once."""


def is_due(step: int, steps: int, batch_size: int) -> bool:
    """Return whether a step is measured before an epoch of ``steps`` that begins after ``step``.

    This follows from the counters alone: before the first epoch, and then whenever enough steps,
    with enough rows, have passed for the measurement to cost little.

    Examples
    --------
    >>> [epoch for epoch in range(1, 9) if is_due((epoch - 1) * 24, 24, 64)]
    [1, 6]
    """
    between = max(STEPS_BETWEEN, STEPS_BETWEEN * SAMPLE // (2 * batch_size))
    return step == 0 or step // between > (step - steps) // between


def preview(
    step: TrainingStep,
    parameters: Parameters,
    slots: list[Slots],
    batch: Batch,
    number: Any,
    scalars: Scalars,
) -> Array:
    """Compute a step without changing anything, and return the result of `measure`.

    The arguments are those of `TrainingStep.gradients` and `TrainingStep.update`.
    """
    result = step.gradients(parameters, batch, number)
    gradients = result.gradients.layers
    if step.clip_norm is not None:
        copies = map_arrays(functools.partial(_copied, xp=step.xp), gradients)
        gradients = clip_by_norm(copies, step.clip_norm, xp=step.xp)
    remaining = iter(slots)
    changes = []
    for layer, gradient in zip(parameters, gradients, strict=True):
        weight_slots = next(remaining)
        if layer.bias is not None:
            next(remaining)
        changes.append(_change(step, layer.weights, gradient.weights, weight_slots, scalars))
    return measure(step.network, result, parameters, changes, xp=step.xp)


def _change(
    step: TrainingStep, weights: Array, gradient: Array, slots: Slots, scalars: Scalars
) -> Any:
    """Return the norm of the change that an update would make to the weights of a layer.

    It is tried on copies of some rows at a time, which needs little memory.
    """
    step = step._replace(clip_norm=None)  # the gradient is clipped already
    rows = max(1, _PART // weights.shape[1])
    squares: Any = 0.0
    for start in range(0, weights.shape[0], rows):
        part = slice(start, min(start + rows, weights.shape[0])), ...
        w, g, *s = (_copied(array[part], step.xp) for array in (weights, gradient, *slots))
        g *= gradient_scale(step.optimizer, scalars)
        (new,), _ = step.update([Layer(w, None)], [Layer(g, None)], [tuple(s)], scalars)
        change = new.weights - weights[part]
        squares = step.xp.sum(change * change) + squares
    return step.xp.sqrt(squares)


def _copied(array: Array, xp: Namespace) -> Array:
    return xp.asarray(array, copy=True)


def measure(
    network: Network,
    step: StepResult,
    parameters: Parameters,
    changes: Sequence[Array | float],
    *,
    xp: Namespace,
) -> Array:
    """Measure a step, layer by layer, on the device.

    ==============  ==========================================================================
    ``delta``       norm of one sample's δ = dL/dz, root mean square over the batch
    ``gradient``    norm of dL/dW and dL/db together
    ``update``      norm of the change of W, relative to the norm of W; not finite if that is 0
    ``saturated``   fraction of activations on a flat end of a bounded f: f'(z) < 0.05 f'(0)
    ``dead``        fraction of units with f'(z) = 0 for every sample, which no error passes
    ==============  ==========================================================================

    Parameters
    ----------
    network : Network
    step : StepResult
        With its tape and gradients.
    parameters : list of Layer
        Before the update.
    changes : sequence of float or array, shape ()
        For each layer the norm of the change of W.
    xp : namespace

    Returns
    -------
    array, shape (layers, 5)
        The two fractions are NaN if f is not elementwise, such as softmax.

    Examples
    --------
    >>> import numpy as np
    >>> from backprop_xp.nn.losses import get_loss
    >>> from backprop_xp.nn.network import Layer
    >>> from backprop_xp.nn.backpropagation import loss_and_gradients
    >>> network = Network((1, 2, 1), ("relu", "identity"))
    >>> weights = [Layer(np.asarray([[1.0], [-1.0]]), None), Layer(np.asarray([[3.0, 4.0]]), None)]
    >>> x, y = np.asarray([[1.0], [2.0]]), np.asarray([[0.0], [0.0]])
    >>> step = loss_and_gradients(network, get_loss("half_squared_error"), weights, x, y)
    >>> described = describe(measure(network, step, weights, [0.0, 0.0], xp=np))
    >>> described[0]["dead"], round(described[1]["delta"], 3)  # √((3² + 6²) / 2)
    (0.5, 4.743)
    """
    rows = [
        xp.stack(
            [
                _norm([delta], xp) * delta.shape[0] ** 0.5,
                _norm([g for g in gradient if g is not None], xp),
                change / _norm([layer.weights], xp),
                *_unlearning(activation, z, a, xp),
            ]
        )
        for delta, gradient, change, layer, activation, z, a in zip(
            step.gradients.deltas,
            step.gradients.layers,
            changes,
            parameters,
            network.activations,
            step.tape.z,
            step.tape.a[1:],
            strict=True,
        )
    ]
    return xp.stack(rows)


def describe(measured: Array) -> list[dict[str, float | None]]:
    """Return the result of `measure` as a dictionary per layer; None for non-finite values."""
    return [
        {
            name: value if math.isfinite(value) else None
            for name, value in zip(MEASURES, row, strict=True)
        }
        for row in arrays.to_numpy(measured).tolist()
    ]


def _norm(parts: list[Array], xp: Namespace) -> Array:
    return xp.sqrt(sum(xp.sum(part * part) for part in parts))


def _unlearning(activation: Activation, z: Array, a: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return the fraction of saturated activations, and that of dead units."""
    if activation.derivative is None:
        unknown = xp.full_like(xp.max(z), math.nan)
        return unknown, unknown
    slope = xp.abs(activation.derivative(z, a, xp))
    dead = xp.mean(xp.astype(xp.max(slope, axis=0) == 0.0, z.dtype))
    low, high = activation.output_range
    if math.isinf(high - low):
        return xp.zeros_like(dead), dead
    middle = xp.zeros_like(z[:1, :1])
    steepest = xp.abs(activation.derivative(middle, activation.forward(middle, xp), xp))
    return xp.mean(xp.astype(slope < SATURATED * steepest, z.dtype)), dead
