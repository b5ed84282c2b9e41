"""Plain data: what JSON can hold."""

from __future__ import annotations

import math
from typing import Any


def finite(value: Any) -> Any:
    """Return plain data in which None stands for each number that JSON does not know.

    Examples
    --------
    >>> finite({"losses": (0.5, math.inf, math.nan)})
    {'losses': [0.5, None, None]}
    """
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
