"""A training run that is cut off anywhere and continued from its checkpoint gives the same bits."""

import itertools
import json
import os
import warnings

import numpy as np
import pytest
from helpers import Backend, numbers_of

from backprop_xp.backend.devices import select_device
from backprop_xp.data import streaming
from backprop_xp.errors import ConfigurationError, DivergenceError, ModelFileError
from backprop_xp.nn.network import Network
from backprop_xp.nn.optimizers import OPTIMIZERS
from backprop_xp.training import checkpoint as module
from backprop_xp.training import trainer
from backprop_xp.training.checkpoint import Checkpoint, previous_path, read_checkpoint
from backprop_xp.training.fit import fit
from backprop_xp.training.state import TrainingInterrupted

N = 25
NETWORK = Network((6, 5, 3), ("tanh", "softmax"))
X = np.random.default_rng(0).normal(size=(N, 6))
LABELS = np.arange(N) % 3
SETTINGS = {"optimizer": "adam", "learning_rate": 0.05, "batch_size": 10, "epochs": 5, "seed": 3}
NUMPY = Backend("numpy", select_device("cpu"))

KINDS = {
    "momentum": {"optimizer": "momentum"},
    "adam and dropout": {"dropout": 0.3},
    "augmentation": {"augment": "shift", "image_shape": (2, 3)},
    "one-cycle and warm-up": {"schedule": "one_cycle", "warm_up": 4},
    "plateau": {"plateau_patience": 1, "validation": True, "learning_rate": 0.5},
    "early stopping": {"patience": 2, "validation": True, "learning_rate": 0.5},
    "target loss": {"target_loss": 0.9},
    "penalty and bounds": {"l2": 0.1, "max_norm": 1.0, "clip_norm": 0.5, "optimizer": "nesterov"},
    "sample weights": {"sample_weight": True},
    "streamed": {"streamed": True},
    "streamed, augmentation and dropout": {
        **{"streamed": True, "augment": "shift", "image_shape": (2, 3), "dropout": 0.3},
    },
}


class CutOff(Exception):
    """The moment at which a run is killed: what was not written by then is lost."""


class Cut(Checkpoint):
    """A checkpoint at every opportunity, of a run that is killed after ``last`` of them."""

    def __init__(self, path, last):
        super().__init__(path)
        self.left = last

    def is_due(self, state):
        return True

    def write(self, state):
        if self.left == 0:
            raise CutOff
        self.left -= 1
        super().write(state)

    def write_latest(self):
        pass  # kill -9 does not ask


def runner(library, kind, tmp_path):
    """Return a function that trains with the settings of a kind."""
    settings = {**SETTINGS, **KINDS[kind]}
    data = library.array(X), library.array(LABELS, "index")
    if settings.pop("streamed", False):
        np.save(tmp_path / "x.npy", X)
        data = np.load(tmp_path / "x.npy", mmap_mode="r"), LABELS
        settings["device"] = library.placement
    if settings.pop("validation", False):
        settings["validation"] = library.array(X[:9] + 0.1), library.array(LABELS[:9], "index")
    if settings.pop("sample_weight", False):
        settings["sample_weight"] = library.array(np.linspace(0.5, 2.0, N))

    def run(**options):
        return fit(NETWORK, data, **{**settings, **options})

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_continues_with_the_same_bits(library, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 11 * 6 * 4)
    run = runner(library, kind, tmp_path)
    whole = numbers_of(library, run())
    path = tmp_path / "run.safetensors"
    # After each of the places where a checkpoint is written, or some where compiling takes long.
    every = 1 if library.placement.backend == "numpy" else 4
    for cuts in itertools.count(every, every):
        path.unlink(missing_ok=True)
        previous_path(path).unlink(missing_ok=True)
        try:
            run(checkpoint=Cut(path, cuts))
        except CutOff:
            assert numbers_of(library, run(checkpoint=path, resume=True)) == whole
        else:
            break
    assert cuts >= (12 if "streamed" in kind else 3)
    # A finished run continues with nothing.
    assert numbers_of(library, run(checkpoint=path, resume=True)) == whole


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_state_of_every_optimizer_is_complete(optimizer, tmp_path):
    run = runner(NUMPY, "momentum", tmp_path)
    path = tmp_path / "run.safetensors"
    run(optimizer=optimizer, epochs=2, checkpoint=path)
    resumed = run(optimizer=optimizer, checkpoint=path, resume=True)
    assert numbers_of(NUMPY, resumed) == numbers_of(NUMPY, run(optimizer=optimizer))


