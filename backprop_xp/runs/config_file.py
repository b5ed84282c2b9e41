"""A configuration file: the settings of a run as TOML, written and read."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

from backprop_xp.errors import ConfigurationError, check_name
from backprop_xp.runs.settings import RunSettings
from backprop_xp.version import __version__


def as_toml(settings: RunSettings) -> str:
    """Return settings as the text of a file that ``backprop-xp train --config`` reads.

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
    """Read the settings in a configuration file, and check the name and the type of each.

    Raises
    ------
    ConfigurationError
        As in `read_toml`, and for an unknown key or a value of the wrong type.
    """
    values = read_toml(path, "configuration file")
    types = {field.name: str(field.type) for field in dataclasses.fields(RunSettings)}
    for key in values:
        check_name(f"key in {path}", key, types)
        _check_type(key, values[key], types[key], path)
        if types[key].startswith("str"):
            values[key] = str(values[key])  # a column may be called 3, or divided by 255
    return values


def _check_type(key: str, value: Any, kind: str, path: str | os.PathLike[str]) -> None:
    """Reject values that click would silently convert, such as 2.5 epochs to 2."""
    wanted = re.split(r"\W", kind)[0]
    types, words = {
        "int": ((int,), "a whole number"),
        "float": ((int, float), "a number"),
        "bool": ((bool,), "true or false"),
        "str": ((str, int, float), "a text"),
        "tuple": ((list, str), 'a list such as [30, 20] or ["age"]'),
    }[wanted]
    if not isinstance(value, types) or (isinstance(value, bool) and wanted != "bool"):
        raise ConfigurationError(f"{key} in {path} is {value!r}", f"give {words}")


def read_toml(path: str | os.PathLike[str], what: str) -> dict[str, Any]:
    """Read a TOML file.

    Parameters
    ----------
    path : path
    what : str
        The name of the file in errors, such as ``"configuration file"``.

    Raises
    ------
    ConfigurationError
        If it cannot be read or is not valid TOML; the message names the line.
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
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fault = str(error)
        if isinstance(error, UnicodeDecodeError):
            line = content.count(b"\n", 0, error.start) + 1
            fault = f"line {line} is not encoded as UTF-8"
        raise ConfigurationError(
            f"the {what} {path} is not valid TOML: {fault}", "fix that line"
        ) from error


def toml_value(value: Any) -> str:
    """Return a number, a string, a boolean or a list of them in TOML syntax.

    Examples
    --------
    >>> toml_value("a\\tb"), toml_value((30, 20)), toml_value(True), toml_value(1e-3)
    ('"a\\\\tb"', '[30, 20]', 'true', '0.001')
    """
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    # JSON and TOML write these alike, except that TOML requires DEL to be escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
