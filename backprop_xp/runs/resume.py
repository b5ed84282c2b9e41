"""Resuming a run: its settings from its checkpoint, and which of them may be others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from backprop_xp.errors import ConfigurationError
from backprop_xp.formatting import abridged, pluralize
from backprop_xp.runs.config_file import settings_of
from backprop_xp.runs.folder import CHECKPOINT
from backprop_xp.runs.settings import IN_MEMORY, RunSettings
from backprop_xp.training import checkpoint
from backprop_xp.training.checkpoint import Stored, previous_path, read_checkpoint

MAY_CHANGE = (
    *checkpoint.MAY_CHANGE,
    "data",
    "data_dir",
    "validation",
    "device",
    "backend",
    "checkpoint_every",
)
"""The settings that may be others when a run is resumed: when it ends and what is measured, where
its data is now, and where it is computed (which can change the last digits of the numbers)."""


class ResumableRun(NamedTuple):
    """A run as its checkpoint has it.

    Attributes
    ----------
    folder : Path
    checkpoint : Stored
    settings : RunSettings
    """

    folder: Path
    checkpoint: Stored
    settings: RunSettings

    def resumed(self, given: Mapping[str, Any]) -> RunSettings:
        """Return the settings with which to resume the run.

        Parameters
        ----------
        given : mapping of str
            Settings that were given in addition to those of the run; None is none.

        Raises
        ------
        ConfigurationError
            If a setting differs from that of the run and is not one of `MAY_CHANGE`, or there are
            fewer epochs than the run has already.
        """
        given = {name: value for name, value in given.items() if value is not None}
        now = RunSettings.of({**vars(self.settings), **given})
        if now.data == IN_MEMORY and "data" not in given:
            raise ConfigurationError(
                f"the run in {self.folder} was trained on data in memory",
                "resume it in Python: train(data, label, out=..., resume=True)",
            )
        changed = [
            f"{name} is {abridged(getattr(now, name))}, was {abridged(value)}"
            for name, value in vars(self.settings).items()
            if getattr(now, name) != value
            and name not in MAY_CHANGE
            and not (name == "batch_size" and now.batch_size == 0)  # all rows, compared later
        ]
        if changed:
            raise ConfigurationError(
                f"the run in {self.folder} has other settings: {', '.join(changed)}",
                f"leave them out; {', '.join(MAY_CHANGE)} may change. To train on with other "
                "settings, start a new run",
            )
        state, epochs = self.checkpoint.state, given.get("epochs")
        begun = state.epoch + (state.within_epoch is not None)
        if epochs is not None and epochs < begun:
            raise ConfigurationError(
                f"the run in {self.folder} has {pluralize(begun, 'epoch')} already, and epochs is "
                f"{epochs}",
                f"give at least {begun}, or leave epochs out: it was {self.settings.epochs}",
            )
        return now

    def progress(self, settings: RunSettings) -> str:
        """Return how far the run has come, in words."""
        state, epochs = self.checkpoint.state, settings.epochs or 0
        if state.within_epoch is not None:
            return f"resuming within epoch {state.epoch + 1} of {epochs}, after step {state.step}"
        if state.epoch < epochs and state.stopped in ("", "on_epoch"):
            return f"resuming after epoch {state.epoch} of {epochs}"
        why = f" ({state.stopped.replace('_', ' ')})" if state.stopped else ""
        return f"the run is finished: it has {pluralize(state.epoch, 'epoch')}{why}"


def read_resumable_run(path: str | os.PathLike[str]) -> ResumableRun:
    """Read the checkpoint in the folder of a run.

    Raises
    ------
    ConfigurationError
        If there is no such folder, or it has no checkpoint.
    ModelFileError
        If its checkpoint is damaged, and so is the one before it.
    """
    file = Path(path) / CHECKPOINT
    hint = "name the folder of a run, as it was given to --out"
    if not Path(path).is_dir():
        raise ConfigurationError(f"there is no folder {path}", hint)
    if not os.path.lexists(file) and not os.path.lexists(previous_path(file)):
        raise ConfigurationError(f"the folder {path} has no checkpoint to resume from", hint)
    stored = read_checkpoint(file)
    return ResumableRun(Path(path), stored, settings_of(stored.config, str(file)))