def test_more_epochs_extend_a_finished_run(tmp_path):
    run = runner(NUMPY, "momentum", tmp_path)
    path = tmp_path / "run.safetensors"
    run(checkpoint=path)
    longer = run(epochs=8, checkpoint=path, resume=True)
    assert numbers_of(NUMPY, longer) == numbers_of(NUMPY, run(epochs=8))


def test_early_stopping_holds_until_its_patience_is_changed(tmp_path):
    run = runner(NUMPY, "early stopping", tmp_path)
    path = tmp_path / "run.safetensors"
    stopped = run(epochs=60, checkpoint=path)
    assert stopped.stopped == "early_stopping"
    assert numbers_of(NUMPY, run(epochs=80, checkpoint=path, resume=True)) == numbers_of(
        NUMPY, stopped
    )
    patient = run(epochs=stopped.epoch + 2, patience=50, checkpoint=path, resume=True)
    assert (patient.epoch, patient.stopped) == (stopped.epoch + 2, "")


def test_the_first_run_needs_no_checkpoint_to_resume_from(tmp_path):
    run = runner(NUMPY, "momentum", tmp_path)
    state = run(checkpoint=tmp_path / "run.safetensors", resume=True)
    assert state.epoch == SETTINGS["epochs"]
    assert sorted(os.listdir(tmp_path)) == ["run.previous.safetensors", "run.safetensors"]


def test_a_checkpoint_is_not_replaced_unasked(tmp_path):
    run = runner(NUMPY, "momentum", tmp_path)
    path = tmp_path / "run.safetensors"
    run(epochs=1, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"run\.safetensors exists already") as caught:
        run(checkpoint=path)
    assert "resume=True" in caught.value.hint
    assert path.read_bytes() == before
    run(epochs=2, checkpoint=Checkpoint(path, overwrite=True))
    assert read_checkpoint(path).state.epoch == 2


def test_resuming_needs_a_checkpoint(tmp_path):
    with pytest.raises(ConfigurationError, match="no checkpoint to resume from"):
        runner(NUMPY, "momentum", tmp_path)(resume=True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"learning_rate": 0.1}, "other settings: learning_rate is 0.1, was 0.05"),
        ({"batch_size": 5, "l2": 1.0}, "batch_size is 5, was 10, l2 is 1.0, was 0.0"),
        ({"seed": 4}, "seed is 4, was 3"),
        ({"dtype": "float32"}, 'another network: dtype is "float32", was "float64"'),
        ({"sample_weight": np.ones(N)}, "other data, which differs in: sample weights"),
        ({"validation": (X, LABELS)}, "validation inputs, validation rows, validation targets"),
    ],
)
def test_what_must_not_change_is_named(changed, message, tmp_path):
    run = runner(NUMPY, "momentum", tmp_path)
    path = tmp_path / "run.safetensors"
    run(epochs=2, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError) as caught:
        run(checkpoint=path, resume=True, **changed)
    assert message in str(caught.value)
    assert "fit(..., state=" in caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize("where", ["inputs", "targets", "order"])
def test_other_rows_are_noticed(where, tmp_path):
    path = tmp_path / "run.safetensors"
    fit(NETWORK, (X, LABELS), checkpoint=path, **{**SETTINGS, "epochs": 1})
    x, labels = X.copy(), LABELS.copy()
    if where == "inputs":
        x[7, 2] += 1e-6
    elif where == "targets":
        labels[24] = 1
    else:
        x, labels = x[::-1].copy(), labels[::-1].copy()
    with pytest.raises(ConfigurationError, match=r"is of other data.* training (inputs|targets)"):
        fit(NETWORK, (x, labels), checkpoint=path, resume=True, **SETTINGS)


