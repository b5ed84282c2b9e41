"""Completion in the shells, installed as its help says: names, values of options and files."""

import os
import select
import shutil
import subprocess
import sys
import time

import pytest
from command_line import done, environment, refused

from backprop_xp import cli
from backprop_xp.cli.completion import INSTALLATION
from backprop_xp.cli.guide import chapters
from backprop_xp.experiments.experiment import experiments

WAIT = 60  # seconds, on a machine that is busy
READY = "ready>"

COMPLETED = {
    "a command": ("eval", ["evaluate"]),
    "an option": ("train --learning-r", ["train", "--learning-rate"]),
    "a data set": ("train dig", ["train", "digits"]),
    "a file": ("train din", ["train", "dinner.csv"]),
    "a file in a folder": ("predict runs/iris/mo", ["predict", "runs/iris/model.safetensors"]),
    "a file with a space": ("train my", ["train", "my table.csv"]),
    "a file of an option": ("train --config set", ["train", "--config", "settings.toml"]),
    "a folder of an option": ("train --resume ru", ["train", "--resume", "runs/"]),
    "a value": ("train --optimizer nes", ["train", "--optimizer", "nesterov"]),
    "a value after =": ("train --optimizer=nes", ["train", "--optimizer=nesterov"]),
    "a file after =": ("train --config=set", ["train", "--config=settings.toml"]),
    "a value with a colon": ("check --device cuda:", ["check", "--device", "cuda:1"]),
    "a value of several": ("train --activation relu,ta", ["train", "--activation", "relu,tanh"]),
    "an example": ("trace note-000 --opt", ["trace", "note-000", "--optimizer"]),
    "a worked example": ("trace xo", ["trace", "xor"]),
    "an experiment": ("reproduce half", ["reproduce", "half-adder"]),
    "a chapter": ("guide first", ["guide", "first-steps"]),
    "names of a plot": ("plot activations soft", ["plot", "activations", "soft"]),
}
"""What is typed before the Tab key, and the words that are then on the command line."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a home with the program, the completion of each shell, and files to be named."""
    home = tmp_path_factory.mktemp("home")
    for name in ("bin", "runs/iris", ".config/fish"):
        (home / name).mkdir(parents=True)
    program = home / "bin" / "backprop-xp"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m backprop_xp "$@"\n')
    program.chmod(0o755)
    for name in ("dinner.csv", "my table.csv", "settings.toml", "runs/iris/model.safetensors"):
        (home / name).touch()
    (home / ".bashrc").write_text(f"PS1='{READY} '\n")
    (home / ".zshrc").write_text(f"PS1='{READY} '\n")
    for command in INSTALLATION.values():
        subprocess.run(["sh", "-c", command], env=inside(home), check=True)
    return home


def inside(home):
    path = f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    python = os.pathsep.join(filter(None, sys.path))
    return environment({"HOME": home, "PATH": path, "TERM": "xterm", "PYTHONPATH": python})


def needs(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


def typed(shell, text, home):
    """Type text and Tab into a shell on a terminal, and return the words of the line."""
    terminal, end = os.openpty()
    process = subprocess.Popen(
        [shell, "-i"],
        **{"stdin": end, "stdout": end, "stderr": end, "start_new_session": True, "cwd": home},
        env=inside(home),
    )
    os.close(end)
    shown = ""

    def until(expected):
        nonlocal shown
        latest = time.monotonic() + WAIT
        while expected not in shown:
            assert time.monotonic() < latest, f"{expected!r} was not shown: {shown!r}"
            if select.select([terminal], [], [], 1.0)[0]:
                shown += os.read(terminal, 10_000).decode(errors="replace")

    try:
        until(READY)
        # Ctrl-A leads to the beginning of the line, where a command is added that prints it.
        line = f"backprop-xp {text}\t\x01printf '<%s>' \x05 '<end>'\r"
        os.write(terminal, line.encode())
        until("<<end>>")
        return shown.rsplit("<backprop-xp>", 1)[1].split("<<end>>")[0].strip("<>").split("><")
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize("kind", COMPLETED)
def test_a_shell_completes(kind, shell, home):
    needs(shell)
    text, expected = COMPLETED[kind]
    words = typed(shell, text, home)
    assert [word.rstrip("/") for word in words] == [word.rstrip("/") for word in expected]


@pytest.mark.parametrize(
    "kind", sorted(set(COMPLETED) - {"a file after ="})
)  # fish offers none there
def test_fish_completes(kind, home):
    needs("fish")
    text, expected = COMPLETED[kind]
    if kind == "names of a plot":
        expected = ["plot", "activations", "softplus"]
    process = subprocess.run(
        ["fish", "-i", "-c", f"complete -C 'backprop-xp {text}'"],
        **{"capture_output": True, "text": True, "timeout": WAIT, "cwd": home},
        env=inside(home),
        check=True,
    )
    offered = [line.split("\t")[0] for line in process.stdout.splitlines()]
    assert expected[-1] in [name.replace("\\ ", " ") for name in offered]


def offered(*words, **variables):
    """Return what Bash is offered for a line that ends with the last word."""
    line = " ".join(["backprop-xp", *words])
    process = subprocess.run(
        [sys.executable, "-m", "backprop_xp"],
        **{"capture_output": True, "text": True, "timeout": WAIT},
        env=environment({cli.COMPLETION: "bash_complete", "COMP_LINE": line, **variables}),
        check=True,
    )
    assert process.stderr == ""
    return [line.split(",", 1)[1] for line in process.stdout.splitlines() if line[:5] == "plain"]


def test_every_chapter_experiment_and_command_is_offered():
    assert offered("guide", "") == list(chapters())
    assert offered("reproduce", "") == list(experiments())
    assert offered("") == list(cli._COMMANDS)


def test_names_are_offered_in_the_order_of_the_help_and_those_of_one_kind_only():
    assert offered("tr") == ["train", "trace"]
    assert offered("train", "--activation", "le") == ["leaky_relu"]
    assert offered("train", "--weight") == ["--weight-decay"]
    assert offered("check", "--backend", "nu") == ["numpy"]
    assert offered("plot", "los") == ["losses"]
    assert offered("plot", "losses", "huber", "po") == ["poisson"]


def test_an_unknown_word_before_is_not_in_the_way():
    assert "digits" in offered("train", "--lr", "3", "--resume", "nowhere", "dig")
    assert offered("nothing", "") == list(cli._COMMANDS)


def test_the_script_is_the_result_and_the_shell_is_taken_from_the_environment():
    for shell in INSTALLATION:
        script = done("completion", shell).out
        assert cli.COMPLETION in script
        told = done("completion", SHELL=f"/usr/bin/{shell}", PATH=os.environ["PATH"]).out
        assert told == script
        assert done("completion", shell, "--json").json["script"].rstrip() == script.rstrip()
        assert INSTALLATION[shell] in done("completion", "--help").out


def test_a_shell_without_completion_is_an_error_that_names_those_with_one():
    _, hint = refused(2, "configuration", "completion", "bsh")
    assert hint == "did you mean 'bash'? Choose from: bash, zsh, fish"
