"""``backprop-xp predict``: print what a trained model says of each row."""

from __future__ import annotations

import click

from backprop_xp.cli.evaluate import data_options, open_model
from backprop_xp.cli.options import device_options, output_options
from backprop_xp.cli.output import print_json


@click.command()
@data_options
@click.option("--outputs", is_flag=True, help="Print the outputs too: probabilities, for softmax.")
@device_options()
@output_options
def command(
    model: str,
    data: str,
    split: str,
    data_dir: str | None,
    label: str | None,
    outputs: bool,
    device: str,
    backend: str | None,
    json: bool,
    quiet: bool,
    debug: bool,
) -> None:
    """Predict each row of DATA with MODEL, one line a row; a regression prints numbers."""
    from backprop_xp.runs.run import read_rows

    loaded = open_model(model, device, backend, quiet)
    inputs, _ = read_rows(loaded, data, split=split, data_dir=data_dir, label=label, labelled=False)
    values = loaded.outputs(inputs)
    predictions = loaded.names(values)
    if json:
        fields = {"outputs": values.tolist()} if outputs else {}
        print_json(
            "predict",
            {
                "model": model,
                "data": data,
                "backend": loaded.placement.backend,
                "device": loaded.placement.name,
                "classes": loaded.classes,
                "predictions": predictions,
                **fields,
            },
        )
        return
    for prediction, row in zip(predictions, values.tolist(), strict=True):
        numbers = [f"{value:.6g}" for value in row]
        if loaded.classes is None:
            click.echo("\t".join(numbers))
        else:
            click.echo("\t".join([prediction, *numbers] if outputs else [prediction]))