def test_another_environment_is_a_warning(tmp_path, monkeypatch):
    run = runner(NUMPY, "momentum", tmp_path)
    path = tmp_path / "run.safetensors"
    run(epochs=2, checkpoint=path)
    monkeypatch.setattr(module, "version_of", lambda backend: "9.9")
    with pytest.warns(UserWarning, match=r'another environment \(numpy is "9.9", was'):
        run(checkpoint=path, resume=True)


def test_a_damaged_checkpoint_falls_back_to_the_one_before_it(tmp_path):
    run = runner(NUMPY, "momentum", tmp_path)
    path = tmp_path / "run.safetensors"
    run(epochs=3, checkpoint=Checkpoint(path, "1 epochs"))
    content = bytearray(path.read_bytes())
    content[-9] ^= 4
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged.*the one before it is used, of epoch 2"):
        resumed = run(checkpoint=path, resume=True)
    assert numbers_of(NUMPY, resumed) == numbers_of(NUMPY, run())
    # The damaged file did not replace the one before it.
    assert read_checkpoint(path).state.epoch == 5
    path.unlink()
    if previous_path(path).exists():
        with pytest.warns(UserWarning, match="the one before it is used"):
            read_checkpoint(path)
    path.write_bytes(b"nothing")
    previous_path(path).write_bytes(b"nothing")
    with pytest.raises(ModelFileError, match=r"run\.safetensors"):
        run(checkpoint=path, resume=True)


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "run.safetensors"
    runner(NUMPY, "early stopping", tmp_path)(epochs=1, checkpoint=path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for bit in rng.choice(8 * len(content), size=300, replace=False):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(changed)
        with pytest.raises(ModelFileError):
            read_checkpoint(path)


def test_when_a_checkpoint_is_written(tmp_path):
    class Counted(Checkpoint):
        def save(self, state):
            super().save(state)
            epochs.append(state.epoch)

    def written(every):
        epochs.clear()
        run(epochs=10, checkpoint=Counted(tmp_path / f"{every}.safetensors", every))
        return epochs

    epochs = []
    run = runner(NUMPY, "momentum", tmp_path)
    assert written("1h") == [1, 10]
    assert written("never") == [1, 10]
    assert written("4 epochs") == [1, 5, 9, 10]


def test_a_checkpoint_takes_at_most_a_hundredth_of_the_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    class Slow(Checkpoint):
        def save(self, state):
            now[0] += 2.0
            epochs.append(state.epoch)

    def on_epoch(state):
        now[0] += 10.0

    epochs = []
    run = runner(NUMPY, "momentum", tmp_path)
    run(epochs=90, checkpoint=Slow(tmp_path / "slow.safetensors"), on_epoch=on_epoch)
    assert epochs == [1, 40, 60, 80, 90]


def test_a_request_is_met_after_the_epoch(tmp_path):
    path = tmp_path / "run.safetensors"
    checkpoint = Checkpoint(path, "never")
    found = []

    def on_epoch(state):
        found.append(read_checkpoint(path).state.epoch if path.exists() else 0)
        checkpoint.requested = state.epoch == 3

    runner(NUMPY, "momentum", tmp_path)(checkpoint=checkpoint, on_epoch=on_epoch)
    assert found == [0, 1, 1, 3, 3]


@pytest.mark.parametrize("every", ["", "soon", "30", "-5s", "0 epochs", "5 days", "1e3s", None])
def test_an_interval_that_is_not_one_is_an_error(every):
    with pytest.raises(ConfigurationError, match="checkpoint_every is"):
        Checkpoint("x", every)


def test_whatever_ends_the_training_the_last_epoch_is_written(tmp_path, monkeypatch):
    def ended_by(error):
        path = tmp_path / f"{error.__name__}.safetensors"

        def on_epoch(state):
            if state.epoch == 3:
                raise error

        with pytest.raises((error, TrainingInterrupted)):
            runner(NUMPY, "momentum", tmp_path)(
                checkpoint=Checkpoint(path, "never"), on_epoch=on_epoch
            )
        return read_checkpoint(path).state.epoch

    assert [ended_by(e) for e in (KeyboardInterrupt, MemoryError, SystemExit)] == [3, 3, 3]


def test_divergence_leaves_the_last_good_epoch(tmp_path, monkeypatch):
    measure, epochs = trainer.divergence.check_weights, []

    def check(parameters, *, epoch, **options):
        epochs.append(epoch)
        if epoch == 4:
            raise DivergenceError("too large")
        measure(parameters, epoch=epoch, **options)

    monkeypatch.setattr(trainer.divergence, "check_weights", check)
    path = tmp_path / "run.safetensors"
    with pytest.raises(DivergenceError):
        runner(NUMPY, "momentum", tmp_path)(checkpoint=path)
    monkeypatch.undo()
    assert read_checkpoint(path).state.epoch == 3


def test_a_file_that_cannot_be_written_does_not_end_the_training(tmp_path):
    path = tmp_path / "gone" / "run.safetensors"
    path.parent.mkdir()

    def on_epoch(state):
        if state.epoch == 2:
            os.unlink(path)
            path.parent.rmdir()

    run = runner(NUMPY, "momentum", tmp_path)
    with pytest.warns(UserWarning, match=r"gone.*cannot be written.*training continues"):
        state = run(checkpoint=Checkpoint(path, "1 epochs"), on_epoch=on_epoch)
    assert numbers_of(NUMPY, state) == numbers_of(NUMPY, run())


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": -1},
        {"step": True},
        {"seed": "3"},
        {"stopped": 1},
        {"best": {"epoch": 1}},
        {"best": {"epoch": 1, "value": "low"}},
        {"within_epoch": {"chunks": 1}},
        {"within_epoch": [1]},
        {"about": None},
        {"about": {"network": [], "settings": {}, "data": {}, "environment": {}}},
        {"format_version": 2},
    ],
    ids=str,
)
def test_a_forged_checkpoint_is_rejected(change, tmp_path):
    path = tmp_path / "run.safetensors"
    runner(NUMPY, "momentum", tmp_path)(epochs=1, checkpoint=path)
    tensors, metadata = module.read_tensors(path, module.FORMAT)
    description = {**json.loads(metadata.pop("checkpoint")), **change}
    texts = {"checkpoint": json.dumps(description), "config": metadata["config"]}
    module.write_tensors(path, module.FORMAT, tensors, texts)
    with pytest.raises(ModelFileError, match=r"run\.safetensors"):
        read_checkpoint(path)


