"""``backprop-xp predict``: print the prediction of a trained model for each row."""

from __future__ import annotations

from typing import Any

import click

from backprop_xp.cli.evaluate import data_arguments
from backprop_xp.cli.options import model_options, open_model, output_options
from backprop_xp.cli.output import Output


@click.command()
@data_arguments
@click.option("--outputs", is_flag=True, help="Print the outputs too: probabilities, for softmax.")
@model_options
@output_options
def command(
    model: str,
    data: str,
    outputs: bool,
    device: str,
    backend: str | None,
    console: Output,
    **data_options: Any,
) -> None:
    """Predict each row of DATA with MODEL, one line for each; a regression prints numbers."""
    from backprop_xp.runs.run import read_rows

    loaded = open_model(model, device, backend, console)
    inputs, _ = read_rows(loaded, data, labeled=False, **data_options)
    values = loaded.outputs(inputs)
    predictions, rows = loaded.names(values), values.tolist()
    console.result(
        {
            "model": model,
            "data": data,
            "backend": loaded.placement.backend,
            "device": loaded.placement.name,
            "classes": loaded.classes,
            "predictions": predictions,
            **({"outputs": rows} if outputs else {}),
        }
    )
    for prediction, row in zip(predictions, rows, strict=True):
        numbers = [f"{value:.6g}" for value in row]
        if loaded.classes is None:
            console.line("\t".join(numbers))
        else:
            console.line("\t".join([prediction, *numbers] if outputs else [prediction]))
