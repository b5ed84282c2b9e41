"""Reading a run back from its folder, even if some of its files are missing or damaged."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from backprop_xp.errors import BackpropError, ConfigurationError
from backprop_xp.models.model import Model, load_model
from backprop_xp.runs.config_file import read_settings
from backprop_xp.runs.folder import CONFIG, HISTORY, MODEL, OUTCOME
from backprop_xp.runs.outcome import SCHEMA_VERSION
from backprop_xp.runs.settings import RunSettings

Content = TypeVar("Content")


class StoredRun(NamedTuple):
    """A run as read from its folder.

    Attributes
    ----------
    path : Path
    name : str
        The name of its folder.
    settings : RunSettings or None
    history : list of dict
        A record for each epoch, as in `backprop_xp.training.state.TrainState`, with its finite
        numbers only.
    outcome : dict
        As from `backprop_xp.runs.outcome.outcome_of`; empty if the folder has none.
    model : Model or None
    problems : list of str
        Which files could not be read, and why.
    """

    path: Path
    name: str
    settings: RunSettings | None
    history: list[dict[str, Any]]
    outcome: dict[str, Any]
    model: Model | None
    problems: list[str]

    @property
    def best(self) -> dict[str, Any] | None:
        """The record of the best epoch on the validation set, by the metric of early stopping."""
        monitor = "loss" if self.settings is None else self.settings.monitor
        name, sign = f"validation_{monitor}", -1.0 if monitor == "loss" else 1.0
        measured = [record for record in self.history if name in record]
        best_epoch = self.outcome.get("best_epoch")
        for record in measured:
            if record["epoch"] == best_epoch:
                return record
        return max(measured, key=lambda record: sign * record[name], default=None)


def read_run(path: str | os.PathLike[str]) -> StoredRun:
    """Read the folder of a run; report missing and damaged files under ``problems``.

    Raises
    ------
    ConfigurationError
        If the folder holds no file of a run.
    """
    folder = Path(path)
    files = [name for name in (CONFIG, HISTORY, MODEL, OUTCOME) if (folder / name).is_file()]
    if not files:
        fault = "holds no run" if folder.is_dir() else "is not a folder"
        raise ConfigurationError(
            f"{folder} {fault}", "give a folder written by 'backprop-xp train --out DIR'"
        )
    problems: list[str] = []

    def read(name: str, reader: Callable[[Path], Content], default: Content) -> Content:
        if name not in files:
            return default
        try:
            return reader(folder / name)
        except BackpropError as error:
            problems.append(error.message)
        except (OSError, ValueError, RecursionError) as error:
            problems.append(f"{folder / name} cannot be read: {error}")
        return default

    run = StoredRun(
        path=folder,
        name=folder.resolve().name,
        settings=read(CONFIG, lambda file: RunSettings(**read_settings(file)), None),
        history=read(HISTORY, lambda file: _history(file, problems), []),
        outcome=read(OUTCOME, _outcome, {}),
        model=read(MODEL, load_model, None),
        problems=problems,
    )
    for name in (CONFIG, HISTORY):
        if name not in files:
            problems.append(f"{folder / name} is missing")
    return run


def _history(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """Return the records of all readable lines; add a problem for each of the others."""
    records: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            epoch = record["epoch"]
            if type(epoch) is not int or epoch <= (records[-1]["epoch"] if records else 0):
                raise ValueError("its epoch does not follow the one before")
            layers = record.get("layers") or []
            numbers = _numbers(record) | {"layers": [_numbers(layer) for layer in layers]}
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            problems.append(f"{path}, line {number} is cut off or damaged: {error}")
        else:
            records.append(numbers)
    return records


def _numbers(record: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in record.items()
        if type(value) in (int, float) and math.isfinite(value)
    }


def _outcome(path: Path) -> dict[str, Any]:
    outcome = json.loads(path.read_bytes())
    if not isinstance(outcome, dict) or outcome.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"it is not an outcome of schema version {SCHEMA_VERSION}")
    return outcome
