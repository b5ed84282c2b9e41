"""A step that is recorded trains exactly as the one that is written, or is not recorded."""

import functools
import gc

import numpy as np
import pytest
from helpers import bytes_of

from backprop_xp.data.augmentation import AUGMENTATIONS
from backprop_xp.errors import DivergenceError
from backprop_xp.nn.activations import ACTIVATIONS, OUTPUTS, RELU, elementwise, leaky_relu
from backprop_xp.nn.losses import LOSSES, Loss, default_loss, huber, quantile
from backprop_xp.nn.network import Layer, Network, initial_parameters
from backprop_xp.nn.optimizers import OPTIMIZERS, sgd
from backprop_xp.training.execution import recording, replay
from backprop_xp.training.execution.eager import EagerExecutor
from backprop_xp.training.execution.executor import EpochPlan
from backprop_xp.training.execution.replay import StepReplayer
from backprop_xp.training.execution.slices import update_in_slices
from backprop_xp.training.fit import fit
from backprop_xp.training.step import TrainingStep

rng = np.random.default_rng(11)
X = rng.random((64, 25))
CLASSES = rng.integers(0, 3, 64)
ONE_HOT = np.eye(3)[CLASSES]
SIZES, SHAPE = (25, 7, 3), (5, 5)


@pytest.fixture
def ways(monkeypatch):
    """What became of the recordings: True where a step was recorded."""
    found, record = [], StepReplayer._record

    def spy(self, *inputs):
        found.append(False)
        functions = record(self, *inputs)
        found[-1] = functions is not self._written
        return functions

    monkeypatch.setattr(StepReplayer, "_record", spy)
    return found


def record_after(monkeypatch, after, up_to=replay.RECORD_UP_TO):
    options = {"record_after": after, "record_up_to": up_to}
    monkeypatch.setattr(StepReplayer.__init__, "__kwdefaults__", options)


def trained(monkeypatch, after, network, targets, **settings):
    record_after(monkeypatch, after)
    told = {"epochs": 3, "batch_size": 10, "seed": 1, "learning_rate": 0.01, **settings}
    return fit(network, (X, targets), image_shape=SHAPE, **told)


def numbers_of(state):
    """All that a training leaves, but for the time it took."""
    slots = [kept.tobytes() for slots in state.slots for kept in slots]
    losses = [{**record, "seconds": 0.0} for record in state.history]
    return bytes_of(state.parameters), slots, losses, state.step, state.stopped


def assert_recorded(monkeypatch, ways, network, targets=ONE_HOT, **settings):
    written = trained(monkeypatch, 10**9, network, targets, **settings)
    assert ways == []
    recorded = trained(monkeypatch, 2, network, targets, **settings)
    assert ways
    assert all(ways)
    assert numbers_of(recorded) == numbers_of(written)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_recorded(activation, ways, monkeypatch, dtype):
    assert_recorded(monkeypatch, ways, Network(SIZES, (activation, "softmax")), dtype=dtype)


def outputs_of(loss):
    """The output activations with which the tests train a loss: those with a form of their own."""
    if loss.needs_positive:
        return ("exp", "softplus")
    if loss.name == "cross_entropy":
        return ("softmax",)
    return ("softmax", "sigmoid") if loss.needs_probabilities else ("identity", "sigmoid")


@pytest.mark.parametrize(
    ("loss", "output"),
    [(loss, output) for loss in (*LOSSES.values(), quantile(0.3)) for output in outputs_of(loss)],
    ids=lambda part: getattr(part, "name", part),
)
def test_every_loss_is_recorded(loss, output, ways, monkeypatch):
    assert_recorded(monkeypatch, ways, Network(SIZES, ("tanh", output)), loss=loss)


@pytest.mark.parametrize("output", sorted({*OUTPUTS} - {"step"}))  # which cannot learn
def test_every_output_is_recorded_with_the_loss_that_belongs_to_it(output, ways, monkeypatch):
    network = Network(SIZES, ("tanh", output))
    assert_recorded(monkeypatch, ways, network, loss=default_loss(network.activations[-1]))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_is_recorded(optimizer, ways, monkeypatch, dtype):
    network = Network(SIZES, ("relu", "softmax"))
    assert_recorded(monkeypatch, ways, network, optimizer=optimizer, dtype=dtype)


