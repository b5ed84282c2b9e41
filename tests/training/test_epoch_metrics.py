"""Loss and accuracy of an epoch are those of its batches, each before its update."""

import numpy as np
import pytest
from helpers import plain_epoch

from backprop_xp.backend import random
from backprop_xp.backend.devices import select_device
from backprop_xp.data import streaming
from backprop_xp.data.streaming import shuffled_chunks
from backprop_xp.nn.backpropagation import forward
from backprop_xp.nn.network import Network, initial_parameters, map_arrays
from backprop_xp.training.checkpoint import Checkpoint
from backprop_xp.training.fit import fit
from backprop_xp.training.settings import TrainingSettings
from backprop_xp.training.step import TrainingStep

N, EPOCHS = 53, 4
NETWORK = Network((6, 5, 3), ("tanh", "softmax"))
RNG = np.random.default_rng(7)
X = RNG.normal(size=(N, 6))
LABELS = np.argmax(X[:, :3] + RNG.normal(size=(N, 3)), axis=1)
TARGETS = np.eye(3)[LABELS]
SETTINGS = {
    **{"optimizer": "momentum", "momentum": 0.8, "learning_rate": 0.1, "epochs": EPOCHS, "seed": 3},
    "diagnostics": False,
}

STEP_BY_STEP = {"target_loss": 1e-9}  # every loss is read; also on JAX, without its scan


def data_on(library, dtype="float64"):
    return library.array(X, dtype), library.array(LABELS, "index")


def plain_steps(order, batch_size, epochs=EPOCHS):
    """Train in NumPy; yield the steps of each epoch: the losses and the hits of their rows."""
    parameters, velocities = initial_parameters(NETWORK, 3, xp=np, dtype=np.float64), []
    for epoch in range(epochs):
        rows_of_epoch, steps = order(epoch), []
        for start in range(0, N, batch_size):
            rows = rows_of_epoch[start : start + batch_size]
            outputs = forward(NETWORK, parameters, X[rows]).a[-1]
            hits = np.argmax(outputs, axis=1) == LABELS[rows]
            losses = -np.sum(TARGETS[rows] * np.log(outputs), axis=1)
            steps.append((losses, hits))
            batch = X[rows], TARGETS[rows], np.arange(len(rows)), len(rows)
            parameters, velocities, _ = plain_epoch(
                parameters, velocities, *batch, etas=[0.1], mu=0.8
            )
        yield steps


def figures(steps):
    """Return the mean loss and the accuracy over the rows of some steps."""
    losses, hits = (np.concatenate(parts) for parts in zip(*steps, strict=True))
    return np.mean(losses), np.mean(hits)


def accuracies(state, name="accuracy"):
    return [record[name] for record in state.history]


def assert_recorded(history, wanted, tolerance=1e-12):
    assert len(history) == len(wanted)
    for record, (loss, accuracy) in zip(history, wanted, strict=True):
        assert record["loss"] == pytest.approx(loss, rel=tolerance)
        assert record["accuracy"] == accuracy


def permuted(epoch):
    return random.permutation(3, epoch, N)


def streamed(epoch):
    return np.concatenate(list(shuffled_chunks(3, epoch, N, 10)))


@pytest.mark.parametrize("options", [{}, STEP_BY_STEP], ids=["default", "step by step"])
@pytest.mark.parametrize("batch_size", [3, 10, 26, N, 0])
def test_they_are_those_of_the_batches_before_their_updates(library, batch_size, options):
    wanted = [figures(steps) for steps in plain_steps(permuted, batch_size or N)]
    settings = {**SETTINGS, "batch_size": batch_size, "evaluate_training": True, **options}
    state = fit(NETWORK, data_on(library), **settings)
    assert_recorded(state.history, wanted)
    assert accuracies(state) != accuracies(state, "train_accuracy")  # after the epoch


