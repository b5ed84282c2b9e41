"""The learning-rate finder: its steps are those of training, and its suggestion trains."""

import math
import re

import numpy as np
import pytest
from helpers import bytes_of, error, plain_epoch

from backprop_xp.backend import random
from backprop_xp.data.digits import load_digits
from backprop_xp.diagnosis.learning_rate_finder import _RangeTest, find_learning_rate
from backprop_xp.errors import ConfigurationError, DivergenceError
from backprop_xp.nn.backpropagation import loss_and_gradients
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Network, initial_parameters
from backprop_xp.training.fit import fit
from backprop_xp.training.settings import LEARNING_RATE_AND_STOPPING

N, BATCH = 20, 8
NETWORK = Network((4, 5, 3), ("tanh", "softmax"))
X = np.random.default_rng(2).normal(size=(N, 4))
LABELS = np.arange(N) % 3
SETTINGS = {"optimizer": "momentum", "momentum": 0.8, "batch_size": BATCH, "seed": 1}
SHORT = {"low": 1e-3, "high": 1e-1, "steps": 20}


def data_on(backend, dtype="float64"):
    return backend.array(X, dtype), backend.array(LABELS, "index")


def find(data=(X, LABELS), **options):
    return find_learning_rate(NETWORK, data, **{**SETTINGS, **SHORT, **options})


# --- its steps ---------------------------------------------------------------------------------


def plain_losses(rates):
    """Return the loss of each batch before its update, in as many epochs as there are rates for."""
    parameters, velocities = initial_parameters(NETWORK, 1, xp=np, dtype=np.float64), []
    losses = []
    for number, rate in enumerate(rates):
        epoch, place = divmod(number, math.ceil(N / BATCH))
        rows = random.permutation(1, epoch, N)[place * BATCH : (place + 1) * BATCH]
        batch = X[rows], np.eye(3)[LABELS[rows]], np.arange(len(rows))
        parameters, velocities, loss = plain_epoch(
            parameters, velocities, *batch, N, etas=[rate], mu=0.8
        )
        losses.append(loss)
    return losses


def test_it_trains_with_a_rate_that_rises_exponentially_and_runs_through_epochs(
    library, dtype, tolerance
):
    found = find(data_on(library, dtype))
    assert found.rates == pytest.approx(np.geomspace(1e-3, 1e-1, 20), rel=1e-12)
    assert (found.rates[0], found.rates[-1]) == (1e-3, 1e-1)
    assert error(found.losses, plain_losses(found.rates)) <= tolerance


def test_its_steps_are_those_of_a_training_in_the_same_order_with_the_same_draws(library):
    data, options = data_on(library), {"optimizer": "adam", "momentum": None, "dropout": 0.4}
    options |= {"augment": "shift", "image_shape": (2, 2), "l2": 0.5}
    found = find(data, steps=21, **options)  # seven epochs of batches of 8, 8 and 4
    state = fit(
        *(NETWORK, data),
        **{**SETTINGS, **options, "epochs": 7, "learning_rate": 1e-3},
        schedule=lambda progress: 100.0 ** (progress * 21 / 20),
    )
    means = np.reshape(found.losses, (7, 3)) @ [8, 8, 4] / N
    assert error([record["loss"] for record in state.history], means) <= 1e-12


