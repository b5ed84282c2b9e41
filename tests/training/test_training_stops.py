"""How a training ends early: a target that is met, divergence, and Ctrl-C."""

import re

import numpy as np
import pytest
from helpers import bytes_of, errors, numpy_of, plain_epoch

from backprop_xp.backend import random
from backprop_xp.errors import DivergenceError
from backprop_xp.nn.backpropagation import loss_and_gradients
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Layer, Network, initial_parameters, map_arrays
from backprop_xp.training import step
from backprop_xp.training.fit import fit
from backprop_xp.training.state import TrainingInterrupted

N = 20
NETWORK = Network((4, 5, 3), ("tanh", "softmax"))
X = np.random.default_rng(2).normal(size=(N, 4))
LABELS = np.arange(N) % 3
TARGETS = np.eye(3)[LABELS]
SETTINGS = {
    "optimizer": "sgd",
    "learning_rate": 0.5,
    "seed": 1,
    "evaluate_training": False,
    "diagnostics": False,
}


def data_on(backend, dtype="float64"):
    return backend.array(X, dtype), backend.array(LABELS, "index")


# --- a target for the loss ---------------------------------------------------------------------


def plain_steps(batch_size, epochs):
    """Yield the loss of each batch and the weights it was computed with."""
    parameters = initial_parameters(NETWORK, 1, xp=np, dtype=np.float64)
    for epoch in range(epochs):
        order = random.permutation(1, epoch, N)
        for start in range(0, N, batch_size):
            rows = order[start : start + batch_size]
            before = parameters
            batch = X[rows], TARGETS[rows], np.arange(len(rows))
            parameters, _, loss = plain_epoch(before, [], *batch, N, etas=[0.5], mu=0.0)
            yield loss, before


