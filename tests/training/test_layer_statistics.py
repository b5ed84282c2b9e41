"""Diagnostics: what is measured of a step equals its definition, costs little, changes nothing."""

import math

import numpy as np
import pytest
from helpers import bytes_of, numpy_of

from backprop_xp import Network, fit
from backprop_xp.nn.activations import elementwise
from backprop_xp.nn.backpropagation import forward, loss_and_gradients
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Layer, initial_parameters, map_arrays
from backprop_xp.training.layer_statistics import (
    MEASURES,
    SAMPLE,
    STEPS_BETWEEN,
    describe,
    is_due,
    measure,
)

NETWORK = Network((5, 7, 6, 4, 3), ("relu", "tanh", "sigmoid", "softmax"))
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5))
LABELS = RNG.integers(3, size=40)
TOLD = {"batch_size": 8, "epochs": 2, "seed": 3, "evaluate_training": False}


def parameters_of(network, size=3.0):
    drawn = initial_parameters(network, 1, "glorot_normal", xp=np, dtype=np.float64)
    return map_arrays(lambda p: p * size, drawn)


def test_every_measure_equals_its_definition(backend, dtype, tolerance):
    before = parameters_of(NETWORK)
    before[0].weights[2] = 0.0
    before[0].bias[2] = -1.0  # one of seven units never wakes
    changes = [0.25 * float(np.linalg.norm(layer.weights)) for layer in before]
    y = np.eye(3)[LABELS]

    def measured(parameters, x, y):
        step = loss_and_gradients(NETWORK, get_loss("cross_entropy"), parameters, x, y)
        return measure(NETWORK, step, parameters, changes, xp=backend.xp)

    placed = backend.layers(before, dtype), backend.array(X, dtype), backend.array(y, dtype)
    got = describe(backend.jit(measured)(*placed))
    step = loss_and_gradients(NETWORK, get_loss("cross_entropy"), before, X, y)
    for place, row in enumerate(got):
        assert tuple(row) == MEASURES
        deltas = [  # of each sample alone
            loss_and_gradients(
                NETWORK, get_loss("cross_entropy"), before, X[i : i + 1], y[i : i + 1]
            )
            for i in range(len(X))
        ]
        squares = [np.sum(one.gradients.deltas[place] ** 2) for one in deltas]
        assert row["delta"] == pytest.approx(math.sqrt(np.mean(squares)), rel=10 * tolerance)
        both = np.concatenate([g.reshape(-1) for g in step.gradients.layers[place]])
        assert row["gradient"] == pytest.approx(np.linalg.norm(both), rel=10 * tolerance)
        assert row["update"] == pytest.approx(0.25, rel=10 * tolerance)
    a = step.tape.a
    assert got[0]["saturated"] == 0.0
    flat_tanh = np.mean(1.0 - a[2] ** 2 < 0.05)
    flat_sigmoid = np.mean(a[3] * (1.0 - a[3]) < 0.05 / 4)
    assert min(flat_tanh, flat_sigmoid) > 0.0
    assert got[1]["saturated"] == pytest.approx(flat_tanh)
    assert got[2]["saturated"] == pytest.approx(flat_sigmoid)
    assert got[0]["dead"] == pytest.approx(1 / 7)
    assert got[1]["dead"] == got[2]["dead"] == 0.0
    assert got[3]["saturated"] is got[3]["dead"] is None  # softmax has no slope of its own


def test_a_unit_that_a_single_sample_wakes_is_not_dead():
    network = Network((1, 1), "relu")
    weights = [Layer(np.asarray([[1.0]]), np.asarray([-2.0]))]
    for x, dead in (([[0.0], [1.0]], 1.0), ([[0.0], [3.0]], 0.0)):
        step = loss_and_gradients(
            network, get_loss("squared_error"), weights, np.asarray(x), np.zeros((2, 1))
        )
        assert describe(measure(network, step, weights, [0.0], xp=np))[0]["dead"] == dead


def test_a_function_of_ones_own_is_measured_by_its_slope():
    bounded = elementwise(
        "arctan",
        lambda z, xp: xp.atan(z),
        lambda z, a, xp: 1.0 / (1.0 + z * z),
        output_range=(-math.pi / 2, math.pi / 2),
    )
    network = Network((1, 1), bounded)
    weights = [Layer(np.asarray([[1.0]]), None)]
    x = np.asarray([[0.0], [4.3], [4.4], [-9.0]])  # the slope is 0.05 at √19 = 4.36
    step = loss_and_gradients(network, get_loss("squared_error"), weights, x, x)
    assert describe(measure(network, step, weights, [0.0], xp=np))[0]["saturated"] == 0.5


def test_weights_of_zero_and_numbers_without_bound_are_told_as_such():
    network = Network((1, 1), "identity")
    zero = [Layer(np.zeros((1, 1)), None)]
    one = [Layer(np.ones((1, 1)), None)]
    x = np.asarray([[1e200]])
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        step = loss_and_gradients(network, get_loss("squared_error"), one, x, -x)
        row = describe(measure(network, step, zero, [1.0], xp=np))[0]
    assert row["gradient"] is None  # beyond the largest number
    assert row["update"] is None  # weights of 0 have no size to compare with


