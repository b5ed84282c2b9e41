"""Output on consoles and pipes of any encoding, names that a terminal would obey, output that
cannot be written, and warnings as lines on stderr."""

import io
import json
import os
import re
import subprocess
import sys
import warnings
from unittest import mock

import numpy as np
import pytest
from command_line import (
    animals,
    done,
    environment,
    refused,
    run,
    small_model,
    start,
    strict_json,
    written,
)

from backprop_xp import cli, load_model, save_model
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
    "predictions": "predict {model} {table} --out {out}.csv --probabilities",
    "export": "export {model} --format numpy --out {out}.npz",
    "summary": "summary {model}",
    "report": "report {run}",
    "trace": "trace note-000",
    "page": "trace note-000 --html {out}.html",
    "latex": "trace note-000 --latex",
    "list": "reproduce --list",
    "devices": "devices",
    "plot": "plot losses huber --out {out}",
    "completion": "completion bash",
    "commands": "--help",
    "chapters": "guide",
    "chapter": "guide experiments",
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
    out.decode(encoding)


def test_every_command_is_called_with_these_encodings():
    called = {text.split()[0] for text in COMMANDS.values()}
    assert called - {"--help"} == {*cli._COMMANDS} - {"check"}  # which is called below


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_help_of_every_command_is_shown_in_any_encoding(encoding):
    for name in cli._COMMANDS:
        code, out, err = encoded(encoding, name, "--help")
        assert (code, err) == (0, b"")
        assert f"Usage: backprop-xp {name} " in out.decode(encoding)
    _, out, _ = encoded("ascii", "train", "--help")
    assert "the penalty 1/2 lambda sum w^2" in out.decode("ascii")


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


C_LOCALE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": 0, "PYTHONUTF8": 0}


@pytest.mark.parametrize(
    "variables",
    [C_LOCALE, {"LC_ALL": "C"}, *({"PYTHONIOENCODING": encoding} for encoding in ENCODINGS)],
    ids=str,
)
def test_a_process_with_another_encoding_ends_as_usual(variables, kinds):
    for args in (["summary", kinds / "run"], ["trace", "note-000"], ["--help"], ["guide"]):
        process = subprocess.run(
            [sys.executable, "-m", "backprop_xp", *map(str, args)],
            capture_output=True,
            env=environment(variables),
            check=False,
        )
        assert process.returncode == 0, process.stderr
        assert b"Traceback" not in process.stderr


def test_files_are_written_in_utf_8_whatever_the_encoding_of_the_console(kinds, tmp_path):
    model, table = kinds / "run" / "model.safetensors", tmp_path / "t.csv"
    written(table, (kinds / "猫.csv").read_bytes())
    for name, variables in (("utf-8", {"PYTHONUTF8": 1}), ("ascii", C_LOCALE)):
        folder = tmp_path / name
        folder.mkdir()
        training = ("train", table, "--label", "kind", "--epochs", 1, "--seed", 0, "--out", folder)
        for args in (
            (*training, "--overwrite", "--device", "cpu"),
            ("report", folder),
            ("trace", "note-000", "--html", folder / "t.html"),
            ("predict", model, table, "--out", folder / "p.csv", "--probabilities"),
        ):
            process = subprocess.run(
                [sys.executable, "-m", "backprop_xp", *map(str, args)],
                capture_output=True,
                env=environment(variables),
                check=False,
            )
            assert process.returncode == 0, process.stderr
    for name in ("p.csv", "t.html", "config.toml"):
        contents = [(tmp_path / one / name).read_bytes() for one in ("utf-8", "ascii")]
        assert contents[0] == contents[1]
    assert NAMES[1] in (tmp_path / "ascii" / "p.csv").read_text(encoding="utf-8")
    assert NAMES[0] in (tmp_path / "ascii" / "report.html").read_text(encoding="utf-8")


# --- names that a terminal would obey ----------------------------------------------------------

OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys, apart from tabs and the ends of our own lines."""

CLASSES = [
    "\x1b[31mred\x1b[0m\x07",
    "\x9b2J\u202egnp\u2066",
    "two\nerror: lines\r",
    "[red]:cat: " + "".join(map(chr, [*range(1, 32), *range(127, 161)])),
]
COLUMNS = ["\x1b]0;title\x07", "\x9bm\nnote: \x08", "\u202ekind\x7f"]

ON_HOSTILE_NAMES = {
    "train": "train {table} --label {label} --epochs 1 --doctor --out {run}/again --overwrite",
    "find-lr": "find-lr {table} --label {label} --steps 20",
    "evaluate": "evaluate {run} {table} --label {label}",
    "predict": "predict {run} {table} --outputs",
    "export": "export {run} --format torch --out {run}/m.safetensors",
    "summary": "summary {run}",
    "trace": "trace --model {run} --data {table} --label {label}",
    "report": "report {run} --compare {run}",
    "devices": "devices {label}",
    "reproduce": "reproduce {label}",
    "plot": "plot losses huber --out {run}/plot.png",
    "check": "check --device {label}",
    "guide": "guide {label}",
    "completion": "completion {label}",
}
"""A call of each command with names that a terminal would obey."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Return names for the calls: a table with hostile names of everything, and a run on it."""
    folder = tmp_path_factory.mktemp("\x1b[31m\n\x9b\u202e")
    rows = [f'{n % 4},{-(n % 3)},"{CLASSES[n % 4]}"' for n in range(60)]
    header = ",".join(f'"{name}"' for name in COLUMNS)
    places = {"table": folder / "\x07.csv", "run": folder / "run\x9b", "label": COLUMNS[2]}
    written(places["table"], "\n".join([header, *rows]))
    options = ("--label", COLUMNS[2], "--epochs", 2, "--seed", 0, "--device", "cpu")
    done("train", places["table"], *options, "--hidden", 4, "--out", places["run"])
    return places


def test_every_command_is_called_on_hostile_names():
    assert set(ON_HOSTILE_NAMES) == set(cli._COMMANDS)


@pytest.mark.parametrize("name", ON_HOSTILE_NAMES)
def test_no_name_reaches_a_terminal_as_a_command(name, hostile):
    args = [word.format(**hostile) for word in ON_HOSTILE_NAMES[name].split()]
    for options in ([], ["--json"], ["--debug"]):
        result = run(*args, *options)
        assert "bug in the program" not in result.err
        assert not OBEYED.search(result.out + result.err)
        assert "\nerror: lines" not in result.out + result.err
        if options == ["--json"]:
            assert result.json["schema_version"] == 1


@pytest.mark.parametrize("name", ["evaluate", "predict", "summary", "trace"])
def test_json_holds_hostile_names_exactly(name, hostile):
    args = [word.format(**hostile) for word in ON_HOSTILE_NAMES[name].split()]
    texts = set()

    def collect(value):
        if isinstance(value, (dict, list)):
            for item in value.values() if isinstance(value, dict) else value:
                collect(item)
        else:
            texts.add(value)

    collect(done(*args, "--json").json)
    assert {one.strip() for one in CLASSES} <= {str(one).strip() for one in texts}


def test_a_page_and_a_document_of_hostile_names_hold_no_commands(hostile, tmp_path):
    args = [word.format(**hostile) for word in ON_HOSTILE_NAMES["trace"].split()]
    assert not OBEYED.search(done(*args, "--latex").out)
    done(*args, "--html", tmp_path / "trace.html")
    report = done("report", hostile["run"], "--json").json
    for page in (tmp_path / "trace.html", report["report"], *report["traces"]):
        with open(page, encoding="utf-8") as file:
            assert not OBEYED.search(file.read())


def test_help_shows_values_of_a_file_without_commands(tmp_path):
    file = written(tmp_path / "c.toml", 'dtype = "\\u001b[31m\\u009b"')
    assert r"[default: \x1b[31m\x9b]" in done("train", "--config", file, "--help").out


def test_the_columns_of_predictions_are_not_moved_by_a_name_with_a_tab(tmp_path):
    save_model(small_model((2, 2), "softmax", classes=("a\tb", "c\td")), tmp_path / "m")
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 2)))
    lines = done("predict", tmp_path / "m", tmp_path / "x.npz", "--outputs").out.splitlines()
    assert [len(line.split("\t")) for line in lines] == [3, 3, 3]