@pytest.mark.parametrize("optimizer", ["adam", "nesterov"])
def test_updates_in_slices_are_recorded(optimizer, ways, monkeypatch):
    monkeypatch.setitem(update_in_slices.__kwdefaults__, "size", 4)
    assert_recorded(monkeypatch, ways, Network(SIZES, ("relu", "softmax")), optimizer=optimizer)


SETTINGS = {
    "l1": {"l1": 1.0},
    "l2": {"l2": 1.0},
    "penalty per batch": {"l1": 0.1, "l2": 0.1, "penalty": "per_batch", "penalize_biases": True},
    "dropout": {"dropout": 0.3},
    "max_norm": {"max_norm": 0.5},
    "clip_norm": {"clip_norm": 0.01},
    "label_smoothing": {"label_smoothing": 0.1},
    "sample_weight": {"sample_weight": np.arange(64.0) + 1.0},
    "schedule": {"schedule": "cosine", "warm_up": 5},
    "a rate of NumPy's": {"learning_rate": np.float64(0.01), "schedule": "cosine"},
    "all rows in a step": {"batch_size": 64, "epochs": 6},
    "diagnostics": {"diagnostics": True},
    "target_loss": {"target_loss": 1.05, "epochs": 9},
    **{f"augment {name}": {"augment": name} for name in AUGMENTATIONS},
}


