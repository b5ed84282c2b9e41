"""The folder of a run: its settings, its history line by line, its model and its outcome."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from backprop_xp.errors import ConfigurationError, unknown_name
from backprop_xp.formatting import finite
from backprop_xp.models.model import Model
from backprop_xp.models.model_file import save_model, write_whole
from backprop_xp.training.settings import RunSettings
from backprop_xp.version import __version__

CONFIG, HISTORY, MODEL = "config.toml", "history.jsonl", "model.safetensors"
OUTCOME = "outcome.json"


class RunFolder:
    """A folder that is being filled by a run; used in a ``with`` statement.

    With the first epoch ``config.toml`` is written and an earlier run gives way.
    ``history.jsonl`` grows by a line after each epoch; ``model.safetensors`` and
    ``outcome.json`` appear at the end, each whole. A run that fails before all this leaves the
    disk as it was.

    Parameters
    ----------
    path : path
        Made if it does not exist.
    overwrite : bool
        Whether an earlier run in this folder may be replaced.

    Attributes
    ----------
    held : list of str
        The files of an earlier run that were there at the beginning.

    Raises
    ------
    ConfigurationError
        If the folder holds a run already, or cannot be written to.
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self._made = [p for p in (self.path, *self.path.parents) if not os.path.exists(p)]
        self._epochs: int | None = None  # as many as the history holds; None before it begins
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
            self._remove_what_was_made()
            raise ConfigurationError(
                f"the folder {self.path} cannot be written to: {error.strerror or error}",
                "name a folder that you may write to with --out",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._epochs is None:
            self._remove_what_was_made()

    def _remove_what_was_made(self) -> None:
        for folder in self._made:
            with suppress(OSError):  # not there, or somebody else put something into it
                folder.rmdir()

    @property
    def model(self) -> Path:
        """Where the model is."""
        return self.path / MODEL

    def record(self, settings: RunSettings, history: Sequence[dict[str, Any]]) -> None:
        """Write those epochs of a history that the folder does not hold yet, a line for each.

        The first call writes the settings, and clears what an earlier run left.
        """
        try:
            if self._epochs is None:
                for name in (MODEL, OUTCOME):
                    (self.path / name).unlink(missing_ok=True)
                (self.path / HISTORY).write_bytes(b"")
                write_whole(self.path / CONFIG, lambda file: file.write(as_toml(settings).encode()))
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

    def finish(self, model: Model) -> None:
        """Write the model."""
        save_model(model, self.model)

    def conclude(self, outcome: dict[str, Any]) -> None:
        """Write what `backprop_xp.runs.outcome.outcome_of` found."""
        content = _json(outcome).encode()
        write_whole(self.path / OUTCOME, lambda file: file.write(content))


def _json(record: dict[str, Any]) -> str:
    return json.dumps(finite(record), allow_nan=False) + "\n"


def as_toml(settings: RunSettings) -> str:
    """Return settings as a configuration file that ``backprop-xp train --config`` reads.

    Examples
    --------
    >>> print(as_toml(RunSettings(epochs=3)).splitlines()[0])
    # Re-run with: backprop-xp train --config config.toml
    """
    lines = [
        "# Re-run with: backprop-xp train --config config.toml",
        f"# Written by backprop_xp {__version__}.",
    ]
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value is not None:
            lines.append(f"{field.name} = {toml_value(value)}")
    return "\n".join(lines) + "\n"


def read_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the settings that a configuration file holds, with each name and type checked.

    Raises
    ------
    ConfigurationError
        As `read_toml` does, and for an unknown key or a value of another type.
    """
    values = read_toml(path, "configuration file")
    types = {field.name: str(field.type) for field in dataclasses.fields(RunSettings)}
    for key in values:
        if key not in types:
            raise unknown_name(f"key in {path}", key, types)
        _check_type(key, values[key], types[key], path)
        if types[key].startswith("str"):
            values[key] = str(values[key])  # a column may be called 3, or divided by 255
    return values


def _check_type(key: str, value: Any, kind: str, path: str | os.PathLike[str]) -> None:
    """Refuse what click would silently turn into another value, such as 2.5 epochs into 2."""
    wanted = re.split(r"\W", kind)[0]
    types, words = {
        "int": ((int,), "a whole number"),
        "float": ((int, float), "a number"),
        "bool": ((bool,), "true or false"),
        "str": ((str, int, float), "a text"),
        "tuple": ((list, str), "a list of numbers such as [30, 20]"),
    }[wanted]
    if not isinstance(value, types) or (isinstance(value, bool) and wanted != "bool"):
        raise ConfigurationError(f"{key} in {path} is {value!r}", f"give {words}")


def read_toml(path: str | os.PathLike[str], what: str) -> dict[str, Any]:
    """Return what a TOML file holds.

    Parameters
    ----------
    path : path
    what : str
        What errors call the file.

    Raises
    ------
    ConfigurationError
        If it cannot be read or is no valid TOML; the message names the line.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the {what} {path} cannot be read: {error.strerror or error}",
            "give the path of a TOML file, such as the config.toml of an earlier run",
        ) from error
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"the {what} {path} is no valid TOML: line {line} is not encoded as UTF-8",
            "mend that place",
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"the {what} {path} is no valid TOML: {error}", "mend that place"
        ) from error


def toml_value(value: Any) -> str:
    """Return a number, a text, a truth value or a list of them as TOML writes it.

    Examples
    --------
    >>> toml_value("a\\tb"), toml_value((30, 20)), toml_value(True), toml_value(1e-3)
    ('"a\\\\tb"', '[30, 20]', 'true', '0.001')
    """
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    # JSON's way of writing these is TOML's; only DEL would have to be escaped there as well.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
