"""The history of a training run, and how a notebook shows it: a chart of the losses and a table.

What a notebook shows is plain HTML and SVG in the colors of its theme.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any, overload

from backprop_xp.formatting import pluralize

Record = dict[str, Any]

_HIDDEN = {"step", "layers"}
_TITLES = {
    "loss": "loss during the epoch",
    "accuracy": "accuracy during the epoch",
    "train_loss": "loss, complete training set",
    "train_accuracy": "accuracy, complete training set",
}
_ENDS = 10  # rows shown at the beginning and at the end
_POINTS = 500  # the most that a curve of this width can show
_WIDTH, _HEIGHT, _LEFT = 480, 130, 64
_TITLE = "text-align:right;padding:2px 8px"
_CELL = f"{_TITLE};white-space:nowrap"
_ORANGE = "#c96a00"  # contrast of 3 to 1 or better on white and on black


class History(Sequence[Record]):
    """The records of a training run, one for each epoch; it never changes.

    `after` returns a longer history, which shares its records with the shorter one: the time that
    an epoch takes and the memory that it needs do not depend on the epochs before it.

    Parameters
    ----------
    records : iterable of dict

    Examples
    --------
    >>> first = History([{"epoch": 1, "loss": 0.5}])
    >>> second = first.after({"epoch": 2, "loss": 0.25})
    >>> len(first), len(second), second[-1]["loss"], second[:1] == first
    (1, 2, 0.25, True)
    """

    __slots__ = ("_length", "_records")

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._records = list(records)
        self._length = len(self._records)

    @classmethod
    def of(cls, records: Iterable[Record]) -> History:
        """Return records as a history; a history itself is returned unchanged."""
        return records if isinstance(records, History) else cls(records)

    def after(self, record: Record) -> History:
        """Return the history after one more epoch."""
        records, length = self._records, self._length
        if len(records) == length:
            records.append(record)
        if len(records) <= length or records[length] is not record:
            # Another run continued from the same epoch, perhaps at the same time in another thread.
            records = [*records[:length], record]
        longer = History()
        longer._records, longer._length = records, length + 1
        return longer

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Record, ...]: ...
    def __getitem__(self, index: int | slice) -> Record | tuple[Record, ...]:
        places = range(self._length)[index]
        if isinstance(places, int):
            return self._records[places]
        return tuple(self._records[place] for place in places)

    def __iter__(self) -> Iterator[Record]:
        return iter(self[:])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (History, tuple)) and self[:] == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"History({list(self)!r})"

    def _repr_html_(self) -> str:
        """Return the history as a notebook shows it."""
        return as_html(self, pluralize(len(self), "epoch"))

    def __reduce__(self) -> tuple[Any, ...]:
        return History, (list(self),)


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
    titles = [escape(_TITLES.get(key) or key.replace("_", " ")) for key in keys]
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
    during = "training loss during the epoch" if train == "loss" else "training loss"
    for key, name, stroke, x in (
        (train, during, 'stroke="currentColor"', 130),
        ("validation_loss", "validation loss", f'stroke="{_ORANGE}" stroke-dasharray="6 3"', 340),
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
