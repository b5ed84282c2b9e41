"""``backprop-xp export``: write a trained model for another program."""

from __future__ import annotations

import os

import click

from backprop_xp.cli.help import Command
from backprop_xp.cli.options import (
    model_argument,
    model_path,
    out_option,
    output_options,
    plain_option,
)
from backprop_xp.cli.output import Output
from backprop_xp.exchange.export import FORMATS


@click.command(
    cls=Command,
    examples=(
        ("export runs/iris --format onnx -o iris.onnx", "for ONNX"),
        ("export runs/iris --format torch -o iris.safetensors", "for PyTorch"),
    ),
)
@model_argument
@plain_option(
    "--format",
    "file_format",
    group="Output",
    required=True,
    type=click.Choice(list(FORMATS)),
    help="onnx: takes raw rows and returns predictions (opset 17, IR version 8; needs the package "
    "onnx). torch: the weights as a state dict for nn.Sequential, without preprocessing. numpy: "
    "all arrays, for numpy.load.",
)
@out_option(
    "FILE", "The file to write: .onnx, .safetensors (torch) or .npz (numpy).", required=True
)
@output_options
def command(model: str, file_format: str, out: str, console: Output) -> None:
    """Write MODEL, a model.safetensors or the folder of a run, for another program.

    An ONNX model has the input X, with the columns of the training data in their order, or one
    input for each column if some have text. Its outputs have the names that sklearn-onnx uses:
    label and probabilities, or variable for a regression.

    A state dict has the names 0.weight, 0.bias, 2.weight, ... In Python,
    backprop_xp.from_torch_state reads it, and those of other networks of nn.Linear layers.
    """
    from backprop_xp.exchange.export import export_model
    from backprop_xp.models.model import load_model

    path = model_path(model)
    if os.path.exists(out) and os.path.exists(path) and os.path.samefile(out, path):
        raise click.UsageError(f"--out {out} would replace the model: name another file")
    written = export_model(load_model(path), out, file_format)
    console.result({"model": model, "format": file_format, "out": out, **written})
    if not console.json:
        for note in written["notes"]:
            console.note(f"note: {note}")
    if file_format == "onnx":
        console.line(f"{out}: ONNX of opset {written['opset']}, IR version {written['ir_version']}")
        rows = [
            (kind, value["name"], value["type"], _shape(value["shape"]))
            for kind, values in (("input", written["inputs"]), ("output", written["outputs"]))
            for value in values
        ]
        console.table(("", "name", "type", "shape"), rows)
    elif file_format == "torch":
        console.line(f"{out}: {', '.join(written['tensors'])}")
        if written["module"]:
            console.line(f"load_state_dict of this module takes it: {written['module']}")
    else:
        console.line(f"{out}: {', '.join(written['arrays'])}")


def _shape(shape: list[int | None]) -> str:
    return str(tuple("N" if size is None else size for size in shape)).replace("'N'", "N")
