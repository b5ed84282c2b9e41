"""Schedules in closed form, and early stopping on scripted curves."""

import math

import numpy as np
import pytest
from helpers import bytes_of

from backprop_xp.errors import ConfigurationError
from backprop_xp.nn.network import Network
from backprop_xp.nn.schedules import SCHEDULES, Plateau, warm_up
from backprop_xp.training import trainer
from backprop_xp.training.fit import fit

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(12, 3)), RNG.integers(0, 2, 12)
NETWORK = Network((3, 4, 2), ("tanh", "softmax"))


def rates(**settings):
    """Return the learning rate of the last step of each epoch; an epoch has 3 steps."""
    told = {"learning_rate": 1.0, "optimizer": "sgd", "batch_size": 4, "epochs": 10, "seed": 0}
    return [r["learning_rate"] for r in fit(NETWORK, (X, LABELS), **{**told, **settings}).history]


@pytest.mark.parametrize(
    ("name", "closed_form"),
    [
        ("constant", lambda s: 1.0),
        ("linear", lambda s: 1.0 - s),
        ("step", lambda s: 0.1 ** min(2, int(3 * s))),
        ("exponential", lambda s: 0.01**s),
        ("cosine", lambda s: (1.0 + math.cos(math.pi * s)) / 2.0),
    ],
)
def test_a_schedule_follows_its_closed_form_at_every_step(name, closed_form):
    wanted = [closed_form((3 * epoch + 2) / 30) for epoch in range(10)]
    assert rates(schedule=name) == pytest.approx(wanted, rel=1e-12)


def test_one_cycle_rises_to_its_peak_at_three_tenths_and_ends_near_zero():
    one_cycle = SCHEDULES["one_cycle"]
    places = [one_cycle(i / 1000) for i in range(1001)]
    assert places[0] == pytest.approx(1 / 25)
    assert max(places) == places[300] == 1.0
    assert places[-1] == pytest.approx(1 / 250_000)
    assert sorted(places[:301]) == places[:301]
    assert sorted(places[300:], reverse=True) == places[300:]


@pytest.mark.parametrize("name", SCHEDULES)
def test_no_schedule_leaves_0_to_1(name):
    assert all(0.0 <= SCHEDULES[name](i / 99) <= 1.0 for i in range(100))


def test_warm_up_rises_in_a_line_and_then_leaves_the_schedule_alone():
    assert [warm_up(at, 4) for at in (1, 2, 3, 4, 5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates(warm_up=9)[:4] == pytest.approx([3 / 9, 6 / 9, 1.0, 1.0])


def test_a_schedule_of_ones_own_is_a_function_of_progress():
    assert rates(schedule=lambda progress: 0.5, epochs=2) == [0.5, 0.5]


def test_a_plateau_halves_the_learning_rate_each_time_its_patience_ends():
    losses = [3.0, 2.0, 2.0, 2.5, 1.0, 1.0, 1.0, 1.0, 1.0]
    plateau, factors = Plateau(), []
    for loss in losses:
        plateau = plateau.after(loss, patience=2)
        factors.append(plateau.factor)
    assert factors == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_the_rate_is_reduced_on_a_plateau_of_the_validation_loss(monkeypatch):
    scripted(monkeypatch, [1.0, 1.0, 1.0, 1.0, 1.0])
    got = rates(plateau_patience=2, epochs=5, validation=(X, LABELS))
    assert got == [1.0, 1.0, 1.0, 0.5, 0.5]


def scripted(monkeypatch, losses, name="validation_loss"):
    """Let the trainer measure the given values, one an epoch."""
    values = iter(losses)
    monkeypatch.setattr(trainer, "measure_epoch", lambda *inputs: {name: next(values)})


def stopped(monkeypatch, losses, name="validation_loss", **settings):
    scripted(monkeypatch, losses, name)
    seen = {}
    told = {"epochs": len(losses), "seed": 0, "batch_size": 4, **settings}
    state = fit(
        NETWORK,
        (X, LABELS),
        (X, LABELS),
        **told,
        on_epoch=lambda state: seen.update({state.epoch: bytes_of(state.parameters)}),
    )
    return state, seen


def test_early_stopping_waits_and_gives_back_the_weights_of_the_best_epoch(monkeypatch):
    losses = [1.0, 0.5, 0.7, 0.4, 0.6, 0.45, 0.41, 0.1]
    state, seen = stopped(monkeypatch, losses, patience=3)
    assert (state.stopped, state.epoch, state.best.epoch, state.best.value) == (
        *("early_stopping", 7, 4, 0.4),
    )
    assert bytes_of(state.parameters) == seen[4]
    assert [epoch for epoch, held in seen.items() if held == seen[4]] == [4]


def test_accuracy_is_monitored_upward(monkeypatch):
    found = [0.5, 0.9, 0.8, 0.7, 0.95]
    state, seen = stopped(monkeypatch, found, "validation_accuracy", patience=2, monitor="accuracy")
    assert (state.epoch, state.best.epoch) == (4, 2)
    assert bytes_of(state.parameters) == seen[2]


def test_less_than_the_minimum_improvement_does_not_count(monkeypatch):
    losses = [1.0, 0.95, 0.91, 0.5]
    assert stopped(monkeypatch, losses, patience=2, min_improvement=0.1)[0].best.epoch == 1
    assert stopped(monkeypatch, losses, patience=2)[0].best.epoch == 4


def test_a_training_that_ends_in_time_gives_back_its_best_weights_as_well(monkeypatch):
    state, seen = stopped(monkeypatch, [1.0, 0.2, 0.3], patience=5)
    assert state.stopped == ""
    assert bytes_of(state.parameters) == seen[2]


def test_early_stopping_without_a_validation_set_is_refused():
    with pytest.raises(ConfigurationError, match="needs a validation set"):
        fit(NETWORK, (X, LABELS), patience=3, batch_size=4)


def test_the_accuracy_of_a_regression_cannot_be_monitored():
    data = (X, RNG.normal(size=(12, 2)))
    network = Network((3, 2), "identity")
    with pytest.raises(ConfigurationError, match="no accuracy to monitor"):
        fit(network, data, data, patience=3, monitor="accuracy", batch_size=4, epochs=1)


def test_an_unknown_schedule_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match="unknown schedule 'cosin'") as caught:
        rates(schedule="cosin")
    assert "did you mean 'cosine'" in caught.value.hint
