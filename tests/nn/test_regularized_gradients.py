"""The gradient of a whole training step, with every regularizer on, against central differences
of the loss and penalty as the README defines them."""

import functools

import numpy as np
import pytest
from helpers import DIFFERENCE_TOLERANCE, Backend, errors, gradient

from backprop_xp import select_device
from backprop_xp.backend import random
from backprop_xp.data.augmentation import Augmentation, augment
from backprop_xp.data.batch import take_rows
from backprop_xp.nn.dropout import dropout_mask
from backprop_xp.nn.network import Layer, Network, initial_parameters
from backprop_xp.training.settings import TrainingSettings
from backprop_xp.training.step import TrainingStep
from backprop_xp.training.training_data import TrainingData

NUMPY = Backend("numpy", select_device("cpu", "numpy"))
SEED, STEP = 5, 7
SHAPE = (4, 3)
AUGMENT = Augmentation(shift=0.7, rotation=20.0, scaling=0.2, shear=0.2, elastic=0.5)
RNG = np.random.default_rng(0)
X = RNG.random((14, 12))
ROWS = np.asarray([3, 12, 0, 7, 9])
SAMPLE_WEIGHT = RNG.uniform(0.2, 3.0, 14)

# What is on in every case, and for classes besides.
L1, L2, RATES = 0.04, 0.1, (0.4, 0.25)
ALWAYS = {"l1": L1, "l2": L2, "dropout": RATES, "augment": AUGMENT, "seed": SEED, "batch_size": 5}
CLASSES = {"label_smoothing": 0.1, "class_weight": {0: 2.5, 1: 0.5}}

# The number of outputs, their activation, the loss, the targets of all rows, and other settings.
KINDS = {
    "cross-entropy": (3, "softmax", "cross_entropy", RNG.integers(0, 3, 14), CLASSES),
    "binary cross-entropy": (1, "sigmoid", "binary_cross_entropy", np.arange(14) % 2, CLASSES),
    "huber": (2, "identity", "huber", RNG.normal(size=(14, 2)) * 2.0, {}),
    "poisson": (2, "softplus", "poisson", RNG.poisson(2.0, (14, 2)) * 1.0, {}),
}
CONVENTIONS = [(p, b) for p in ("per_sample", "plain", "per_batch") for b in (True, False)]


def network_of(kind):
    return Network((12, 5, 4, KINDS[kind][0]), ("tanh", "gelu", KINDS[kind][1]))


@functools.cache
def start(kind):
    """Return parameters far enough from 0 that no difference crosses the kink of Σ|w|."""
    drawn = initial_parameters(network_of(kind), 1, "scaled_normal", xp=np, dtype=np.float64)
    return [Layer(*(p + 0.05 * np.sign(p) for p in layer)) for layer in drawn]


def computed(kind, library, **told):
    """Return the result of a training step on some rows, and the arrays that it started from."""
    _, _, loss, targets, classes = KINDS[kind]
    settings = {**ALWAYS, **classes, "loss": loss, **told}
    weights = settings.pop("sample_weight", SAMPLE_WEIGHT)
    options = TrainingSettings(**{k: v for k, v in settings.items() if v is not None})
    network, placement = network_of(kind), library.placement.with_dtype("float64")
    data = TrainingData.of(
        network, options, placement, (X, targets), shuffle=False, sample_weight=weights
    )
    step = TrainingStep.of(network, options, placement, n=data.n, seed=SEED, image_shape=SHAPE)
    rows = library.array(ROWS, "index")
    batch = take_rows(data.loader.in_memory, rows, library.xp)
    return step.gradients(library.layers(start(kind)), batch, STEP)


# --- the objective, written out ---------------------------------------------------------------


def gelu(z):
    return 0.5 * z * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (z + 0.044715 * z**3)))


def losses(kind, z):
    """Return the loss of each row of the batch from its weighted inputs at the output."""
    y = KINDS[kind][3][ROWS]
    if kind == "huber":
        d = np.abs(z - y)
        return np.where(d <= 1.0, 0.5 * d**2, d - 0.5).mean(axis=1)
    if kind == "poisson":
        rates = np.log(1.0 + np.exp(z))
        return (rates - y * np.log(rates)).sum(axis=1)
    if kind == "cross-entropy":
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    else:
        p = 1.0 / (1.0 + np.exp(-z))
        p = np.concatenate((1.0 - p, p), axis=1)
    smooth = 0.9 * np.eye(p.shape[1])[y] + 0.1 / p.shape[1]
    return -(smooth * np.log(p)).sum(axis=1)


def objective(kind, layers, penalty, biases):
    """Return the weighted mean loss of the batch with dropout, and the penalties."""
    a = augment(X[ROWS], SHAPE, AUGMENT, SEED, STEP, xp=np)
    for place, (weights, bias) in enumerate(layers):
        z = a @ weights.T + bias
        if place < 2:
            a = (np.tanh, gelu)[place](z)
            key = random.key_of(SEED, random.DROPOUT, place + 1)
            a = a * dropout_mask(a.shape, RATES[place], key, STEP, xp=np, dtype=np.float64)
    weights = SAMPLE_WEIGHT[ROWS]
    if KINDS[kind][4]:
        weights = weights * np.asarray([2.5, 0.5, 1.0])[KINDS[kind][3][ROWS]]
    mean = (weights * losses(kind, z)).sum() / weights.sum()
    share = {"per_sample": 1.0 / 14, "plain": 1.0, "per_batch": 1.0 / weights.sum()}[penalty]
    total = 0.0
    for layer in layers:
        for p in layer if biases else layer[:1]:
            total += L1 * share * np.abs(p).sum() + 0.5 * L2 * share * (p**2).sum()
    return float(mean), float(mean + total)


@functools.cache
def numeric(kind, penalty, biases):
    """Return the objective's gradient by central differences."""
    layers = start(kind)

    def value(place, field, p):
        changed = [*layers]
        changed[place] = changed[place]._replace(**{field: p})
        return objective(kind, changed, penalty, biases)[1]

    return [
        Layer(
            *(
                gradient(functools.partial(value, place, field), p)
                for field, p in zip(Layer._fields, layer, strict=True)
            )
        )
        for place, layer in enumerate(layers)
    ]


@pytest.mark.parametrize(("penalty", "biases"), CONVENTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_a_step_with_every_regularizer_is_that_of_loss_and_penalty(
    library, kind, penalty, biases
):
    step = computed(kind, library, penalty=penalty, penalize_biases=biases)
    # A penalty per batch is part of the loss, any other penalty is not.
    wanted = objective(kind, start(kind), penalty, biases)[penalty == "per_batch"]
    assert float(step.loss) == pytest.approx(wanted, rel=1e-13)
    found = step.gradients.layers
    assert errors(found, numeric(kind, penalty, biases), size=1.0) <= DIFFERENCE_TOLERANCE


@pytest.mark.parametrize(
    "without",
    [
        *({"l1": 0.0}, {"l2": 0.0}, {"dropout": (0.4, 0.0)}, {"dropout": (0.0, 0.25)}),
        *({"augment": None}, {"label_smoothing": 0.0}, {"class_weight": None}),
        *({"sample_weight": None}, {"penalty": "plain"}, {"penalize_biases": True}),
    ],
    ids=lambda without: next(iter(without)),
)
def test_each_regularizer_has_a_part_in_that_gradient(without):
    found = computed("cross-entropy", NUMPY, **without).gradients.layers
    assert errors(found, numeric("cross-entropy", "per_sample", False), size=1.0) > 1e-3
