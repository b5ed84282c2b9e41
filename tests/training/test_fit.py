"""The training loop: its result, what it follows from, its records, and how it goes on."""

import math
from itertools import repeat

import numpy as np
import pytest
from helpers import bytes_of, error, errors, numpy_of, plain_epoch
from hypothesis import given
from hypothesis import strategies as st

from backprop_xp.backend import arrays, random
from backprop_xp.backend.arrays import backend_name
from backprop_xp.backend.devices import select_device
from backprop_xp.backend.host import is_synchronous
from backprop_xp.data import streaming
from backprop_xp.data.loader import DataLoader
from backprop_xp.diagnosis.learning_rate_finder import find_learning_rate
from backprop_xp.errors import ConfigurationError
from backprop_xp.nn.backpropagation import forward, loss_and_gradients
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Layer, Network, initial_parameters
from backprop_xp.training import step
from backprop_xp.training.fit import fit

N = 25
NETWORK = Network((6, 5, 3), ("tanh", "softmax"))
X = np.random.default_rng(0).normal(size=(N, 6))
LABELS = np.arange(N) % 3
TARGETS = np.eye(3)[LABELS]
SETTINGS = {
    "optimizer": "momentum",
    "momentum": 0.8,
    "learning_rate": 0.05,
    "batch_size": 10,
    "epochs": 2,
    "seed": 3,
    "evaluate_training": False,
    "diagnostics": False,
}


def data_on(backend, dtype="float64", rows=slice(None)):
    return backend.array(X[rows], dtype), backend.array(LABELS[rows], "index")


def train(backend, dtype="float64", validation=None, **settings):
    settings = {**SETTINGS, **settings}
    return fit(NETWORK, data_on(backend, dtype), validation, **settings)


def plain(epochs, batch_size=10):
    """Return parameters and mean losses by a plain loop in NumPy, from the same random draws."""
    parameters = initial_parameters(NETWORK, 3, xp=np, dtype=np.float64)
    velocities, losses = [], []
    for epoch in range(epochs):
        order = random.permutation(3, epoch, N)
        parameters, velocities, loss = plain_epoch(
            parameters, velocities, X, TARGETS, order, batch_size, etas=repeat(0.05), mu=0.8
        )
        losses.append(loss)
    return parameters, losses


# --- the result and what it follows from -------------------------------------------------------


def test_training_equals_a_plain_loop(library, dtype, tolerance):
    state = train(library, dtype)
    parameters, losses = plain(epochs=2)
    assert errors(state.parameters, parameters) <= tolerance
    assert error([record["loss"] for record in state.history], losses) <= tolerance


def test_a_seed_gives_the_same_start_and_the_same_shuffles_everywhere(library, monkeypatch):
    orders = []

    chunks = DataLoader.chunks

    def spy(self, seed, epoch, done):
        for data, order in chunks(self, seed, epoch, done):
            orders.append(library.numpy(order).tolist())
            yield data, order

    monkeypatch.setattr(DataLoader, "chunks", spy)
    train(library, epochs=3)
    assert orders == [random.permutation(3, epoch, N).tolist() for epoch in range(3)]
    start = initial_parameters(NETWORK, 3, xp=np, dtype=np.float64)
    assert bytes_of(train(library, epochs=0).parameters) == bytes_of(start)


def test_the_same_seed_gives_the_same_weights_bit_for_bit(library, dtype):
    one, other = (train(library, dtype, optimizer="adam", momentum=None) for _ in range(2))
    assert bytes_of(one.parameters) == bytes_of(other.parameters)


def test_another_seed_gives_other_shuffles_and_other_weights():
    cpu = (X, LABELS)
    start = initial_parameters(NETWORK, 0, xp=np, dtype=np.float64)
    states = [fit(NETWORK, cpu, **{**SETTINGS, "seed": seed}) for seed in (3, 4)]
    shuffled = [
        fit(NETWORK, cpu, parameters=start, **{**SETTINGS, "seed": seed}) for seed in (3, 4)
    ]
    assert bytes_of(states[0].parameters) != bytes_of(states[1].parameters)
    assert bytes_of(shuffled[0].parameters) != bytes_of(shuffled[1].parameters)


