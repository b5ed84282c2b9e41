"""A folder that is lost during a run: the disk is full, or the folder is removed or replaced."""

import errno
import functools
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import pytest

from backprop_xp import load_model, train
from backprop_xp.runs.folder import CHECKPOINT, FILES, HISTORY, MODEL, RunFolder
from backprop_xp.runs.reader import read_run
from backprop_xp.runs.run import prepare_run
from backprop_xp.runs.session import train_run
from backprop_xp.runs.settings import RunSettings
from backprop_xp.training.checkpoint import read_checkpoint

EPOCHS = 3
SETTINGS = {"epochs": EPOCHS, "hidden": (4,), "patience": 1, "seed": 0, "device": "cpu"}
ALL = sorted({*FILES} - {"checkpoint.previous.safetensors"})


@pytest.fixture
def other(tmp_path, monkeypatch):
    """The folder for temporary files."""
    path = tmp_path / "other"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


def lost(path, take, every="1 epochs"):
    """Train, and call ``take`` after each epoch; return the result, the folder and the warnings."""
    run = prepare_run(RunSettings(**SETTINGS, checkpoint_every=every))
    with (
        RunFolder(path) as folder,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        trained = train_run(run, folder, on_epoch=take)
    return trained, folder, [str(warning.message) for warning in caught]


@functools.cache
def weights():
    """Return the weights of a run without a fault."""
    return [p.weights.tobytes() for p in prepare_run(RunSettings(**SETTINGS)).train().parameters]


def check_moved(folder, trained, other):
    """Check that a run is complete in another folder, which its fault names."""
    assert folder.path.parent == other
    assert folder.fault.endswith(f"; the run is in {folder.path} instead")
    assert {*ALL} <= {*os.listdir(folder.path)}
    stored = read_run(folder.path)
    assert (stored.problems, stored.notes, len(stored.history)) == ([], [], trained.state.epoch)
    resumed = train("digits", out=folder.path, resume=True)
    for found in (trained.state, load_model(folder.path / MODEL), resumed):
        assert [p.weights.tobytes() for p in found.parameters] == weights()


@pytest.mark.parametrize("every", ["1 epochs", "never"])
@pytest.mark.parametrize("after", [1, EPOCHS])
@pytest.mark.parametrize("replaced", [False, True])
def test_a_run_whose_folder_is_taken_ends_in_another_one(replaced, after, every, tmp_path, other):
    def take(state):
        if state.epoch == after:
            shutil.rmtree(tmp_path / "run")
            if replaced:
                (tmp_path / "run").mkdir()

    trained, folder, said = lost(tmp_path / "run", take, every)
    check_moved(folder, trained, other)
    assert said == [folder.fault]
    assert str(tmp_path / "run") in folder.fault
    assert replaced == os.path.isdir(tmp_path / "run")
    assert not replaced or os.listdir(tmp_path / "run") == []


def full(monkeypatch, path, room):
    """Let no more than ``room`` files be written to a folder."""
    sync, synced = os.fsync, []

    def fsync(file):
        inside = [entry for entry in os.scandir(path)] if os.path.isdir(path) else []
        if any(os.path.samestat(os.fstat(file), entry.stat()) for entry in inside):
            synced.append(file)
            if len(synced) > room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)

    monkeypatch.setattr(os, "fsync", fsync)
    return synced


@pytest.mark.parametrize("every", ["1 epochs", "never"])
def test_a_disk_that_is_full_at_any_file_costs_nothing(every, tmp_path, other, monkeypatch):
    with monkeypatch.context() as patch:
        synced = full(patch, tmp_path / "run", room=1000)
        lost(tmp_path / "run", None, every)
    assert len(synced) >= 6
    for room in range(len(synced)):
        path = tmp_path / f"run{room}"
        with monkeypatch.context() as patch:
            full(patch, path, room)
            trained, folder, said = lost(path, None, every)
        check_moved(folder, trained, other)
        assert said == [folder.fault]
        assert "No space left on device" in folder.fault
        assert str(path) in folder.fault


def test_a_disk_that_becomes_read_only_while_a_file_is_written(tmp_path, other, monkeypatch):
    def read_only(inside):
        def call(path, *more, **options):
            if str(path).startswith(str(tmp_path / "run")):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            return inside(path, *more, **options)

        return call

    def take(state):
        if state.epoch == 1:
            for name in ("replace", "unlink"):
                monkeypatch.setattr(os, name, read_only(getattr(os, name)))

    trained, folder, said = lost(tmp_path / "run", take)
    monkeypatch.undo()
    check_moved(folder, trained, other)
    assert said == [folder.fault]
    assert "Read-only file system" in folder.fault


def test_a_history_that_cannot_be_written_moves_the_run(tmp_path, other):
    def take(state):
        if state.epoch == 2:
            (tmp_path / "run" / HISTORY).unlink()
            (tmp_path / "run" / HISTORY).mkdir()

    trained, folder, said = lost(tmp_path / "run", take, "never")
    check_moved(folder, trained, other)
    assert said == [folder.fault]


def test_an_earlier_run_outlives_a_disk_that_is_full_from_the_beginning(
    tmp_path, other, monkeypatch
):
    lost(tmp_path / "run", None)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with monkeypatch.context() as patch:
        full(patch, tmp_path / "run", 0)
        run = prepare_run(RunSettings(**SETTINGS | {"seed": 1}))
        with (
            pytest.warns(UserWarning, match="the run is in"),
            RunFolder(tmp_path / "run", overwrite=True) as folder,
        ):
            train_run(run, folder)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    assert sorted(os.listdir(folder.path)) == sorted(FILES)


@pytest.mark.parametrize("room", [0, 7])
def test_a_run_that_can_be_saved_nowhere_says_so_and_is_returned(room, tmp_path, monkeypatch):
    def no_folder(**place):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "mkdtemp", no_folder)
    with monkeypatch.context() as patch:
        full(patch, tmp_path / "run", room)
        trained, folder, said = lost(tmp_path / "run", None)
    assert trained.state.epoch == EPOCHS
    assert folder.path == tmp_path / "run"
    assert "No space left on device" in folder.fault
    assert "the training continues without a checkpoint" in said[0]
    if room == 0:
        assert folder.fault.endswith("; nothing was saved")
        assert not os.path.exists(folder.path)
    else:
        assert folder.fault.endswith(f"; what was saved before is in {folder.path}")
        assert read_checkpoint(folder.path / CHECKPOINT).state.epoch > 1
        load_model(folder.path / MODEL)


def test_a_second_folder_that_is_lost_is_a_second_warning(tmp_path, other):
    def take(state):
        if state.epoch == 1:
            shutil.rmtree(tmp_path / "run")
        if state.epoch == 2:
            shutil.rmtree(next(other.iterdir()))

    trained, folder, said = lost(tmp_path / "run", take)
    assert trained.state.epoch == EPOCHS
    assert said[0].endswith(f"; the run is in {folder.path} instead")
    assert any(text.startswith(f"{folder.path}") for text in said[1:])


def test_python_gets_the_model_and_a_warning(tmp_path, other):
    def take(state):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)

    with pytest.warns(UserWarning, match="the run is in") as caught:
        model = train("digits", out=tmp_path / "run", on_epoch=take, **SETTINGS)
    place = Path(str(caught[0].message).split("the run is in ")[1].removesuffix(" instead"))
    saved = load_model(place / MODEL)
    assert saved.parameters[0].weights.tobytes() == model.parameters[0].weights.tobytes()
