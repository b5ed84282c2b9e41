"""Vanishing gradients: in a deep sigmoid network the first layers learn most slowly."""

from __future__ import annotations

from typing import Any

import numpy as np

from backprop_xp.experiments.digits import first, published_digits
from backprop_xp.experiments.experiment import Experiment, Outcome
from backprop_xp.nn.backpropagation import loss_and_gradients
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Network, initial_parameters

_SEEDS = 40
_PUBLISHED: dict[str, list[float]] = {
    "norms, 2 hidden layers": [0.0657, 0.3092],
    "norms, 3 hidden layers": [0.0118, 0.06, 0.2831],
    "norms, 4 hidden layers": [0.003, 0.0171, 0.0695, 0.2851],
}
_RATIOS = {
    "norms, 2 hidden layers": (3.8, 6.3),
    "norms, 3 hidden layers": (17.5, 32.8),
    "norms, 4 hidden layers": (85.8, 190.9),
}
"""The last norm over the first: 5th and 95th percentile of 200 initial weights, measured before."""


def _norms(depth: int, seed: int, x: Any, y: Any) -> list[float]:
    """Return the norm of the mean error of each hidden layer, before any training."""
    network = Network((784, *[30] * depth, 10), "sigmoid")
    parameters = initial_parameters(network, seed, "scaled_normal", xp=np, dtype=np.float64)
    loss = get_loss("binary_cross_entropy")
    # The errors are those of the mean loss, so they are already divided by the number of samples.
    deltas = loss_and_gradients(network, loss, parameters, x, y).gradients.deltas
    return [float(np.linalg.norm(np.sum(delta, axis=0))) for delta in deltas[:-1]]


def _run(data_dir: str | None) -> Outcome:
    x, labels = first(published_digits(data_dir).train, 1000)
    y = np.eye(10)[labels]
    runs = {
        name: [_norms(len(norms), seed, x, y) for seed in range(_SEEDS)]
        for name, norms in _PUBLISHED.items()
    }
    measured = {name: np.median(norms, axis=0).tolist() for name, norms in runs.items()}
    ratios = {
        name: [float(np.median([norms[-1] / norms[0] for norms in run])), *_RATIOS[name]]
        for name, run in runs.items()
    }
    rising = all(np.all(np.diff(norms, axis=1) > 0.0) for norms in runs.values())
    typical = all(
        np.all((np.min(runs[name], axis=0) <= norms) & (norms <= np.max(runs[name], axis=0)))
        for name, norms in _PUBLISHED.items()
    )
    passed = (
        rising and typical and all(low <= ratio <= high for ratio, low, high in ratios.values())
    )
    medians = ", ".join(f"{ratio:.3g}" for ratio, _, _ in ratios.values())
    verdict = (
        f"the last hidden layer has {medians} times the error of the first (2, 3, 4 layers, "
        f"median of {_SEEDS} seeds); norms {'rise' if rising else 'do NOT rise'} from layer to "
        "layer in every seed; the published norms lie "
        f"{'within' if typical else 'OUTSIDE'} those of the seeds"
    )
    return Outcome(_PUBLISHED, measured, passed, verdict, {"norms": runs, "ratios": ratios})


EXPERIMENTS = (
    Experiment(
        "vanishing-gradients",
        "Each hidden layer learns several times slower than the one above it.",
        f"784-30-...-30-10 sigmoid, N(0, 1/n_in), cross-entropy, 1,000 images, {_SEEDS} seeds; "
        "norm of the mean error of each hidden layer before training",
        "Nielsen, chapter 5, from one unseeded run each; note 001, sigmoid",
        _run,
        needs_mnist=True,
    ),
)
