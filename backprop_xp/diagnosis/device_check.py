"""The device check: does a backend on a device compute the same as NumPy in float64?

All quantities are computed from the same state, since long runs on different hardware drift apart
by rounding alone.
"""

from __future__ import annotations

import functools
import math
import operator
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from backprop_xp.backend import arrays, random
from backprop_xp.backend.devices import DTYPES, Placement, select_device
from backprop_xp.errors import ConfigurationError
from backprop_xp.nn.activations import ACTIVATIONS, OUTPUTS, Activation
from backprop_xp.nn.backpropagation import StepResult, forward, loss_and_gradients
from backprop_xp.nn.gradient_check import check_gradients
from backprop_xp.nn.losses import LOSSES, Loss, check_pair
from backprop_xp.nn.network import Network, Parameters, initial_parameters, map_arrays
from backprop_xp.nn.optimizers import (
    OPTIMIZERS,
    get_optimizer,
    gradient_scale,
    initial_slots,
    update,
)
from backprop_xp.nn.regularizers import Penalty
from backprop_xp.training.fit import fit

LIMITS = {"float64": 1e-12, "float32": 1e-5}
"""Largest admissible error, relative to the largest entry of its array."""

GRADIENT_LIMIT = 1e-7
"""Largest admissible difference from central differences, whose own error is about 1e-9."""


class Row(NamedTuple):
    """A row of the table: a quantity, its largest error, and the limit.

    Attributes
    ----------
    group, name : str
        The kind of comparison, and the quantity.
    error, limit : float
    where : str
        The network or array with the largest error.
    """

    group: str
    name: str
    error: float
    limit: float
    where: str

    @property
    def passed(self) -> bool:
        """Whether the error is within its limit."""
        return self.error <= self.limit


def allowed_pairs() -> Iterator[tuple[Activation, Loss]]:
    """Yield each output activation with each loss that accepts its outputs."""
    for activation in OUTPUTS.values():
        for loss in LOSSES.values():
            try:
                check_pair(loss, activation)
            except ConfigurationError:
                continue
            yield activation, loss


def gradient_rows() -> Iterator[Row]:
    """Check hand-written gradients against central differences, in float64 on NumPy.

    Yields one row for each output activation and loss: the worst over all hidden activations and
    over one, two and three layers of weights; two layers also with L1, L2, sample weights and a
    dropout mask.
    """
    layers = [(), *((f,) * n for f in ACTIVATIONS.values() for n in (1, 2))]
    for output, loss in allowed_pairs():
        errors: list[tuple[float, str]] = []
        for hidden in layers:
            network = Network((4, *(3 for _ in hidden), 2), (*hidden, output))
            case = _smooth_case(network)
            checks = [check_gradients(network, loss, *case)]
            if len(hidden) == 1:
                checks.append(check_gradients(network, loss, *case, **_regularized(case[1])))
            behind = " after " + ", ".join(f.name for f in hidden) if hidden else ""
            errors += [(check.error, check.where + behind) for check in checks]
        yield _worst_row("gradient", f"{output.name} + {loss.name}", errors, GRADIENT_LIMIT)


def _regularized(x: Any) -> dict[str, Any]:
    """Return all regularizers at once, for a batch and a hidden layer of three neurons."""
    xp = arrays.namespace(x)
    masks = [None, xp.astype(xp.reshape(xp.arange(3 * x.shape[0]), (-1, 3)) % 4 > 0, x.dtype) * 1.5]
    weights = xp.astype(xp.arange(x.shape[0]), x.dtype) + 0.5
    penalty = Penalty(0.1, 0.2, biases=True)
    return {"penalty": penalty, "sample_weight": weights, "dropout_masks": masks}


def _smooth_case(network: Network) -> tuple[Parameters, Any, Any]:
    """Return parameters, inputs and targets where no z is near 0 or a kink of its activation, and
    no output is near its target, where a loss may have a kink."""
    for seed in range(1000):
        parameters, x, y = _case(network, seed, 5)
        tape = forward(network, parameters, x)
        away = abs(tape.a[-1] - y)
        if not ((away > 0.0) & (away < 1e-3)).any() and not any(
            (abs(z) < 1e-3).any() or _has_kink(activation, z, 1e-3)
            for activation, z in zip(network.activations, tape.z, strict=True)
        ):
            return parameters, x, y
    raise AssertionError("no smooth case was found")


def _has_kink(activation: Activation, z: Any, h: float) -> bool:
    """Return whether a kink or a jump is within about h of any z: there the second difference is
    about h times the jump of the derivative, and elsewhere about h²."""
    xp = arrays.namespace(z)
    low, a, high = (activation.forward(z + step, xp) for step in (-h, 0.0, h))
    return bool((abs(low - 2.0 * a + high) > 0.05 * h * xp.maximum(abs(a), 1.0)).any())


