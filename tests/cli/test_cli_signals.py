"""A process that is cut off: by Ctrl-C, by SIGTERM, or because its output goes nowhere."""

import os
import signal
import subprocess
import sys
import time

import pytest
from command_line import done, environment, start, strict_json

from backprop_xp import load_model

LONG = ("train", "--epochs", 1_000_000, "--hidden", 4, "--device", "cpu")
SLOW = ("train", "--hidden", "2000,2000", "--batch-size", 1, "--device", "cpu")
"""One step an image, each of them slow: the first epoch does not end within a test."""

CUT_OFF = [
    (signal.SIGINT, 130, "interrupted"),
    (signal.SIGTERM, 143, "terminated"),
    (signal.SIGHUP, 129, "terminated"),
]


def cut_off(number, wait_for, *args):
    """Start a command, signal it after a line on stderr, and return the code, stdout and stderr."""
    process = start(*args)
    try:
        seen = ""
        while wait_for not in seen:
            line = process.stderr.readline()
            assert line, f"the command ended before {wait_for!r}: {seen}"
            seen += line
        time.sleep(0.2)  # well within the training
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert "Traceback" not in seen + err
    return process.returncode, out, seen + err


@pytest.mark.parametrize(("number", "code", "kind"), CUT_OFF)
def test_a_training_that_is_cut_off_keeps_its_whole_epochs(number, code, kind, tmp_path):
    found, out, err = cut_off(number, "epoch 1/", *LONG, "--json", "--out", tmp_path / "out")
    error = strict_json(out)["error"]
    history = (tmp_path / "out" / "history.jsonl").read_text()
    assert history.endswith("\n")
    epochs = [strict_json(line)["epoch"] for line in history.splitlines()]
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(epochs) > 1
    model = tmp_path / "out" / "model.safetensors"
    assert error == {
        "kind": kind,
        "message": f"interrupted after epoch {len(epochs)}",
        "hint": f"the model of epoch {len(epochs)} is in {model}; continue with: backprop-xp train "
        f"--resume {tmp_path / 'out'}",
    }
    assert found == code
    assert err.endswith(f"error: {error['message']}\nhint: {error['hint']}\n")
    assert sorted(os.listdir(tmp_path / "out")) == [
        *("checkpoint.previous.safetensors", "checkpoint.safetensors", "config.toml"),
        *("history.jsonl", "model.safetensors", "outcome.json"),
    ]
    options = ("--split", "validation", "--device", "cpu", "--json")
    measured = done("evaluate", model, "digits", *options).json
    last = strict_json(history.splitlines()[-1])
    assert measured["accuracy"] == last["validation_accuracy"]


@pytest.mark.parametrize(("number", "code", "kind"), CUT_OFF)
def test_a_training_that_is_cut_off_in_its_first_epoch_leaves_nothing(number, code, kind, tmp_path):
    found, out, err = cut_off(number, "seed: ", *SLOW, "--json", "--out", tmp_path / "out")
    assert (found, strict_json(out)["error"]["kind"]) == (code, kind)
    assert "epoch 1/" not in err
    assert err.count("error: ") == 1
    assert os.listdir(tmp_path) == []


def test_an_earlier_run_outlives_a_new_one_that_is_cut_off_in_its_first_epoch(tmp_path):
    done("train", "--epochs", 1, "--out", tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    code, _, _ = cut_off(signal.SIGINT, "seed: ", *SLOW, "--out", tmp_path, "--overwrite")
    assert code == 130
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert load_model(tmp_path / "model.safetensors").network.sizes == (64, 128, 10)


@pytest.mark.parametrize(
    "args",
    [
        *(["--help"], ["devices"], ["devices", "--json"], ["train", "--hidden", "0", "--json"]),
        *(["train", "--epochs", "1", "--json"], ["train", "--epochs", "1", "--quiet"]),
        *(["guide"], ["guide", "tables"], ["trace", "xor"], ["trace", "xor", "--latex"]),
    ],
    ids=" ".join,
)
def test_output_that_nobody_reads_ends_the_program_quietly(args):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "backprop_xp", *args],
            **{"stdout": writer, "stderr": subprocess.PIPE, "text": True, "timeout": 30},
            env=environment({}),
        )
    finally:
        os.close(writer)
    assert result.returncode == 141
    assert "Traceback" not in result.stderr
    assert "BrokenPipe" not in result.stderr
    assert "operating system" not in result.stderr


def test_head_takes_the_first_line_and_hears_no_complaint():
    command = f"'{sys.executable}' -m backprop_xp train --epochs 30 2>&1 | head -1"
    result = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=30, env=environment({})
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("device: ")
    assert result.stdout.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_output_that_cannot_be_written_is_told(more):
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "backprop_xp", "devices", *more],
            **{"stdout": full, "stderr": subprocess.PIPE, "text": True, "timeout": 30},
            env=environment({}),
        )
    assert result.returncode == 1
    first, second = result.stderr.splitlines()
    assert first.startswith("error: the operating system reported an error: ")
    assert "No space left on device" in first
    assert second.startswith("hint: ")
