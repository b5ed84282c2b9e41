"""A configuration file: the settings of a run as TOML, written and read."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
import tomllib
from typing import Any

from backprop_xp.errors import ConfigurationError, check_name
from backprop_xp.formatting import abridged, printable_json
from backprop_xp.runs.settings import RunSettings
from backprop_xp.version import __version__

LARGEST = 1 << 21
"""The most bytes of a TOML file: 2 MB, which take 2 seconds to parse."""

_KEY_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""
# The time for a key such as a.a.a.a grows with the square of its parts.
_LONG_KEY = re.compile(rf"(?<![\w-])(?:{_KEY_PART}\.[ \t]*+){{50}}")

_SURROGATE = re.compile("[\ud800-\udfff]")  # Python's name for a byte of a path that is not UTF-8


def as_toml(settings: RunSettings) -> str:
    """Return settings as the text of a file that ``backprop-xp train --config`` reads.

    Raises
    ------
    ConfigurationError
        If a setting, such as the path of the data, is not Unicode text, which is all that TOML can
        hold.

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
        if value is None:
            continue
        if _SURROGATE.search(str(value)):
            raise ConfigurationError(
                f"{field.name} is {value!r}, which is not encoded as UTF-8, so the "
                "settings of the run cannot be stored",
                "rename that file or folder",
            )
        lines.append(f"{field.name} = {toml_value(value)}")
    return "\n".join(lines) + "\n"


def read_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the settings in a configuration file, and check the name and the type of each.

    Raises
    ------
    ConfigurationError
        As in `read_toml`, and for an unknown key or a value of the wrong type.
    """
    return _checked(read_toml(path, "configuration file"), path)


def load_settings(path: str | os.PathLike[str]) -> RunSettings:
    """Return the settings in a configuration file.

    Raises
    ------
    ConfigurationError
        As in `read_settings`, and for a value out of range; the message names the file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w") as file:
    ...     _ = file.write("epochs = 3")
    ...     file.flush()
    ...     load_settings(file.name).epochs
    3
    """
    return _settings(read_settings(path), path)


def _settings(values: dict[str, Any], path: str | os.PathLike[str]) -> RunSettings:
    try:
        return RunSettings(**values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.message}", error.hint) from error


def settings_of(text: str, source: str) -> RunSettings:
    """Return the settings in the text of a configuration file, as `load_settings` does.

    Parameters
    ----------
    text : str
    source : str
        Where the text is from, for errors.

    Raises
    ------
    ConfigurationError
        As in `load_settings`.

    Examples
    --------
    >>> settings_of("epochs = 3", "a checkpoint").epochs
    3
    """
    return _settings(
        _checked(parse_toml(text.encode(), source, "configuration in"), source), source
    )


def _checked(values: dict[str, Any], path: str | os.PathLike[str]) -> dict[str, Any]:
    types = {field.name: str(field.type) for field in dataclasses.fields(RunSettings)}
    for key in values:
        check_name(
            f"key in {path}", key, types, "'backprop-xp train --print-config' shows all of them"
        )
        _check_type(key, values[key], types[key], path)
        if types[key].startswith("str"):
            values[key] = str(values[key])  # a column may be called 3, or divided by 255
    return values


def _check_type(key: str, value: Any, kind: str, path: str | os.PathLike[str]) -> None:
    """Reject values that click would silently convert, such as 2.5 epochs to 2."""
    wanted, entry = (*re.split(r"\W", kind), "")[:2]
    types, words = {
        "int": ((int,), "a whole number"),
        "float": ((int, float), "a number"),
        "bool": ((bool,), "true or false"),
        "str": ((str, int, float), "a text"),
        "tuple": ((list, str), 'a list such as [30, 20] or ["age"]'),
    }[wanted]
    if not isinstance(value, types) or (isinstance(value, bool) and wanted != "bool"):
        raise ConfigurationError(f"{key} in {path} is {abridged(value)}", f"give {words}")
    if wanted == "float" and type(value) is int and abs(value) > sys.float_info.max:
        raise ConfigurationError(f"{key} in {path} is {abridged(value)}", "give a smaller number")
    if isinstance(value, str) and "\0" in value:
        raise ConfigurationError(f"{key} in {path} contains a NUL character", "remove it")
    if isinstance(value, list):
        for number, item in enumerate(value, start=1):
            _check_type(f"entry {number} of {key}", item, entry, path)


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
        with open(path, "rb") as file:  # also a pipe, such as <(...) of a shell
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # a ValueError for a NUL character
        raise ConfigurationError(
            f"the {what} {path} cannot be read: {getattr(error, 'strerror', None) or error}",
            "give the path of a TOML file, such as the config.toml of an earlier run",
        ) from error
    return parse_toml(content, path, what)


def parse_toml(content: bytes, path: str | os.PathLike[str], what: str) -> dict[str, Any]:
    """Return the values in the content of a TOML file; the parameters are those of `read_toml`."""
    if len(content) > LARGEST:
        raise ConfigurationError(
            f"the {what} {path} has more than {LARGEST:,} bytes", "name a smaller file"
        )
    try:
        text = content.decode()
        if found := _LONG_KEY.search(text):
            raise ValueError(f"{_line(text, found.start())} has a key of more than 50 parts")
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        fault = str(error)
        if isinstance(error, RecursionError):
            fault = "its brackets are nested too deep"
        elif isinstance(error, UnicodeDecodeError):
            fault = f"{_line(content, error.start)} is not encoded as UTF-8"
        elif fault.startswith("Exceeds") and (found := re.search(r"\d{4000}", text)):
            fault = f"{_line(text, found.start())} has a number that is too large"
        raise ConfigurationError(
            f"the {what} {path} is not valid TOML: {fault}", "fix that line"
        ) from error
    for key, value in values.items():
        if _has_huge_integer(value):
            raise ConfigurationError(
                f"{key} in the {what} {path} has a number that is too large", "correct it"
            )
    return values


def _has_huge_integer(value: Any) -> bool:
    """Return whether a value has an integer that is too long for Python to write in digits.

    Hexadecimal numbers are read in any length.
    """
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return any(map(_has_huge_integer, value))
    return isinstance(value, int) and value.bit_length() > 14_000  # 4,215 digits


def _line(content: Any, position: int) -> str:
    newline = "\n" if isinstance(content, str) else b"\n"
    return f"line {content.count(newline, 0, position) + 1}"


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
    return printable_json(json.dumps(value, ensure_ascii=False))
