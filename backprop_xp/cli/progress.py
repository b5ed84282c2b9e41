"""Progress of training: a line for some of the epochs, and bars on a terminal."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from backprop_xp.cli.output import say

if TYPE_CHECKING:
    from rich.progress import TaskID

    from backprop_xp.training.state import TrainState

_LINES = 10  # for the epochs of a run, if these are more
_LONGEST_SILENCE = 10.0  # seconds between two lines, or a quarter of the time so far
_LONG_EPOCH = 1.0  # seconds after which the steps of an epoch have a bar, too
_REFRESH = 0.1  # seconds between two updates of that bar


class Progress:
    """The progress of a run: about ten of its epochs as lines on stderr, and bars on a terminal.

    The lines show the first epoch, the last one, and epochs at equal distances; there are more of
    them if the epochs are slow. With early stopping, the last line shows the epoch with the best
    weights. The bars are removed at the end.

    Parameters
    ----------
    epochs : int
        The last epoch of the run.
    shown : bool
        Otherwise nothing is printed.

    Examples
    --------
    >>> from backprop_xp.training.state import TrainState
    >>> state = TrainState([], [], epoch=1, step=9, seed=0, history=({"epoch": 1, "loss": 0.5},))
    >>> with Progress(100, shown=False) as progress:
    ...     progress.on_epoch(state)
    """

    def __init__(self, epochs: int, *, shown: bool = True) -> None:
        self._epochs = epochs
        self._shown = shown
        self._every = max(1, -(-epochs // _LINES))
        self._stack = ExitStack()
        self._bars: Any = None  # those of rich
        self._last: TrainState | None = None
        self._printed = 0
        self._started = self._spoke = self._epoch_started = time.monotonic()
        self._updated = 0.0

    def __enter__(self) -> Self:
        if self._shown and sys.stderr.isatty():
            self._bars = self._stack.enter_context(_bars())
            self._whole: TaskID = self._bars.add_task("", total=self._epochs, count="")
            self._part: TaskID = self._bars.add_task("", count="", visible=False)
            self._show(0)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
        state = self._last
        if not self._shown or state is None:
            return
        if self._printed < state.epoch:
            self._print(state)
        if state.best is not None and state.best.epoch < state.epoch:
            record = next(one for one in state.history if one["epoch"] == state.best.epoch)
            say(f"best: {self._line(record)}")

    def on_epoch(self, state: TrainState) -> None:
        """Show the last epoch of a state, if it is due."""
        if not self._shown:
            return
        now, first = time.monotonic(), self._last is None
        silence = max(_LONGEST_SILENCE, (now - self._started) / 4)
        due = first or state.epoch % self._every == 0 or now >= self._spoke + silence
        self._last, self._epoch_started = state, now
        if due or state.epoch == self._epochs:
            self._print(state)
            self._spoke = now
        if self._bars is not None:
            self._bars.update(self._part, visible=False)
            self._show(state.epoch, description=_brief(state.history[-1]))

    def on_steps(self, done: int, steps: int) -> None:
        """Show how many steps of the current epoch are done, if it is a long one."""
        if self._bars is None:
            return
        now = time.monotonic()
        if now >= self._updated + _REFRESH and now >= self._epoch_started + _LONG_EPOCH:
            self._updated = now
            epoch = 0 if self._last is None else self._last.epoch
            self._show(epoch, done / steps)
            count = f"step {done:,}/{steps:,}"
            self._bars.update(self._part, visible=True, completed=done, total=steps, count=count)

    def _show(self, epoch: int, part: float = 0.0, **fields: str) -> None:
        """Show the number of complete epochs, and with the part of the next one the time left."""
        count = f"epoch {epoch}/{self._epochs}"
        self._bars.update(self._whole, completed=epoch + part, count=count, **fields)

    def _print(self, state: TrainState) -> None:
        self._printed = state.epoch
        say(self._line(state.history[-1]))

    def _line(self, record: dict[str, Any]) -> str:
        return f"epoch {record['epoch']}/{self._epochs}  {_describe(record)}"


def _bars() -> Any:
    """Return the bars, which take one line of 80 columns each."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    return Bars(
        TextColumn("{task.fields[count]}", markup=False),
        BarColumn(bar_width=16),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        console=Console(stderr=True),
        transient=True,
    )


def _describe(record: dict[str, Any]) -> str:
    """Return the figures of an epoch: those of its steps, and those measured after it."""
    parts = [f"loss {record['loss']:.4g}"]
    if "accuracy" in record:
        parts.append(f"accuracy {record['accuracy']:.2%}")
    for name, words in (("train", "training set"), ("validation", "validation")):
        if f"{name}_accuracy" in record:
            parts.append(f"{words} accuracy {record[f'{name}_accuracy']:.2%}")
        elif f"{name}_loss" in record:
            parts.append(f"{words} loss {record[f'{name}_loss']:.4g}")
    return "  ".join(parts)


def _brief(record: dict[str, Any]) -> str:
    """Return the figures of an epoch that fit beside a bar."""
    parts = [f"loss {record['loss']:.4g}"]
    if "validation_accuracy" in record:
        parts.append(f"validation {record['validation_accuracy']:.2%}")
    elif "validation_loss" in record:
        parts.append(f"validation {record['validation_loss']:.4g}")
    return ", ".join(parts)
