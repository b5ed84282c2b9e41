"""Output on consoles and pipes of any encoding, and warnings as lines on stderr."""

import io
import os
import subprocess
import sys
import warnings
from unittest import mock

import pytest
from command_line import done, environment, run, strict_json, written

from backprop_xp import cli
from backprop_xp.cli.output import accept_any_text, plain_warnings
from backprop_xp.diagnosis import device_check

ENCODINGS = ("cp1252", "gbk", "ascii")
NAMES = ["猫", "сова 🦉", "naïve"]


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Return a folder with a table of class names in many scripts, and a run on it."""
    folder = tmp_path_factory.mktemp("таблица")
    rows = [f"{3 * (n % 3)},{-(n % 3)},{NAMES[n % 3]}" for n in range(60)]
    table = written(folder / "猫.csv", "\n".join(["größe,β,kind", *rows]))
    done("train", table, "--label", "kind", "--epochs", 2, "--seed", 0, "--out", folder / "run")
    return folder


def encoded(encoding, *args):
    """Run a command with streams of an encoding, and return the code and the bytes of both."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding, errors="strict") for _ in range(2)]
    with (
        mock.patch.dict(os.environ, environment({}), clear=True),
        mock.patch.multiple(sys, stdout=streams[0], stderr=streams[1]),
    ):
        accept_any_text()
        code = cli._run([str(arg) for arg in args])
        for stream in streams:
            stream.flush()
    return code, *(stream.buffer.getvalue() for stream in streams)


COMMANDS = {
    "train": "train {table} --label kind --epochs 1 --seed 0 --doctor",
    "print-config": "train {table} --label kind --print-config",
    "find-lr": "find-lr {table} --label kind --steps 20 --seed 0",
    "evaluate": "evaluate {model} {table} --label kind",
    "predict": "predict {model} {table} --outputs",
    "summary": "summary {model}",
    "report": "report {run}",
    "trace": "trace note-000",
    "latex": "trace note-000 --latex",
    "list": "reproduce --list",
    "devices": "devices",
    "plot": "plot losses huber --out {out}",
    "help": "train --help",
    "commands": "--help",
}
FAILING = {
    "missing file": ("evaluate {model} 狗.csv", 3),
    "unknown class column": ("train {table} --label 種類", 3),
    "unknown command": ("猫", 2),
    "unknown option": ("train --größe 3", 2),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", [*COMMANDS, *FAILING])
def test_no_encoding_of_the_output_ends_a_command(name, encoding, kinds, tmp_path):
    text, code = FAILING.get(name) or (COMMANDS[name], 0)
    places = {"table": kinds / "猫.csv", "run": kinds / "run", "out": tmp_path / "猫.png"}
    places["model"] = kinds / "run" / "model.safetensors"
    args = [word.format(**places) for word in text.split()]
    ended, out, err = encoded(encoding, *args)
    assert ended == code, err
    assert b"Traceback" not in err
    assert b"unexpected" not in err
    err.decode(encoding)
    if not (encoding == "ascii" and name in ("help", "latex")):  # click writes these as UTF-8
        out.decode(encoding)


@pytest.mark.parametrize("name", ["evaluate", "predict", "summary", "trace", "missing file"])
def test_json_keeps_every_character_in_any_encoding(name, kinds):
    text, _ = FAILING.get(name) or (COMMANDS[name], 0)
    places = {"table": kinds / "猫.csv", "model": kinds / "run" / "model.safetensors"}
    args = [word.format(**places) for word in (*text.split(), "--json")]
    _, out, _ = encoded("cp1252", *args)
    assert strict_json(out.decode("cp1252")) == strict_json(run(*args).out)


def test_the_check_of_a_device_prints_in_any_encoding(monkeypatch):
    rows = [device_check.Row("float64", "∂L/∂W", 0.0, 1.0, "")]  # all of them take a minute
    monkeypatch.setattr(device_check, "gradient_rows", lambda: rows)
    monkeypatch.setattr(device_check, "backend_rows", lambda placement: rows)
    for encoding in ENCODINGS:
        code, out, _ = encoded(encoding, "check", "--device", "cpu")
        assert code == 0
        assert "dL/dW" in out.decode(encoding)


def test_symbols_are_spelled_and_names_stay_apart(kinds):
    model, table = kinds / "run" / "model.safetensors", kinds / "猫.csv"
    _, out, _ = encoded("cp1252", "predict", model, table, "--quiet")
    shown = out.decode("cp1252").splitlines()
    plain = done("predict", model, table, "--quiet").out.splitlines()
    assert len(set(zip(shown, plain, strict=True))) == len(set(plain))
    assert "naïve" in plain
    assert all((a == b) == (b == "naïve") for a, b in zip(shown, plain, strict=True))
    _, out, _ = encoded("ascii", "trace", "note-000")
    assert "delta = dL/dz" in out.decode("ascii")
    _, out, _ = encoded("utf-8", "trace", "note-000")
    assert "δ = ∂L/∂z" in out.decode("utf-8")


def test_a_file_name_that_is_not_text_is_shown(tmp_path):
    code, _, err = encoded("utf-8", "evaluate", tmp_path / "\udcff.safetensors", "digits")
    assert code == 4
    assert "\\udcff.safetensors cannot be read" in err.decode()


@pytest.mark.parametrize("encoding", ["cp1252", "gbk", "ascii"])
def test_a_process_with_another_encoding_ends_as_usual(encoding, kinds):
    for args in (["summary", kinds / "run"], ["trace", "note-000"], ["--help"]):
        process = subprocess.run(
            [sys.executable, "-m", "backprop_xp", *map(str, args)],
            capture_output=True,
            env=environment({"PYTHONIOENCODING": encoding}),
            check=False,
        )
        assert process.returncode == 0, process.stderr
        assert b"Traceback" not in process.stderr


# --- warnings ----------------------------------------------------------------------------------


def test_a_warning_is_one_line_on_stderr(capsys):
    with plain_warnings():
        warnings.warn("the first line\n  and the second", UserWarning, stacklevel=1)
    assert capsys.readouterr() == ("", "warning: the first line and the second\n")


@pytest.mark.parametrize("options", [(), ("--quiet",), ("--quiet", "--json")])
def test_a_warning_is_shown_with_any_options(options, tmp_path):
    rows = [f"{1000 * (n % 3)},{n % 3}" for n in range(60)]
    table = written(tmp_path / "t.csv", "\n".join(["a,b", *rows]))
    settings = ("--label", "b", "--epochs", 1, "--scaling", "none", "--seed", 0)
    result = run("train", table, *settings, *options)
    assert result.code == 0
    shown = [line for line in result.err.splitlines() if line.startswith("warning: ")]
    assert len(shown) == 1
    assert "inputs of column 0" in shown[0]
    assert ".py" not in result.err
    if "--json" in options:
        assert result.json["command"] == "train"
