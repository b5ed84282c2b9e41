"""Reading a run back from its folder, even if some of its files are missing or damaged."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from backprop_xp.errors import BackpropError, ConfigurationError
from backprop_xp.formatting import abridged, json_safe, pluralize
from backprop_xp.models.model import Model, load_model
from backprop_xp.runs.config_file import load_settings, settings_of
from backprop_xp.runs.folder import CHECKPOINT, CONFIG, FILES, HISTORY, MODEL, OUTCOME
from backprop_xp.runs.outcome_file import is_finite, parse_json, read_outcome
from backprop_xp.runs.settings import RunSettings
from backprop_xp.training.checkpoint import previous_path, read_checkpoint

Content = TypeVar("Content")

# What is read of a history at most. Small records need 30 times as much memory as their lines.
_LARGEST_HISTORY = 32 << 20  # bytes
_MOST_LINES = 250_000
_LINES_NAMED = 3  # damaged lines of a history, which may all be


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
    notes : list of str
        What else is unusual, such as a line of the history that was cut off.
    """

    path: Path
    name: str
    settings: RunSettings | None
    history: list[dict[str, Any]]
    outcome: dict[str, Any]
    model: Model | None
    problems: list[str]
    notes: list[str]

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
    files = [name for name in FILES if os.path.isfile(folder / name)]
    if not files:
        fault = "holds no run" if os.path.isdir(folder) else "is not a folder"
        raise ConfigurationError(
            f"{folder} {fault}", "give a folder written by 'backprop-xp train --out DIR'"
        )
    problems: list[str] = []
    notes: list[str] = []

    def attempt(name: str, reader: Callable[[Path], Content], default: Content) -> Content:
        try:
            return reader(folder / name)
        except BackpropError as error:
            problems.append(error.message)
        except (OSError, ValueError, RecursionError) as error:
            problems.append(f"{folder / name} cannot be read: {error}")
        return default

    def read(name: str, reader: Callable[[Path], Content], default: Content) -> Content:
        return attempt(name, reader, default) if name in files else default

    has_checkpoint = CHECKPOINT in files or os.path.isfile(previous_path(folder / CHECKPOINT))
    with warnings.catch_warnings(record=True) as caught:
        stored = attempt(CHECKPOINT, read_checkpoint, None) if has_checkpoint else None
    notes += [str(warning.message) for warning in caught]
    if stored is not None and _was_replaced(folder, stored.config):
        notes.append(
            f"the run in {folder} was killed while its files were replaced: what is shown is from "
            "its checkpoint, and 'backprop-xp train --resume' completes them"
        )
        config, records = stored.config, stored.state.history
        return StoredRun(
            path=folder,
            name=folder.resolve().name,
            settings=attempt(CHECKPOINT, lambda file: settings_of(config, str(file)), None),
            history=attempt(CHECKPOINT, lambda file: _records(records), []),
            outcome={},
            model=None,
            problems=problems,
            notes=notes,
        )
    run = StoredRun(
        path=folder,
        name=folder.resolve().name,
        settings=read(CONFIG, load_settings, None),
        history=read(HISTORY, lambda file: _history(file, problems, notes), []),
        outcome=read(OUTCOME, lambda file: read_outcome(file, problems), {}),
        model=read(MODEL, load_model, None),
        problems=problems,
        notes=notes,
    )
    for name in (CONFIG, HISTORY, MODEL, OUTCOME):
        if name not in files and os.path.lexists(folder / name):
            problems.append(f"{folder / name} is not a file")
        elif name not in files and name in (CONFIG, HISTORY):
            problems.append(f"{folder / name} is missing")
    return run


def _was_replaced(folder: Path, config: str) -> bool:
    """Return whether a folder has the checkpoint of a run, but not yet its settings."""
    path = folder / CONFIG
    if not os.path.isfile(path):
        return not os.path.exists(folder / OUTCOME)  # which is written last
    try:
        load_settings(path)
        with open(path, "rb") as file:
            return file.read(len(config.encode()) + 1) not in (b"", config.encode())
    except (BackpropError, OSError):
        return False  # the file is damaged, and is reported as such


def _records(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records of a checkpoint as those of a file."""
    lines = (json.dumps(json_safe(record)).encode() for record in history)
    return [_record(line, 0) for line in lines]


def _history(path: Path, problems: list[str], notes: list[str]) -> list[dict[str, Any]]:
    """Return the records of all readable lines; add a problem for the others."""
    with open(path, "rb") as file:
        content = file.read(_LARGEST_HISTORY)
        larger = bool(file.read(1))
    lines = content.split(b"\n", _MOST_LINES)
    if larger or (len(lines) > _MOST_LINES and lines[-1]):
        lines[-1] = b""
        notes.append(
            f"{path} is larger than {_LARGEST_HISTORY >> 20} MB or {_MOST_LINES:,} lines, and only "
            "its beginning is used"
        )
    records: list[dict[str, Any]] = []
    faults: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(_record(line, records[-1]["epoch"] if records else 0))
        except ValueError as error:
            if number == len(lines):  # without the end of the line, which is written with it
                notes.append(f"the last line of {path} was cut off, as when the run was killed")
            else:
                faults.append(f"{path}, line {number:,} is damaged: {error}")
    problems += faults[:_LINES_NAMED]
    if len(faults) > _LINES_NAMED:
        more = pluralize(len(faults) - _LINES_NAMED, "more line")
        problems.append(f"{path}: {more} {'is' if more.startswith('1 ') else 'are'} damaged")
    return records


def _record(line: bytes, last: int) -> dict[str, Any]:
    """Return the record in a line of a history, with its finite numbers only."""
    record = parse_json(line)
    if not isinstance(record, dict):
        raise ValueError(f"it is {abridged(record)}, not an object")
    epoch = record.get("epoch")
    if type(epoch) is not int or not last < epoch < 1 << 53:
        raise ValueError(f"its epoch is {abridged(epoch)}, which does not follow {last}")
    layers = record.pop("layers", None)
    if not isinstance(layers, (list, type(None))):
        raise ValueError(f"layers is {abridged(layers)}, not a list")
    return _numbers(record) | {
        "layers": [_numbers(layer, f"layers[{k}]") for k, layer in enumerate(layers or ())]
    }


def _numbers(record: Any, where: str = "it") -> dict[str, Any]:
    if not isinstance(record, dict):
        raise ValueError(f"{where} is {abridged(record)}, not an object")
    numbers = {name: value for name, value in record.items() if is_finite(value)}
    if len(numbers) < len(record):
        for name, value in record.items():
            if value is not None and name not in numbers:  # null is a number that is not finite
                raise ValueError(f"{name} is {abridged(value)}, not a finite number")
    return numbers
