"""Penalties, max-norm, clipping, weights of samples and classes, and label smoothing."""

import numpy as np
import pytest
from helpers import error, errors, gradient, numpy_of

from backprop_xp.data.targets import smooth_labels
from backprop_xp.errors import ConfigurationError, DataError
from backprop_xp.nn.backpropagation import loss_and_gradients
from backprop_xp.nn.losses import LOSSES, get_loss
from backprop_xp.nn.network import Layer, Network, initial_parameters
from backprop_xp.nn.regularizers import (
    Penalty,
    add_penalty,
    clip_by_norm,
    clip_weight_norms,
    penalty_value,
)
from backprop_xp.training.fit import fit

NETWORK = Network((4, 5, 3), ("tanh", "softmax"))
RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 4))
LABELS = RNG.integers(0, 3, 20)


def parameters():
    return initial_parameters(NETWORK, 1, "scaled_normal", xp=np, dtype=np.float64)


def descend(**settings):
    """Return the weights after 5 full-batch steps of gradient descent."""
    told = {"optimizer": "sgd", "learning_rate": 0.5, "batch_size": 0, "epochs": 5, "seed": 0}
    data = settings.pop("data", (X, LABELS))
    return fit(NETWORK, data, parameters=parameters(), **{**told, **settings}).parameters


@pytest.mark.parametrize("penalty", [Penalty(l2=0.3), Penalty(l1=0.2), Penalty(0.2, 0.3, True)])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_with_a_penalty_equal_central_differences(loss, penalty):
    network = Network((3, 4, 2), ("sigmoid", "softmax"))
    start = initial_parameters(network, 0, "scaled_normal", xp=np, dtype=np.float64)
    x, y = X[:5, :3], np.eye(2)[[0, 1, 1, 0, 1]]

    def step(layers):
        return loss_and_gradients(network, get_loss(loss), layers, x, y)

    got = add_penalty(penalty, step(start).gradients.layers, start, xp=np)
    for place in range(2):
        for kind in ("weights", "bias"):

            def value(p, place=place, kind=kind):
                layers = [*start]
                layers[place] = layers[place]._replace(**{kind: p})
                return float(step(layers).loss + penalty_value(penalty, layers, xp=np))

            numeric = gradient(value, getattr(start[place], kind))
            assert error(getattr(got[place], kind), numeric, size=1.0) < 1e-10


def test_penalties_are_the_same_on_every_backend(library, dtype, tolerance):
    layers = library.layers(parameters(), dtype)
    zeros = library._replace(readonly=False).layers(
        [Layer(np.zeros_like(w), np.zeros_like(b)) for w, b in parameters()], dtype
    )
    penalty = Penalty(0.1, 0.2, True)
    got = add_penalty(penalty, zeros, layers, xp=library.xp)
    wanted = [
        Layer(0.2 * w + 0.1 * np.sign(w), 0.2 * b + 0.1 * np.sign(b)) for w, b in parameters()
    ]
    assert errors(got, wanted) < tolerance
    value = sum(0.1 * np.abs(p).sum() + 0.1 * (p * p).sum() for p in numpy_of(parameters()))
    assert float(penalty_value(penalty, layers, xp=library.xp)) == pytest.approx(value, tolerance)


def test_lambda_is_divided_by_the_number_of_samples_unless_it_is_plain():
    per_sample, plain = descend(l2=20 * 0.1), descend(l2=0.1, penalty="plain")
    assert errors(per_sample, plain) < 1e-12
    assert errors(per_sample, descend()) > 1e-3


def test_biases_are_exempt_unless_asked_for():
    pull = {"l2": 0.5, "penalty": "plain", "epochs": 1}
    exempt, included, free = (
        descend(**pull),
        descend(**pull, penalize_biases=True),
        descend(epochs=1),
    )
    for one, other in zip(exempt, free, strict=True):
        assert np.array_equal(one.bias, other.bias)
        assert not np.array_equal(one.weights, other.weights)
    assert not np.array_equal(included[0].bias, free[0].bias)


def test_l1_brings_weights_near_zero_and_l2_keeps_them_small():
    free, l1, l2 = (
        np.concatenate([p.weights.ravel() for p in descend(penalty="plain", epochs=300, **told)])
        for told in ({}, {"l1": 0.05}, {"l2": 0.05})
    )
    assert np.mean(np.abs(l1) < 0.03) > 2 * np.mean(np.abs(free) < 0.03)
    assert np.linalg.norm(l2) < 0.5 * np.linalg.norm(free)


def test_max_norm_bounds_the_incoming_weights_of_every_neuron(library):
    trained = fit(
        NETWORK,
        (X, LABELS),
        device=library.placement,
        dtype="float64",
        max_norm=0.7,
        epochs=5,
        batch_size=5,
        seed=0,
        learning_rate=0.1,
    ).parameters
    norms = [np.linalg.norm(library.numpy(layer.weights), axis=1) for layer in trained]
    assert max(norm.max() for norm in norms) <= 0.7 * (1 + 1e-12)
    assert max(norm.max() for norm in norms) > 0.69


