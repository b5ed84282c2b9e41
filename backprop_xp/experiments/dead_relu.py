"""Dead ReLUs: a large learning rate permanently switches neurons off for every input."""

from __future__ import annotations

from typing import Any

import numpy as np

from backprop_xp.experiments.digits import bundled_digits
from backprop_xp.experiments.experiment import Experiment, Outcome, compare
from backprop_xp.nn.backpropagation import forward, loss_and_gradients
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Layer, Network, Parameters
from backprop_xp.training.fit import fit

_NETWORK = Network((64, 64, 10), ("relu", "softmax"))
_RATES = {"η 0.05": 0.05, "η 1": 1.0}
_SEEDS = 3


def _learns(parameters: Parameters, x: Any, y: Any, neurons: Any) -> bool:
    """Return whether any error reaches the weights of these hidden neurons."""
    loss = get_loss("cross_entropy")
    gradients = loss_and_gradients(_NETWORK, loss, parameters, x, np.eye(10)[y]).gradients.layers
    return bool(np.any(gradients[0].weights[neurons]))


def _alive(weights: list[float], bias: float, inputs: list[list[float]]) -> bool:
    """Return whether a single ReLU is above 0 for any of the inputs."""
    neuron = [Layer(np.asarray([weights]), np.asarray([bias]))]
    outputs = forward(Network((len(weights), 1), "relu"), neuron, np.asarray(inputs)).a[-1]
    return bool(np.any(outputs > 0.0))


def _run(data_dir: str | None) -> Outcome:
    digits = bundled_digits()
    x, y = digits.train
    histories: dict[str, Any] = {name: [] for name in _RATES}
    shares: dict[str, list[float]] = {name: [] for name in _RATES}
    revived = False
    for name, rate in _RATES.items():
        for seed in range(_SEEDS):
            state = fit(
                _NETWORK,
                digits.train,
                digits.validation,
                optimizer="sgd",
                learning_rate=rate,
                batch_size=10,
                epochs=15,
                seed=seed,
            )
            dead = np.all(forward(_NETWORK, state.parameters, x).a[1] == 0.0, axis=0)
            shares[name].append(float(np.mean(dead)))
            revived |= _learns(state.parameters, x, y, dead)
            histories[name].append(list(state.history))
    claims = {
        "most neurons dead, η 1": (True, min(shares["η 1"]) > 0.5),
        "few neurons dead, η 0.05": (True, max(shares["η 0.05"]) < 0.1),
        "an error reaches a dead neuron": (False, revived),
        "alive: w −1, b 2, input 1": (True, _alive([-1.0], 2.0, [[1.0]])),
        "alive: w −1 and 1, b 0, inputs 1 and 2": (True, _alive([-1.0, 1.0], 0.0, [[1.0, 2.0]])),
        "alive: w −1, b 0, positive inputs": (False, _alive([-1.0], 0.0, [[0.1], [1.0], [9.0]])),
    }
    published, measured = ({name: pair[k] for name, pair in claims.items()} for k in (0, 1))
    means = ", ".join(f"{np.mean(values):.0%} with {name}" for name, values in shares.items())
    verdict = f"dead after training: {means}"
    rule = "a negative weight alone does not kill a neuron, it is dead if z is not above 0 for any"
    return compare(published, measured, histories, f"{verdict}; {rule} input", verdict)


EXPERIMENTS = (
    Experiment(
        "dead-relu",
        "A large learning rate kills most of the ReLUs; a negative weight alone does not.",
        f"64-64-10 ReLU, softmax on the bundled digits, SGD, batch 10, 15 epochs, {_SEEDS} seeds, "
        "η 0.05 and 1; single neurons by hand",
        "note 001, ReLU",
        _run,
    ),
)