def test_without_a_seed_one_is_drawn_and_told():
    settings = {**SETTINGS, "seed": None}
    one, other = (fit(NETWORK, (X, LABELS), **settings) for _ in range(2))
    assert one.seed != other.seed
    again = fit(NETWORK, (X, LABELS), **{**SETTINGS, "seed": one.seed})
    assert bytes_of(again.parameters) == bytes_of(one.parameters)


def test_a_batch_of_all_rows_is_full_batch_descent(library):
    one, other = train(library, batch_size=N), train(library, batch_size=0)
    assert bytes_of(one.parameters) == bytes_of(other.parameters)
    assert one.step == other.step == 2
    assert errors(one.parameters, plain(epochs=2, batch_size=N)[0]) <= 1e-12


def test_without_shuffling_the_rows_come_as_they_are():
    one = fit(NETWORK, (X, LABELS), shuffle=False, **SETTINGS)
    other = fit(NETWORK, (X, LABELS), shuffle=lambda epoch, n: range(n), **SETTINGS)
    assert bytes_of(one.parameters) == bytes_of(other.parameters)
    shuffled = fit(NETWORK, (X, LABELS), **SETTINGS)
    assert bytes_of(one.parameters) != bytes_of(shuffled.parameters)


@pytest.mark.parametrize(
    ("order", "fault"),
    [
        (lambda n: range(n - 1), r"shape \(24,\)"),
        (lambda n: range(1, n + 1), "rows from 1 to 25"),
        (lambda n: range(-1, n - 1), "rows from -1 to 23"),
        (lambda n: [0.5] * n, "type float64"),
        (lambda n: None, r"shape \(\)"),
    ],
)
def test_an_order_of_other_rows_is_an_error(library, order, fault):
    data = library.array(X), library.array(LABELS, "index")
    with pytest.raises(ConfigurationError, match=f"shuffle returned .*{fault}") as caught:
        fit(NETWORK, data, shuffle=lambda epoch, n: order(n), **SETTINGS)
    assert "from 0 to 24" in caught.value.hint


@given(n=st.integers(1, 30), batch_size=st.integers(1, 30), own_order=st.booleans())
def test_every_row_is_used_once_in_each_epoch(n, batch_size, own_order):
    seen, asked = [], []

    def spy(network, loss, parameters, x, y, **options):
        seen.extend(x[:, 0].tolist())
        return loss_and_gradients(network, loss, parameters, x, y, **options)

    def backwards(epoch, n):
        asked.append((epoch, n))
        return list(range(n))[::-1]

    batch_size = min(n, batch_size)
    x = np.arange(float(n))[:, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "loss_and_gradients", spy)
        fit(
            Network((1, 1), "sigmoid"),
            (x, x % 2),
            shuffle=backwards if own_order else True,
            **{**SETTINGS, "batch_size": batch_size},
        )
    rows = list(range(n))
    assert sorted(seen[:n]) == sorted(seen[n:]) == rows
    if own_order:
        assert asked == [(0, n), (1, n)]
        if batch_size < n:
            assert seen[:n] == seen[n:] == rows[::-1]


# --- what is left alone ------------------------------------------------------------------------


def test_data_and_parameters_of_the_user_are_not_changed(library):
    given = library.layers(initial_parameters(NETWORK, 3, xp=np, dtype=np.float64))
    before = bytes_of(given)
    x, labels = data_on(library)
    state = fit(NETWORK, (x, labels), (x, labels), parameters=given, **SETTINGS)
    assert library.numpy(x).tobytes() == X.tobytes()
    assert library.numpy(labels).tolist() == LABELS.tolist()
    assert bytes_of(given) == before
    assert bytes_of(state.parameters) != before


def test_validation_rows_are_never_trained_on(library):
    alone = train(library)
    x, labels = data_on(library, rows=slice(0, 7))
    poisoned = library.array((LABELS[:7] + 1) % 3, "index")
    right, wrong = (train(library, validation=(x, y)) for y in (labels, poisoned))
    assert bytes_of(right.parameters) == bytes_of(wrong.parameters) == bytes_of(alone.parameters)
    assert right.history[-1]["validation_loss"] != wrong.history[-1]["validation_loss"]


