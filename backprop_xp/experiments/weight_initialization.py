"""Initial weights: N(0, 1) saturates the hidden neurons, N(0, 1/n_in) does not."""

from __future__ import annotations

from typing import Any

from backprop_xp.experiments.digits import published_digits
from backprop_xp.experiments.experiment import Experiment, Outcome, compare
from backprop_xp.experiments.published import PublishedRuns, right


def _compare(hidden: int, published: dict[str, Any]) -> Any:
    def run(data_dir: str | None) -> Outcome:
        digits, runs = published_digits(data_dir), PublishedRuns((784, hidden, 10))
        histories, counts = {}, {}
        for name, large in (("default", False), ("large", True)):
            state = runs.fit(
                digits.train,
                digits.validation,
                large=large,
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
        return compare(published, measured, histories, "every count equal")

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
