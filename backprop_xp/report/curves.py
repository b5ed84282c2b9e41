"""The curves of a training run: loss, accuracy, learning rate and statistics of its layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from backprop_xp.report.charts import INK, color, dash, draw
from backprop_xp.report.text import number, percent
from backprop_xp.runs.reader import StoredRun

Line = tuple[str, list[int], list[float]]
"""A name, epochs and values."""


class Figure(NamedTuple):
    """A chart with its title, legend and note.

    Attributes
    ----------
    title : str
    svg : str
    legend : list of (str, int, int)
        The name of each line, and the indices of its color and its dash pattern.
    note : str
    """

    title: str
    svg: str
    legend: list[tuple[str, int, int]]
    note: str = ""


def training_curves(run: StoredRun) -> list[Figure]:
    """Return charts of loss, accuracy and learning rate, as far as the history has them."""
    best = run.best
    figures = []
    for key, title, shown in (("loss", "Loss", number), ("accuracy", "Accuracy", percent)):
        trained = f"train_{key}"
        if key == "loss" and not any(trained in record for record in run.history):
            trained = "loss"
        named = {"training": trained, "validation": f"validation_{key}"}
        lines = [
            (name, index, _line(name, run.history, field))
            for index, (name, field) in enumerate(named.items())
        ]
        lines = [line for line in lines if line[2][1]]
        if lines:
            mark = best if best is not None and f"validation_{key}" in best else None
            figures.append(_curve(title, key, lines, shown, mark))
    rates = _line("learning rate", run.history, "learning_rate")
    if len(set(rates[2])) > 1:
        figures.append(_curve("Learning rate", "rate", [("learning rate", 2, rates)], number, None))
    return figures


def _curve(
    title: str,
    key: str,
    lines: list[tuple[str, int, Line]],
    shown: Callable[[float], str],
    best: dict[str, Any] | None,
) -> Figure:
    def plot(axes: Any) -> None:
        for name, index, (_, epochs, values) in lines:
            axes.plot(
                epochs,
                values,
                color=color(index),
                linestyle=dash(name == "training"),
                marker="o" if len(epochs) == 1 else "",
            )
        if best is not None:
            epoch, value = best["epoch"], best[f"validation_{key}"]
            axes.axvline(epoch, color=INK, linewidth=0.8, linestyle=dash(2))
            axes.plot([epoch], [value], color=color(1), marker="o", markersize=5)
            early = epoch < (lines[0][2][1][-1] + 1) / 2
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
        finish(axes, [values for _, _, (_, _, values) in lines], shown, key == "loss")

    described = [
        f"{name} {shown(values[0])} at epoch {epochs[0]}, {shown(values[-1])} at epoch {epochs[-1]}"
        for name, _, (_, epochs, values) in lines
    ]
    if best is not None:
        described.append(f"best epoch on the validation set {best['epoch']}")
    svg = draw(key, plot, label=f"{title} by epoch: {'; '.join(described)}")
    return Figure(title, svg, [(name, index, int(name == "training")) for name, index, _ in lines])


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
        lines = [
            _line(f"layer {index + 1}", [_layer(record, index) for record in measured], key)
            for index in range(layers)
        ]
        if not any(any(values) for _, _, values in lines):
            continue
        figures.append(_layers(title, key, note, lines, shown))
    return figures


def _layer(record: dict[str, Any], index: int) -> dict[str, Any]:
    layers = record["layers"]
    return {"epoch": record["epoch"], **(layers[index] if index < len(layers) else {})}


def _layers(
    title: str, key: str, note: str, lines: list[Line], shown: Callable[[float], str]
) -> Figure:
    lines = [line for line in lines if line[1]]

    def plot(axes: Any) -> None:
        for index, (_, epochs, values) in enumerate(lines):
            axes.plot(
                epochs,
                values,
                color=color(index),
                linestyle=dash(index % 2),
                marker="o",
                markersize=2.5 if len(epochs) > 1 else 4.0,
            )
        finish(axes, [values for _, _, values in lines], shown, shown is number)
        if shown is percent:
            axes.set_ylim(bottom=0.0)

    described = "; ".join(
        f"{name} {shown(values[0])} at first, {shown(values[-1])} at last"
        for name, _, values in lines
    )
    svg = draw(f"layers-{key}", plot, label=f"{title} by epoch: {described}")
    legend = [(name, index, index % 2) for index, (name, _, _) in enumerate(lines)]
    return Figure(title, svg, legend, note)


def compared_curves(runs: Sequence[StoredRun], names: Sequence[str]) -> list[Figure]:
    """Return charts of loss and accuracy with a curve for each run: on the validation set, or on
    the training set for a run without one."""
    figures = []
    for key, title, shown in (("loss", "Loss", number), ("accuracy", "Accuracy", percent)):
        lines = []
        for index, (run, name) in enumerate(zip(runs, names, strict=True)):
            for field in (f"validation_{key}", f"train_{key}"):
                line = _line(name, run.history, field)
                if line[1]:
                    lines.append((index, line, field.partition("_")[0]))
                    break
        if lines:
            figures.append(_compared(title, key, lines, shown))
    return figures


def _compared(
    title: str, key: str, lines: list[tuple[int, Line, str]], shown: Callable[[float], str]
) -> Figure:
    def plot(axes: Any) -> None:
        for index, (_, epochs, values), _ in lines:
            axes.plot(
                epochs,
                values,
                color=color(index),
                linestyle=dash(index),
                marker="o" if len(epochs) == 1 else "",
            )
        finish(axes, [values for _, (_, _, values), _ in lines], shown, key == "loss")

    described = "; ".join(
        f"{name} {shown(values[-1])} at epoch {epochs[-1]}"
        for _, (name, epochs, values), _ in lines
    )
    svg = draw(f"compared-{key}", plot, label=f"{title} by epoch: {described}")
    parts = {part for _, _, part in lines}
    words = {"train": "on the training set", "validation": "on the validation set"}
    note = " or ".join(words[part] for part in sorted(parts, reverse=True))
    return Figure(title, svg, [(line[0], index, index) for index, line, _ in lines], note)


def finish(
    axes: Any, values: Sequence[Sequence[float]], shown: Callable[[float], str], may_be_log: bool
) -> None:
    """Set the scales of a chart over epochs; a scale is logarithmic if its values span decades."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    every = [value for line in values for value in line]
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


def _line(name: str, records: Sequence[dict[str, Any]], field: str) -> Line:
    known = [record for record in records if field in record]
    return name, [record["epoch"] for record in known], [record[field] for record in known]
