"""The conditions of the published runs: their data and their random draws.

The runs behind the plots of Nielsen's "Neural networks and deep learning", chapter 3, are
reproduced to the last digit in float64 under four conditions. Pixels are the byte divided by 256.
NumPy's legacy generator and Python's generator are both seeded with 12345678. The rows are
shuffled in place by Fisher and Yates from the end, with ``j = int(random() * (i + 1))``. The
initial weights are drawn layer by layer, after all biases. Network, loss, optimizer and training
loop are those of the package.
"""

from __future__ import annotations

import itertools
import math
import random
from typing import Any, NamedTuple

import numpy as np

from backprop_xp.data.dataset import Split
from backprop_xp.data.mnist import load_mnist
from backprop_xp.data.scaling import scaling_for
from backprop_xp.nn.network import Layer, Network, Parameters
from backprop_xp.training.fit import fit
from backprop_xp.training.state import TrainState

SEED = 12345678
COST_LIMIT = 1e-9
"""The largest relative difference at which a cost counts as reproduced."""


class Draws:
    """The two random generators of the published runs, which continue from run to run."""

    def __init__(self) -> None:
        self._weights = np.random.RandomState(SEED)
        self._order = random.Random(SEED)
        self._rows: list[int] = []

    def parameters(self, network: Network, *, large: bool = False) -> Parameters:
        """Draw initial weights: N(0, 1/n_in), or N(0, 1) for the large ones; biases N(0, 1)."""
        sizes = network.sizes
        biases = [self._weights.randn(n) for n in sizes[1:]]
        weights = [
            self._weights.randn(n_out, n_in) / (1.0 if large else math.sqrt(n_in))
            for n_in, n_out in itertools.pairwise(sizes)
        ]
        return [Layer(w, b) for w, b in zip(weights, biases, strict=True)]

    def shuffle(self, epoch: int, n: int) -> list[int]:
        """Return the order of the next epoch: that of the previous one, shuffled again."""
        if len(self._rows) != n:
            self._rows = list(range(n))
        rows, uniform = self._rows, self._order.random
        for i in range(n - 1, 0, -1):
            j = int(uniform() * (i + 1))
            rows[i], rows[j] = rows[j], rows[i]
        return rows


class Digits(NamedTuple):
    """MNIST as pairs of inputs in float64 and labels."""

    train: tuple[Any, Any]
    validation: tuple[Any, Any]
    test: tuple[Any, Any]


def published_digits(data_dir: str | None) -> Digits:
    """Return MNIST with pixels divided by 256, exact in float64."""
    data = load_mnist(data_dir)
    scaling = scaling_for("256", data.train.inputs)

    def pair(part: Split | None) -> tuple[Any, Any]:
        assert part is not None
        return scaling.apply(part.inputs, "float64"), part.targets

    return Digits(pair(data.train), pair(data.validation), pair(data.test))


def first(data: tuple[Any, Any], n: int) -> tuple[Any, Any]:
    """Return the first ``n`` samples."""
    return data[0][:n], data[1][:n]


def published_fit(
    network: Network,
    train: tuple[Any, Any],
    validation: tuple[Any, Any] | None,
    draws: Draws,
    parameters: Parameters,
    **settings: Any,
) -> TrainState:
    """Train as the published runs did: sigmoids, cross-entropy, SGD, batches of 10."""
    return fit(
        network,
        train,
        validation,
        parameters=parameters,
        shuffle=draws.shuffle,
        **{
            "loss": "binary_cross_entropy",
            "optimizer": "sgd",
            "batch_size": 10,
            "seed": SEED,
            "evaluate_training": False,
            **settings,
        },
    )


def cost(record: dict[str, Any], name: str, n_train: int, n_measured: int) -> float:
    """Return the published cost: loss and penalty, which is ``λ/(2n) Σw²``.

    The published code takes n to be the size of the *measured* set; in the gradient it is the size
    of the training set. The factor ``n_train / n_measured`` converts the penalty accordingly.
    """
    penalty: float = record.get("penalty", 0.0)
    value: float = record[f"{name}_loss"]
    return value + penalty * (n_train / n_measured)


def right(record: dict[str, Any], name: str, n: int) -> int:
    """Return the number of samples that were classified correctly."""
    accuracy: float = record[f"{name}_accuracy"]
    return round(accuracy * n)


def same(published: Any, measured: Any) -> bool:
    """Return whether all counts are equal and all costs agree to a relative `COST_LIMIT`."""
    if isinstance(published, dict):
        return all(same(value, measured[key]) for key, value in published.items())
    if isinstance(published, (list, tuple)):
        return len(published) == len(measured) and all(map(same, published, measured))
    if isinstance(published, float):
        return math.isclose(published, measured, rel_tol=COST_LIMIT)
    return bool(published == measured)
