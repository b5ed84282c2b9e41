"""The conditions of the published runs: their data and their random draws, and nothing else.

The runs behind the plots of Nielsen's "Neural networks and deep learning", chapter 3, come back
to the last digit in float64 under four conditions. Pixels are the byte divided by 256. Both the
legacy generator of NumPy and Python's own are seeded 12345678. The rows are shuffled in place by
Fisher and Yates from the end, with ``j = int(random() * (i + 1))``. And the initial weights are
drawn biases first, layer by layer. Network, loss, optimizer and training loop are the usual ones.
"""

from __future__ import annotations

import itertools
import math
import random
from typing import Any, NamedTuple

import numpy as np

from backprop_xp.data.dataset import Part
from backprop_xp.data.mnist import load_mnist
from backprop_xp.data.scaling import scaling_for
from backprop_xp.nn.network import Layer, Network, Parameters
from backprop_xp.training.fit import fit
from backprop_xp.training.state import TrainState

SEED = 12345678
COST_LIMIT = 1e-9
"""Relative difference up to which a cost counts as reproduced."""


class Draws:
    """The two generators of the published runs: they go on from one run to the next."""

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
        """Return the order of the next epoch: the order of the last one, shuffled once more."""
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

    def pair(part: Part | None) -> tuple[Any, Any]:
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

    For n the published code takes the size of the set that is being *measured*, and not that of
    the training set, as the gradient has it. So the penalty weighs less in its costs of larger
    sets; this factor says so.
    """
    penalty: float = record.get("penalty", 0.0)
    value: float = record[f"{name}_loss"]
    return value + penalty * (n_train / n_measured)


def right(record: dict[str, Any], name: str, n: int) -> int:
    """Return the number of samples that were classified right."""
    accuracy: float = record[f"{name}_accuracy"]
    return round(accuracy * n)


def same(published: Any, measured: Any) -> bool:
    """Say whether every count is equal and every cost equal to `COST_LIMIT`, relative."""
    if isinstance(published, dict):
        return all(same(value, measured[key]) for key, value in published.items())
    if isinstance(published, (list, tuple)):
        return len(published) == len(measured) and all(map(same, published, measured))
    if isinstance(published, float):
        return math.isclose(published, measured, rel_tol=COST_LIMIT)
    return bool(published == measured)
