"""The folder of a run: its settings, its history line by line, and its model."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from backprop_xp.errors import ConfigurationError
from backprop_xp.model import Model
from backprop_xp.model_file import save_model, write_whole
from backprop_xp.settings import RunSettings
from backprop_xp.version import __version__

CONFIG, HISTORY, MODEL = "config.toml", "history.jsonl", "model.safetensors"


class RunFolder:
    """A folder that is being filled by a run.

    ``config.toml`` is written when the run starts, ``history.jsonl`` grows by a line after each
    epoch, and ``model.safetensors`` appears when there is a model, whole.

    Parameters
    ----------
    path : path
        Made if it does not exist.
    overwrite : bool
        Whether an earlier run in this folder may be replaced.

    Raises
    ------
    ConfigurationError
        If the folder holds a run already, or cannot be written to.
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        self.path = Path(path)
        held = [name for name in (CONFIG, HISTORY, MODEL) if (self.path / name).exists()]
        if held and not overwrite:
            raise ConfigurationError(
                f"the folder {self.path} already holds a run ({', '.join(held)})",
                "name another folder, or replace the run with --overwrite",
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(None, "permission denied")
        except OSError as error:
            raise ConfigurationError(
                f"the folder {self.path} cannot be written to: {error.strerror or error}",
                "name a folder that you may write to with --out",
            ) from error

    @property
    def model(self) -> Path:
        """Where the model is."""
        return self.path / MODEL

    def start(self, settings: RunSettings) -> None:
        """Write the settings, and clear what an earlier run left."""
        for name in (HISTORY, MODEL):
            (self.path / name).unlink(missing_ok=True)
        write_whole(self.path / CONFIG, lambda file: file.write(as_toml(settings).encode()))

    def append(self, record: dict[str, Any]) -> None:
        """Add one epoch to the history."""
        try:
            with open(self.path / HISTORY, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise ConfigurationError(
                f"{self.path / HISTORY} cannot be written: {error.strerror or error}",
                "make space, or name another folder with --out",
            ) from error

    def finish(self, model: Model) -> None:
        """Write the model."""
        save_model(model, self.model)


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