def test_reads_of_the_device_do_not_grow_with_the_number_of_steps(library, monkeypatch):
    reads = []

    def counted(owner, name):
        inner = getattr(owner, name)

        def read(x, *args, **options):
            if type(x).__module__ != "numpy":  # an array of the host may be read freely
                reads.append(name)
            return inner(x, *args, **options)

        monkeypatch.setattr(owner, name, read)

    counted(arrays, "to_numpy")
    if not is_synchronous(library.xp):
        for name in ("__float__", "__int__", "__bool__", "item", "tolist"):
            counted(type(library.array([1.0])), name)
    counts = []
    for batch_size in (10, 2):
        # The first epoch may read more: that a compiled step is right, for example.
        train(
            library, batch_size=batch_size, on_epoch=lambda state: state.epoch < 2 and reads.clear()
        )
        counts.append(list(reads))
    assert counts[0] == counts[1]
    if backend_name(library.xp) in ("cupy", "torch"):
        assert counts[0] == ["to_numpy"]  # all numbers of the epoch together


def test_progress_within_an_epoch_reaches_its_last_step(library):
    seen = []
    train(library, batch_size=2, on_steps=lambda done, steps: seen.append((done, steps)))
    if backend_name(library.xp) in ("numpy", "torch"):  # others compile many steps together
        assert seen == [(done, 13) for _ in range(2) for done in range(1, 14)]


def test_progress_is_reported_between_the_chunks_of_streamed_data(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 11 * 6 * 8)
    np.save(tmp_path / "x.npy", X)
    rows = np.load(tmp_path / "x.npy", mmap_mode="r")
    seen = []
    options = {**SETTINGS, "batch_size": 2, "epochs": 1, "dtype": "float64"}
    fit(NETWORK, (rows, LABELS), on_steps=lambda done, steps: seen.append((done, steps)), **options)
    assert sorted(set(seen)) == [(done, 13) for done in range(1, 14)]


# --- the records -------------------------------------------------------------------------------


def test_the_history_has_a_record_for_each_epoch():
    state = fit(
        NETWORK, (X, LABELS), (X[:7], LABELS[:7]), **{**SETTINGS, "evaluate_training": True}
    )
    fields = ["epoch", "step", "learning_rate", "loss", "accuracy", "train_loss", "train_accuracy"]
    fields += ["validation_loss", "validation_accuracy", "seconds"]
    assert [list(record) for record in state.history] == [fields] * 2
    assert [(r["epoch"], r["step"]) for r in state.history] == [(1, 3), (2, 6)]
    assert all(r["learning_rate"] == 0.05 and r["seconds"] >= 0.0 for r in state.history)
    assert (state.epoch, state.step, state.seed, state.stopped) == (2, 6, 3, "")


def test_the_records_hold_the_loss_and_accuracy_after_the_epoch(library, dtype, tolerance):
    held_out = data_on(library, dtype, slice(0, 7))
    state = train(library, dtype, held_out, evaluate_training=True)
    record = state.history[-1]
    for name, rows in (("train", slice(None)), ("validation", slice(0, 7))):
        layers = [Layer(*(p.astype("float64") for p in numpy_of([q]))) for q in state.parameters]
        outputs = forward(NETWORK, layers, X[rows]).a[-1]
        loss = -np.mean(np.sum(TARGETS[rows] * np.log(outputs), axis=1))
        assert abs(record[f"{name}_loss"] - loss) <= tolerance * loss
        right = np.argmax(outputs, axis=1) == LABELS[rows]
        assert record[f"{name}_accuracy"] == np.mean(right)


def test_a_regression_has_no_accuracy_and_nothing_is_measured_unasked():
    network = Network((6, 3), "identity")
    measured = fit(network, (X, TARGETS), **{**SETTINGS, "evaluate_training": True})
    assert "train_loss" in measured.history[0]
    assert "train_accuracy" not in measured.history[0]
    bare = fit(network, (X, TARGETS), **SETTINGS)
    assert list(bare.history[0]) == ["epoch", "step", "learning_rate", "loss", "seconds"]