@pytest.mark.parametrize("order", [False, lambda epoch, n: permuted(epoch)[::-1].copy()])
def test_labels_are_taken_in_the_order_of_the_rows(library, order):
    numbers = order or (lambda epoch, n: np.arange(n))
    wanted = [figures(steps) for steps in plain_steps(lambda epoch: numbers(epoch, N), 10)]
    state = fit(NETWORK, data_on(library), batch_size=10, shuffle=order, **SETTINGS)
    assert_recorded(state.history, wanted)


def test_in_float32_they_are_the_same_up_to_rounding(library):
    wanted = [figures(steps) for steps in plain_steps(permuted, 10)]
    state = fit(NETWORK, data_on(library, "float32"), batch_size=10, **SETTINGS)
    assert_recorded(state.history, wanted, tolerance=1e-5)


# --- data that is streamed, a run that stops and one that is continued -------------------------


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    """Return the data in files that are streamed in chunks of 10 rows."""
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 11 * 6 * 8)
    np.save(tmp_path / "x.npy", X)
    return np.load(tmp_path / "x.npy", mmap_mode="r"), LABELS


@pytest.mark.parametrize("options", [{}, STEP_BY_STEP], ids=["default", "step by step"])
@pytest.mark.parametrize("batch_size", [5, 10])
def test_streamed_chunks_are_put_together(library, on_disk, batch_size, options):
    wanted = [figures(steps) for steps in plain_steps(streamed, batch_size)]
    settings = {"batch_size": batch_size, "dtype": "float64", "device": library.placement}
    state = fit(NETWORK, on_disk, **settings, **SETTINGS, **options)
    assert_recorded(state.history, wanted)


def stopping(order):
    """Return a loss that is first reached well within an epoch, and the figures until then."""
    epochs = list(plain_steps(order, 5))
    lowest, found = np.inf, None
    for epoch, steps in enumerate(epochs):
        for index, (losses, _) in enumerate(steps):
            if np.mean(losses) < lowest:
                if epoch and 2 < index < len(steps) - 2:  # streamed, not in the first chunk
                    target = (np.mean(losses) + min(lowest, 2.0 * np.mean(losses))) / 2.0
                    found = target, [*map(figures, epochs[:epoch]), figures(steps[: index + 1])]
                lowest = np.mean(losses)
    assert found is not None
    return found


def test_an_epoch_that_is_stopped_counts_the_rows_until_then(library):
    target, wanted = stopping(permuted)
    state = fit(NETWORK, data_on(library), batch_size=5, target_loss=target, **SETTINGS)
    assert state.stopped == "target_loss"
    assert_recorded(state.history, wanted)


def test_a_streamed_epoch_that_is_stopped_counts_the_rows_until_then(library, on_disk):
    target, wanted = stopping(streamed)
    settings = {"batch_size": 5, "dtype": "float64", "device": library.placement}
    state = fit(NETWORK, on_disk, target_loss=target, **settings, **SETTINGS)
    assert state.stopped == "target_loss"
    assert_recorded(state.history, wanted)


class CutOff(Exception):
    pass


class Cut(Checkpoint):
    """A checkpoint after every chunk, of a run that is killed after some of them."""

    def __init__(self, path, left):
        super().__init__(path)
        self.left = left

    def is_due(self, state):
        return True

    def write(self, state):
        super().write(state)
        self.left -= 1
        if self.left == 0:
            raise CutOff

    def write_latest(self):
        pass


@pytest.mark.parametrize("options", [{}, STEP_BY_STEP], ids=["default", "step by step"])
@pytest.mark.parametrize("left", [1, 3, 8])
def test_an_epoch_that_is_continued_counts_all_of_its_rows(
    library, on_disk, tmp_path, left, options
):
    path = tmp_path / "run.safetensors"

    def run(**more):
        settings = {"batch_size": 5, "dtype": "float64", "device": library.placement}
        return fit(NETWORK, on_disk, **settings, **SETTINGS, **options, **more)

    with pytest.raises(CutOff):
        run(checkpoint=Cut(path, left))
    state = run(checkpoint=path, resume=True)
    assert_recorded(state.history, [figures(steps) for steps in plain_steps(streamed, 5)])