def test_one_batch_of_all_rows_is_an_epoch_of_its_own():
    found = find(batch_size=0)
    assert len(found.losses) == 20
    assert found.losses[0] > found.losses[-1]


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.5},
        {"l2": 5.0},
        {"clip_norm": 0.01},
        {"max_norm": 0.1},
        {"label_smoothing": 0.2},
        {"class_weight": {0: 3.0}},
        {"sample_weight": np.arange(N)},
        {"augment": "shift", "image_shape": (2, 2)},
        {"shuffle": False},
        {"initializer": "zeros"},
        {"dtype": "float32"},
        {"parameters": initial_parameters(NETWORK, 9, xp=np, dtype=np.float64)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_whatever_shapes_a_step_of_training_shapes_a_step_of_the_test(options):
    assert find(**options).losses != find().losses


def test_it_starts_where_a_training_stands():
    state = fit(
        NETWORK, (X, LABELS), epochs=2, **{**SETTINGS, "optimizer": "sgd", "momentum": None}
    )
    found = find(state=state, optimizer="sgd", momentum=None, low=1e-14, high=1e-13)
    rows = random.permutation(1, 2, N)[:BATCH]
    batch = X[rows], np.eye(3)[LABELS[rows]]
    step = loss_and_gradients(NETWORK, get_loss("cross_entropy"), state.parameters, *batch)
    assert error(found.losses[0], step.loss) <= 1e-12


def test_the_smoothed_loss_weighs_earlier_losses_less_and_less():
    found = find()
    memory = math.exp(-2.0 / 19 / 0.3)  # two powers of ten in 19 steps, over 0.3 of one
    for n in range(1, 21):
        weights = memory ** np.arange(n)[::-1]
        assert found.smoothed[n - 1] == pytest.approx(np.average(found.losses[:n], weights=weights))


# --- what it leaves alone ----------------------------------------------------------------------


def test_a_training_is_the_same_to_the_bit_with_and_without_a_test_before_it(library, dtype):
    data, settings = data_on(library, dtype), {"optimizer": "adam", "dropout": 0.3, "seed": 5}

    def train():
        state = fit(NETWORK, data, epochs=2, batch_size=BATCH, **settings)
        return bytes_of(state.parameters), [record["loss"] for record in state.history]

    alone = train()
    first = find_learning_rate(NETWORK, data, batch_size=BATCH, **SHORT, **settings)
    assert train() == alone
    assert find_learning_rate(NETWORK, data, batch_size=BATCH, **SHORT, **settings) == first


def test_nothing_that_was_handed_in_changes(library):
    x, labels = data_on(library)
    weights = library.array(np.linspace(0.5, 1.5, N))
    state = fit(NETWORK, (x, labels), epochs=1, **SETTINGS)
    own = library.layers(initial_parameters(NETWORK, 7, xp=np, dtype=np.float64))

    def everything():
        arrays = [x, labels, weights, *(slot for kept in state.slots for slot in kept)]
        arrays = [library.numpy(array).tobytes() for array in arrays]
        return arrays, bytes_of(state.parameters), bytes_of(own), state.step, state.history

    before = everything()
    for parameters in (None, own):
        found = find((x, labels), sample_weight=weights, state=state, parameters=parameters)
        assert found.losses[0] != found.losses[-1]
    assert everything() == before


def test_the_random_generators_of_the_host_are_left_alone():
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    find(seed=None)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


# --- how it ends -------------------------------------------------------------------------------

PLANE = X, (X @ [[1.0], [-2.0], [0.5], [0.0]]) + 1.0
LINE = Network((4, 1), "identity")


def test_a_loss_that_overflows_ends_the_test_and_is_no_error(library):
    # The loss is about 1e280. The first rate is too small to matter; the second makes it 1e308.
    data = library.array(X * 1e140), library.array(PLANE[1])
    found = find_learning_rate(
        *(LINE, data), optimizer="sgd", batch_size=0, seed=0, low=1e-285, high=1e120, steps=20
    )
    assert len(found.rates) == len(found.losses) == len(found.smoothed) == 2
    assert 1e270 < found.losses[0] < 1e290
    assert found.losses[1] == pytest.approx(found.losses[0], rel=1e-3)
    assert found.suggestion is None
    assert "never fell clearly" in found.reason


def test_a_loss_that_overflows_before_the_first_step_is_no_error():
    found = find_learning_rate(LINE, (X * 1e200, PLANE[1]), batch_size=0, seed=0)
    assert found[:4] == ([], [], [], None)
    assert "never fell clearly" in found.reason


def test_losses_that_are_almost_too_large_are_no_error():
    # The mean squares of Adam overflow, so nothing is ever learned.
    found = find_learning_rate(LINE, (X * 1e153, PLANE[1]), batch_size=0, seed=0)
    assert len(found.losses) == 400
    assert min(found.losses) > 1e305
    assert "never fell clearly" in found.reason


def watched(curve):
    """Return what a range test finds whose loss is the given function of the rate."""
    test = _RangeTest(1e-6, 10.0, 400)
    next(rate for rate in test.rates if test.on_step(0, curve(rate), None))
    return test.finding()


def test_it_ends_once_the_smoothed_loss_is_four_times_its_lowest():
    smoothed = watched(lambda rate: 0.5 + 5.0 * rate).smoothed
    assert 4.0 < smoothed[-1] / min(smoothed) < 4.2
    assert len(smoothed) < 400


# --- what it suggests --------------------------------------------------------------------------

DIGITS = load_digits().train
IMAGES = DIGITS.inputs / 16.0


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"])
def test_the_suggestion_trains(optimizer, activation):
    network = Network((64, 30, 10), (activation, "softmax"))
    settings = {"optimizer": optimizer, "batch_size": 32, "seed": 0}
    data = IMAGES, DIGITS.targets
    rate = find_learning_rate(network, data, **settings).suggestion

    def accuracy(rate):
        options = {"epochs": 5, "learning_rate": rate, "evaluate_training": True}
        state = fit(network, data, **options, **settings)
        return state.history[-1]["train_accuracy"]

    assert accuracy(rate) >= 0.9
    assert accuracy(rate / 100.0) < 0.8  # so not every rate would do


@pytest.mark.parametrize("batch_size", [10, 128])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_the_suggestion_loses_little_to_the_best_of_a_grid(optimizer, batch_size):
    x = np.random.default_rng(0).uniform(0.0, 1.0, (1000, 5))  # Friedman's first function
    t = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + x[:, 3:] @ [10, 5]
    standardised = [(a - a.mean(axis=0)) / a.std(axis=0) for a in (x, t[:, None])]
    data, network = tuple(standardised), Network((5, 32, 1), ("tanh", "identity"))
    settings = {"optimizer": optimizer, "batch_size": batch_size, "seed": 3}

    def loss(rate):
        try:
            options = {"epochs": 5, "learning_rate": rate, "evaluate_training": True}
            state = fit(network, data, **options, **settings)
        except DivergenceError:
            return math.inf
        return state.history[-1]["train_loss"]

    untrained, best = loss(1e-12), min(map(loss, 10.0 ** np.arange(-4.0, -0.4, 0.5)))
    found = loss(find_learning_rate(network, data, **settings).suggestion)
    assert (untrained - found) / (untrained - best) >= 0.7


def test_the_suggestion_is_a_quarter_of_the_rate_where_the_loss_is_lowest():
    found = watched(lambda rate: 1.0 / (1.0 + 100.0 * rate) if rate < 0.1 else 10.0 * rate)
    assert 0.09 / 4.0 <= found.suggestion <= 0.15 / 4.0


def test_the_suggestion_stays_near_the_rate_by_which_most_of_the_fall_was_done():
    def with_a_long_tail(rate):
        return 1.0 if rate < 1e-4 else 0.2 - 0.01 * math.log10(rate / 1e-4) if rate < 1 else rate

    assert 4e-4 < watched(with_a_long_tail).suggestion < 4e-3


def test_a_suggestion_has_two_digits():
    found = find_learning_rate(Network((64, 10), "softmax"), (IMAGES, DIGITS.targets), seed=0)
    assert found.suggestion == float(f"{found.suggestion:.1e}")
    assert found.reason == ""


def test_a_finding_is_shown_without_its_curve():
    assert repr(find()) == f"RateFinding({find().suggestion}, 20 steps)"
    flat = watched(lambda rate: 1.0)
    assert repr(flat) == f"RateFinding(None, 400 steps, {flat.reason!r})"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"low": 1e-9, "high": 1e-6}, "never fell clearly"),
        ({"low": 1e-7, "high": 0.1}, "still fell at 0.1, the end of the range; raise the end"),
        ({"low": 50.0, "high": 5000.0}, "never fell clearly"),
    ],
    ids=["too low", "ends too soon", "too high"],
)
def test_a_range_that_shows_nothing_gives_a_reason_and_no_number(options, said):
    network = Network((64, 30, 10), ("tanh", "softmax"))
    data = IMAGES, DIGITS.targets
    found = find_learning_rate(network, data, optimizer="sgd", batch_size=0, seed=0, **options)
    assert found.suggestion is None
    assert said in found.reason


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("n", [20, 400])
@pytest.mark.parametrize(
    "options",
    [
        *({"low": 1e-9, "high": 1e-6}, {"low": 1e-7, "high": 0.1}, {"low": 50.0, "high": 5e3}),
        *({"high": 1e6}, {"steps": 20}, {"steps": 20, "high": 1e-3}),
    ],
    ids=lambda options: " ".join(f"{name}={value:g}" for name, value in options.items()),
)
def test_following_the_advice_leads_to_a_rate_that_trains(options, n, optimizer):
    network, data = Network((64, 30, 10), ("tanh", "softmax")), (IMAGES[:n], DIGITS.targets[:n])
    settings, advised = {"optimizer": optimizer, "seed": 0}, []
    found = find_learning_rate(network, data, **settings, **options)
    while found.suggestion is None:
        name, value = re.search(r"\(--(low|high|steps) (.*)\)$", found.reason).groups()
        assert name != "high" or float(value) <= 10.0
        assert name not in advised
        advised.append(name)
        options = {**options, name: int(value) if name == "steps" else float(value)}
        found = find_learning_rate(network, data, **settings, **options)
    settings |= {"learning_rate": found.suggestion, "evaluate_training": True}
    state = fit(network, data, epochs=40, **settings)
    assert state.history[-1]["train_accuracy"] >= 0.9


