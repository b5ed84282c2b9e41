"""A training run that continues from its state ends as if it had never stopped."""

import numpy as np
import pytest
from helpers import Backend, bytes_of, numbers_of

from backprop_xp.backend.devices import select_device
from backprop_xp.data import streaming
from backprop_xp.errors import ConfigurationError, DivergenceError
from backprop_xp.nn.network import Network
from backprop_xp.nn.optimizers import OPTIMIZERS, sgd
from backprop_xp.training import trainer
from backprop_xp.training.fit import fit
from backprop_xp.training.state import TrainingInterrupted

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
NUMPY = Backend("numpy", select_device("cpu"))


def train(backend, **settings):
    data = backend.array(X), backend.array(LABELS, "index")
    return fit(NETWORK, data, **{**SETTINGS, **settings})


def check_going_on(library, cut):
    whole = train(library, epochs=4)
    first = train(library, epochs=cut)
    before = numbers_of(library, first)
    for _ in range(2):  # going on does not use up the state
        joined = train(library, epochs=4, state=first)
        assert numbers_of(library, joined) == numbers_of(library, whole)
    assert numbers_of(library, first) == before


def test_training_that_goes_on_ends_as_if_it_had_never_stopped(library):
    check_going_on(library, cut=2)


@pytest.mark.parametrize("cut", [0, 1, 3, 4])
def test_training_may_be_cut_after_any_epoch(cut):
    check_going_on(NUMPY, cut)


# --- Ctrl-C ------------------------------------------------------------------------------------


def on_disk(tmp_path, x):
    path = tmp_path / "x.npy"
    np.save(path, x)
    return np.load(path, mmap_mode="r")


KINDS = {
    "momentum and dropout": {"optimizer": "momentum", "dropout": 0.3},
    "adam, schedule and warm-up": {"schedule": "cosine", "warm_up": 4, "diagnostics": True},
    "augmentation": {"augment": "shift", "image_shape": (2, 3)},
    "early stopping": {"patience": 4, "validation": True, "learning_rate": 0.5},
    "plateau": {"plateau_patience": 1, "validation": True, "learning_rate": 0.5},
    "penalty and bounds": {"l2": 0.1, "max_norm": 1.0, "clip_norm": 0.5, "optimizer": "nesterov"},
}
EPOCHS = 5


def interrupted(run, epoch):
    """Return the state of a run that Ctrl-C ends during the epoch after ``epoch``."""

    def on_epoch(state):
        if state.epoch == epoch:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted) as caught:
        run(on_epoch=on_epoch)
    return caught.value.state


@pytest.mark.parametrize("kind", KINDS)
def test_after_ctrl_c_the_same_bits_follow_as_without(library, kind):
    settings = {**SETTINGS, "epochs": EPOCHS, **KINDS[kind]}
    data = library.array(X), library.array(LABELS, "index")
    if settings.pop("validation", False):
        settings["validation"] = library.array(X[:9] + 0.1), library.array(LABELS[:9], "index")

    def run(**options):
        return fit(NETWORK, data, **settings, **options)

    whole = numbers_of(library, run())
    for epoch in range(1, EPOCHS):
        state = interrupted(run, epoch)
        assert (state.epoch, bool(state.slots)) == (epoch, True)
        assert numbers_of(library, run(state=state)) == whole


def test_after_ctrl_c_a_streamed_set_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 11 * 6 * 8)
    x = on_disk(tmp_path, X)

    def run(**options):
        return fit(NETWORK, (x, LABELS), **{**SETTINGS, "epochs": EPOCHS}, **options)

    whole = numbers_of(NUMPY, run())
    for epoch in range(1, EPOCHS):
        assert numbers_of(NUMPY, run(state=interrupted(run, epoch))) == whole


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_goes_on_after_ctrl_c(optimizer):
    def run(**options):
        settings = {**SETTINGS, "epochs": EPOCHS, "optimizer": optimizer}
        return fit(NETWORK, (X, LABELS), **settings, **options)

    assert numbers_of(NUMPY, run(state=interrupted(run, 2))) == numbers_of(NUMPY, run())


def test_ctrl_c_within_an_epoch_leaves_the_complete_state_of_the_last_one(library, monkeypatch):
    settings = {**SETTINGS, "epochs": 4}
    data = library.array(X), library.array(LABELS, "index")
    measure = trainer.measure_epoch

    def measure_or_interrupt(step, loaded, options, parameters):
        if next(counter) == 3:  # after the steps of the third epoch, before it is complete
            raise KeyboardInterrupt
        return measure(step, loaded, options, parameters)

    counter = iter(range(1, 9))
    monkeypatch.setattr(trainer, "measure_epoch", measure_or_interrupt)
    with pytest.raises(TrainingInterrupted) as caught:
        fit(NETWORK, data, **settings)
    monkeypatch.undo()
    assert caught.value.state.epoch == 2
    joined = fit(NETWORK, data, state=caught.value.state, **settings)
    assert numbers_of(library, joined) == numbers_of(library, fit(NETWORK, data, **settings))


# --- divergence --------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_after_divergence_training_goes_on_from_the_last_good_epoch(library, optimizer):
    data = library.array(X), library.array(LABELS, "index")
    settings = {**SETTINGS, "optimizer": optimizer, "epochs": 4}

    def rates(state, steps):
        return [0.05 if state.epoch < 2 else float("inf")] * steps

    with pytest.raises(DivergenceError) as caught:
        fit(NETWORK, data, learning_rates=rates, **settings)
    good = caught.value.state
    first = fit(NETWORK, data, **{**settings, "epochs": 2})
    assert numbers_of(library, good) == numbers_of(library, first)
    lower = {**settings, "learning_rate": 0.01}
    joined = fit(NETWORK, data, state=good, **lower)
    assert numbers_of(library, joined) == numbers_of(
        library, fit(NETWORK, data, state=first, **lower)
    )
    anew = fit(NETWORK, data, state=good._replace(slots=[]), **lower)
    assert bytes_of(joined.parameters) != bytes_of(anew.parameters)


# --- early stopping ----------------------------------------------------------------------------


def test_early_stopping_keeps_the_last_weights_beside_the_best_ones(library):
    data = library.array(X), library.array(LABELS, "index")
    validation = library.array(X[:9] + 0.1), library.array(LABELS[:9], "index")
    settings = {**SETTINGS, "epochs": 30, "learning_rate": 0.5}
    seen = []
    state = fit(NETWORK, data, validation, patience=2, on_epoch=seen.append, **settings)
    assert state.stopped == "early_stopping"
    assert state.best.epoch == state.epoch - 2
    assert bytes_of(state.parameters) == bytes_of(seen[state.best.epoch - 1].parameters)
    assert bytes_of(state.last_parameters) == bytes_of(seen[-1].parameters)


# --- what belongs to a state -------------------------------------------------------------------


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


def test_a_state_of_another_optimizer_is_an_error_that_says_how_to_go_on():
    adam = fit(NETWORK, (X, LABELS), **SETTINGS)
    settings = {**SETTINGS, "optimizer": "momentum", "epochs": 3}
    with pytest.raises(ConfigurationError, match="the optimizer 'momentum'") as caught:
        fit(NETWORK, (X, LABELS), state=adam, **settings)
    assert "state._replace(slots=[])" in caught.value.hint
    assert fit(NETWORK, (X, LABELS), state=adam._replace(slots=[]), **settings).epoch == 3
