"""The experiments of the notes: those that need no MNIST whole, the long ones by their start."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from helpers import bytes_of

from backprop_xp.backend.devices import select_device
from backprop_xp.data.dataset import Split
from backprop_xp.data.digits import load_digits
from backprop_xp.errors import ConfigurationError
from backprop_xp.experiments import overfitting, perceptrons, records, vanishing_gradients
from backprop_xp.experiments.digits import first, published_digits
from backprop_xp.experiments.experiment import experiments, get_experiment, same
from backprop_xp.experiments.published import PublishedRuns

ALL = experiments()
SHORT = [name for name, one in ALL.items() if not (one.needs_mnist or one.epochs)]


@pytest.fixture
def mnist(real_mnist):
    return str(real_mnist)


@pytest.fixture(autouse=True)
def no_download(monkeypatch, tmp_path):
    """Whatever needs MNIST without saying so finds none."""
    monkeypatch.setenv("BACKPROP_XP_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("BACKPROP_XP_MNIST_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def check_outcome(outcome):
    assert set(outcome.published) == set(outcome.measured)
    assert outcome.verdict
    assert outcome.history
    json.dumps(outcome._asdict(), allow_nan=False)


# --- all of them ---------------------------------------------------------------------------


def test_every_experiment_of_the_notes_has_its_name():
    assert list(ALL) == [
        *("note-000", "note-001", "chain-rule", "linear-collapse", "vanishing-gradients"),
        *("dead-relu", "learning-rate-choice", "multiple-eta", "nand", "half-adder", "xor"),
        *("darkness-baseline", "digits-log", "learning-slowdown", "overfitting", "regularized"),
        *("overfitting-full", "regularized-full", "early-stopping", "dropout", "augmentation"),
        *("more-data", "weight-initialization-30", "weight-initialization-100"),
        *("digits-record", "mnist-record", "mnist-record-deep"),
    ]


def test_no_two_experiments_share_a_name():
    listed = [
        found.name
        for module in {experiment.run.__module__: None for experiment in ALL.values()}
        for found in __import__(module, fromlist=["EXPERIMENTS"]).EXPERIMENTS
    ]
    assert sorted(listed) == sorted(ALL)


@pytest.mark.parametrize("name", ALL)
def test_an_experiment_says_what_it_shows_how_and_after_whom(name):
    experiment = get_experiment(name)
    assert experiment.name == name
    assert experiment.shows.endswith(".")
    assert experiment.settings
    assert experiment.source


@pytest.mark.parametrize("name", ["overfitting_full", "weight_initialization_30", "more_data"])
def test_an_old_name_with_underscores_is_accepted(name):
    assert get_experiment(name) == ALL[name.replace("_", "-")]


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ConfigurationError) as raised:
        get_experiment("note-00")
    assert "note-00" in str(raised.value)
    assert "note-000" in f"{raised.value} {raised.value.hint}"


@pytest.mark.parametrize("name", SHORT)
def test_an_experiment_without_mnist_bears_its_claim_out(name):
    outcome = get_experiment(name).run(None)
    check_outcome(outcome)
    assert outcome.passed, outcome.verdict


# --- what they hold against each other -----------------------------------------------------


def test_the_order_of_the_notes_program_does_not_come_out_of_ours():
    outcome = get_experiment("note-000").run(None)
    key = "deltas_in_the_note's_order"
    assert same(outcome.published[key], outcome.measured[key])
    for layer, theirs in enumerate(outcome.published[key], start=1):
        assert not same(theirs, outcome.measured[f"delta_{layer}"])


def test_an_outcome_that_is_not_borne_out_says_so(monkeypatch):
    monkeypatch.setattr(perceptrons, "_nand", lambda a, b: a * b)  # AND
    for name in ("nand", "half-adder"):
        outcome = get_experiment(name).run(None)
        check_outcome(outcome)
        assert not outcome.passed


def test_costs_are_the_same_to_nine_digits_and_counts_only_if_equal():
    assert same({"a": [1.0, 3]}, {"a": [1.0 + 1e-10, 3], "b": 1})
    assert not same({"a": [1.0, 3]}, {"a": [1.0 + 1e-8, 3]})
    assert not same({"a": [1.0, 3]}, {"a": [1.0, 4]})
    assert not same([1, 2], [1, 2, 3])


def test_the_published_shuffle_goes_on_from_the_order_before():
    one, other = PublishedRuns((2, 1)), PublishedRuns((2, 1))
    orders = [list(one.shuffle(epoch, 5)) for epoch in range(3)]
    assert all(sorted(order) == list(range(5)) for order in orders)
    assert orders == [list(other.shuffle(epoch, 5)) for epoch in range(3)]
    assert orders[0] != orders[1]


def test_the_published_large_weights_are_those_of_n_0_1():
    (small,), (large,) = (PublishedRuns((400, 30)).parameters(large=big) for big in (False, True))
    assert same((20.0 * small.weights).ravel().tolist(), large.weights.ravel().tolist())
    assert small.bias.tolist() == large.bias.tolist()


# --- with MNIST ----------------------------------------------------------------------------


def test_the_darkness_baseline_is_exact(mnist):
    outcome = get_experiment("darkness-baseline").run(mnist)
    check_outcome(outcome)
    assert outcome.passed
    assert outcome.measured == {"right of 10,000": 2225}


def test_the_published_overfitting_has_its_lowest_test_cost_in_its_epoch(mnist):
    curves, history = overfitting._curves(mnist, n=1000, epochs=16, l2=0.0)
    costs = [curve[0] for curve in curves]
    assert same([1.202838510821453, 14], [min(costs), costs.index(min(costs))])
    assert len(history) == 16


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_gradients_vanish_towards_the_first_layer(mnist, depth):
    x, labels = first(published_digits(mnist).train, 1000)
    norms = vanishing_gradients._norms(depth, 0, x, np.eye(10)[labels])
    assert len(norms) == depth
    assert all(upper > 2.0 * lower for lower, upper in itertools.pairwise(norms))


# --- records -------------------------------------------------------------------------------

SMALL = records.Recipe((40,), "relu", epochs=12, batch_size=32, learning_rate=0.005)


def test_a_record_counts_what_is_read_wrong_on_every_library(library):
    seen = []
    wrong, state = records.train(SMALL, load_digits(), library.placement, seen.append)
    assert wrong < 36
    assert [one.epoch for one in seen] == list(range(1, 13))
    assert state.parameters[0].weights.shape == (40, 64)


def test_a_record_trains_on_all_rows_but_those_to_test_on():
    data = load_digits()
    place = select_device("cpu")
    wrong, state = records.train(SMALL, data, place)
    assert state.step == 12 * math.ceil((data.train.size + data.validation.size) / 32)
    other = dataclasses.replace(data, test=Split(data.test.inputs, (data.test.targets + 1) % 10))
    shifted, same_state = records.train(SMALL, other, place)
    assert bytes_of(same_state.parameters) == bytes_of(state.parameters)
    assert shifted >= data.test.size - wrong


@pytest.mark.parametrize("name", ["digits-record", "mnist-record", "mnist-record-deep"])
def test_a_record_says_how_many_epochs_it_takes(name):
    experiment = get_experiment(name)
    assert f"{experiment.epochs} epochs" in experiment.settings
