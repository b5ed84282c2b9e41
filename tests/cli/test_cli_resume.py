"""``train --resume``: after kill -9 and other signals, and what it rejects."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from command_line import animals, done, environment, refused, run, start, strict_json, written

from backprop_xp.runs.folder import CHECKPOINT, HISTORY, MODEL, OUTCOME
from backprop_xp.training.checkpoint import previous_path, read_checkpoint

ENDLESS = ("--epochs", 1_000_000, "--hidden", 4, "--patience", 0, "--seed", 1, "--device", "cpu")


def settings(data, epochs):
    options = ("--hidden", 4, "--optimizer", "momentum", "--dropout", 0.3, "--patience", 0)
    return ("train", data, "--label", "kind", "--epochs", epochs, "--seed", 1, *options)


@pytest.fixture
def data(tmp_path):
    return written(tmp_path / "animals.csv", "\n".join(animals()))


def numbers(folder):
    """Return the model, and the history without the seconds."""
    history = [json.loads(line) for line in (folder / HISTORY).read_text().splitlines()]
    return (folder / MODEL).read_bytes(), [{**record, "seconds": 0} for record in history]


def until(process, text):
    """Read what a process writes to stderr until a text comes."""
    seen = ""
    while text not in seen:
        line = process.stderr.readline()
        assert line, f"the command ended before {text!r}: {seen}"
        seen += line


@pytest.fixture
def started():
    """Start commands that are killed after the test; wait until they have written one epoch."""
    processes = []

    def start_training(*args):
        processes.append(start(*args))
        until(processes[-1], "epoch 1/")
        return processes[-1]

    yield start_training
    for process in processes:
        process.kill()
        process.communicate()


def test_a_killed_run_ends_as_if_nothing_had_happened(data, started, tmp_path):
    command = settings(data, 600)
    process = started(*command, "--checkpoint-every", "5 epochs", "--out", tmp_path / "killed")
    while read_checkpoint(tmp_path / "killed" / CHECKPOINT).state.epoch < 10:
        time.sleep(0.01)
    process.kill()
    process.wait()
    cut = read_checkpoint(tmp_path / "killed" / CHECKPOINT).state.epoch
    assert cut < 600
    result = done("train", "--resume", tmp_path / "killed")
    assert f"resuming after epoch {cut} of 600" in result.err
    done(*command, "--out", tmp_path / "whole")
    assert numbers(tmp_path / "killed") == numbers(tmp_path / "whole")
    outcome = strict_json((tmp_path / "killed" / OUTCOME).read_text())
    assert (outcome["status"], outcome["epochs"]) == ("finished", 600)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows has no SIGUSR1")
def test_a_warning_signal_saves_the_run_which_continues(started, tmp_path):
    out = tmp_path / "out"
    process = started("train", *ENDLESS, "--checkpoint-every", "never", "--out", out)
    while (out / HISTORY).read_bytes().count(b"\n") < 3:
        time.sleep(0.01)
    assert read_checkpoint(out / CHECKPOINT).state.epoch == 1
    process.send_signal(signal.SIGUSR1)
    limit = time.monotonic() + 20
    while (saved := read_checkpoint(out / CHECKPOINT).state.epoch) == 1:
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert process.poll() is None
    while (out / HISTORY).read_bytes().count(b"\n") <= saved:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "Traceback" not in err
    assert read_checkpoint(out / CHECKPOINT).state.epoch > saved


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_under_nohup_a_run_outlives_its_terminal(tmp_path):
    command = ["nohup", sys.executable, "-m", "backprop_xp", "train", *map(str, ENDLESS)]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "out")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment({}),
    )
    try:
        until(process, "epoch 1/")
        process.send_signal(signal.SIGHUP)
        before = (tmp_path / "out" / HISTORY).stat().st_size
        limit = time.monotonic() + 20
        while (tmp_path / "out" / HISTORY).stat().st_size == before:
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 143


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locks of folders")
def test_two_runs_do_not_share_a_folder(started, tmp_path):
    out = tmp_path / "out"
    process = started("train", *ENDLESS, "--out", out)
    for more in ("--out", out, "--overwrite"), ("--resume", out):
        message, hint = refused(2, "configuration", "train", *more)
        assert message == f"another training run is writing to the folder {out}"
        assert "wait until it has ended" in hint
    assert process.poll() is None
    process.kill()
    process.wait()
    done("train", "--out", out, "--overwrite", "--epochs", 1)
    assert strict_json((out / OUTCOME).read_text())["epochs"] == 1


def test_a_run_whose_folder_is_removed_names_the_place_of_its_model(started, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process = started("train", *ENDLESS, "--json", "--out", tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    until(process, "; the run is in ")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 143
    (place,) = tmp_path.glob("backprop-xp-*")
    assert f"is in {place / MODEL}; continue with: backprop-xp train --resume {place}" in err
    assert strict_json(out)["error"]["kind"] == "terminated"
    epoch = read_checkpoint(place / CHECKPOINT).state.epoch
    assert epoch == len((place / HISTORY).read_text().splitlines())


def test_a_finished_run_says_so_and_can_be_extended(data, tmp_path):
    done(*settings(data, 5), "--out", tmp_path / "out")
    before = numbers(tmp_path / "out")
    result = done("train", "--resume", tmp_path / "out", "--json")
    assert "the run is finished: it has 5 epochs" in result.err
    assert len(result.json["epochs"]) == 5
    assert numbers(tmp_path / "out") == before
    done("train", "--resume", tmp_path / "out", "--epochs", 8)
    done(*settings(data, 8), "--out", tmp_path / "whole")
    assert numbers(tmp_path / "out") == numbers(tmp_path / "whole")


def test_a_run_that_stopped_early_says_why(data, tmp_path):
    done(*settings(data, 900), "--patience", 1, "--learning-rate", 1, "--out", tmp_path / "out")
    before = numbers(tmp_path / "out")
    assert "(early stopping)" in done("train", "--resume", tmp_path / "out").err
    assert numbers(tmp_path / "out") == before


def test_what_cannot_be_resumed_is_an_error_that_leaves_the_folder(data, tmp_path):
    out = tmp_path / "out"
    done(*settings(data, 3), "--out", out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def rejected(kind, *args):
        message, hint = refused(*kind, "train", *args)
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
        return f"{message} | {hint}"

    configuration = 2, "configuration"
    said = rejected(configuration, "--resume", out, "--hidden", 5, "--epochs", 9)
    assert f"the run in {out} has other settings: hidden is " in said
    assert "epochs" in said.partition(" | ")[2]
    said = rejected(configuration, "--resume", out, "--epochs", 2)
    assert "has 3 epochs already, and epochs is 2 | give at least 3" in said
    said = rejected(configuration, "--resume", tmp_path / "missing")
    assert said.startswith(f"there is no folder {tmp_path / 'missing'}")
    for more in ("--out", tmp_path / "other"), ("--overwrite",):
        assert "exclude each other" in rejected((2, "usage"), "--resume", out, *more)
    said = rejected(configuration, "--resume", tmp_path)
    assert str(tmp_path) in said
    data.write_text("\n".join(reversed(data.read_text().splitlines()[1:])))
    rejected((3, "data"), "--resume", out)
    data.write_text("\n".join([*animals()[:-1], "1.0,2.0,ant"]))
    said = rejected(configuration, "--resume", out, "--epochs", 9)
    assert "is of other data" in said
    assert "the same rows" in said


def test_a_damaged_checkpoint_falls_back_to_the_one_before_it(data, tmp_path):
    out = tmp_path / "out"
    done(*settings(data, 6), "--checkpoint-every", "4 epochs", "--out", out)
    before = numbers(out)
    content = bytearray((out / CHECKPOINT).read_bytes())
    content[-9] ^= 1
    (out / CHECKPOINT).write_bytes(content)
    epoch = read_checkpoint(previous_path(out / CHECKPOINT)).state.epoch
    assert epoch < 6
    result = done("train", "--resume", out)
    assert result.err.count("warning: the checkpoint ") == 1
    assert (
        f"is damaged: its content does not match its SHA-256; the one before it is used, of "
        f"epoch {epoch}" in result.err
    )
    assert numbers(out) == before
    for path in (out / CHECKPOINT, previous_path(out / CHECKPOINT)):
        path.write_bytes(path.read_bytes()[:-1])
    message, _ = refused(4, "model", "train", "--resume", out)
    assert str(out / CHECKPOINT) in message


def test_a_run_without_a_checkpoint_is_replaced_with_overwrite(data, tmp_path):
    out = tmp_path / "out"
    done(*settings(data, 2), "--out", out)
    (out / CHECKPOINT).unlink()
    previous_path(out / CHECKPOINT).unlink()
    assert run("train", "--resume", out).code in (2, 4)
    message, hint = refused(2, "configuration", *settings(data, 2), "--out", out)
    assert "already holds a run" in message
    assert "--overwrite" in hint
    done(*settings(data, 2), "--out", out, "--overwrite")
    assert os.path.exists(out / CHECKPOINT)
