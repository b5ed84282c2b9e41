"""Learning rates: too small learns slowly, right converges, too large never settles."""

from __future__ import annotations

from backprop_xp.experiments.digits import published_digits
from backprop_xp.experiments.experiment import Experiment, Outcome, same
from backprop_xp.experiments.published import PublishedRuns, cost

_PUBLISHED = {"0.025": 0.3391998088023035, "0.25": 0.33879633130932685, "2.5": 0.8606850171349092}


def _run(data_dir: str | None) -> Outcome:
    digits, runs = published_digits(data_dir), PublishedRuns((784, 30, 10))
    n = len(digits.train[1])
    histories, costs = {}, {}
    for eta in _PUBLISHED:
        state = runs.fit(
            digits.train,
            digits.validation,
            learning_rate=float(eta),
            l2=5.0,
            epochs=30,
            evaluate_training=True,
        )
        histories[eta] = list(state.history)
        costs[eta] = cost(state.history[-1], "train", n, n)
    exact = {eta: _PUBLISHED[eta] for eta in ("0.025", "0.25")}
    passed = same(exact, costs) and costs["2.5"] > 2.0 * costs["0.25"]
    verdict = (
        "0.025 and 0.25 to the last digit; 2.5 is chaotic from the first epoch, and its cost "
        f"{costs['2.5']:.3g} stays far above the others, as published"
        if passed
        else "differs from the published runs"
    )
    return Outcome(_PUBLISHED, costs, passed, verdict, histories)


EXPERIMENTS = (
    Experiment(
        "multiple-eta",
        "η 0.025 descends slowly, 0.25 fast, and 2.5 jumps back and forth above the valley.",
        "784-30-10 sigmoid, N(0, 1/n_in), cross-entropy, SGD, λ 5, batch 10, 30 epochs each",
        "Nielsen, chapter 3, how to choose hyper-parameters; note 003",
        _run,
        needs_mnist=True,
    ),
)
