"""Divergence: which layer is no longer finite, and in which step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.errors import DivergenceError
from backprop_xp.nn.backpropagation import StepResult
from backprop_xp.nn.network import Parameters


def of_loss(
    loss: float,
    inspect: Callable[[], StepResult],
    *,
    step: int,
    epoch: int,
    learning_rate: float,
    xp: Namespace,
) -> DivergenceError:
    """Return the error for a loss that is not finite, which names the layer.

    ``inspect`` returns everything that the step computed; step and epoch count from 1.
    """
    zs = inspect().tape.z
    wrong = [index for index, z in enumerate(zs, start=1) if not _all_finite(z, xp)]
    culprit = f"the error of the outputs of layer {len(zs)} is too large"
    if wrong:
        culprit = f"the weighted inputs of layer {wrong[0]} are no longer finite"
    where = f"at step {step} (epoch {epoch})"
    return _diverged(f"the loss is {loss} {where}: {culprit}", learning_rate)


def finite_layers(parameters: Parameters, *, xp: Namespace) -> list[Array]:
    """Return for each layer whether its weights and biases are finite: arrays of shape ()."""
    return [
        functools.reduce(xp.logical_and, [xp.all(xp.isfinite(p)) for p in layer if p is not None])
        for layer in parameters
    ]


def check_weights(finite: Sequence[float], *, step: int, epoch: int, learning_rate: float) -> None:
    """Raise a `DivergenceError` that names the first layer with a weight that is not finite.

    ``finite`` is the result of `finite_layers` on the host.
    """
    if not all(finite):
        layer = 1 + [bool(number) for number in finite].index(False)
        raise _diverged(
            f"weights of layer {layer} are no longer finite after step {step} (epoch {epoch})",
            learning_rate,
        )


def _diverged(message: str, learning_rate: float) -> DivergenceError:
    return DivergenceError(
        f"training diverged: {message}",
        f"lower the learning rate (it is {learning_rate:g})",
    )


def _all_finite(x: Array, xp: Namespace) -> bool:
    return bool(xp.all(xp.isfinite(x)))