def test_a_model_is_not_a_checkpoint(tmp_path):
    path = tmp_path / "other.safetensors"
    module.write_tensors(path, "backprop_xp.model", {}, {})
    with pytest.raises(ModelFileError, match="checkpoint"):
        read_checkpoint(path)


def test_no_warning_without_a_reason(tmp_path):
    run = runner(NUMPY, "early stopping", tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(epochs=2, checkpoint=tmp_path / "run.safetensors")
        run(checkpoint=tmp_path / "run.safetensors", resume=True)


def test_a_state_within_an_epoch_needs_data_in_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 11 * 6 * 4)
    run = runner(NUMPY, "streamed", tmp_path)
    path = tmp_path / "run.safetensors"
    with pytest.raises(CutOff):
        run(checkpoint=Cut(path, 1))
    state = read_checkpoint(path).state
    assert (state.epoch, state.within_epoch.chunks, state.first_step) == (0, 1, 0)
    with pytest.raises(ConfigurationError, match="within an epoch of data") as caught:
        fit(NETWORK, (X, LABELS), state=state, **SETTINGS)
    assert "within_epoch=None" in caught.value.hint
    assert fit(NETWORK, (X, LABELS), state=state._replace(within_epoch=None), **SETTINGS).epoch == 5
    # Chunks of another size are noticed.
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 21 * 6 * 4)
    with pytest.raises(ConfigurationError, match="the epoch was left after 10 rows"):
        run(checkpoint=path, resume=True)


def test_a_folder_that_cannot_be_written_to_is_an_error_before_the_training(tmp_path):
    run = runner(NUMPY, "momentum", tmp_path)
    with pytest.raises(ConfigurationError, match="cannot be written: there is no such folder"):
        run(checkpoint=tmp_path / "gone" / "run.safetensors")