@pytest.mark.parametrize("optimizer", ["adam", "nesterov"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_everything_that_changes_a_step_is_recorded(settings, optimizer, ways, monkeypatch):
    network = Network(SIZES, ("relu", "softmax"))
    told = {"optimizer": optimizer, **SETTINGS[settings]}
    assert_recorded(monkeypatch, ways, network, **told)


def test_class_weights_are_recorded(ways, monkeypatch):
    network = Network(SIZES, ("relu", "softmax"))
    assert_recorded(monkeypatch, ways, network, CLASSES, class_weight="balanced")


def test_a_network_without_biases_is_recorded(ways, monkeypatch):
    assert_recorded(monkeypatch, ways, Network(SIZES, ("relu", "softmax"), bias=False))


def test_weights_in_fortran_order_are_recorded(ways, monkeypatch):
    network = Network(SIZES, ("relu", "softmax"))
    drawn = fit(network, (X, ONE_HOT), epochs=0, seed=0).parameters
    layers = [Layer(np.asfortranarray(w), b) for w, b in drawn]
    assert_recorded(monkeypatch, ways, network, parameters=layers, optimizer="adam")


def test_a_window_that_is_one_batch_is_recorded_apart_from_batches_of_that_size(ways, monkeypatch):
    network = Network(SIZES, ("relu", "softmax"))
    rule = TrainingStep(network, default_loss(network.activations[-1]), sgd(), np, None)
    whole, order = (X, ONE_HOT, None), rng.permutation(48)
    last = tuple(part if part is None else part[48:] for part in whole)
    windows = [(tuple(part if part is None else part[:48] for part in whole), order)]
    windows.append((last, rng.permutation(16)))  # needs no order, as the first does

    def trained(after):
        executor = EagerExecutor(rule, record_after=after)
        parameters = initial_parameters(network, 0, xp=np, dtype=np.float64)
        for epoch in range(6):
            plan = EpochPlan(16, [(0.1,)] * 4, 4 * epoch)
            left = executor.run_epoch(parameters, [()] * 4, windows, plan)
            parameters = left.parameters
        return bytes_of(parameters), left.loss

    assert trained(4) == trained(10**9)
    assert ways == [True, True]


def test_each_size_of_batch_is_recorded_once_and_only_where_it_comes_often(ways, monkeypatch):
    network = Network(SIZES, ("relu", "softmax"))  # six full batches and a short one
    trained(monkeypatch, 4, network, ONE_HOT, epochs=4)
    assert ways == [True]
    trained(monkeypatch, 4, network, ONE_HOT, epochs=9)
    assert ways == [True, True, True]


def test_a_large_network_is_not_recorded(ways, monkeypatch):
    record_after(monkeypatch, 2, up_to=100)
    fit(Network(SIZES, ("relu", "softmax")), (X, ONE_HOT), epochs=3, batch_size=10)
    assert ways == []


def own(function):
    return elementwise("own", function, lambda z, a, xp: xp.ones_like(z))


def annealed(memory):
    def function(z, xp):
        memory["scale"] *= 0.999
        return xp.tanh(z) * memory["scale"]

    return {"network": Network(SIZES, (own(function), "softmax"))}


def with_a_running_mean(memory):
    def function(z, xp):
        memory["mean"] = 0.9 * memory["mean"] + 0.1 * xp.sum(z, axis=0)
        return z - memory["mean"]

    return {"network": Network(SIZES, (own(function), "softmax"))}


def drawing(memory):
    noisy = own(lambda z, xp: z + 1e-3 * memory["draws"].random(z.shape))
    return {"network": Network(SIZES, (noisy, "softmax"))}


def by_way_of_a_library_function(memory):
    scaled = functools.partial(RELU.forward)
    return {"network": Network(SIZES, (RELU._replace(name="own", forward=scaled), "softmax"))}


def with_a_slope_of_ones_own(memory):
    mixed = elementwise("own", RELU.forward, lambda z, a, xp: xp.astype(z > 0.1, z.dtype))
    return {"network": Network(SIZES, (mixed, "softmax"))}


def with_a_loss_that_counts(memory):
    def value_and_gradient(a, y, xp):
        met = y > 0.5
        difference = xp.where(met, a - y, 0.1 * (a - y))
        return 0.5 * difference * difference * y[met].shape[0], difference * y[met].shape[0]

    return {"loss": Loss("own", "", value_and_gradient, {}, False)}


def with_a_fused_loss(memory):
    loss = LOSSES["cross_entropy"]
    fused = loss.fused["softmax"]
    return {"loss": loss._replace(fused={"softmax": lambda z, a, y, xp: fused(z, a, y, xp)})}


def with_an_optimizer_that_skips(memory):
    def rule(p, eta_g, slots, scalars, xp):
        return (p - eta_g if scalars[1] else p), ()

    return {"optimizer": sgd()._replace(name="own", rule=rule, scalars=lambda r, t: (r, t % 3 > 0))}


def with_other_scalars(memory):
    return {"optimizer": sgd()._replace(name="own", scalars=lambda rate, step: (rate / step,))}


OWN = (
    *(annealed, with_a_running_mean, drawing, by_way_of_a_library_function),
    *(with_a_slope_of_ones_own, with_a_loss_that_counts, with_a_fused_loss),
    *(with_an_optimizer_that_skips, with_other_scalars),
)


@pytest.mark.parametrize("make", OWN)
def test_a_step_with_a_function_of_ones_own_is_run_as_it_is_written(make, ways, monkeypatch):
    def run(after):
        # What a function of one's own keeps starts anew for each training.
        memory = {"scale": 1.0, "mean": 0.0, "draws": np.random.default_rng(0)}
        told = {"network": Network(SIZES, ("relu", "softmax")), **make(memory)}
        return trained(monkeypatch, after, told.pop("network"), ONE_HOT, **told)

    assert numbers_of(run(2)) == numbers_of(run(10**9))
    assert ways == []


@pytest.mark.parametrize(
    "settings",
    [{"loss": quantile(0.3)}, {"loss": huber(0.5)}, {"optimizer": OPTIMIZERS["adam"](beta1=0.8)}],
)
def test_what_the_library_makes_to_measure_is_recorded(settings, ways, monkeypatch):
    network = Network(SIZES, (leaky_relu(0.2), "identity"))
    assert_recorded(monkeypatch, ways, network, **{"loss": "squared_error", **settings})


def test_recordings_leave_nothing_behind(ways, monkeypatch):
    network = Network(SIZES, ("relu", "softmax"))
    trained(monkeypatch, 2, network, ONE_HOT)
    gc.collect()
    assert ways
    left = (recording._Lines, recording._Namespace, recording._Recorded)
    assert [thing for thing in gc.get_objects() if type(thing) in left] == []


def test_divergence_is_told_as_where_it_is_not_recorded(ways, monkeypatch):
    network = Network(SIZES, ("identity", "identity"))

    def told(after):
        with pytest.raises(DivergenceError) as caught:
            trained(
                monkeypatch,
                after,
                network,
                ONE_HOT,
                batch_size=16,
                optimizer="sgd",
                loss="half_squared_error",
                learning_rate=10.0,
            )
        return str(caught.value)

    assert told(2) == told(10**9)
    assert ways == [True]
    assert "is inf at step 6 (epoch 2): the weighted inputs of layer 2" in told(2)


def test_nothing_but_numpy_is_recorded(library, ways, monkeypatch):
    record_after(monkeypatch, 1)
    x, y = library.array(X), library.array(ONE_HOT)
    fit(Network(SIZES, ("relu", "softmax")), (x, y), epochs=2, batch_size=10, seed=0)
    assert bool(ways) is (library.placement.backend == "numpy")