def test_on_epoch_sees_each_state_with_parameters_that_stay(library):
    seen = []

    def look(state):
        seen.append((state, bytes_of(state.parameters)))

    final = train(library, epochs=3, on_epoch=look)
    assert [state.epoch for state, _ in seen] == [1, 2, 3]
    assert [bytes_of(state.parameters) for state, _ in seen] == [then for _, then in seen]
    assert seen[-1][1] == bytes_of(final.parameters)
    assert [state.history for state, _ in seen] == [final.history[: i + 1] for i in range(3)]


def test_the_usual_loss_initializer_and_learning_rate_are_taken():
    plainly = {"batch_size": 10, "epochs": 1, "seed": 3}
    spelt_out = {"loss": "cross_entropy", "initializer": "glorot_uniform", "optimizer": "adam"}
    one = fit(NETWORK, (X, LABELS), **plainly)
    other = fit(NETWORK, (X, LABELS), **plainly, **spelt_out, learning_rate=0.001)
    assert bytes_of(one.parameters) == bytes_of(other.parameters)


# --- where and in what -------------------------------------------------------------------------


def test_the_work_is_done_where_the_inputs_live_and_in_their_type(library, dtype):
    state = train(library, dtype, epochs=1)
    for layer in state.parameters:
        for p in layer:
            assert arrays.backend_name(arrays.namespace(p)) == library.placement.backend
            assert arrays.device(p) == library.placement.device
            assert p.dtype == library.dtype(dtype)


def test_a_device_that_is_named_takes_data_of_another_library(library, dtype):
    settings = {**SETTINGS, "epochs": 1}
    state = fit(NETWORK, (X, LABELS), device=library.placement, dtype=dtype, **settings)
    assert all(p.dtype == library.dtype(dtype) for layer in state.parameters for p in layer)
    assert bytes_of(state.parameters) == bytes_of(train(library, dtype, epochs=1).parameters)


@pytest.mark.parametrize("inputs", [X.tolist(), X.round().astype("int64")], ids=["lists", "ints"])
def test_inputs_that_are_no_real_arrays_are_trained_on_in_float32(inputs):
    state = fit(NETWORK, (inputs, LABELS.tolist()), **SETTINGS)
    assert all(p.dtype == np.float32 for p in numpy_of(state.parameters))


def test_a_single_output_tells_two_classes_apart(library):
    x = library.array([[0.0], [1.0], [2.0], [3.0]])
    labels = library.array([0, 0, 1, 1], "index")
    settings = {"learning_rate": 1.0, "batch_size": 0, "epochs": 60, "seed": 0}
    state = fit(Network((1, 1), "sigmoid"), (x, labels), evaluate_training=True, **settings)
    for name in ("accuracy", "train_accuracy"):
        assert state.history[0][name] < 1.0
        assert state.history[-1][name] == 1.0


# --- settings ---------------------------------------------------------------------------------


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ConfigurationError, match=r"batch_size is 26, .* has 25 rows") as failure:
        fit(NETWORK, (X, LABELS), **{**SETTINGS, "batch_size": 26})
    assert "or 0" in failure.value.hint


def test_an_unknown_setting_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match="unknown setting 'learning_rat'") as failure:
        fit(NETWORK, (X, LABELS), learning_rat=0.1)
    assert "did you mean 'learning_rate'?" in failure.value.hint


def test_a_loss_that_does_not_fit_the_output_is_refused():
    with pytest.raises(ConfigurationError, match="needs outputs between 0 and 1"):
        fit(Network((6, 3), "tanh"), (X, TARGETS), loss="cross_entropy", **SETTINGS)


