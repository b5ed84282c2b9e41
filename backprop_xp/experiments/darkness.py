"""The darkness baseline: digits classified by their average darkness alone."""

from __future__ import annotations

import numpy as np

from backprop_xp.experiments.digits import published_digits
from backprop_xp.experiments.experiment import Experiment, Outcome, compare
from backprop_xp.nn.metrics import correct


def _run(data_dir: str | None) -> Outcome:
    digits = published_digits(data_dir)
    (x, y), (x_test, y_test) = digits.train, digits.test
    darkness = np.sum(x, axis=1)
    means = np.asarray([np.mean(darkness[y == digit]) for digit in range(10)])
    # The class with the nearest mean; in case of a tie, the smaller digit.
    nearness = -np.abs(np.sum(x_test, axis=1)[:, None] - means[None, :])  # (10000, 10)
    return compare(
        {"right of 10,000": 2225},
        {"right of 10,000": int(correct(nearness, np.eye(10)[y_test], xp=np))},
        {"mean darkness": means.tolist()},
        "exact; guessing would get about 1,000",
        "differs from the published count",
    )


EXPERIMENTS = (
    Experiment(
        "darkness-baseline",
        "The average darkness of an image alone classifies 22.25 % of the digits correctly.",
        "means of 50,000 training images, nearest mean, 10,000 test images",
        "Nielsen, chapter 1, mnist_average_darkness.py",
        _run,
        needs_mnist=True,
    ),
)
