"""``backprop-xp evaluate``: measure a trained model on a data set."""

from __future__ import annotations

from typing import Any

import click

from backprop_xp.cli.options import add_options, model_options, open_model, option, output_options
from backprop_xp.cli.output import Output

data_arguments = add_options(
    click.argument("model"),
    click.argument("data"),
    option(
        "--split",
        default="test",
        show_default=True,
        type=click.Choice(["train", "validation", "test"]),
        help="The split of a data set that has splits.",
    ),
)
"""The model, the data, and the split of the data."""


@click.command()
@data_arguments
@model_options
@output_options
def command(
    model: str, data: str, device: str, backend: str | None, console: Output, **data_options: Any
) -> None:
    """Measure MODEL (a model.safetensors) on DATA, as described for 'train'."""
    from backprop_xp.runs.run import read_rows

    loaded = open_model(model, device, backend, console)
    inputs, targets = read_rows(loaded, data, **data_options)
    measured = loaded.evaluate(inputs, targets)
    placed = {"backend": loaded.placement.backend, "device": loaded.placement.name}
    console.result({"model": model, "data": data, **placed, **measured})
    if "accuracy" in measured:
        console.line(
            f"accuracy {measured['accuracy']:.2%} ({measured['correct']:,} of "
            f"{measured['count']:,}), loss {measured['loss']:.6g}"
        )
    else:
        console.line(f"loss {measured['loss']:.6g} on {measured['count']:,} rows")