def test_max_norm_leaves_small_rows_alone():
    small = [Layer(np.asarray([[0.1, 0.2]]), None)]
    assert np.array_equal(clip_weight_norms(small, 1.0, xp=np)[0].weights, [[0.1, 0.2]])
    zero = [Layer(np.zeros((1, 2)), None)]
    assert np.array_equal(clip_weight_norms(zero, 1.0, xp=np)[0].weights, [[0.0, 0.0]])


@pytest.mark.parametrize("limit", [1e-3, 0.1, 1e6])
def test_clipping_keeps_the_direction_and_bounds_the_norm(library, limit):
    gradients = library._replace(readonly=False).layers(parameters())
    before = np.concatenate([p.ravel() for p in numpy_of(gradients)])
    clipped = clip_by_norm(gradients, limit, xp=library.xp)
    after = np.concatenate([p.ravel() for p in numpy_of(clipped)])
    assert np.linalg.norm(after) <= min(limit, np.linalg.norm(before)) * (1 + 1e-12)
    assert error(after / np.linalg.norm(after), before / np.linalg.norm(before)) < 1e-12


def test_clipped_gradients_come_multiplied_by_a_scale(library):
    gradients = [library._replace(readonly=False).layers(parameters()) for _ in range(3)]
    plain = clip_by_norm(gradients[0], 0.1, xp=library.xp)
    halves = [Layer(*(p if p is None else p * 0.5 for p in layer)) for layer in plain]
    halved = clip_by_norm(gradients[1], 0.1, 0.5, xp=library.xp)
    assert errors(halved, halves) <= 1e-15
    none = clip_by_norm(gradients[2], 0.1, 0.0, xp=library.xp)  # a learning rate of 0
    assert all((p == 0.0).all() for p in numpy_of(none))


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam"])
def test_a_bound_that_clips_nothing_changes_nothing(library, optimizer):
    told = {"optimizer": optimizer, "l2": 0.1, "penalty": "per_batch", "seed": 0, "epochs": 2}
    x = np.random.default_rng(0).normal(size=(30, 4))
    data = library.array(x), library.array([0, 1] * 15, "index")
    free, bounded = (
        fit(Network((4, 5, 2), ("tanh", "softmax")), data, batch_size=8, clip_norm=bound, **told)
        for bound in (None, 1e9)
    )
    assert errors(free.parameters, bounded.parameters) <= 1e-14


def test_clipping_gradients_of_zero_gives_zero():
    assert clip_by_norm([Layer(np.zeros((1, 1)), None)], 1.0, xp=np)[0].weights == 0.0


def test_a_sample_of_weight_2_counts_as_if_it_stood_there_twice():
    twice = (np.concatenate((X, X[:5])), np.concatenate((LABELS, LABELS[:5])))
    weights = np.asarray([2.0] * 5 + [1.0] * 15)
    assert errors(descend(sample_weight=weights), descend(data=twice)) < 1e-12


def test_a_sample_of_weight_0_counts_as_if_it_were_not_there():
    weights = np.asarray([0.0] * 5 + [1.0] * 15)
    assert errors(descend(sample_weight=weights), descend(data=(X[5:], LABELS[5:]))) < 1e-12


def test_class_weights_are_the_weights_of_their_samples():
    by_class = descend(class_weight={0: 2.0, 2: 0.5})
    by_sample = descend(sample_weight=np.asarray([2.0, 1.0, 0.5])[LABELS])
    assert errors(by_class, by_sample) < 1e-12


def test_balanced_class_weights_give_every_class_the_same_total():
    counts = np.bincount(LABELS)
    balanced = descend(class_weight="balanced")
    assert errors(balanced, descend(sample_weight=(20 / 3 / counts)[LABELS])) < 1e-12


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"sample_weight": [1.0]}, r"shape \(1,\), and there are 20 samples"),
        ({"sample_weight": [-1.0] * 20}, "row 0 is -1.0"),
        ({"sample_weight": [1.0] * 19 + [np.nan]}, "row 19 is nan"),
        ({"sample_weight": [0.0] * 20}, "all sample weights are 0"),
        ({"class_weight": {3: 1.0}}, "has the class 3"),
        ({"class_weight": "balanced", "data": (X, np.eye(3)[LABELS])}, "class indices"),
    ],
)
def test_weights_that_make_no_sense_are_refused(told, message):
    with pytest.raises(DataError, match=message):
        descend(**told)


def test_smoothed_labels_spread_their_share_over_all_classes():
    assert np.allclose(smooth_labels(np.eye(4), 0.2), np.eye(4) * 0.8 + 0.05, rtol=0, atol=1e-16)
    hand = np.eye(3)[LABELS] * 0.9 + 0.1 / 3
    assert errors(descend(label_smoothing=0.1), descend(data=(X, hand))) < 1e-12


@pytest.mark.parametrize(
    "told",
    [
        {"l2": -1.0},
        {"l1": float("nan")},
        {"max_norm": 0.0},
        {"clip_norm": -1.0},
        {"label_smoothing": 1.0},
        {"penalty": "perhaps"},
        {"class_weight": "unbalanced"},
    ],
)
def test_settings_out_of_range_are_refused(told):
    with pytest.raises(ConfigurationError, match=next(iter(told))):
        descend(**told)
