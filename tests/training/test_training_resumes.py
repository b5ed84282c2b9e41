"""A training that goes on from its state ends as if it had never stopped."""

import numpy as np
import pytest
from helpers import Backend, bytes_of

from backprop_xp.backend.devices import select_device
from backprop_xp.nn.network import Network
from backprop_xp.nn.optimizers import sgd
from backprop_xp.training.fit import fit

N = 25
NETWORK = Network((6, 5, 3), ("tanh", "softmax"))
X = np.random.default_rng(0).normal(size=(N, 6))
LABELS = np.arange(N) % 3
SETTINGS = {
    "optimizer": "adam",
    "learning_rate": 0.05,
    "batch_size": 10,
    "epochs": 2,
    "seed": 3,
    "evaluate_training": False,
    "diagnostics": False,
}


def train(backend, **settings):
    data = backend.array(X), backend.array(LABELS, "index")
    return fit(NETWORK, data, **{**SETTINGS, **settings})


def check_going_on(library, cut):
    whole = train(library, epochs=4)
    first = train(library, epochs=cut)
    before = bytes_of(first.parameters)
    for _ in range(2):  # going on does not use up the state
        joined = train(library, epochs=4, state=first)
        assert bytes_of(joined.parameters) == bytes_of(whole.parameters)
        assert [[library.numpy(s).tobytes() for s in kept] for kept in joined.slots] == [
            [library.numpy(s).tobytes() for s in kept] for kept in whole.slots
        ]
    assert bytes_of(first.parameters) == before
    assert (joined.epoch, joined.step, joined.seed) == (4, 12, 3)
    without_time = [[{**r, "seconds": 0} for r in s.history] for s in (joined, whole)]
    assert without_time[0] == without_time[1]


def test_training_that_goes_on_ends_as_if_it_had_never_stopped(library):
    check_going_on(library, cut=2)


@pytest.mark.parametrize("cut", [0, 1, 3, 4])
def test_training_may_be_cut_after_any_epoch(cut):
    check_going_on(Backend("numpy", select_device("cpu")), cut)


def test_the_optimizer_counts_the_steps_of_the_whole_training():
    asked = []

    def scalars(learning_rate, step):
        asked.append((learning_rate, step))
        return (learning_rate,)

    settings = {**SETTINGS, "optimizer": sgd()._replace(scalars=scalars)}
    first = fit(NETWORK, (X, LABELS), **settings)
    assert asked == [(0.05, step) for step in range(1, 7)]
    fit(NETWORK, (X, LABELS), state=first, **{**settings, "epochs": 3})
    assert asked[6:] == [(0.05, step) for step in range(7, 10)]


def test_the_seed_of_a_state_that_goes_on_is_its_own():
    first = fit(NETWORK, (X, LABELS), **{**SETTINGS, "epochs": 1})
    joined = fit(NETWORK, (X, LABELS), state=first, **{**SETTINGS, "seed": 99})
    assert joined.seed == 3
    assert bytes_of(joined.parameters) == bytes_of(fit(NETWORK, (X, LABELS), **SETTINGS).parameters)


def test_a_state_that_has_all_its_epochs_is_returned_as_it_is():
    done = fit(NETWORK, (X, LABELS), **SETTINGS)
    again = fit(NETWORK, (X, LABELS), state=done, **SETTINGS)
    assert bytes_of(again.parameters) == bytes_of(done.parameters)
    assert again.history == done.history
