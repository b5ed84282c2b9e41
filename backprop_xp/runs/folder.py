"""The folder of a run: its settings, its history line by line, its model and its outcome."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from backprop_xp.errors import ConfigurationError
from backprop_xp.files import atomic_write
from backprop_xp.formatting import json_safe
from backprop_xp.runs.config_file import as_toml
from backprop_xp.runs.settings import RunSettings

CONFIG, HISTORY, MODEL = "config.toml", "history.jsonl", "model.safetensors"
OUTCOME = "outcome.json"


class RunFolder:
    """A folder that a run writes to; used in a ``with`` statement.

    The first epoch writes ``config.toml`` and removes an earlier run. ``history.jsonl`` grows by
    one line after each epoch; ``model.safetensors`` and ``outcome.json`` are written at the end,
    each of them completely or not at all. A run that fails before its first epoch leaves the disk
    unchanged.

    Parameters
    ----------
    path : path
        Created if it does not exist.
    overwrite : bool
        Whether an earlier run in this folder may be replaced.

    Attributes
    ----------
    held : list of str
        The files of an earlier run that the folder held at the beginning.

    Raises
    ------
    ConfigurationError
        If the folder already holds a run, or cannot be written to.
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        if not os.fspath(path):  # a variable of the shell that is not set
            raise ConfigurationError(
                "the name of the folder for the run is empty",
                "name a folder with --out; '.' is the current one",
            )
        self.path = Path(path)
        self._created = [p for p in (self.path, *self.path.parents) if not os.path.exists(p)]
        self._epochs: int | None = None  # number of epochs in the history; None before the first
        self.held = [
            name for name in (CONFIG, HISTORY, MODEL, OUTCOME) if os.path.exists(self.path / name)
        ]
        if self.held and not overwrite:
            raise ConfigurationError(
                f"the folder {self.path} already holds a run ({', '.join(self.held)})",
                "name another folder, or replace the run with --overwrite",
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(None, "permission denied")
        except OSError as error:
            self._remove_created_folders()
            raise ConfigurationError(
                f"the folder {self.path} cannot be written to: {error.strerror or error}",
                "name a folder that you may write to with --out",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._epochs is None:
            self._remove_created_folders()

    def _remove_created_folders(self) -> None:
        for folder in self._created:
            with suppress(OSError):  # it does not exist, or another program put a file into it
                folder.rmdir()

    @property
    def model(self) -> Path:
        """The path of the model file."""
        return self.path / MODEL

    def append_history(self, settings: RunSettings, history: Sequence[dict[str, Any]]) -> None:
        """Append the epochs of a history that the folder does not hold yet, one line for each.

        The first call writes the settings, and removes the files of an earlier run.
        """
        try:
            if self._epochs is None:
                for name in (MODEL, OUTCOME):
                    (self.path / name).unlink(missing_ok=True)
                (self.path / HISTORY).write_bytes(b"")
                atomic_write(
                    self.path / CONFIG, lambda file: file.write(as_toml(settings).encode())
                )
                self._epochs = 0
            lines = [_json(epoch) for epoch in history[self._epochs :]]
            with open(self.path / HISTORY, "a", encoding="utf-8") as file:
                file.writelines(lines)
            self._epochs = len(history)
        except OSError as error:
            raise ConfigurationError(
                f"{self.path / HISTORY} cannot be written: {error.strerror or error}",
                "make space, or name another folder with --out",
            ) from error

    def write_outcome(self, outcome: dict[str, Any]) -> None:
        """Write the outcome, from `backprop_xp.runs.outcome.outcome_of`."""
        content = _json(outcome).encode()
        atomic_write(self.path / OUTCOME, lambda file: file.write(content))


def _json(record: dict[str, Any]) -> str:
    return json.dumps(json_safe(record), allow_nan=False) + "\n"