# --- what they contain -------------------------------------------------------------------------

STILL = {**SETTINGS, "learning_rate": 1e-30, "batch_size": 10}
"""Settings with which the weights stay as they are."""


def test_dropout_is_a_part_of_them_and_not_of_the_complete_set(library):
    options = {**STILL, "epochs": 6, "evaluate_training": True}
    without = fit(NETWORK, data_on(library), **options)
    dropped = fit(NETWORK, data_on(library), dropout=0.5, **options)
    (exact,) = set(accuracies(without))
    assert set(accuracies(without, "train_accuracy")) == {exact}
    assert set(accuracies(dropped, "train_accuracy")) == {exact}
    assert len(set(accuracies(dropped))) > 1  # another mask in each step
    assert dropped.history[0]["loss"] != pytest.approx(dropped.history[0]["train_loss"], rel=1e-3)
    assert without.history[0]["loss"] == pytest.approx(without.history[0]["train_loss"])


@pytest.mark.parametrize(
    "options", [{"dropout": 0.5}, {"augment": "shift"}, {"dropout": 0.3, "augment": "shift"}]
)
def test_they_are_those_of_the_step_that_is_trained_on(library, options):
    settings = {**SETTINGS, "batch_size": 0, **options}
    before = [library.layers(initial_parameters(NETWORK, 3, xp=np, dtype=np.float64))]
    x, y = data_on(library)
    state = fit(
        *(NETWORK, (x, y)),
        **settings,
        parameters=before[0],
        shuffle=False,
        image_shape=(2, 3),
        on_epoch=lambda state: before.append(state.parameters),
    )
    step = TrainingStep.of(
        *(NETWORK, TrainingSettings.of(settings), select_device("cpu", "numpy", dtype="float64")),
        **{"n": N, "seed": 3, "image_shape": (2, 3)},
    )
    wanted = []
    for number, parameters in enumerate(before[:-1]):
        layers = map_arrays(library.numpy, parameters)
        result = step.gradients(layers, (X, TARGETS, None), number)
        hits = np.argmax(result.tape.a[-1], axis=1) == LABELS
        wanted.append((float(result.loss), np.mean(hits)))
    assert_recorded(state.history, wanted)


def test_the_accuracy_counts_rows_whatever_their_weight(library):
    (exact,) = set(accuracies(fit(NETWORK, data_on(library), **STILL)))
    for options in (
        {"sample_weight": np.linspace(0.0, 2.0, N)},
        {"class_weight": {0: 3.0}},
        {"label_smoothing": 0.2},
    ):
        assert set(accuracies(fit(NETWORK, data_on(library), **STILL, **options))) == {exact}


@pytest.mark.parametrize(
    ("output", "loss", "labels", "known"),
    [
        ("softmax", None, TARGETS, True),  # one-hot targets of probabilities
        ("sigmoid", "half_squared_error", LABELS, True),  # classes, whatever the loss
        ("sigmoid", "half_squared_error", TARGETS, False),
        ("identity", None, TARGETS, False),
    ],
)
def test_only_classes_have_an_accuracy(output, loss, labels, known):
    network = Network((6, 5, 3), ("tanh", output))
    state = fit(network, (X, labels), loss=loss, batch_size=10, evaluate_training=True, **SETTINGS)
    for record in state.history:
        assert ("accuracy" in record) == ("train_accuracy" in record) == known
        assert {"loss", "train_loss"} <= set(record)


def test_a_single_output_is_counted_at_one_half(library):
    network = Network((6, 1), "sigmoid")
    labels = (LABELS == 1).astype(int)
    data = library.array(X), library.array(labels, "index")
    (start,) = initial_parameters(network, 3, xp=np, dtype=np.float64)
    predicted = (X @ start.weights.T + start.bias)[:, 0] > 0.0
    options = {**STILL, "epochs": 1, "parameters": library.layers([start])}
    state = fit(network, data, **options)
    assert accuracies(state) == [np.mean(predicted == labels)]