# --- during a training -------------------------------------------------------------------------


def test_diagnostics_change_nothing_of_the_training(library):
    data = (library.array(X), library.array(LABELS, "index"))
    told = {**TOLD, "optimizer": "adam", "dropout": 0.3, "l2": 0.1, "clip_norm": 0.5}
    watched, plain = (fit(NETWORK, data, **told, diagnostics=on) for on in (True, False))
    assert bytes_of(watched.parameters) == bytes_of(plain.parameters)
    assert [kept.tobytes() for slots in watched.slots for kept in map(library.numpy, slots)] == [
        kept.tobytes() for slots in plain.slots for kept in map(library.numpy, slots)
    ]
    assert "layers" in watched.history[0]
    assert "layers" not in plain.history[0]


def test_what_is_measured_before_an_epoch_is_the_step_that_comes_next(library):
    data = (library.array(X), library.array(LABELS, "index"))
    told = {**TOLD, "batch_size": 40, "optimizer": "momentum", "learning_rate": 0.2, "epochs": 1}
    given = library.layers(parameters_of(NETWORK))
    state = fit(NETWORK, data, parameters=given, **told)  # a single step, from all 40 rows
    rows = state.history[0]["layers"]
    assert len(rows) == 4
    for row, old, new in zip(rows, given, state.parameters, strict=True):
        (before, *_), (after, *_) = numpy_of([old]), numpy_of([new])
        wanted = np.linalg.norm(after - before) / np.linalg.norm(before)
        assert row["update"] == pytest.approx(wanted, rel=1e-9)


def test_many_rows_are_measured_on_a_sample_that_the_seed_draws(library):
    x, labels = RNG.normal(size=(300, 5)), RNG.integers(3, size=300)
    seen = []

    def spy(z, xp):
        seen.append(z.shape[0])
        return z

    own = elementwise("own", spy, lambda z, a, xp: xp.ones_like(z))
    network = Network((5, 3), own)
    told = {**TOLD, "epochs": 1, "batch_size": 0, "loss": "squared_error"}
    data = (library.array(x), library.array(labels, "index"))
    states = [fit(network, data, **{**told, "seed": seed}) for seed in (1, 1, 2)]
    assert SAMPLE in seen
    one, again, other = (state.history[0]["layers"][0]["gradient"] for state in states)
    assert one == again != other


def test_steps_are_measured_at_the_first_epoch_and_then_every_few():
    for steps, batch_size in ((1, 1000), (24, 64), (64, 128), (1000, 10), (10, 512)):
        between = max(STEPS_BETWEEN, STEPS_BETWEEN * SAMPLE / (2 * batch_size))
        due = [is_due(epoch * steps, steps, batch_size) for epoch in range(2000)]
        assert due[0]
        assert sum(due[1:]) == pytest.approx(min(1999, 1999 * steps / between), abs=1.5)


def test_the_reads_of_a_device_are_one_for_each_step_that_is_measured(monkeypatch):
    from backprop_xp.training import layer_statistics

    reads = []
    inner = layer_statistics.describe
    monkeypatch.setattr(
        layer_statistics,
        "describe",
        lambda measured: reads.append(measured.shape) or inner(measured),
    )
    state = fit(NETWORK, (X, LABELS), **{**TOLD, "batch_size": 1, "epochs": 400})
    assert reads == [(4, 5)] * sum("layers" in record for record in state.history)
    assert len(reads) == 3 + 400 * 40 // (STEPS_BETWEEN * SAMPLE // 2) - 2


# --- the cases of the notes --------------------------------------------------------------------


def test_vanishing_gradients_of_a_deep_sigmoid_network_are_seen():
    network = Network((5, *[20] * 5, 3), (*["sigmoid"] * 5, "softmax"))
    told = {**TOLD, "epochs": 1, "optimizer": "sgd", "learning_rate": 0.1}
    deltas = [row["delta"] for row in fit(network, (X, LABELS), **told).history[0]["layers"]]
    assert deltas == sorted(deltas)
    assert deltas[0] < 0.01 * deltas[-1]


def test_dead_relus_of_a_large_learning_rate_are_seen():
    network, data, told = Network((5, 30, 3), ("relu", "softmax")), (np.abs(X), LABELS), TOLD
    for eta, low, high in ((0.05, 0.0, 0.2), (10.0, 0.9, 1.0)):
        state = fit(network, data, **told, optimizer="sgd", learning_rate=eta)
        dead = np.all(forward(network, state.parameters, data[0]).z[0] <= 0.0, axis=0)
        assert low <= np.mean(dead) <= high
        gone_on = fit(network, data, parameters=state.parameters, **told)
        assert gone_on.history[0]["layers"][0]["dead"] == pytest.approx(np.mean(dead))
