"""The progress of a training run: some lines in a pipe, and bars on a terminal of 80 columns."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys

import pytest
from command_line import animals, done, environment, written

from backprop_xp.cli.progress import Progress
from backprop_xp.training.early_stopping import Best
from backprop_xp.training.state import TrainState

CLOCK = "backprop_xp.cli.progress.time.monotonic"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def states(epochs, best=None):
    """Return the states after each epoch, with so many epochs in their histories."""
    history = tuple(
        {"epoch": k, "loss": 1 / k, "accuracy": 0.5, "validation_accuracy": k / 1000}
        for k in range(1, epochs + 1)
    )
    best = None if best is None else Best(best, 0.5, [])
    return [
        TrainState([], [], epoch=k, step=k, seed=0, history=history[:k], best=best)
        for k in range(1, epochs + 1)
    ]


def lines(epochs, last=None, best=None):
    """Return the lines of a run that ends after the epoch ``last``."""
    with contextlib.redirect_stderr(io.StringIO()) as shown, Progress(epochs) as progress:
        for state in states(last or epochs, best):
            progress.on_epoch(state)
    return shown.getvalue().splitlines()


def numbers(shown):
    return [int(re.search(r"epoch (\d+)/", line)[1]) for line in shown]


@pytest.mark.parametrize("epochs", [1, 2, 9, 10, 11, 37, 50, 300, 1000])
def test_a_run_of_any_length_prints_about_ten_of_its_epochs(epochs):
    shown = numbers(lines(epochs))
    assert (shown[0], shown[-1]) == (1, epochs)
    assert len(shown) == len(set(shown)) <= 11
    assert len(shown) >= min(epochs, 6)


def test_a_run_that_stops_early_ends_with_its_last_epoch_and_the_best_one():
    *_, last, best = lines(300, last=77, best=41)
    assert last.startswith("epoch 77/300  loss 0.01299  accuracy 50.00%")
    assert best == "best: epoch 41/300  loss 0.02439  accuracy 50.00%  validation accuracy 4.10%"


def test_the_best_epoch_is_not_repeated_if_it_is_the_last_one():
    assert not [line for line in lines(20, best=20) if line.startswith("best")]


def test_lines_fit_a_terminal():
    assert max(map(len, lines(1000, best=999))) <= 85
    assert max(map(len, lines(300, best=299))) <= 80


def test_slow_epochs_are_shown_although_there_are_many(monkeypatch):
    now = 0.0
    monkeypatch.setattr(CLOCK, lambda: now)
    with contextlib.redirect_stderr(io.StringIO()) as shown, Progress(100_000) as progress:
        for state in states(600):
            now += 6.0
            progress.on_epoch(state)
    epochs = numbers(shown.getvalue().splitlines())
    assert epochs[:4] == [1, 3, 5, 7]  # at least every ten seconds
    assert len(epochs) <= 30  # but an hour is no flood of lines


def test_an_interrupted_run_shows_its_last_epoch():
    shown = io.StringIO()
    with (
        contextlib.redirect_stderr(shown),
        contextlib.suppress(KeyboardInterrupt),
        Progress(100) as progress,
    ):
        for state in states(13):
            progress.on_epoch(state)
        raise KeyboardInterrupt
    assert numbers(shown.getvalue().splitlines()) == [1, 10, 13]


def test_quiet_shows_nothing_even_on_a_terminal():
    with contextlib.redirect_stderr(Terminal()) as shown, Progress(7, shown=False) as progress:
        progress.on_epoch(states(1)[0])
        progress.on_steps(1, 10)
    assert shown.getvalue() == ""


def test_a_terminal_has_the_lines_and_a_bar():
    with contextlib.redirect_stderr(Terminal()) as shown, Progress(7) as progress:
        progress.on_epoch(states(1)[0])
    text = shown.getvalue()
    assert "epoch 1/7  loss 1  accuracy 50.00%  validation accuracy 0.10%" in text
    assert "━" in text
    assert "loss 1, validation 0.10%" in text


def test_a_long_epoch_has_a_bar_of_its_steps(monkeypatch):
    now = 0.0
    monkeypatch.setattr(CLOCK, lambda: now)
    with contextlib.redirect_stderr(Terminal()) as shown, Progress(7) as progress:
        progress.on_steps(1, 12_345)
        now = 0.5
        progress.on_steps(2, 12_345)
        progress._bars.refresh()
        assert "step" not in shown.getvalue()
        now = 1.5
        progress.on_steps(3000, 12_345)
        progress._bars.refresh()
        assert "step 3,000/12,345" in shown.getvalue()
        assert "epoch 0/7" in shown.getvalue()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no pseudo-terminals")
def test_a_run_on_a_terminal_of_80_columns_wraps_no_line_and_leaves_no_bar(tmp_path):
    import fcntl
    import struct
    import termios

    terminal, inside = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "backprop_xp", "train", "--epochs", "40", "--seed", "0"],
        **{"stdin": inside, "stdout": inside, "stderr": inside, "cwd": tmp_path},
        env=environment({"TERM": "xterm"}),
    )
    os.close(inside)
    shown = b""
    with contextlib.suppress(OSError):  # at the end of the process
        while more := os.read(terminal, 10_000):
            shown += more
    os.close(terminal)
    assert process.wait(timeout=60) == 0
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown.decode())
    bars = [part for part in re.split(r"[\r\n]+", plain) if "━" in part]
    assert bars
    assert max(map(len, bars)) <= 80
    assert any(
        re.fullmatch(r"epoch \d+/40 ━+ *\S+ loss \S+, validation \S+%", b.strip()) for b in bars
    )
    assert plain.count("epoch 40/40  loss") == 1


def test_the_next_commands_run_as_they_are_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "my animals.csv", "\n".join(animals()).replace(",", ";"))
    data = ("my animals.csv", "--label", "kind", "--separator", ";")
    kept = done("train", *data, "--epochs", 2, "-o", "runs/a b").err
    commands = [line.split("  #")[0].strip() for line in kept.split("next:\n")[1].splitlines()]
    assert [command.split()[1] for command in commands] == ["report", "evaluate", "predict"]
    for command in commands:
        done(*_words(command))
    assert (tmp_path / "runs/a b/report.html").exists()
    resumed = done("train", "--resume", "runs/a b", "--epochs", 3).err
    assert resumed.split("next:\n")[1] == kept.split("next:\n")[1]


def test_a_run_that_was_not_kept_is_repeated_by_the_next_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = done("train", "--epochs", 2, "--hidden", "20,10", "--no-bias")
    command, meaning = first.err.split("next:\n")[1].split("  # ")
    assert meaning == "keep the model\n"
    assert "--out runs/digits" in command
    again = done(*_words(command))
    assert again.out.split("; model")[0].split("\n")[1] == first.out.strip().split("\n")[1]
    second = done("train", "--epochs", 1)
    assert "--out runs/digits-2" in second.err


@pytest.mark.parametrize("option", ["--quiet", "-q", "--json"])
def test_programs_are_not_shown_what_is_next(option):
    assert "next" not in done("train", "--epochs", 1, option).err


def _words(command):
    program, *words = shlex.split(command)
    assert program == "backprop-xp"
    return words
