"""Initial weights: N(0, 1) saturates the hidden neurons, N(0, 1/n_in) does not."""

from __future__ import annotations

from typing import Any

from backprop_xp.experiments.experiment import Experiment, Outcome
from backprop_xp.experiments.published import (
    Draws,
    published_digits,
    published_fit,
    right,
    same,
)
from backprop_xp.nn.network import Network


def _compare(hidden: int, published: dict[str, Any]) -> Any:
    def run(data_dir: str | None) -> Outcome:
        digits, draws = published_digits(data_dir), Draws()
        network = Network((784, hidden, 10), "sigmoid")
        histories, counts = {}, {}
        for name, large in (("default", False), ("large", True)):
            state = published_fit(
                network,
                digits.train,
                digits.validation,
                draws,
                draws.parameters(network, large=large),
                learning_rate=0.1,
                l2=5.0,
                epochs=30,
            )
            n = len(digits.validation[1])
            histories[name] = list(state.history)
            counts[name] = [right(record, "validation", n) for record in state.history]
        measured = {
            "first_epoch": [counts["default"][0], counts["large"][0]],
            "last_epoch": [counts["default"][-1], counts["large"][-1]],
        }
        passed = same(published, measured)
        verdict = "every count equal" if passed else "differs from the published run"
        return Outcome(published, measured, passed, verdict, histories)

    return run


def _experiment(hidden: int, first_epoch: list[int], last_epoch: list[int]) -> Experiment:
    return Experiment(
        f"weight-initialization-{hidden}",
        "Weights from N(0, 1/n_in) learn faster than weights from N(0, 1), which saturate the "
        "hidden neurons.",
        f"784-{hidden}-10 sigmoid, cross-entropy, SGD, η 0.1, λ 5, batch 10, 30 epochs each",
        "Nielsen, chapter 3, weight initialization; note 004, section 3",
        _compare(hidden, {"first_epoch": first_epoch, "last_epoch": last_epoch}),
        needs_mnist=True,
    )


EXPERIMENTS = (
    _experiment(30, [9270, 8643], [9650, 9637]),
    _experiment(100, [9295, 8994], [9781, 9742]),
)
