"""Compare the suggestions of the learning-rate finder with the best rate of a grid.

    python scripts/find_lr.py [--mnist DIR]

For each problem, optimizer and batch size, print the suggestion and its score for several seeds,
and the range of good rates. The score of a rate is its improvement of the training loss after a
few epochs, relative to that of the best rate; a rate is good if its score is at least 0.9. The
last line is a summary.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from backprop_xp import DivergenceError, Network, find_learning_rate, fit, load_digits, load_mnist

OPTIMIZERS = ("sgd", "momentum", "adam")
GRID = 10.0 ** np.arange(-5.0, 1.5, 0.25)
SEEDS = range(4)


class Problem(NamedTuple):
    """A data set, a network for it, and the epochs and settings of its training."""

    name: str
    data: tuple[np.ndarray, np.ndarray]
    network: Network
    epochs: int
    batch_sizes: tuple[int, ...] = (10, 32, 128)
    settings: dict[str, Any] = {}  # noqa: RUF012


def problems(mnist: str | None) -> Iterator[Problem]:
    digits = load_digits().train
    images = digits.inputs / 16.0, digits.targets
    rng = np.random.default_rng(0)
    x = rng.uniform(-1.0, 1.0, (400, 2))
    xor = x, (x[:, 0] * x[:, 1] > 0).astype(int)
    x = rng.uniform(0.0, 1.0, (1000, 10))
    t = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    t = (t + x[:, 3:5] @ [10, 5] + rng.normal(size=1000))[:, None]
    friedman = (x - x.mean(axis=0)) / x.std(axis=0), (t - t.mean()) / t.std()
    for name in ("relu", "tanh", "sigmoid"):
        yield Problem(f"digits {name}", images, Network((64, 30, 10), (name, "softmax")), 5)
        yield Problem(f"xor {name}", xor, Network((2, 16, 2), (name, "softmax")), 20)
        yield Problem(f"friedman {name}", friedman, Network((10, 32, 1), (name, "identity")), 5)
    book = {"initializer": "scaled_normal", "loss": "half_squared_error"}
    network = Network((64, 30, 10), "sigmoid")
    yield Problem("digits book", images, network, 5, settings=book)
    if mnist is None:
        return
    train = load_mnist(mnist).train
    images = train.inputs.astype(np.float32) / 255.0, train.targets
    for name in ("relu", "sigmoid"):
        network = Network((784, 30, 10), (name, "softmax"))
        yield Problem(f"mnist {name}", images, network, 1, (10, 128))
    yield Problem("mnist book", images, Network((784, 30, 10), "sigmoid"), 1, (10, 128), book)


def trained_loss(problem: Problem, rate: float, seed: int, **settings: Any) -> float:
    try:
        state = fit(
            problem.network,
            problem.data,
            epochs=problem.epochs,
            learning_rate=rate,
            seed=seed,
            evaluate_training=True,
            **{**problem.settings, **settings},
        )
    except DivergenceError:
        return math.inf
    return state.history[-1]["train_loss"]


def scores(problem: Problem, **settings: Any) -> Iterator[float]:
    """Yield the score of the suggestion for each seed, and print them all."""
    losses = [trained_loss(problem, rate, 0, **settings) for rate in GRID]
    untrained, best = trained_loss(problem, 1e-12, 0, **settings), min(losses)
    good = GRID[(untrained - np.asarray(losses)) / (untrained - best) >= 0.9]
    shown = []
    for seed in SEEDS:
        options = {**problem.settings, **settings, "seed": seed}
        rate = find_learning_rate(problem.network, problem.data, **options).suggestion
        if rate is None:
            shown.append("none")
            continue
        score = (untrained - trained_loss(problem, rate, seed, **settings)) / (untrained - best)
        shown.append(f"{rate:g} ({score:.2f})")
        yield score
    name = f"{problem.name}, {settings['optimizer']}, {settings['batch_size']}"
    print(f"{name:<30} good: {good[0]:7.2g} to {good[-1]:<7.2g} suggested:", *shown, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", metavar="DIR", help="folder with the MNIST files")
    found = [
        score
        for problem in problems(parser.parse_args().mnist)
        for optimizer in OPTIMIZERS
        for batch_size in problem.batch_sizes
        for score in scores(problem, optimizer=optimizer, batch_size=batch_size)
    ]
    shares = ", ".join(f"{np.mean(np.asarray(found) >= s):.1%} ≥ {s}" for s in (0.9, 0.8, 0.5))
    print(f"{len(found)} suggestions: mean score {np.clip(found, 0, 1).mean():.3f}; {shares}")


if __name__ == "__main__":
    main()
