"""``backprop-xp predict``: print or write the prediction of a trained model for each row."""

from __future__ import annotations

import os
from typing import Any

import click

from backprop_xp.cli.evaluate import data_arguments
from backprop_xp.cli.help import Command
from backprop_xp.cli.options import (
    model_options,
    open_model,
    out_option,
    output_options,
    plain_option,
    take_format,
)
from backprop_xp.cli.output import Output


@click.command(
    cls=Command,
    examples=(
        ("predict runs/digits digits", "print the digits"),
        ("predict runs/iris new.csv -o predicted.csv", "write a table"),
        ("predict runs/iris new.csv --outputs", "with probabilities"),
    ),
)
@data_arguments
@plain_option(
    "--outputs",
    group="Output",
    is_flag=True,
    help="Print the outputs too: probabilities, for softmax.",
)
@out_option("FILE", "Write a .csv (or .tsv) with a header and a line for each row.")
@plain_option(
    "--probabilities",
    group="Output",
    is_flag=True,
    help="With --out: a column with the probability of each class.",
)
@plain_option(
    "--keep-columns",
    group="Output",
    is_flag=True,
    help="With --out: the columns of DATA come first.",
)
@model_options
@output_options
def command(
    model: str,
    data: str,
    outputs: bool,
    out: str | None,
    probabilities: bool,
    keep_columns: bool,
    device: str,
    backend: str | None,
    console: Output,
    **data_options: Any,
) -> None:
    """Predict each row of DATA with MODEL, one line for each; a regression prints numbers.

    MODEL is a model.safetensors, or the folder of a run.
    """
    from backprop_xp.formatting import pluralize, printable
    from backprop_xp.runs.predictions import write_predictions

    if out is None and (probabilities or keep_columns):
        raise click.UsageError("--probabilities and --keep-columns need --out FILE")
    if out and os.path.exists(out) and os.path.exists(data) and os.path.samefile(out, data):
        raise click.UsageError(f"--out {out} would replace the data: name another file")
    table_format = take_format(data_options)
    loaded = open_model(model, device, backend, console)
    values = loaded.outputs(loaded.read(data, table_format=table_format, **data_options).inputs)
    predictions, rows = loaded.names(values), values.tolist()
    if out is not None:
        write_predictions(
            out,
            loaded,
            values,
            probabilities=probabilities,
            keep=data if keep_columns else None,
            table_format=table_format,
        )
    console.result(
        {
            "model": model,
            "data": data,
            "backend": loaded.placement.backend,
            "device": loaded.placement.name,
            "classes": loaded.classes,
            "predictions": predictions,
            **({"outputs": rows} if outputs else {}),
            **({"out": out} if out else {}),
        }
    )
    if out is not None:
        console.line(f"{pluralize(len(rows), 'prediction')} in {out}")
        return
    for prediction, row in zip(predictions, rows, strict=True):
        # Prices of a million and timestamps need more digits than probabilities.
        numbers = [f"{value:.10g}" if abs(value) >= 1e5 else f"{value:.6g}" for value in row]
        if loaded.classes is None:
            console.line("\t".join(numbers))
        else:
            name = printable(prediction)  # a tab separates the columns
            console.line("\t".join([name, *numbers] if outputs else [name]))
