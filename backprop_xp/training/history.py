"""The history of a training run for notebooks: a small chart of the losses, and a table.

The result is plain HTML and SVG in the colors of the notebook's theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from backprop_xp.formatting import pluralize

Record = dict[str, Any]

_HIDDEN = {"step", "layers"}
_ENDS = 10  # rows shown at the beginning and at the end
_POINTS = 500  # the most that a curve of this width can show
_WIDTH, _HEIGHT, _LEFT = 480, 130, 64
_TITLE = "text-align:right;padding:2px 8px"
_CELL = f"{_TITLE};white-space:nowrap"
_ORANGE = "#c96a00"  # contrast of 3 to 1 or better on white and on black


def as_html(history: Sequence[Record], title: str, best: int | None = None) -> str:
    """Return a history as HTML.

    Parameters
    ----------
    history : sequence of dict
        The history of a `backprop_xp.TrainState`. A row replaces the middle of a long table.
    title : str
    best : int, optional
        The number of the epoch to mark; by default the one with the lowest validation loss.

    Examples
    --------
    >>> page = as_html([{"epoch": 1, "loss": 0.25}], "1 epoch")
    >>> "<td" in page, "<svg" in page
    (True, False)
    """
    heading = f"<p><strong>{escape(title)}</strong></p>"
    if not history:
        return f"<div>{heading}</div>"
    if best is None:
        measured = [r for r in history if _finite(r.get("validation_loss"))]
        best = min(measured, key=lambda r: r["validation_loss"])["epoch"] if measured else None
    return f"<div>{heading}{_chart(history, best)}{_table(history, best)}</div>"


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _table(history: Sequence[Record], best: int | None) -> str:
    keys = [key for key in dict.fromkeys(key for r in history for key in r) if key not in _HIDDEN]
    titles = [escape(key.replace("_", " ")) for key in keys]
    rows, last = ["".join(f'<th style="{_TITLE}">{title}</th>' for title in titles)], -1
    for index, record in enumerate(history):
        is_best = record["epoch"] == best
        if not (index < _ENDS or index >= len(history) - _ENDS or is_best):
            continue
        if omitted := index - last - 1:
            text = f"{pluralize(omitted, 'epoch')} left out"
            rows.append(f'<td colspan="{len(keys)}" style="text-align:center"><em>{text}</em></td>')
        cells = [_text(key, record.get(key)) for key in keys]
        if is_best:
            cells = [f"<strong>{cell}</strong>" for cell in (f"best: {cells[0]}", *cells[1:])]
        rows.append("".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells))
        last = index
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _text(key: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.2%}" if key.endswith("accuracy") else f"{value:.4g}"
    return escape(str(value))


def _chart(history: Sequence[Record], best: int | None) -> str:
    """Return the curves of the training loss and the validation loss."""
    train = "train_loss" if _finite(history[0].get("train_loss")) else "loss"
    points = [*history[: -1 : 1 + len(history) // _POINTS], history[-1]]
    values = [r[key] for r in points for key in (train, "validation_loss") if _finite(r.get(key))]
    if len(history) < 2 or not values:
        return ""
    low, high = min(values), max(values)
    first, last = history[0]["epoch"], history[-1]["epoch"]

    def position(record: Record, key: str) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - 8) * (record["epoch"] - first) / max(1, last - first)
        return x, 8 + (_HEIGHT - 34) * (high - record[key]) / ((high - low) or 1.0)

    elements, foot = [], f'y="{_HEIGHT - 6}"'
    for key, name, stroke, x in (
        (train, "training loss", 'stroke="currentColor"', 160),
        ("validation_loss", "validation loss", f'stroke="{_ORANGE}" stroke-dasharray="6 3"', 290),
    ):
        path = _path([position(r, key) if _finite(r.get(key)) else None for r in points])
        if path:
            line = f"M{x} {_HEIGHT - 10}h20"
            elements.append(f'<path d="{path}" {stroke}/><path d="{line}" {stroke}/>')
            elements.append(_label(x + 26, foot, name))
    marked = [r for r in history if r["epoch"] == best and _finite(r.get("validation_loss"))]
    for record in marked:
        cx, cy = position(record, "validation_loss")
        elements.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="4" stroke="{_ORANGE}"/>')
    elements += [
        _label(_LEFT - 6, 'y="12" text-anchor="end"', f"{high:.3g}"),
        _label(_LEFT - 6, f'y="{_HEIGHT - 26}" text-anchor="end"', f"{low:.3g}"),
        _label(_LEFT, foot, f"epoch {first:,}"),
        _label(_WIDTH - 8, f'{foot} text-anchor="end"', f"{last:,}"),
    ]
    axes = f'<path d="M{_LEFT} 4V{_HEIGHT - 22}H{_WIDTH - 4}" stroke="currentColor" opacity="0.4"/>'
    return (
        f'<svg role="img" aria-label="loss after each epoch" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke-width="1.75" '
        'stroke-linecap="round" font-size="11" font-family="sans-serif">'
        f"{axes}{''.join(elements)}</svg>"
    )


def _path(points: list[tuple[float, float] | None]) -> str:
    """Return a line through points, with a gap where one is missing."""
    parts, connected = [], False
    for point in points:
        if point is not None:
            # h0 draws a dot, which shows a point that has a gap on both sides.
            parts.append(f"{'L' if connected else 'M'}{point[0]:.1f} {point[1]:.1f}h0")
        connected = point is not None
    return "".join(parts)


def _label(x: float, attributes: str, text: str) -> str:
    return f'<text x="{x}" {attributes} fill="currentColor">{escape(text)}</text>'
