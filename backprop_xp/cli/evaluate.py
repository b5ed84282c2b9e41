"""``backprop-xp evaluate``: measure a trained model on a data set."""

from __future__ import annotations

from typing import Any

import click

from backprop_xp.cli.help import Command
from backprop_xp.cli.options import (
    add_options,
    data_argument,
    model_argument,
    model_options,
    open_model,
    option,
    output_options,
    take_format,
)
from backprop_xp.cli.output import Output

data_arguments = add_options(
    model_argument,
    data_argument,
    option(
        "--split",
        group="Data",
        default="test",
        show_default=True,
        type=click.Choice(["train", "validation", "test"]),
        help="The split of a data set that has splits.",
    ),
)
"""The model, the data, and the split of the data."""

_CLASSES_SHOWN, _CONFUSION_SHOWN = 100, 12


@click.command(
    cls=Command,
    examples=(
        ("evaluate runs/digits digits", "the test rows"),
        ("evaluate runs/iris new.csv", "a table with labels"),
        ("evaluate runs/digits digits --split train", "the training rows"),
    ),
)
@data_arguments
@model_options
@output_options
def command(
    model: str, data: str, device: str, backend: str | None, console: Output, **data_options: Any
) -> None:
    """Measure MODEL (a model.safetensors, or the folder of a run) on DATA, as for 'train'."""
    table_format = take_format(data_options)
    loaded = open_model(model, device, backend, console)
    rows = loaded.read(data, labeled=True, table_format=table_format, **data_options)
    measured = loaded.measure(rows.inputs, rows.targets, by_class=True)
    placed = {"backend": loaded.placement.backend, "device": loaded.placement.name}
    console.result({"model": model, "data": data, **placed, **measured})
    show_metrics(measured, console)


def show_metrics(measured: dict[str, Any], console: Output) -> None:
    """Print the metrics of `Model.evaluate`: a line, and a table of the classes or targets."""
    from backprop_xp.formatting import pluralize
    from backprop_xp.runs.outcome import in_words

    several = len(measured.get("targets", ())) > 1
    if several:
        console.line(f"loss {measured['loss']:.6g}, summed over the standardized targets")
    else:
        console.line(f"{in_words(measured)}, loss {measured['loss']:.6g}")
    if "targets" in measured:
        if several:
            table = [
                (row["name"], _number(row["r2"]), f"{row['mae']:.6g}", f"{row['rmse']:.6g}")
                for row in measured["targets"]
            ]
            console.table(("target", "R²", "MAE", "RMSE"), table)
        return
    classes = measured["classes"]
    if len(classes) > _CLASSES_SHOWN:
        console.line(f"the figures of {pluralize(len(classes), 'class')} are printed by --json")
        return
    console.line()
    figures = ("precision", "recall", "f1", "roc_auc", "average_precision")
    rows: list[tuple[str, ...]] = [
        (row["name"], f"{row['support']:,}", *(_number(row[name]) for name in figures))
        for row in classes
    ]
    for mean in ("macro", "weighted"):
        figure = measured[mean]
        rows.append((f"{mean} mean", "", *(_number(figure[name]) for name in figures)))
    console.table(
        ("class", "rows", "precision", "recall", "F1", "ROC AUC", "average precision"), rows
    )
    if len(classes) <= _CONFUSION_SHOWN:
        console.line()
        names = [row["name"] for row in classes]
        counts = zip(names, measured["confusion"], strict=True)
        console.table(
            ("true class", *(f"as {name}" for name in names)),
            [(name, *(f"{count:,}" for count in row)) for name, row in counts],
        )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