@pytest.mark.parametrize("high", [1.0, 10.0, 1e4])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_a_small_table_that_is_learned_at_any_rate_gets_a_suggestion(optimizer, high):
    # It fits into one batch and is separable, so the loss falls until the end of the range.
    x = np.random.default_rng(0).normal(size=(50, 3))
    data, network = (x, (x[:, 0] > 0.0).astype(int)), Network((3, 128, 2), ("relu", "softmax"))
    found = find_learning_rate(network, data, optimizer=optimizer, high=high, seed=0)
    assert found.smoothed[-1] == min(found.smoothed)
    settings = {"optimizer": optimizer, "learning_rate": found.suggestion, "seed": 0}
    state = fit(network, data, epochs=40, evaluate_training=True, **settings)
    assert state.history[-1]["train_accuracy"] >= 0.95


def test_a_loss_that_has_settled_at_its_noise_gets_a_suggestion():
    found = watched(lambda rate: 0.7 + 0.3 / (1.0 + 1e4 * rate) - 1e-3 * rate)
    assert found.smoothed[-1] == min(found.smoothed)
    assert 1e-4 < found.suggestion < 1e-2


def test_too_few_steps_are_named():
    test = _RangeTest(1e-6, 10.0, 20)
    next(rate for rate in test.rates if test.on_step(0, 1.0, None))
    assert "(--steps 400)" in test.finding().reason


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("batch_size", [1, 10])
def test_labels_that_cannot_be_learned_give_no_number(seed, batch_size):
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(2000, 3)), rng.integers(0, 2, 2000)
    # Zero weights give the best outputs that there are from the start: an even chance.
    found = find_learning_rate(
        Network((3, 2), "softmax"), data, initializer="zeros", batch_size=batch_size, seed=seed
    )
    assert found.suggestion is None
    assert "never fell clearly" in found.reason


