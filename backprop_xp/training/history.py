"""The history of a training as a notebook shows it: a small drawing of the losses, and a table.

It takes the colours of the notebook's theme, and holds nothing but HTML with SVG in it.
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
_POINTS = 500  # as many as a curve of this width can show
_WIDTH, _HEIGHT, _LEFT = 480, 130, 64
_TITLE = "text-align:right;padding:2px 8px"
_CELL = f"{_TITLE};white-space:nowrap"
_ORANGE = "#c96a00"  # 3 to 1 or better on white and on black


def as_html(history: Sequence[Record], title: str, best: int | None = None) -> str:
    """Return a history as a piece of HTML.

    Parameters
    ----------
    history : sequence of dict
        That of a `backprop_xp.TrainState`. A long one is cut in the middle, which is said.
    title : str
    best : int, optional
        The number of the epoch to mark; by default that of the lowest validation loss.

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
    return f"<div>{heading}{_drawing(history, best)}{_table(history, best)}</div>"


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _table(history: Sequence[Record], best: int | None) -> str:
    keys = [key for key in dict.fromkeys(key for r in history for key in r) if key not in _HIDDEN]
    titles = [escape(key.replace("_", " ")) for key in keys]
    rows, shown = ["".join(f'<th style="{_TITLE}">{title}</th>' for title in titles)], -1
    for place, record in enumerate(history):
        is_best = record["epoch"] == best
        if not (place < _ENDS or place >= len(history) - _ENDS or is_best):
            continue
        if left := place - shown - 1:
            text = f"{pluralize(left, 'epoch')} left out"
            rows.append(f'<td colspan="{len(keys)}" style="text-align:center"><em>{text}</em></td>')
        cells = [_text(key, record.get(key)) for key in keys]
        if is_best:
            cells = [f"<strong>{cell}</strong>" for cell in (f"best: {cells[0]}", *cells[1:])]
        rows.append("".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells))
        shown = place
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _text(key: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.2%}" if key.endswith("accuracy") else f"{value:.4g}"
    return escape(str(value))


def _drawing(history: Sequence[Record], best: int | None) -> str:
    """Return the curves of the training and the validation loss."""
    train = "train_loss" if _finite(history[0].get("train_loss")) else "loss"
    thinned = [*history[: -1 : 1 + len(history) // _POINTS], history[-1]]
    values = [r[key] for r in thinned for key in (train, "validation_loss") if _finite(r.get(key))]
    if len(history) < 2 or not values:
        return ""
    low, high = min(values), max(values)
    first, last = history[0]["epoch"], history[-1]["epoch"]

    def place(record: Record, key: str) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - 8) * (record["epoch"] - first) / max(1, last - first)
        return x, 8 + (_HEIGHT - 34) * (high - record[key]) / ((high - low) or 1.0)

    drawn, foot = [], f'y="{_HEIGHT - 6}"'
    for key, name, look, x in (
        (train, "training loss", 'stroke="currentColor"', 160),
        ("validation_loss", "validation loss", f'stroke="{_ORANGE}" stroke-dasharray="6 3"', 290),
    ):
        path = _path([place(r, key) if _finite(r.get(key)) else None for r in thinned])
        if path:
            drawn.append(f'<path d="{path}" {look}/><path d="M{x} {_HEIGHT - 10}h20" {look}/>')
            drawn.append(_label(x + 26, foot, name))
    marked = [r for r in history if r["epoch"] == best and _finite(r.get("validation_loss"))]
    for record in marked:
        cx, cy = place(record, "validation_loss")
        drawn.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="4" stroke="{_ORANGE}"/>')
    drawn += [
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
        f"{axes}{''.join(drawn)}</svg>"
    )


def _path(points: list[tuple[float, float] | None]) -> str:
    """Return a line through points that breaks where one is missing."""
    parts, begun = [], False
    for point in points:
        if point is not None:
            # h0 makes a dot, which shows a point that has a gap on both sides.
            parts.append(f"{'L' if begun else 'M'}{point[0]:.1f} {point[1]:.1f}h0")
        begun = point is not None
    return "".join(parts)


def _label(x: float, attributes: str, text: str) -> str:
    return f'<text x="{x}" {attributes} fill="currentColor">{escape(text)}</text>'
