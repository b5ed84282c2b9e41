"""Early stopping and dropout: two cures for overfitting beside more data and L2."""

from __future__ import annotations

from typing import Any

import numpy as np

from backprop_xp.evaluation import evaluate
from backprop_xp.experiments.bundled import bundled_digits
from backprop_xp.experiments.experiment import Experiment, Outcome
from backprop_xp.experiments.published import first, published_digits
from backprop_xp.losses import get_loss
from backprop_xp.network import Network
from backprop_xp.training import fit

_SEEDS = 3
_STOPPING = Network((64, 100, 10), ("relu", "softmax"))
_DROPOUT = Network((784, 400, 10), ("relu", "softmax"))


def _early_stopping(data_dir: str | None) -> Outcome:
    digits = bundled_digits()
    x, y = digits.validation
    stopped, gone_on, best_again, histories = [], [], [], {}
    for seed in range(_SEEDS):
        settings: dict[str, Any] = {
            "epochs": 120,
            "batch_size": 10,
            "learning_rate": 0.003,
            "seed": seed,
            "evaluate_training": False,
        }
        train = first(digits.train, 100)
        whole = fit(_STOPPING, train, digits.validation, **settings)
        early = fit(_STOPPING, train, digits.validation, patience=10, **settings)
        assert early.best is not None
        restored = evaluate(
            _STOPPING, get_loss("cross_entropy"), early.parameters, x, np.eye(10)[y], xp=np
        )["loss"]
        losses = [record["validation_loss"] for record in early.history]
        best_again.append(
            restored == min(losses) and losses.index(restored) + 1 == early.best.epoch
        )
        stopped.append(restored)
        gone_on.append(whole.history[-1]["validation_loss"])
        histories[f"seed {seed}, stopped"] = list(early.history)
        histories[f"seed {seed}"] = list(whole.history)
    published = {
        "lower validation loss than without it": [True] * _SEEDS,
        "weights of the best epoch": [True] * _SEEDS,
    }
    measured = {
        "lower validation loss than without it": [
            early < late for early, late in zip(stopped, gone_on, strict=True)
        ],
        "weights of the best epoch": best_again,
    }
    epochs = [len(histories[f"seed {seed}, stopped"]) for seed in range(_SEEDS)]
    verdict = (
        f"mean validation loss {np.mean(stopped):.3f}, stopped after "
        f"{', '.join(map(str, epochs))} epochs; {np.mean(gone_on):.3f} after all 120"
    )
    return Outcome(published, measured, measured == published, verdict, histories)


def _dropout(data_dir: str | None) -> Outcome:
    digits = published_digits(data_dir)
    means, losses, histories = {}, {}, {}
    for name, rates in (("without", ()), ("with dropout", (0.5,))):
        runs = [
            fit(
                _DROPOUT,
                first(digits.train, 1000),
                digits.test,
                dtype="float32",
                dropout=rates,
                batch_size=50,
                epochs=30,
                seed=seed,
                evaluate_training=False,
            ).history
            for seed in range(_SEEDS)
        ]
        means[name] = float(np.mean([run[-1]["validation_accuracy"] for run in runs]))
        losses[name] = float(np.mean([run[-1]["validation_loss"] for run in runs]))
        histories[name] = [list(run) for run in runs]
    published = {"higher test accuracy": True, "lower test loss": True}
    measured = {
        "higher test accuracy": means["with dropout"] > means["without"],
        "lower test loss": losses["with dropout"] < losses["without"],
    }
    verdict = "; ".join(
        f"{name}: test accuracy {means[name]:.2%}, test loss {losses[name]:.3f}" for name in means
    )
    return Outcome(published, measured, measured == published, verdict, histories)


EXPERIMENTS = (
    Experiment(
        "early-stopping",
        "Stopping when the validation loss no longer falls, and going back to its best epoch, "
        "beats training on.",
        f"64-100-10 ReLU, softmax on 100 of the bundled digits, Adam, η 0.003, batch 10, patience "
        f"10, 120 epochs at most, {_SEEDS} seeds",
        "note 004, section 3",
        _early_stopping,
    ),
    Experiment(
        "dropout",
        "Dropping half of the hidden neurons in every step generalises better from 1,000 images.",
        f"784-400-10 ReLU, softmax, Adam, η 0.001, batch 50, 30 epochs, {_SEEDS} seeds, with "
        "dropout 0.5 and without",
        "Nielsen, chapter 3, other techniques for regularization; note 004, section 3",
        _dropout,
        needs_mnist=True,
    ),
)
