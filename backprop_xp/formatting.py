"""Formatting: data for JSON, text that is safe to show, counts with nouns, and lists of names."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Sequence
from typing import Any

# Characters that a terminal obeys (C0, DEL and C1), that end a line, that change the order of the
# text around them (https://trojansource.codes), and surrogates, which UTF-8 cannot encode.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_UNCLEAR = re.compile("[,\"']")  # in a list separated by commas

_NAME = 80
"""The number of characters that are shown of a name in a list."""


def printable(text: str, keep: str = "") -> str:
    r"""Return text with every character that could harm a terminal or a page as an escape.

    These are control characters, separators of lines and paragraphs, bidirectional overrides and
    lone surrogates. Backslashes stay as they are, so escaping again changes nothing.

    Parameters
    ----------
    text : str
    keep : str
        Characters that stay as they are, for example a newline in a text of several lines.

    Examples
    --------
    >>> print(printable("\x1b[31mred\n"), printable("a\nb\x9b", keep="\n"))
    \x1b[31mred\n a
    b\x9b
    """
    return _UNPRINTABLE.sub(lambda hit: hit[0] if hit[0] in keep else _escape(hit[0]), text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def printable_json(text: str) -> str:
    r"""Return JSON on one line with the characters that `printable` escapes in JSON's own escapes.

    Examples
    --------
    >>> print(printable_json('["\x7f", "\x9b"]'))
    ["\u007f", "\u009b"]
    """
    return _UNPRINTABLE.sub(lambda hit: f"\\u{ord(hit[0]):04x}", text)


def shorten(text: str, most: int) -> str:
    """Return text without its middle if it has more than so many characters.

    Examples
    --------
    >>> shorten("0123456789" * 100, 30)
    '01234567890123456789 [970 characters left out] 0123456789'
    """
    if len(text) <= most:
        return text
    last = most // 3
    mark = f" [{len(text) - most:,} characters left out] "
    return text[: most - last] + mark + text[-last:]


def json_safe(value: Any) -> Any:
    """Return the data with None for every number that is not finite, which JSON cannot hold.

    Examples
    --------
    >>> json_safe({"losses": (0.5, math.inf, math.nan)})
    {'losses': [0.5, None, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: json_safe(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [json_safe(item) for item in value]
    return value


def to_json(x: Any) -> Any:
    """Return a float, list or host array as Python floats, with None if not finite.

    Examples
    --------
    >>> import numpy as np
    >>> to_json(np.asarray([[0.1, np.inf]], dtype=np.float32))
    [[0.1, None]]
    """
    if isinstance(x, (list, float)):
        return json_safe(x)
    if x.dtype == "float32":
        x = x.astype("U").astype("float64")  # the shortest decimals that identify each float32
    return json_safe(x.tolist())


def pluralize(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun in the singular or the plural.

    Examples
    --------
    >>> pluralize(1, "epoch"), pluralize(2000, "row"), pluralize(0, "class")
    ('1 epoch', '2,000 rows', '0 classes')
    >>> pluralize(3, "category", "categories")
    '3 categories'
    """
    plural = plural or (f"{noun}es" if noun.endswith("s") else f"{noun}s")
    return f"{number:,} {noun if number == 1 else plural}"


def listed(names: Sequence[str], most: int) -> str:
    """Return names separated by commas, of which at most some are shown; long ones are shortened.

    Examples
    --------
    >>> listed(["red", "green", "blue"], 2)
    'red, green and 1 more'
    """
    left = len(names) - most
    shown = ", ".join(printable(shorten(name, _NAME)) for name in names[:most])
    return shown + (f" and {left:,} more" if left > 0 else "")


def quoted(names: Sequence[str]) -> list[str]:
    """Return names for `listed`, in quotes if they contain a comma, a quote or spaces at the ends.

    Examples
    --------
    >>> print(listed(quoted(["red", "pale, light", 'the "other"', ""]), 4))
    red, 'pale, light', 'the "other"', ''
    """
    return [
        repr(name) if not name or name != name.strip() or _UNCLEAR.search(name) else name
        for name in names
    ]


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 60


def abridged(value: object) -> str:
    r"""Return a value from a file for a message: escaped as by `repr`, and cut if it is long.

    Examples
    --------
    >>> print(abridged("a\x1b"), abridged(list(range(1000))))
    'a\x1b' [0, 1, 2, 3, 4, 5, ...]
    """
    return _SHORT.repr(value)
