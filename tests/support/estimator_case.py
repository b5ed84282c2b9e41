"""A small problem for the estimators, and how far apart two of them are."""

import numpy as np

RNG = np.random.default_rng(0)
N = 60
X = RNG.normal(size=(N, 5))
LABELS = np.argmax(X[:, :3], axis=1)
NUMBERS = X[:, 0] * 2.0 - X[:, 1] ** 2
SMALL = {"hidden_layer_sizes": (8,), "random_state": 0, "learning_rate_init": 0.02}


def weights_of(model):
    return [*model.coefs_, *model.intercepts_]


def difference(one, other):
    pairs = zip(weights_of(one), weights_of(other), strict=True)
    return max(float(np.max(np.abs(a - b))) for a, b in pairs)
