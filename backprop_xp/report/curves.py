"""The curves of a training run: loss, accuracy, learning rate and statistics of its layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from backprop_xp.report.charts import INK, color, dash, draw
from backprop_xp.report.text import number, percent, training_figures
from backprop_xp.runs.reader import StoredRun


class Line(NamedTuple):
    """Values by epoch, and the indices of the color and the dash pattern of their line."""

    name: str
    color: int
    dash: int
    epochs: list[int]
    values: list[float]


class Figure(NamedTuple):
    """A chart with its title, legend and note. The legend holds the name of each line, and the
    indices of its color and its dash pattern."""

    title: str
    svg: str
    legend: list[tuple[str, int, int]]
    note: str = ""


LAYERS = 64
"""The largest number of layers whose statistics are drawn."""

_MARKED = 500  # points of a line; more of them would cover it, and fill the page

_MEASURES = (("loss", "Loss", number), ("accuracy", "Accuracy", percent))


def training_curves(run: StoredRun) -> list[Figure]:
    """Return charts of loss, accuracy and learning rate, as far as the history has them."""
    history, figures = run.history, []
    for key, title, shown in _MEASURES:
        validation = f"validation_{key}"
        complete = any(f"train_{key}" in record for record in history)
        lines = _line("training", 0, 1, history, f"train_{key}" if complete else key)
        note = f"training: {training_figures(run, complete=complete)}" if lines else ""
        lines += _line("validation", 1, 0, history, validation)
        best = run.best if run.best is not None and validation in run.best else None
        if lines:
            figures.append(_by_epoch(title, key, lines, shown, best, note))
    rates = _line("learning rate", 2, 0, history, "learning_rate")
    if rates and len(set(rates[0].values)) > 1:
        figures.append(_by_epoch("Learning rate", "rate", rates, number, None))
    return figures


def _by_epoch(
    title: str,
    key: str,
    lines: list[Line],
    shown: Callable[[float], str],
    best: dict[str, Any] | None,
    note: str = "",
) -> Figure:
    described = [
        f"{name} {shown(values[0])} at epoch {epochs[0]}, {shown(values[-1])} at epoch {epochs[-1]}"
        for name, _, _, epochs, values in lines
    ]
    if best is None:
        return _figure(title, key, lines, shown, described, note)
    epoch, value = best["epoch"], best[f"validation_{key}"]
    described.append(f"best epoch on the validation set {epoch}")

    def mark(axes: Any) -> None:
        axes.axvline(epoch, color=INK, linewidth=0.8, linestyle=dash(2))
        axes.plot([epoch], [value], color=color(1), marker="o", markersize=5)
        early = epoch < (lines[0].epochs[-1] + 1) / 2
        low = key == "accuracy"  # where the curves are not
        axes.annotate(
            f"best: epoch {epoch}",
            (epoch, 0.0 if low else 1.0),
            (4 if early else -4, 3 if low else -3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="bottom" if low else "top",
            ha="left" if early else "right",
        )

    return _figure(title, key, lines, shown, described, note, mark)


def layer_curves(run: StoredRun) -> list[Figure]:
    """Return charts of the statistics from `backprop_xp.training.layer_statistics`."""
    measured = [record for record in run.history if record["layers"]]
    names = {
        "gradient": ("Gradient norm", "of the weights and biases of each layer", number),
        "saturated": ("Saturated activations", "on a flat part of their function", percent),
        "dead": ("Dead units", "which pass back no error for any sample", percent),
    }
    figures = []
    for key, (title, note, shown) in names.items():
        layers = max((len(record["layers"]) for record in measured), default=0)
        if layers > LAYERS:
            layers, note = LAYERS, f"{note}; the first {LAYERS} layers"
        lines: list[Line] = []
        for index in range(layers):
            records = [
                {"epoch": record["epoch"], **record["layers"][index]}
                for record in measured
                if index < len(record["layers"])
            ]
            lines += _line(f"layer {index + 1}", len(lines), len(lines) % 2, records, key)
        if any(any(line.values) for line in lines):
            described = [
                f"{line.name} {shown(line.values[0])} at first, {shown(line.values[-1])} at last"
                for line in lines
            ]
            figures.append(_figure(title, f"layers-{key}", lines, shown, described, note))
    return figures


def compared_curves(runs: Sequence[StoredRun], names: Sequence[str]) -> list[Figure]:
    """Return charts of loss and accuracy with a curve for each run: on the validation set, or on
    the training set for a run without one."""
    figures = []
    words = {
        "validation_": "on the validation set",
        "train_": "on the complete training set",
        "": "on the training set during the epoch",
    }
    for key, title, shown in _MEASURES:
        lines, parts = [], set()
        for index, (run, name) in enumerate(zip(runs, names, strict=True)):
            for part in words:
                if line := _line(name, index, index, run.history, f"{part}{key}"):
                    lines += line
                    parts.add(part)
                    break
        if lines:
            described = [
                f"{name} {shown(values[-1])} at epoch {epochs[-1]}"
                for name, _, _, epochs, values in lines
            ]
            note = " or ".join(text for part, text in words.items() if part in parts)
            figures.append(_figure(title, f"compared-{key}", lines, shown, described, note))
    return figures


def _line(
    name: str, color: int, dash: int, records: Sequence[dict[str, Any]], field: str
) -> list[Line]:
    """Return the line of a field of the records; none if no record has it."""
    known = [record for record in records if field in record]
    epochs, values = ([record[key] for record in known] for key in ("epoch", field))
    return [Line(name, color, dash, epochs, values)] if known else []


def _figure(
    title: str,
    key: str,
    lines: list[Line],
    shown: Callable[[float], str],
    described: list[str],
    note: str = "",
    mark: Callable[[Any], None] = lambda axes: None,
) -> Figure:
    """Draw lines over epochs; ``mark`` adds to the axes before their scales are set."""
    of_layers = key.startswith("layers-")

    def plot(axes: Any) -> None:
        for line in lines:
            single, few = len(line.epochs) == 1, len(line.epochs) <= _MARKED
            axes.plot(
                line.epochs,
                line.values,
                color=color(line.color),
                linestyle=dash(line.dash),
                marker="o" if single or (of_layers and few) else "",
                markersize=(4.0 if single else 2.5) if of_layers else None,
            )
        mark(axes)
        finish(axes, lines, shown, may_be_log=shown is number and key != "rate")
        if of_layers and shown is percent:
            axes.set_ylim(bottom=0.0)

    svg = draw(key, plot, label=f"{title} by epoch: {'; '.join(described)}")
    return Figure(title, svg, [line[:3] for line in lines], note)


def finish(
    axes: Any, lines: list[Line], shown: Callable[[float], str], *, may_be_log: bool
) -> None:
    """Set the scales of a chart over epochs; a scale is logarithmic if its values span decades."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    every = [value for line in lines for value in line.values]
    if may_be_log and min(every) > 0.0 and max(every) > 50.0 * min(every):
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(lambda value, position: "")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
    if shown is percent:
        low, high = axes.get_ylim()
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{round(100.0 * v, 6):g}%"))
        axes.set_ylim(top=min(high, 1.0 + 0.04 * (high - low)))
    else:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    first, last = axes.dataLim.intervalx
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    if first == last:
        axes.set_xticks([first])  # no ticks between epochs
    axes.set_xlabel("epoch")
