"""Signals at bad moments: while files are written, after the last epoch, twice, or lost."""

import gc
import os
import signal
import weakref

import pytest

from backprop_xp import load_model, train
from backprop_xp.runs import session
from backprop_xp.runs.folder import CHECKPOINT, FILES, MODEL, OUTCOME, RunFolder
from backprop_xp.runs.interruption import interrupted_once
from backprop_xp.runs.reader import read_run
from backprop_xp.runs.run import prepare_run
from backprop_xp.runs.session import train_run
from backprop_xp.runs.settings import RunSettings
from backprop_xp.training.checkpoint import read_checkpoint
from backprop_xp.training.state import TrainingInterrupted

EPOCHS = 4
SETTINGS = {"epochs": EPOCHS, "hidden": (4,), "patience": 2, "seed": 0, "device": "cpu"}


@pytest.fixture(autouse=True)
def hears_ctrl_c():
    """Handle SIGINT as in the foreground: a shell's background job ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c(times=1):
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


def train_into(path, **options):
    run = prepare_run(RunSettings(**SETTINGS, **options))
    with RunFolder(path) as folder:
        return train_run(run, folder)


def check_kept(path, epoch):
    """Check that a folder has everything of an epoch, and that the run can be continued."""
    stored = read_run(path)
    assert (stored.problems, stored.notes, len(stored.history)) == ([], [], epoch)
    assert read_checkpoint(path / CHECKPOINT).state.epoch == epoch
    assert {*os.listdir(path)} <= {*FILES}
    whole = prepare_run(RunSettings(**SETTINGS)).train().parameters[0].weights.tobytes()
    resumed = train("digits", out=path, resume=True)
    assert resumed.parameters[0].weights.tobytes() == whole
    assert load_model(path / MODEL).parameters[0].weights.tobytes() == whole


@pytest.mark.parametrize("every", ["1 epochs", "never"])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("call", [1, 2])
def test_ctrl_c_while_the_model_is_written(call, times, every, tmp_path, monkeypatch):
    write, calls = session.save_model, []

    def save_model(model, path):
        calls.append(path)
        if len(calls) == call:
            press_ctrl_c(times)
        write(model, path)

    with monkeypatch.context() as patch:
        patch.setattr(session, "save_model", save_model)
        with pytest.raises(TrainingInterrupted) as caught:
            train_into(tmp_path / "run", checkpoint_every=every)
    epoch = EPOCHS if (call, every) == (2, "never") else call
    assert caught.value.state.epoch == epoch
    assert f"is in {tmp_path / 'run' / MODEL}" in caught.value.hint
    check_kept(tmp_path / "run", epoch)


def test_ctrl_c_while_the_saved_state_is_measured(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(session, "measure", lambda run, state, **options: press_ctrl_c(2))
        with pytest.raises(TrainingInterrupted) as caught:
            train_into(tmp_path / "run")
    assert caught.value.state.epoch == EPOCHS
    assert f"is in {tmp_path / 'run' / MODEL}" in caught.value.hint
    check_kept(tmp_path / "run", EPOCHS)
    assert (tmp_path / "run" / OUTCOME).exists()


def test_ctrl_c_before_the_epoch_is_noted(tmp_path, monkeypatch):
    note, latest = session.RunCheckpoint.record, []

    def record(self, state):
        if state.epoch == 2:
            self.latest = latest[-1]  # as before fit notes the epoch
            press_ctrl_c()
        latest.append(state)
        note(self, state)

    with monkeypatch.context() as patch:
        patch.setattr(session.RunCheckpoint, "record", record)
        with pytest.raises(TrainingInterrupted) as caught:
            train_into(tmp_path / "run")
    assert caught.value.state.epoch == 2
    check_kept(tmp_path / "run", 2)


class Watched:
    """An object whose end a weak reference can notice."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_whose_exception_is_lost_interrupts_after_the_epoch(tmp_path):
    def on_epoch(state):
        if state.epoch == 2:
            watched = Watched()
            kept = weakref.ref(watched, lambda reference: press_ctrl_c())
            del watched  # Python drops an exception in the callback
            gc.collect()
            assert kept() is None

    run = prepare_run(RunSettings(**SETTINGS))
    with pytest.raises(TrainingInterrupted) as caught, RunFolder(tmp_path / "run") as folder:
        train_run(run, folder, on_epoch=on_epoch)
    assert caught.value.state.epoch == 3
    check_kept(tmp_path / "run", 3)


def test_in_python_a_run_is_resumed_after_ctrl_c(tmp_path):
    def on_epoch(state):
        if state.epoch == 2:
            press_ctrl_c(2)

    with pytest.raises(TrainingInterrupted) as caught:
        train("digits", out=tmp_path / "run", on_epoch=on_epoch, **SETTINGS)
    saved = load_model(tmp_path / "run" / MODEL).parameters[0].weights
    assert caught.value.state.epoch == 2
    assert caught.value.model.parameters[0].weights.tobytes() == saved.tobytes()
    check_kept(tmp_path / "run", 2)


def test_the_handlers_are_as_before_after_the_run():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt), interrupted_once(lambda: None):
        press_ctrl_c(3)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
