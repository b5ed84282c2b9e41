"""``backprop-xp summary``: show a trained model layer by layer."""

from __future__ import annotations

import click

from backprop_xp.cli.help import Command
from backprop_xp.cli.options import model_argument, output_options
from backprop_xp.cli.output import Output


@click.command(
    cls=Command,
    examples=(
        ("summary runs/iris", "the model of a run"),
        ("summary model.safetensors --json", "a model file, for programs"),
    ),
)
@model_argument
@output_options
def command(model: str, console: Output) -> None:
    """Show MODEL, a model.safetensors or the folder of a run: its layers, inputs, classes, loss
    and origin."""
    from backprop_xp.models.model import load_model
    from backprop_xp.models.summary import describe, in_words

    description = describe(load_model(model))
    console.result({"model": model, **description})
    for line in in_words(description).split("\n"):
        console.line(line)
