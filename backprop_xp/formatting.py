"""Formatting: data for JSON, counts with their nouns, and lists of names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def json_safe(value: Any) -> Any:
    """Return the data with None for every number that is not finite, which JSON cannot hold.

    Examples
    --------
    >>> json_safe({"losses": (0.5, math.inf, math.nan)})
    {'losses': [0.5, None, None]}
    """
    if isinstance(value, dict):
        return {key: json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
    """Return names separated by commas, of which at most some are shown.

    Examples
    --------
    >>> listed(["red", "green", "blue"], 2)
    'red, green and 1 more'
    """
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left:,} more" if left > 0 else "")
