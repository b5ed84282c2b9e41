"""The choice of the learning rate on a quadratic bowl: too small, right, too large."""

from __future__ import annotations

from typing import Any

import numpy as np

from backprop_xp.errors import DivergenceError
from backprop_xp.experiments.digits import bundled_digits
from backprop_xp.experiments.experiment import Experiment, Outcome
from backprop_xp.nn.network import Network, initial_parameters
from backprop_xp.training.fit import fit

_RATES = {"too small": 1e-5, "right": 1.0, "somewhat below 2": 1.8, "somewhat above 2": 2.5}
"""In units of 1/λ, where λ is the largest curvature of the bowl."""
_EPOCHS = 1000
"""Enough for float64 to overflow as the loss grows by 1.5² per step."""


def _run(data_dir: str | None) -> Outcome:
    x, y = bundled_digits().train
    network, targets = Network((64, 10), "identity"), np.eye(10)[y]
    columns = np.concatenate([x, np.ones((len(x), 1))], axis=1)  # the bias has the input 1
    # The second derivative is the mean of x xᵀ; its largest eigenvalue is λ.
    unit = 1.0 / float(np.linalg.eigvalsh(columns.T @ columns / len(x))[-1])
    initial = initial_parameters(network, 0, xp=np, dtype=np.float64)
    losses: dict[str, tuple[float, float]] = {}
    measured: dict[str, Any] = {}
    histories: dict[str, Any] = {}
    for name, rate in _RATES.items():
        try:
            state = fit(
                network,
                (x, targets),
                parameters=initial,
                loss="half_squared_error",
                optimizer="sgd",
                learning_rate=rate * unit,
                batch_size=0,
                epochs=_EPOCHS,
            )
        except DivergenceError as error:
            last_good: Any = error.state
            measured[name], histories[name] = "diverges", list(last_good.history)
        else:
            history = list(state.history)
            first, last = history[0]["loss"], history[-1]["loss"]
            losses[name], histories[name] = (first, last), history
            measured[name] = "barely moves" if last > 0.9 * first else "converges"
    published = dict(zip(_RATES, ("barely moves", *["converges"] * 2, "diverges"), strict=True))
    passed = measured == published
    reached = "; ".join(f"{name}: loss {a:.3g} -> {b:.3g}" for name, (a, b) in losses.items())
    verdict = f"1/λ is {unit:.3g}; {reached}"
    return Outcome(published, measured, passed, verdict, histories)


EXPERIMENTS = (
    Experiment(
        "learning-rate-choice",
        "On a quadratic bowl a tiny η barely moves, η below 2/λ converges, η above it diverges.",
        "64-10 identity on the bundled digits, half squared error, SGD, full batch; η = 1e-5, 1, "
        "1.8 and 2.5 times 1/λ, λ the largest curvature; up to 1,000 steps",
        "note 003, learning rate; note 004, section 1.1.4",
        _run,
    ),
)
