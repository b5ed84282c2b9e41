"""``backprop-xp evaluate``: measure a trained model on a data set."""

from __future__ import annotations

from typing import Any

import click

from backprop_xp.cli.options import device_options, option, output_options
from backprop_xp.cli.output import print_json, say


def data_options(command: Any) -> Any:
    """Add the model, the data and how to read it."""
    for add in (
        option("--label", metavar="COLUMN", help="The label column of a .csv."),
        option("--data-dir", metavar="DIR", help="Folder of the MNIST files."),
        option(
            "--split",
            default="test",
            show_default=True,
            type=click.Choice(["train", "validation", "test"]),
            help="Which part of a set that has parts.",
        ),
        click.argument("data"),
        click.argument("model"),
    ):
        command = add(command)
    return command


def open_model(path: str, device: str, backend: str | None, quiet: bool) -> Any:
    """Return the model of a file, on the device that was asked for."""
    from backprop_xp.backend.devices import select
    from backprop_xp.models.model_file import load_model

    model = load_model(path)
    placement = select(device, backend, dtype=model.dtype)
    if not quiet:
        say(placement.note)
    return model.to(placement)


@click.command()
@data_options
@device_options()
@output_options
def command(
    model: str,
    data: str,
    split: str,
    data_dir: str | None,
    label: str | None,
    device: str,
    backend: str | None,
    json: bool,
    quiet: bool,
    debug: bool,
) -> None:
    """Measure MODEL (a model.safetensors) on DATA, as described for 'train'."""
    from backprop_xp.runs.run import read_rows

    loaded = open_model(model, device, backend, quiet)
    inputs, targets = read_rows(loaded, data, split=split, data_dir=data_dir, label=label)
    measured = loaded.evaluate(inputs, targets)
    if json:
        placed = {"backend": loaded.placement.backend, "device": loaded.placement.name}
        print_json("evaluate", {"model": model, "data": data, **placed, **measured})
    elif "accuracy" in measured:
        click.echo(
            f"accuracy {measured['accuracy']:.2%} ({measured['correct']:,} of "
            f"{measured['count']:,}), loss {measured['loss']:.6g}"
        )
    else:
        click.echo(f"loss {measured['loss']:.6g} on {measured['count']:,} rows")