@pytest.mark.parametrize(
    ("sizes", "output", "loss", "message"),
    [
        ((6, 1), "softmax", None, "softmax over one output is always 1"),
        ((6, 1), "softmax", "half_squared_error", "softmax over one output is always 1"),
        ((6, 3), "sigmoid", "cross_entropy", "only rewards the output of the true class"),
        ((6, 3), "step", None, "derivative of the output 'step' is 0"),
    ],
)
def test_an_output_layer_that_cannot_learn_is_rejected(sizes, output, loss, message):
    targets = LABELS % 2 if sizes[-1] == 1 else LABELS
    for run in (fit, find_learning_rate):
        settings = SETTINGS if run is fit else {"seed": 0}
        with pytest.raises(ConfigurationError, match=message) as failure:
            run(Network(sizes, output), (X, targets), loss=loss, **settings)
        assert "'sigmoid'" in failure.value.hint or "'softmax'" in failure.value.hint


def test_parameters_that_do_not_fit_are_refused():
    wrong = [Layer(np.ones((5, 6)), np.ones(5)), Layer(np.ones((3, 4)), np.ones(3))]
    with pytest.raises(ConfigurationError, match="weights of layer 2"):
        fit(NETWORK, (X, LABELS), parameters=wrong, **SETTINGS)


def test_large_weights_in_fortran_order_are_trained():
    network = Network((300, 200, 3), ("tanh", "softmax"))
    x = np.random.default_rng(1).normal(size=(8, 300))
    start = initial_parameters(network, 0, xp=np, dtype=np.float64)
    turned = [Layer(np.asfortranarray(layer.weights), layer.bias) for layer in start]
    settings = {**SETTINGS, "batch_size": 4}
    one, other = (fit(network, (x, LABELS[:8]), parameters=p, **settings) for p in (start, turned))
    assert errors(other.parameters, one.parameters) <= 1e-12


def test_xor_is_learnt_on_every_library(library):
    x = library.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], "float64")
    state = fit(
        Network((2, 8, 2), ("tanh", "softmax")),
        (x, library.array([0, 1, 1, 0], "index")),
        batch_size=4,
        epochs=200,
        learning_rate=0.05,
        seed=0,
        evaluate_training=False,
        loss=get_loss("cross_entropy"),
    )
    assert state.history[-1]["loss"] < 0.02
    assert math.isfinite(state.history[0]["loss"])


def test_a_placement_by_name_is_selected():
    state = fit(NETWORK, (X, LABELS), device="cpu", dtype="float64", **SETTINGS)
    placed = fit(NETWORK, (X, LABELS), device=select_device("cpu"), dtype="float64", **SETTINGS)
    assert bytes_of(state.parameters) == bytes_of(placed.parameters)


def test_the_usual_batch_is_no_larger_than_the_data():
    settings = {name: value for name, value in SETTINGS.items() if name != "batch_size"}
    assert fit(NETWORK, (X, LABELS), **{**settings, "epochs": 1}).step == 1
    many = np.tile(X, (6, 1)), np.tile(LABELS, 6)
    assert fit(NETWORK, many, **{**settings, "epochs": 1}).step == -(-len(many[0]) // 64)


def test_losses_are_converted_to_other_units_and_nothing_else_changes():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 1))
    network = Network((3, 4, 1), ("tanh", "identity"))
    options = {"epochs": 3, "batch_size": 8, "seed": 0, "patience": 2, "l2": 0.01}
    options |= {"evaluate_training": True}
    plain, scaled = (
        fit(network, (x[:30], y[:30]), (x[30:], y[30:]), loss_unit=unit, **options)
        for unit in (1.0, 1e6)
    )
    assert bytes_of(scaled.parameters) == bytes_of(plain.parameters)
    losses = ("loss", "penalty", "train_loss", "validation_loss")
    for before, after in zip(plain.history, scaled.history, strict=True):
        assert set(after) == set(before) > set(losses)
        for name, value in before.items():
            if name in losses:
                assert after[name] == value * 1e6
            elif name not in ("seconds", "layers"):
                assert after[name] == value
    assert scaled.best.epoch == plain.best.epoch


def test_label_smoothing_needs_classes():
    network = Network((X.shape[1], 2), "identity")
    with pytest.raises(ConfigurationError, match="label smoothing needs classes"):
        fit(network, (X, X[:, :2]), **{**SETTINGS, "label_smoothing": 0.1})