@pytest.mark.parametrize("batch_size", [0, 8])
def test_training_stops_at_the_first_step_that_meets_the_target(library, batch_size):
    steps = list(plain_steps(batch_size or N, epochs=30))
    target = 0.7
    first = next(place for place, (loss, _) in enumerate(steps) if loss <= target)
    assert first > 4
    state = fit(
        NETWORK, data_on(library), target_loss=target, batch_size=batch_size, epochs=30, **SETTINGS
    )
    per_epoch = -(-N // (batch_size or N))
    assert state.stopped == "target_loss"
    assert state.step == first  # the updates before it
    assert state.epoch == len(state.history) == first // per_epoch + 1
    assert errors(state.parameters, steps[first][1]) <= 1e-12


def test_the_weights_that_are_returned_meet_the_target(library):
    settings = {**SETTINGS, "evaluate_training": True}
    state = fit(NETWORK, data_on(library), target_loss=0.7, batch_size=0, epochs=30, **settings)
    assert state.history[-2]["train_loss"] <= 0.7  # those of the last update
    assert state.history[-3]["train_loss"] > 0.7
    assert state.history[-1]["train_loss"] == state.history[-2]["train_loss"]
    assert abs(state.history[-1]["loss"] - state.history[-1]["train_loss"]) <= 1e-15


def test_a_target_that_is_met_at_the_start_changes_nothing():
    start = initial_parameters(NETWORK, 1, xp=np, dtype=np.float64)
    state = fit(NETWORK, (X, LABELS), target_loss=100.0, batch_size=8, epochs=5, **SETTINGS)
    assert (state.stopped, state.step) == ("target_loss", 0)
    assert bytes_of(state.parameters) == bytes_of(start)


def test_a_target_that_is_never_met_does_not_stop_anything(library):
    settings = {**SETTINGS, "batch_size": 8, "epochs": 2}
    state = fit(NETWORK, data_on(library), target_loss=0.0, **settings)
    assert (state.stopped, state.step) == ("", 6)
    untold = fit(NETWORK, data_on(library), **settings)
    assert errors(state.parameters, untold.parameters) <= 1e-12


def test_a_training_that_stopped_goes_on_towards_a_lower_target():
    settings = {**SETTINGS, "batch_size": 0, "epochs": 200}
    first = fit(NETWORK, (X, LABELS), target_loss=0.7, **settings)
    second = fit(NETWORK, (X, LABELS), target_loss=0.5, state=first, **settings)
    assert second.step > first.step
    assert (first.stopped, second.stopped) == ("target_loss", "target_loss")
    assert second.history[-1]["loss"] <= 0.5 < second.history[-2]["loss"]


# --- divergence --------------------------------------------------------------------------------

HEIGHTS = X[:, :1] + 2.0
HALF = get_loss("half_squared_error")
SHALLOW = Network((4, 6, 1), ("relu", "identity"))
DEEP = Network((4, 6, 6, 1), ("relu", "relu", "identity"))


def explode(network, data, **settings):
    """Train with a learning rate that is much too large."""
    settings = {**SETTINGS, "loss": HALF, "epochs": 100, **settings}
    return fit(network, data, **settings)


def first_overflow(network, learning_rate, batch_size, seed, mu):
    """Return the first step whose loss is not finite, its epoch, and the layer that began it."""
    parameters = initial_parameters(network, seed, xp=np, dtype=np.float64)
    velocities = map_arrays(np.zeros_like, parameters)
    for place in range(1000):
        epoch, batch = divmod(place, N // batch_size)
        rows = random.permutation(seed, epoch, N)[batch * batch_size : (batch + 1) * batch_size]
        with np.errstate(all="ignore"):
            step = loss_and_gradients(network, HALF, parameters, X[rows], HEIGHTS[rows])
            if not np.isfinite(step.loss):
                layers = [i for i, z in enumerate(step.tape.z, 1) if not np.all(np.isfinite(z))]
                return place + 1, epoch + 1, layers[0] if layers else None
            velocities = [
                Layer(*(mu * v - learning_rate * g for v, g in zip(*pair, strict=True)))
                for pair in zip(velocities, step.gradients.layers, strict=True)
            ]
            parameters = [
                Layer(*(p + v for p, v in zip(*pair, strict=True)))
                for pair in zip(parameters, velocities, strict=True)
            ]
    raise AssertionError("it does not diverge")


@pytest.mark.parametrize(
    ("network", "learning_rate", "batch_size", "seed", "mu", "began"),
    [
        (SHALLOW, 2.0, N, 1, 0.0, 2),
        (SHALLOW, 2.0, 4, 1, 0.0, None),
        (SHALLOW, 2.0, 4, 0, 0.9, None),
        (DEEP, 1e30, N, 5, 0.0, 2),
    ],
    ids=["full batch", "batches of 4", "momentum", "three layers"],
)
def test_divergence_names_step_and_layer_and_keeps_the_last_good_state(
    library, network, learning_rate, batch_size, seed, mu, began
):
    step, epoch, layer = first_overflow(network, learning_rate, batch_size, seed, mu)
    assert layer == began
    seen = [initial_parameters(network, seed, xp=np, dtype=np.float64)]
    settings = {"learning_rate": learning_rate, "batch_size": batch_size, "seed": seed}
    settings |= {"optimizer": "momentum", "momentum": mu} if mu else {}
    with pytest.raises(DivergenceError) as failure:
        explode(
            network,
            (library.array(X), library.array(HEIGHTS)),
            on_epoch=lambda state: seen.append(state.parameters),
            **settings,
        )
    message = failure.value.message
    assert re.search(rf"the loss is (inf|nan) at step {step} \(epoch {epoch}\): ", message)
    if layer is None:
        assert message.endswith(
            f"error of the outputs of layer {len(network.sizes) - 1} is too large"
        )
    else:
        assert message.endswith(f"weighted inputs of layer {layer} are no longer finite")
    assert f"lower the learning rate (it is {learning_rate:g})" in failure.value.hint
    good = failure.value.state
    assert good.epoch == len(good.history) == len(seen) - 1 == epoch - 1
    assert all(np.all(np.isfinite(p)) for p in numpy_of(good.parameters))
    assert bytes_of(good.parameters) == bytes_of(seen[-1])


@pytest.mark.parametrize("learning_rate", [1e300, 1e308])
def test_weights_that_overflow_in_the_last_step_are_named(library, learning_rate):
    x = X * 1e10
    start = initial_parameters(SHALLOW, 1, xp=np, dtype=np.float64)
    gradients = loss_and_gradients(SHALLOW, HALF, start, x, HEIGHTS).gradients.layers
    sizes = [np.max(np.abs(numpy_of([g])[0])) for g in gradients]
    layer = next(i for i, size in enumerate(sizes, 1) if size > 1e308 / learning_rate)
    with pytest.raises(DivergenceError) as failure:
        explode(
            SHALLOW,
            (library.array(x), library.array(HEIGHTS)),
            learning_rate=learning_rate,
            batch_size=0,
            epochs=1,
        )
    named = f"weights of layer {layer} are no longer finite after step 1 (epoch 1)"
    assert named in failure.value.message
    assert (failure.value.state.epoch, failure.value.state.step) == (0, 0)
    assert bytes_of(failure.value.state.parameters) == bytes_of(start)


def test_divergence_is_found_in_float32_too(library):
    data = library.array(X, "float32"), library.array(HEIGHTS, "float32")
    with pytest.raises(DivergenceError, match="training diverged") as failure:
        explode(SHALLOW, data, learning_rate=100.0, batch_size=4)
    assert all(np.all(np.isfinite(p)) for p in numpy_of(failure.value.state.parameters))


# --- the caller's own rules --------------------------------------------------------------------


def test_training_stops_where_the_callback_says_so(library):
    settings = {**SETTINGS, "batch_size": 8}
    state = fit(
        NETWORK, data_on(library), epochs=5, on_epoch=lambda state: state.epoch == 2, **settings
    )
    assert (state.epoch, state.stopped) == (2, "on_epoch")
    done = fit(NETWORK, data_on(library), epochs=2, **settings)
    assert bytes_of(state.parameters) == bytes_of(done.parameters)
    assert done.stopped == ""
    whole = fit(NETWORK, data_on(library), epochs=5, state=state, **settings)
    assert (whole.epoch, whole.stopped) == (5, "")


def test_learning_rates_of_the_callers_own_take_the_place_of_the_settings(library):
    settings = {**SETTINGS, "batch_size": 8, "epochs": 3}
    asked = []

    def rates(state, steps):
        asked.append((state.epoch, state.step, steps))
        return [settings["learning_rate"] * 0.5] * steps

    state = fit(NETWORK, data_on(library), learning_rates=rates, **settings)
    assert asked == [(0, 0, 3), (1, 3, 3), (2, 6, 3)]
    halved = {**settings, "learning_rate": settings["learning_rate"] * 0.5}
    assert bytes_of(state.parameters) == bytes_of(
        fit(NETWORK, data_on(library), **halved).parameters
    )


# --- Ctrl-C ------------------------------------------------------------------------------------


def test_ctrl_c_between_epochs_leaves_the_state_of_the_epoch_that_was_done(library):
    def press(state):
        if state.epoch == 2:
            raise KeyboardInterrupt

    settings = {**SETTINGS, "batch_size": 8}
    with pytest.raises(TrainingInterrupted, match="after epoch 2") as stop:
        fit(NETWORK, data_on(library), epochs=5, on_epoch=press, **settings)
    done = fit(NETWORK, data_on(library), epochs=2, **settings)
    assert isinstance(stop.value, KeyboardInterrupt)
    assert bytes_of(stop.value.state.parameters) == bytes_of(done.parameters)
    assert (stop.value.state.epoch, stop.value.state.step) == (2, 6)
    assert len(stop.value.state.history) == 2


@pytest.mark.parametrize(("call", "epochs"), [(1, 0), (3, 0), (4, 1), (8, 2)])
def test_ctrl_c_inside_an_epoch_leaves_the_state_of_the_last_whole_one(monkeypatch, call, epochs):
    settings = {**SETTINGS, "optimizer": "adam", "batch_size": 8}
    done = fit(NETWORK, (X, LABELS), epochs=epochs, **settings)
    calls = []

    def press(*args, **options):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return loss_and_gradients(*args, **options)

    monkeypatch.setattr(step, "loss_and_gradients", press)
    with pytest.raises(TrainingInterrupted) as stop:
        fit(NETWORK, (X, LABELS), epochs=5, **settings)
    assert bytes_of(stop.value.state.parameters) == bytes_of(done.parameters)
    assert (stop.value.state.epoch, stop.value.state.step) == (epochs, 3 * epochs)


def test_after_ctrl_c_plain_gradient_descent_goes_on_exactly():
    def press(state):
        raise KeyboardInterrupt

    settings = {**SETTINGS, "batch_size": 8, "epochs": 3}
    whole = fit(NETWORK, (X, LABELS), **settings)
    with pytest.raises(TrainingInterrupted) as stop:
        fit(NETWORK, (X, LABELS), on_epoch=press, **settings)
    joined = fit(NETWORK, (X, LABELS), state=stop.value.state, **settings)
    assert bytes_of(joined.parameters) == bytes_of(whole.parameters)


def test_other_exceptions_pass_through_unchanged():
    def fail(state):
        raise RuntimeError("the caller's own")

    with pytest.raises(RuntimeError, match="the caller's own"):
        fit(NETWORK, (X, LABELS), epochs=1, batch_size=0, on_epoch=fail, **SETTINGS)


def test_a_target_loss_is_compared_in_the_units_of_the_losses():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 2))
    data = (x, x @ [[1.0], [2.0]])
    network = Network((2, 1), "identity")
    options = {"epochs": 50, "batch_size": 16, "seed": 0, "learning_rate": 0.05}
    plain = fit(network, data, target_loss=0.2, **options)
    assert plain.stopped == "target_loss"
    assert plain.epoch < 50
    scaled = fit(network, data, target_loss=200.0, loss_unit=1000.0, **options)
    assert (scaled.stopped, scaled.step) == ("target_loss", plain.step)
    assert bytes_of(scaled.parameters) == bytes_of(plain.parameters)
    assert fit(network, data, target_loss=0.2, loss_unit=1000.0, **options).step > plain.step
