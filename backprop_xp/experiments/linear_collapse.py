"""Linear collapse: without activation functions a deep network is a single layer."""

from __future__ import annotations

import functools

import numpy as np

from backprop_xp.experiments.experiment import Experiment, Outcome
from backprop_xp.nn.network import Layer, Network, initial_parameters
from backprop_xp.training.evaluation import predict
from backprop_xp.training.fit import fit

_SIZES = (2, 16, 16, 16, 1)


def _below(upper: Layer, lower: Layer) -> Layer:
    """Return the one layer that equals two linear layers: W₂(W₁x + b₁) + b₂."""
    return Layer(upper.weights @ lower.weights, upper.weights @ lower.bias + upper.bias)


def _run(data_dir: str | None) -> Outcome:
    deep, single = Network(_SIZES, "identity"), Network((_SIZES[0], _SIZES[-1]), "identity")
    bent = Network(_SIZES, ("tanh", "tanh", "tanh", "identity"))
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (200, 2))
    y = x[:, :1] * x[:, 1:]  # like XOR, not a linear function
    columns = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    solution = np.linalg.lstsq(columns, y)[0]
    least = float(np.mean(np.sum((columns @ solution - y) ** 2, axis=1)))

    drawn = initial_parameters(deep, 0, "standard_normal", xp=np, dtype=np.float64)
    losses, histories, models = {}, {}, [drawn]
    for name, network in (("deep linear", deep), ("with tanh", bent)):
        state = fit(
            network,
            (x, y),
            loss="squared_error",
            batch_size=0,
            epochs=1000,
            learning_rate=0.01,
            seed=0,
            evaluate_training=True,
        )
        losses[name], histories[name] = state.history[-1]["train_loss"], list(state.history)
        if network is deep:
            models.append(state.parameters)
    difference = 0.0
    for parameters in models:
        outputs = predict(deep, parameters, x)
        collapsed = predict(single, [functools.reduce(_below, reversed(parameters))], x)
        error = float(np.max(np.abs(outputs - collapsed)) / np.max(np.abs(outputs)))
        difference = max(difference, error)
    published = {"difference": 0.0, "loss / least squares": 1.0}
    measured = {"difference": difference, "loss / least squares": losses["deep linear"] / least}
    passed = (
        difference <= 1e-12
        and abs(measured["loss / least squares"] - 1.0) <= 1e-6
        and losses["with tanh"] < 0.1 * least
    )
    verdict = (
        f"four linear layers equal one to {difference:.0e}, and training reaches the loss of "
        f"linear least squares, {least:.3g}, but no less; with tanh the loss is "
        f"{losses['with tanh']:.2g}"
        if passed
        else f"the losses are {losses}, that of linear least squares is {least:.3g}"
    )
    return Outcome(published, measured, passed, verdict, histories)


EXPERIMENTS = (
    Experiment(
        "linear-collapse",
        "Without activation functions the output is a linear function of the input, however many "
        "layers there are.",
        "2-16-16-16-1 identity, and the same with tanh; y = x₁x₂ on 200 points, squared error, "
        "Adam, η 0.01, full batch, 1,000 epochs",
        "note 001, activation functions",
        _run,
    ),
)