def test_markup_and_emoji_codes_in_names_are_text(tmp_path):
    classes = ("[red]a[/red]", ":cat:")
    save_model(small_model((2, 2), "softmax", classes=classes), tmp_path / "m")
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 2)), y=[*classes, *classes])
    out = done("evaluate", tmp_path / "m", tmp_path / "x.npz").out
    assert all(name in out for name in classes)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_path_that_is_not_utf_8_is_valid_json_and_can_be_read_back(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff\x9b.safetensors")
    save_model(small_model(), path)
    process = start("summary", path, "--json")
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert os.fsencode(json.loads(out)["model"]) == os.fsencode(path)
    assert not OBEYED.search(out)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_data_whose_path_is_not_utf_8_is_refused_before_training_if_settings_are_kept(tmp_path):
    table = written(tmp_path / os.fsdecode(b"\xff.csv"), "\n".join(animals()))
    options = ("--label", "kind", "--epochs", 1, "--device", "cpu", "--quiet")
    result = run("train", table, *options, "--out", tmp_path / "run")
    assert result.code == 2
    assert result.err.startswith(f"error: data is '{tmp_path}/\\udcff.csv', which is not encoded")
    assert not (tmp_path / "run").exists()
    done("train", table, *options)
    done(
        "train",
        written(tmp_path / "t.csv", table.read_bytes()),
        *options,
        "--out",
        tmp_path / "run",
    )


@pytest.mark.parametrize("name", ["a\0.png", "\ud800.png"])
def test_a_name_that_no_file_can_have_is_refused(name, tmp_path):
    message, _ = refused(2, "configuration", "plot", "losses", "huber", "--out", tmp_path / name)
    assert message.endswith("cannot be written: it cannot be the name of a file")


def test_a_message_is_never_a_flood(tmp_path):
    header = ",".join(f"column {n}" for n in range(100_000))
    table = written(tmp_path / "t.csv", f"{header}\n{',' * 99_999}\n")
    message, hint = refused(3, "data", "train", table, "--label", "kind")
    assert len(message + hint) < 5000
    file = written(tmp_path / "c.toml", f"{'x' * 100_000} = 1\nlerning_rate = 3")
    assert len(run("train", "--config", file).err) < 5000
    message, hint = refused(2, "configuration", "train", "--config", written(file, "epoch = 3"))
    assert hint == "did you mean 'epochs'? 'backprop-xp train --print-config' shows all of them"
    result = run("evaluate", "x" * 100_000, "digits")
    assert (result.code, len(result.err) < 10_000) == (4, True)
    assert "characters left out" in result.err


# --- output that cannot be written -------------------------------------------------------------

TRAINING = ("train", "--hidden", "4", "--device", "cpu", "--seed", "0", "--epochs")


def test_a_training_outlives_the_reader_of_its_progress(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "backprop_xp", *TRAINING, "3", "--out", tmp_path / "run"],
            **{"stdout": subprocess.PIPE, "stderr": writer, "text": True, "timeout": 30},
            env=environment({}),
        )
    finally:
        os.close(writer)
    assert result.returncode == 0
    assert "accuracy" in result.stdout
    assert load_model(tmp_path / "run" / "model.safetensors").classes is not None


@pytest.mark.skipif(sys.platform == "win32", reason="this is a shell's")
@pytest.mark.parametrize(
    ("redirected", "code"),
    [
        *(("2>/dev/full", 0), (">/dev/full", 1), (">/dev/full 2>&1", 1), ("2>&-", 0), (">&-", 0)),
        *(("<&- >&- 2>&-", 0), ("2>&1 | head -1", 0), ("2>&1 | true", 0)),
    ],
)
def test_a_training_outlives_any_fault_of_its_output(redirected, code, tmp_path):
    if "full" in redirected and not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    args = " ".join(TRAINING)
    command = f"'{sys.executable}' -m backprop_xp {args} 3 --out run {redirected}"
    result = subprocess.run(
        ["sh", "-c", command],
        **{"capture_output": True, "text": True, "timeout": 30, "cwd": tmp_path},
        env=environment({"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}),
    )
    assert result.returncode == code
    assert "Traceback" not in result.stderr
    history = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert [strict_json(line)["epoch"] for line in history] == [1, 2, 3]
    assert load_model(tmp_path / "run" / "model.safetensors").classes is not None
    assert (tmp_path / "run" / "outcome.json").is_file()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no pseudo-terminals")
def test_a_training_outlives_its_terminal(tmp_path):
    terminal, inside = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "backprop_xp", *TRAINING, "300", "--out", tmp_path / "run"],
        **{"stdin": inside, "stdout": inside, "stderr": inside, "start_new_session": True},
        env=environment({"TERM": "xterm"}),
    )
    os.close(inside)
    try:
        shown = b""
        while "━".encode() not in shown:  # of the progress bar
            shown += os.read(terminal, 10_000)
        os.close(terminal)
        assert process.wait(timeout=60) == 1  # the result could not be printed
    finally:
        process.kill()
    history = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert strict_json(history[-1])["epoch"] == 300
    assert load_model(tmp_path / "run" / "model.safetensors").classes is not None


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