# --- what it refuses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high"),
    [
        *((1.0, 0.1), (0.1, 0.1), (0.1, 0.9), (0.0, 1.0), (-1.0, 1.0)),
        *((1e-3, math.inf), (math.nan, 1.0), (1e-3, math.nan), ("1e-3", 1.0), (None, 1.0)),
    ],
)
def test_a_range_that_cannot_be_is_refused(low, high):
    with pytest.raises(ConfigurationError, match="learning rates go from") as failure:
        find(low=low, high=high)
    assert f"from {low!r} to {high!r}" in failure.value.message
    assert "above 0" in failure.value.hint


@pytest.mark.parametrize("steps", [19, 0, -5, 100.0, "100", None, True])
def test_too_few_steps_are_refused(steps):
    with pytest.raises(ConfigurationError, match="steps is") as failure:
        find(steps=steps)
    assert failure.value.hint == "give a whole number from 20 up"


@pytest.mark.parametrize("name", LEARNING_RATE_AND_STOPPING)
def test_settings_that_mean_nothing_here_are_refused(name):
    with pytest.raises(ConfigurationError, match=f"{name} has no meaning while"):
        find(**{name: 1})


def test_an_unknown_setting_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match="unknown setting 'batchsize'") as failure:
        find(batchsize=3)
    assert "did you mean 'batch_size'" in failure.value.hint
