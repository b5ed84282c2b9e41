"""Reading the outcome of a run, ``outcome.json``: the format as data, and what differs from it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from backprop_xp.formatting import abridged
from backprop_xp.runs.outcome import PARTS, SCHEMA_VERSION

LARGEST = 8 << 20
"""The largest size of an outcome in bytes; those that are written have about 2 MB at most."""

_MANY = 1000
"""The largest number of entries of most lists, which the report shows or draws one by one."""

# A format is a type (int for a whole number from 0 up, float for a finite number), a set of values,
# a list with the format of its entries and perhaps their largest number, a dictionary of formats
# (a key that ends in ? may be absent), or a tuple with one of these and None, for a value that may
# be absent. Keys that are not listed may hold anything.
_TEXT, _COUNT, _NUMBER = (str, None), (int, None), (float, None)

_CLASSES = {
    "wrong": int,
    "classes": ([str, _MANY], None),
    "matrix": ([[int, _MANY], _MANY], None),
    "confused": [[object, 3], _MANY],
    "probabilities": bool,
    "worst": [
        {
            "row": int,
            "line?": _COUNT,
            "target": str,
            "predicted": str,
            "sure": _NUMBER,
            "target_output": _NUMBER,
            "inputs": ([_NUMBER], None),
        },
        _MANY,
    ],
}

_NUMBERS = {
    "outputs": [
        {
            "mean": _NUMBER,
            "mean_absolute": _NUMBER,
            "root_mean_square": _NUMBER,
            "largest": _NUMBER,
            "target_deviation": float,
        },
        64,
    ],
    "pairs": [[[_NUMBER, 2], 64]],
    "worst": [
        {
            "row": int,
            "line?": _COUNT,
            "target": [_NUMBER, _MANY],
            "predicted": [_NUMBER, _MANY],
            "inputs": ([_NUMBER], None),
        },
        _MANY,
    ],
}

_MEASURED = {
    "loss": _NUMBER,
    "count": int,
    "accuracy?": _NUMBER,
    "r2?": _NUMBER,
    "mae?": _NUMBER,
    "rmse?": _NUMBER,
    "targets?": [{"name": str, "r2": _NUMBER, "mae": _NUMBER, "rmse": _NUMBER}],
}

_OUTCOME: dict[str, Any] = {
    "status": str,
    "message": _TEXT,
    "hint": _TEXT,
    "epochs": int,
    "best_epoch": _COUNT,
    "model_epoch": _COUNT,
    "ended": str,
    "environment": dict.fromkeys(
        ("version", "python", "platform", "library", "library_version", "device", "note"), str
    ),
    "data": {
        "name": str,
        "inputs": int,
        "image_shape": ([int, 2], None),
        "classes": _COUNT,
        "notes?": [str, _MANY],
        **dict.fromkeys(PARTS, _COUNT),
    },
    "network": {
        "sizes": [int, _MANY],
        "activations": [str, _MANY],
        "bias": bool,
        "parameters": int,
    },
    "measured": {f"{part}?": (_MEASURED, None) for part in PARTS},
    "part": (set(PARTS), None),
    "points": ({"inputs": [[float, 2]], "targets": [float]}, None),
    "advice": ([dict.fromkeys(("fault", "evidence", "mend"), str), _MANY], None),
}
"""The format of an outcome, without the review, which has two formats."""

_WORDS = {
    str: "a text",
    bool: "true or false",
    int: "a whole number from 0 up",
    float: "a finite number",
    list: "a list",
    dict: "an object",
}


def read_outcome(path: Path, problems: list[str]) -> dict[str, Any]:
    """Read an outcome; leave out what is not in the format of this version.

    Parameters
    ----------
    path : Path
    problems : list of str
        Receives a message for each part that is left out, with its key.

    Returns
    -------
    dict
        As from `backprop_xp.runs.outcome.outcome_of`, perhaps with fewer keys; empty if the file
        is not an outcome.

    Examples
    --------
    >>> import tempfile
    >>> problems = []
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "outcome.json")
    ...     _ = path.write_text('{"schema_version": 1, "status": "finished", "epochs": "3"}')
    ...     read_outcome(path, problems)["status"], problems[0].removeprefix(folder)[1:]
    ('finished', "outcome.json is damaged: epochs is '3', not a whole number from 0 up")
    """
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(f"it is larger than {LARGEST >> 20} MB")
        outcome = parse_json(content)
        if not isinstance(outcome, dict) or outcome.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"it is not an outcome of schema version {SCHEMA_VERSION}")
    except OSError as error:
        problems.append(f"{path} cannot be read: {error.strerror or error}")
        return {}
    except ValueError as error:
        problems.append(f"{path} cannot be read: {error}")
        return {}
    review = outcome.get("review")
    numbers = isinstance(review, dict) and "outputs" in review
    formats = {**_OUTCOME, "review": (_NUMBERS if numbers else _CLASSES, None)}
    for key in [key for key in formats if key in outcome]:
        try:
            _check(outcome[key], formats[key], key)
        except ValueError as error:
            problems.append(f"{path} is damaged: {error}")
            del outcome[key]
    needed = outcome.get("part") and (outcome.get("measured") or {}).get(outcome["part"])
    if not (needed and outcome.get("data")):
        outcome.pop("review", None)  # it cannot be understood alone
    return outcome


def parse_json(content: bytes) -> Any:
    """Return the data in JSON, in which no key may be repeated.

    Raises
    ------
    ValueError
        If it is not such JSON; the message says where.

    Examples
    --------
    >>> parse_json(b'{"loss": 0.5, "loss": 0.25}')
    Traceback (most recent call last):
    ValueError: the key 'loss' is repeated
    """
    try:
        return _DECODER.decode(content.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1:,} is not encoded as UTF-8") from None
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        if "digits" in str(error):  # Python converts no more than 4,300 digits to an integer
            raise ValueError("a number has thousands of digits") from None
        raise


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {abridged(key)} is repeated")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def is_finite(value: object) -> bool:
    """Return whether a value from JSON is a number that a float can hold."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # type: ignore[arg-type]


def _check(value: Any, format_: Any, where: str) -> None:
    """Raise a ValueError for the first value that does not have its format; it names the key."""
    if isinstance(format_, tuple):
        if value is None:
            return
        format_ = format_[0]
    if not _has_kind(value, format_):
        words = " or ".join(sorted(format_)) if isinstance(format_, set) else _WORDS[_kind(format_)]
        raise ValueError(f"{where} is {abridged(value)}, not {words}")
    if isinstance(format_, dict):
        for key, one in format_.items():
            name = key.removesuffix("?")
            if name in value:
                _check(value[name], one, f"{where}.{name}")
            elif name == key:
                raise ValueError(f"{where}.{name} is missing")
    elif isinstance(format_, list):
        most = format_[1] if len(format_) > 1 else len(value)
        if len(value) > most:
            raise ValueError(f"{where} has {len(value):,} entries, more than {most:,}")
        for index, one in enumerate(value):
            if not (format_[0] in (int, float) and _has_kind(one, format_[0])):
                _check(one, format_[0], f"{where}[{index}]")


def _kind(format_: Any) -> Any:
    return format_ if isinstance(format_, type) else type(format_)


def _has_kind(value: Any, format_: Any) -> bool:
    if format_ is float:
        return is_finite(value)
    if format_ is int:
        return type(value) is int and 0 <= value < 1 << 53
    if isinstance(format_, set):
        return isinstance(value, str) and value in format_
    return isinstance(value, _kind(format_))
