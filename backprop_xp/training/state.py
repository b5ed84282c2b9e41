"""The state of a training: one record that holds all that is needed to go on."""

from __future__ import annotations

from typing import Any, NamedTuple

from backprop_xp.nn.network import Parameters
from backprop_xp.nn.optimizers import Slots
from backprop_xp.training.history import as_html, counted


class Best(NamedTuple):
    """The best epoch so far: its number, what was measured, and a copy of its parameters."""

    epoch: int
    value: float
    parameters: Parameters


class TrainState(NamedTuple):
    """The state of a training after an epoch: all that is needed to go on.

    Attributes
    ----------
    parameters : list of Layer
    slots : list of tuple of arrays
        What the optimizer keeps from step to step; the next epoch consumes these arrays.
        Empty for an optimizer that starts anew.
    epoch, step : int
        Epochs and updates done.
    seed : int
        All random draws follow from it.
    history : tuple of dict
        One record for each epoch: ``epoch``, ``step``, ``learning_rate``, ``seconds``,
        ``loss`` (mean over the epoch, each batch as it was before its update, without the
        penalty unless that is per batch), ``penalty`` where there is another one, and, measured
        after the epoch as far as asked for, ``train_loss``, ``train_accuracy``,
        ``validation_loss``, ``validation_accuracy``; now and then ``layers``, from
        `backprop_xp.training.layer_statistics`: the epoch's first step, measured beforehand.
    best : Best or None
        The best epoch so far on the validation set, where early stopping was asked for.
    stopped : str
        Why the training ended before its last epoch, ``"target_loss"``, ``"early_stopping"`` or
        ``"on_epoch"``; empty if it did not.
    """

    parameters: Parameters
    slots: list[Slots]
    epoch: int
    step: int
    seed: int
    history: tuple[dict[str, Any], ...] = ()
    best: Best | None = None
    stopped: str = ""

    def _repr_html_(self) -> str:
        """Return the history as a notebook shows it."""
        title = f"{counted(self.epoch, 'epoch')}, {counted(self.step, 'step')}, seed {self.seed}"
        title += f"; stopped: {self.stopped}" if self.stopped else ""
        return as_html(self.history, title, None if self.best is None else self.best.epoch)


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during a training; ``state`` is that of the last complete epoch."""

    def __init__(self, state: TrainState) -> None:
        done = f"after epoch {state.epoch}" if state.epoch else "before the end of the first epoch"
        super().__init__(f"interrupted {done}")
        self.state = state
        self.hint: str | None = None
