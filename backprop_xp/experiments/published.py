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
from collections.abc import Sequence
from typing import Any

import numpy as np

from backprop_xp.nn.network import Layer, Network, Parameters
from backprop_xp.training.fit import fit
from backprop_xp.training.state import TrainState

SEED = 12345678


class PublishedRuns:
    """Runs of a sigmoid network, with two random generators that continue from run to run."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.network = Network(sizes, "sigmoid")
        self._weights = np.random.RandomState(SEED)
        self._order = random.Random(SEED)
        self._rows: list[int] = []

    def parameters(self, *, large: bool = False) -> Parameters:
        """Draw initial weights: N(0, 1/n_in), or N(0, 1) for the large ones; biases N(0, 1)."""
        sizes = self.network.sizes
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

    def fit(
        self,
        train: tuple[Any, Any],
        validation: tuple[Any, Any] | None,
        *,
        large: bool = False,
        **settings: Any,
    ) -> TrainState:
        """Draw initial weights and train them: cross-entropy, SGD, batches of 10."""
        defaults: dict[str, Any] = {
            "loss": "binary_cross_entropy",
            "optimizer": "sgd",
            "batch_size": 10,
            "seed": SEED,
        }
        return fit(
            self.network,
            train,
            validation,
            parameters=self.parameters(large=large),
            shuffle=self.shuffle,
            **defaults | settings,
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
