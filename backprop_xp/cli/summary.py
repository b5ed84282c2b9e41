"""``backprop-xp summary``: show a trained model layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from backprop_xp.cli.options import output_options
from backprop_xp.cli.output import Output

_NAMES_SHOWN = 12


@click.command()
@click.argument("model")
@output_options
def command(model: str, console: Output) -> None:
    """Show MODEL (a model.safetensors): its layers, inputs, classes, loss and origin."""
    from backprop_xp.models.model_file import load_model
    from backprop_xp.models.summary import describe
    from backprop_xp.nn.losses import LOSSES

    description = describe(load_model(model))
    console.result({"model": model, **description})
    width = max(len("parameters"), len(f"{description['bytes']:,}"))
    rows = [
        (
            *(layer["name"], layer["activation"], f"{layer['shape'][0]} x {layer['shape'][1]}"),
            f"{layer['biases']:>6}",
            *(f"{layer[key]:>{width},}" for key in ("parameters", "bytes")),
        )
        for layer in description["layers"]
    ]
    total = (f"{description[key]:>{width},}" for key in ("parameters", "bytes"))
    titles = ("layer", "activation", "weights", "biases", "parameters".rjust(width))
    console.table((*titles, "bytes".rjust(width)), [*rows, ("total", "", "", "", *total)])
    console.line()
    classes = description["classes"]
    for key, text in (
        ("inputs", _inputs(description["inputs"])),
        ("scaling", description["scaling"]),
        ("classes", "none: a regression" if classes is None else _listed(classes)),
        ("loss", f"{description['loss']}: {LOSSES[description['loss']].formula}"),
        ("data type", description["dtype"]),
        ("seed", str(description["seed"])),
        ("version", _printable(description["version"])),
    ):
        console.line(f"{key:<9}  {text}")


def _inputs(inputs: dict[str, Any]) -> str:
    if inputs["image_shape"] is not None:
        height, width = inputs["image_shape"]
        return f"{inputs['number']}: images of {height} x {width} pixels"
    if inputs["features"] is not None:
        return _listed(inputs["features"])
    return f"{inputs['number']} numbers"


def _listed(names: Sequence[str]) -> str:
    shown = [_printable(name) for name in names[:_NAMES_SHOWN]]
    left = len(names) - len(shown)
    return f"{len(names)}: {', '.join(shown)}" + (f" and {left} more" if left else "")


def _printable(text: str) -> str:
    """Return text from a file without control characters that a terminal would obey."""
    return text if text.isprintable() else repr(text)
