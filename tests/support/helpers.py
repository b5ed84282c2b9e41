"""What several test files share: a backend under test, errors by size, and numeric derivatives."""

import json
import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from backprop_xp.backend import arrays
from backprop_xp.backend.devices import Placement
from backprop_xp.nn.activations import Activation
from backprop_xp.nn.backpropagation import forward
from backprop_xp.nn.network import Layer, Network, Parameters, initial_parameters, map_arrays

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
"""Largest admissible error, relative to the largest entry of the wanted array."""

DIFFERENCE_TOLERANCE = 1e-11
"""For central differences of sixth order: the rounding of the loss, 1e-16, over the step, 1e-3,
times the handful of additions that the losses here need."""


class Backend(NamedTuple):
    """An array library on a device, as a test meets it.

    Attributes
    ----------
    id : str
        What the test report calls it.
    placement : Placement
    readonly : bool
        Whether `array` hands out arrays that cannot be written to.
    compiled : bool
        Whether `jit` compiles.
    """

    id: str
    placement: Placement
    readonly: bool = False
    compiled: bool = False

    @property
    def xp(self) -> Any:
        return self.placement.xp

    def dtype(self, name: str) -> Any:
        return arrays.index_dtype(self.xp) if name == "index" else getattr(self.xp, name)

    def array(self, data: Any, dtype: str = "float64") -> Any:
        """Return an array of its own memory; ``"index"`` is the library's type for positions."""
        x = self.xp.asarray(
            np.asarray(data), dtype=self.dtype(dtype), device=self.placement.device, copy=True
        )
        if self.readonly:
            x.flags.writeable = False
        return x

    def layers(self, parameters: Parameters, dtype: str = "float64") -> Parameters:
        return map_arrays(lambda p: self.array(p, dtype), parameters)

    def numpy(self, x: Any) -> Any:
        return arrays.to_numpy(x)

    def jit(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function compiled where this backend compiles, else as it is."""
        if not self.compiled:
            return function
        import jax

        return jax.jit(function)


def numpy_of(parameters: Parameters) -> list[Any]:
    """Return all arrays of the parameters as NumPy arrays, one after the other."""
    return [arrays.to_numpy(p) for layer in parameters for p in layer if p is not None]


def bytes_of(parameters: Parameters) -> list[bytes]:
    return [p.tobytes() for p in numpy_of(parameters)]


def numbers_of(library, state):
    """Return everything in a state except the time that its epochs took."""
    layers = [state.parameters, state.last_parameters or [], state.best and state.best.parameters]
    slots = [[library.numpy(s).tobytes() for s in arrays] for arrays in state.slots]
    history = [{**record, "seconds": 0.0} for record in state.history]
    weights = [bytes_of(parameters) for parameters in layers if parameters is not None]
    counters = state.epoch, state.step, state.seed, state.stopped
    return weights, slots, history, counters, state.best and state.best[:2]


def error(got: Any, wanted: Any, size: float | None = None) -> float:
    """Return the largest difference relative to a size, by default that of the largest wanted
    entry; NaN if there is one."""
    got = np.asarray(arrays.to_numpy(got), dtype=np.float64)
    wanted = np.asarray(arrays.to_numpy(wanted), dtype=np.float64)
    assert got.shape == wanted.shape
    size = np.max(np.abs(wanted)) if size is None else size
    return float(np.max(np.abs(got - wanted)) / (size if size else 1.0))


def errors(got: Parameters, wanted: Parameters, size: float | None = None) -> float:
    """Return the largest `error` of any array of the parameters."""
    pairs = zip(numpy_of(got), numpy_of(wanted), strict=True)
    found = [error(one, other, size) for one, other in pairs]
    return math.nan if any(map(math.isnan, found)) else max(found)


def difference(function: Callable[[float], Any], h: float = 1e-3) -> Any:
    """Return the derivative of a function at 0 by central differences of sixth order."""
    weights = {1: 45.0, 2: -9.0, 3: 1.0}
    return sum(w * (function(k * h) - function(-k * h)) for k, w in weights.items()) / (60.0 * h)


def kink_near(function: Callable[[float], Any], h: float = 1e-3) -> bool:
    """Return whether a kink or a jump lies within 3 h of 0, where `difference` would be wrong.

    There the sixth difference is more than rounding: about h times the jump of the derivative.
    """
    values = [function(k * h) for k in range(-3, 4)]
    sixth = sum(
        c * v for c, v in zip((1.0, -6.0, 15.0, -20.0, 15.0, -6.0, 1.0), values, strict=True)
    )
    return bool(np.max(np.abs(sixth)) > 1e-12 * max(1.0, np.max(np.abs(values[3]))))


def away_from_kinks(function: Callable[[Any], Any], candidates: Iterable[Any]) -> Any:
    """Return the first NumPy array where `function` has no kink near any entry."""
    for x in candidates:
        units = np.eye(x.size).reshape(-1, *x.shape)
        if not any(kink_near(lambda t, x=x, unit=unit: function(x + t * unit)) for unit in units):
            return x
    raise AssertionError("every candidate lies near a kink")


def entry(table: Mapping[str, Any], name: str, where: str) -> Any:
    """Return what a table of the tests has for a registered name; skip the test if it has none.

    All other tests take their cases from the registries, so a new name needs no entry; with one it
    is also compared with an independent formula.
    """
    if name not in table:
        pytest.skip(f"no independent formula for {name!r}: add it to {where}")
    return table[name]


def gradient(function: Callable[[Any], float], x: Any) -> Any:
    """Return the gradient of a scalar function at a NumPy array by central differences."""
    found = np.empty_like(x)
    for place in np.ndindex(x.shape):
        unit = np.zeros_like(x)
        unit[place] = 1.0
        found[place] = difference(lambda t, unit=unit: function(x + t * unit))
    return found


def bend(activation: Activation, z: Any, h: float) -> float:
    """Return the largest second difference; it is about h at a kink, and h² elsewhere."""
    low, middle, high = (activation.forward(z + t, np) for t in (-h, 0.0, h))
    size = np.maximum(1.0, np.abs(middle))
    return float(np.max(np.abs(low - 2.0 * middle + high) / size))


def smooth_case(network: Network, n: int = 3, *, margin: float = 0.05) -> tuple[Any, Any]:
    """Return NumPy parameters and inputs where no z lies near 0, a kink or a jump."""
    for seed in range(1000):
        parameters = initial_parameters(network, seed, "scaled_normal", xp=np, dtype=np.float64)
        x = np.random.default_rng(seed).normal(size=(n, network.sizes[0]))
        layers = zip(network.activations, forward(network, parameters, x).z, strict=True)
        if all(
            np.min(np.abs(z)) > margin and bend(activation, z, margin) <= 0.1 * margin
            for activation, z in layers
        ):
            return parameters, x
    raise AssertionError("no seed gives a case away from the kinks")


def plain_epoch(parameters, velocities, x, y, order, batch_size, *, etas, mu):
    """Train a network of one tanh and one softmax layer for an epoch, written out in NumPy.

    Cross-entropy and momentum, with a learning rate for each step. Returns the arrays (weights
    and biases in turn), their velocities, and the mean over the samples of the loss before each
    update.
    """
    W1, b1, W2, b2 = (p.copy() for p in numpy_of(parameters))
    velocities = [v.copy() for v in velocities] or [np.zeros_like(p) for p in (W1, b1, W2, b2)]
    total = 0.0
    for start, eta in zip(range(0, len(x), batch_size), etas, strict=False):
        rows = order[start : start + batch_size]
        a1 = np.tanh(x[rows] @ W1.T + b1)
        powers = np.exp(a1 @ W2.T + b2)
        a2 = powers / powers.sum(axis=1, keepdims=True)
        total -= float(np.sum(y[rows] * np.log(a2)))
        delta2 = (a2 - y[rows]) / len(rows)
        delta1 = (delta2 @ W2) * (1.0 - a1**2)
        gradients = delta1.T @ x[rows], delta1.sum(axis=0), delta2.T @ a1, delta2.sum(axis=0)
        for p, g, v in zip((W1, b1, W2, b2), gradients, velocities, strict=True):
            v[...] = mu * v - eta * g
            p += v
    return [Layer(W1, b1), Layer(W2, b2)], velocities, total / max(len(x), 1)


def worked_examples() -> dict[str, Any]:
    """Return the numbers of the notes' worked examples, by note."""
    text = Path(__file__).with_name("worked_examples.json").read_text("utf-8")
    return dict(json.loads(text))


def run_with_two_blas_threads(prepared: str, code: str) -> None:
    """Run code in a process whose BLAS has two threads; nothing may be printed.

    The code that prepares it prints "no BLAS" and exits if there is no BLAS to limit.
    """
    done = subprocess.run(
        [sys.executable, "-c", prepared + textwrap.dedent(code)],
        env={**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.stdout == "no BLAS\n":
        pytest.skip("NumPy has no BLAS whose threads can be limited")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