def _case(network: Network, seed: int, n: int, dtype: str = "float64") -> tuple[Any, Any, Any]:
    """Return NumPy parameters, inputs and targets in float64 that are exact in ``dtype``."""
    host = select_device("cpu", "numpy", dtype=dtype)
    parameters = initial_parameters(network, seed, "scaled_normal", xp=host.xp, dtype=host.dtype)
    rng = random.generator(seed, random.CHECK)
    x = rng.normal(0.0, 1.0, (n, network.sizes[0])).astype(dtype).astype("float64")
    classes = rng.integers(0, network.sizes[-1], n)
    y = host.xp.eye(network.sizes[-1])[classes]
    return map_arrays(lambda p: p.astype("float64"), parameters), x, y


def backend_rows(placement: Placement) -> Iterator[Row]:
    """Compare a backend and device with NumPy in float64, in float64 and in float32.

    Yields rows for z, a, δ, the gradients and the loss of networks with each activation, for one
    step of each optimizer, and for ten steps of training.
    """
    for dtype in DTYPES:
        tested = select_device(placement.name, placement.backend, dtype=dtype)
        with tested.activate():
            yield from _pass_rows(tested)
            yield from _optimizer_rows(tested)
            yield from _training_rows(tested)


def _pass_rows(placement: Placement) -> Iterator[Row]:
    dtype = placement.precision
    errors: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for output, loss in allowed_pairs():
        for hidden in ACTIVATIONS.values():
            network = Network((64, 32, 16, 5), (hidden, hidden, output))
            parameters, x, y = _case(network, 1, 20, dtype)
            wanted = _quantities(loss_and_gradients(network, loss, parameters, x, y))
            parameters = map_arrays(placement.asarray, parameters)
            x, y = placement.asarray(x), placement.asarray(y)
            got = _quantities(loss_and_gradients(network, loss, parameters, x, y))
            where = f"{hidden.name}, {hidden.name}, {output.name} + {loss.name}"
            for name in wanted:
                errors[name].append((_error(wanted[name], got[name]), where))
    for name in errors:
        yield _worst_row(dtype, name, errors[name], LIMITS[dtype])


def _quantities(step: StepResult) -> dict[str, list[Any]]:
    tape, (layers, deltas) = step.tape, step.gradients
    return {
        "loss": [step.loss],
        "z": tape.z,
        "a": tape.a[1:],
        "δ": deltas,
        "∂L/∂W": [gradient.weights for gradient in layers],
        "∂L/∂b": [gradient.bias for gradient in layers],
    }


def _optimizer_rows(placement: Placement) -> Iterator[Row]:
    dtype = placement.precision
    reference = select_device("cpu", "numpy", dtype="float64")
    network = Network((300, 200), "identity")  # more elements than a slice of an update
    parameters, _, _ = _case(network, 2, 1, dtype)
    gradients, _, _ = _case(network, 3, 1, dtype)
    for name in OPTIMIZERS:
        optimizer = get_optimizer(name)
        scalars = optimizer.scalars(0.01, 1)
        results = []
        for device in (reference, placement):
            # Copies, since a rule overwrites its arrays.
            on_device = functools.partial(device.asarray, copy=True)
            p, g = (map_arrays(on_device, layers) for layers in (parameters, gradients))
            slots = initial_slots(optimizer, p, xp=device.xp)
            eta = gradient_scale(optimizer, scalars)
            g = map_arrays(functools.partial(operator.mul, eta), g)
            layers, slots = update(optimizer, p, g, slots, scalars, xp=device.xp)
            results.append(
                [*(a for layer in layers for a in layer), *(s for k in slots for s in k)]
            )
        yield Row(dtype, f"one step of {name}", _error(*results), LIMITS[dtype], "")


def _training_rows(placement: Placement) -> Iterator[Row]:
    dtype = placement.precision
    network = Network((64, 32, 5), ("tanh", "softmax"))
    parameters, x, y = _case(network, 4, 95, dtype)  # batches of 10, the last one of 5
    runs = []
    for device in (select_device("cpu", "numpy", dtype="float64"), placement):
        runs.append(
            fit(
                network,
                (x, y),
                device=device,
                parameters=parameters,
                optimizer="momentum",
                batch_size=10,
                epochs=1,
                seed=0,
            )
        )
    one, other = ([p for layer in run.parameters for p in layer] for run in runs)
    yield Row(dtype, "ten steps of training", _error(one, other), LIMITS[dtype], "momentum")


def _error(wanted: Iterable[Any], got: Iterable[Any]) -> float:
    """Return the largest difference of arrays, relative to the largest wanted entry of each."""
    errors = [0.0]
    for one, other in zip(wanted, got, strict=True):
        reference = arrays.to_numpy(one)
        difference = float(abs(arrays.to_numpy(other).astype("float64") - reference).max())
        scale = float(abs(reference).max())
        errors.append(difference / scale if scale else difference)
    return max(errors, key=_rank)


def _worst_row(group: str, name: str, errors: list[tuple[float, str]], limit: float) -> Row:
    """Return the row of the largest of some errors, each with the place where it occurred."""
    error, where = max(errors, key=lambda one: _rank(one[0]))
    return Row(group, name, error, limit, where)


def _rank(error: float) -> tuple[bool, float]:
    return math.isnan(error), error  # NaN is worse than any number
