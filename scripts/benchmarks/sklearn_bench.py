"""Time the estimators and scikit-learn's MLP side by side, in turns on the same data.

Both use the same ``random_state``, so they draw the same weights, use the same batches and should
reach the same loss; the script prints the difference of the losses. The result is the median over
the rounds of the ratio of the times in the same round.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning

from backprop_xp import estimators, load_digits, load_mnist

Case = tuple[str, Any, Any, dict[str, Any]]


def cases(data_dir: str | None, epochs: int) -> dict[str, Case]:
    """Return the estimator, inputs, targets and parameters of each case."""
    train = load_digits().train
    usual = {"max_iter": epochs, "tol": 0.0, "n_iter_no_change": np.inf, "random_state": 0}
    rng = np.random.default_rng(0)
    table = rng.normal(size=(20_000, 20))
    target = np.sin(table[:, 0]) + table[:, 1] * table[:, 2] + 0.1 * rng.normal(size=20_000)
    # An epoch of scikit-learn takes 0.3 ms on iris, 2 on the digits, 40 on the table.
    most, many = ({**usual, "max_iter": factor * epochs} for factor in (100, 10))
    digits = (train.inputs / 16.0).astype(np.float64), train.targets
    iris = datasets.load_iris(return_X_y=True)
    words = sparse.random_array((5_000, 10_000), density=0.005, format="csr", rng=rng)
    topic = (words @ rng.normal(size=10_000) > 0.0).astype(int)
    hundred = {"hidden_layer_sizes": (100,)}
    found: dict[str, Case] = {
        "iris, batch 150": ("MLPClassifier", *iris, {**most, **hundred}),
        "digits, batch 200": ("MLPClassifier", *digits, {**many, **hundred}),
        "digits, lbfgs": ("MLPClassifier", *digits, {**many, **hundred, "solver": "lbfgs"}),
        "table 20,000 x 20, batch 200": ("MLPRegressor", table, target, {**many, **hundred}),
        "sparse 5,000 x 10,000, batch 200": ("MLPClassifier", words, topic, {**usual, **hundred}),
    }
    if data_dir is not None:
        mnist = load_mnist(data_dir).train
        x = mnist.inputs.reshape(len(mnist.targets), -1) / 255.0
        plain = {"solver": "sgd", "momentum": 0.0, "alpha": 0.0}
        for what, own in {
            "adam": {"solver": "adam"},
            "sgd": {"solver": "sgd"},
            "sgd without momentum and alpha": plain,
        }.items():
            for dtype in ("float32", "float64"):
                found[f"MNIST 784-100-10, batch 10, {what}, {dtype}"] = (
                    "MLPClassifier",
                    x.astype(dtype),
                    mnist.targets,
                    {**usual, **hundred, "batch_size": 10, **own},
                )
    return found


def seconds(call: Callable[[], Any]) -> float:
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def compare(case: Case, rounds: int) -> dict[str, Any]:
    """Return the medians of the ratios of our time to scikit-learn's, for fit and prediction."""
    name, x, y, parameters = case
    fits, predictions, of_one, times = [], [], [], []
    for module in (neural_network, estimators):  # exclude what happens only once
        getattr(module, name)(**parameters).fit(x[:500], y[:500])
    for _ in range(rounds):
        theirs = getattr(neural_network, name)(**parameters)
        ours = getattr(estimators, name)(**parameters)
        pair = [seconds(functools.partial(model.fit, x, y)) for model in (theirs, ours)]
        fits.append(pair[1] / pair[0])
        times.append(pair)
        method = "predict_proba" if name == "MLPClassifier" else "predict"
        for rows, ratios in ((x[:10_000], predictions), (x[:1], of_one)):
            for _ in range(5 if rows.shape[0] > 1 else 100):
                pair = [
                    seconds(functools.partial(getattr(model, method), rows))
                    for model in (theirs, ours)
                ]
                ratios.append(pair[1] / pair[0])
    return {
        "fit": statistics.median(fits),
        "predict": statistics.median(predictions),
        "predict_one_row": statistics.median(of_one),
        "seconds_theirs": statistics.median(pair[0] for pair in times),
        "seconds_ours": statistics.median(pair[1] for pair in times),
        "loss_difference": abs(ours.loss_ / theirs.loss_ - 1.0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", help="folder with the MNIST files; default: no MNIST")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = {}
    for title, case in cases(options.data_dir, options.epochs).items():
        results[title] = found = compare(case, options.rounds)
        wins = "ours" if found["fit"] < 1.0 else "scikit-learn"
        print(
            f"{title}: fit {found['fit']:.2f} of scikit-learn's time, prediction "
            f"{found['predict']:.2f} (one row {found['predict_one_row']:.2f}), "
            f"loss difference {found['loss_difference']:.1e}; {wins} is faster",
            file=sys.stderr if options.json else sys.stdout,
        )
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
