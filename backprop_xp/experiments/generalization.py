"""Early stopping, dropout and augmentation: remedies for overfitting besides more data and L2."""

from __future__ import annotations

from typing import Any

import numpy as np

from backprop_xp.experiments.digits import bundled_digits, first, published_digits
from backprop_xp.experiments.experiment import Experiment, Outcome
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Network, Parameters
from backprop_xp.training.evaluation import evaluate
from backprop_xp.training.fit import fit

_SEEDS = 3
_STOPPING = Network((64, 100, 10), ("relu", "softmax"))
_DROPOUT = Network((784, 500, 10), ("relu", "softmax"))
_AUGMENTATION = Network((784, 200, 10), ("relu", "softmax"))


def _measure(network: Network, parameters: Parameters, data: tuple[Any, Any]) -> dict[str, float]:
    x, labels = data
    y = np.eye(10, dtype=x.dtype)[labels]
    return evaluate(network, get_loss("cross_entropy"), parameters, x, y, xp=np)


def _early_stopping(data_dir: str | None) -> Outcome:
    digits = bundled_digits()
    stopped, full, restored_best, histories = [], [], [], {}
    for seed in range(_SEEDS):
        settings: dict[str, Any] = {
            "epochs": 80,
            "batch_size": 10,
            "learning_rate": 0.003,
            "seed": seed,
        }
        train = first(digits.train, 100)
        late = fit(_STOPPING, train, digits.validation, **settings)
        early = fit(_STOPPING, train, digits.validation, patience=10, **settings)
        assert early.best is not None
        losses = [record["validation_loss"] for record in early.history]
        restored = _measure(_STOPPING, early.parameters, digits.validation)["loss"]
        restored_best.append(restored == min(losses) == losses[early.best.epoch - 1])
        stopped.append(_measure(_STOPPING, early.parameters, digits.test)["loss"])
        full.append(_measure(_STOPPING, late.parameters, digits.test)["loss"])
        histories[f"seed {seed}, stopped"] = list(early.history)
        histories[f"seed {seed}"] = list(late.history)
    pairs = list(zip(stopped, full, strict=True))
    published = {
        "lower test loss than without it": [True] * _SEEDS,
        "weights of the best epoch": [True] * _SEEDS,
    }
    measured = {
        "lower test loss than without it": [early < late for early, late in pairs],
        "weights of the best epoch": restored_best,
    }
    epochs = ", ".join(str(len(histories[f"seed {seed}, stopped"])) for seed in range(_SEEDS))
    verdict = (
        f"mean test loss {np.mean(stopped):.3f}, stopped after {epochs} epochs; "
        f"{np.mean(full):.3f} after all 80"
    )
    return Outcome(published, measured, measured == published, verdict, histories)


def _compare(
    data_dir: str | None, network: Network, remedy: str, options: dict[str, Any], epochs: int
) -> Outcome:
    """Train on 1,000 images of MNIST without and with a remedy, from several seeds."""
    digits = published_digits(data_dir)
    x, labels = first(digits.train, 1000)
    train, test = (x.astype("float32"), labels), (digits.test[0].astype("float32"), digits.test[1])
    accuracies: dict[str, list[float]] = {}
    histories: dict[str, Any] = {}
    shared: dict[str, Any] = {"batch_size": 50, "epochs": epochs}
    for name, settings in {"without": shared, f"with {remedy}": shared | options}.items():
        accuracies[name], histories[name] = [], []
        for seed in range(_SEEDS):
            state = fit(network, train, seed=seed, **settings)
            measured = _measure(network, state.parameters, test)
            accuracies[name].append(measured["accuracy"])
            histories[name].append([*state.history, {"test": measured}])
    published = {"higher mean test accuracy": True}
    means = {name: float(np.mean(values)) for name, values in accuracies.items()}
    without, with_remedy = means.values()
    comparison = {"higher mean test accuracy": with_remedy > without}
    verdict = "test accuracy " + "; ".join(
        f"{name} {mean:.2%} ({', '.join(f'{value:.2%}' for value in accuracies[name])})"
        for name, mean in means.items()
    )
    return Outcome(published, comparison, comparison == published, verdict, histories)


def _dropout(data_dir: str | None) -> Outcome:
    return _compare(data_dir, _DROPOUT, "dropout", {"dropout": (0.5,)}, epochs=40)


def _augmentation(data_dir: str | None) -> Outcome:
    options = {"augment": "digits", "image_shape": (28, 28)}
    return _compare(data_dir, _AUGMENTATION, "augmentation", options, epochs=80)


EXPERIMENTS = (
    Experiment(
        "early-stopping",
        "Stopping when the validation loss no longer falls, and restoring the best epoch, beats "
        "further training.",
        f"64-100-10 ReLU, softmax on 100 of the bundled digits, Adam, η 0.003, batch 10, patience "
        f"10, 80 epochs at most, {_SEEDS} seeds",
        "Nielsen, chapter 3, overfitting and regularization; note 004, section 3",
        _early_stopping,
    ),
    Experiment(
        "dropout",
        "Dropping half of the hidden neurons in every step generalizes better from 1,000 images.",
        f"784-500-10 ReLU, softmax, Adam, η 0.001, batch 50, 40 epochs, {_SEEDS} seeds, with "
        "dropout 0.5 and without",
        "Nielsen, chapter 3, other techniques for regularization; note 004, section 3",
        _dropout,
        needs_mnist=True,
    ),
    Experiment(
        "augmentation",
        "Digits that are shifted, rotated, sheared and warped anew in every step give better "
        "accuracy than the 1,000 images alone.",
        f"784-200-10 ReLU, softmax, Adam, η 0.001, batch 50, 80 epochs, {_SEEDS} seeds, with "
        "augmentation and without",
        "Simard, Steinkraus and Platt (2003): 98.4 % to 99.3 % on all of MNIST; Nielsen, chapter "
        "3; note 004, section 3",
        _augmentation,
        needs_mnist=True,
    ),
)
