"""``backprop-xp trace``: show every number of one training step."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import click

from backprop_xp.cli.help import Command
from backprop_xp.cli.options import (
    File,
    Name,
    model_options,
    model_path,
    open_model,
    output_options,
    plain_option,
    take_format,
    use_device,
)
from backprop_xp.cli.output import Output
from backprop_xp.cli.settings import Numbers
from backprop_xp.data.dataset import NAMED
from backprop_xp.errors import ConfigurationError
from backprop_xp.nn.optimizers import OPTIMIZERS
from backprop_xp.trace.examples import EXAMPLES

if TYPE_CHECKING:
    from backprop_xp.trace.examples import Example
    from backprop_xp.trace.step_trace import Trace


@click.command(
    cls=Command,
    examples=(
        ("trace note-000", "a worked example"),
        ("trace xor --html xor.html", "as a web page"),
        ("trace --model runs/a --data digits --sample 7", "a row of data"),
    ),
)
@click.argument("source", required=False, type=File(EXAMPLES))
@plain_option(
    "--model",
    group="Data",
    metavar="FILE",
    type=File(),
    help="A model.safetensors or run folder, instead of SOURCE.",
)
@plain_option(
    "--data",
    group="Data",
    metavar="DATA",
    type=File(NAMED),
    help="With --model: the data set with the samples, as for 'train'.",
)
@plain_option(
    "--sample",
    group="Data",
    metavar="NUMBERS",
    type=Numbers(int, "7,8"),
    help="With --model: the sample, counted from 0, or several: 7,8. By default 0.",
)
@plain_option(
    "--split",
    "--part",
    group="Data",
    type=click.Choice(["train", "validation", "test"]),
    help="With --model: the split of a data set that has splits; by default test.",
)
@plain_option(
    "--optimizer",
    group="Training",
    type=Name(OPTIMIZERS),
    help="Instead of that of the source.",
)
@plain_option(
    "--learning-rate", group="Training", type=float, help="Instead of that of the source."
)
@plain_option("--latex", group="Output", is_flag=True, help="Print a LaTeX document.")
@plain_option(
    "--html", group="Output", metavar="FILE", type=File(), help="Write a page for a web browser."
)
@model_options
@output_options
def command(
    source: str | None,
    model: str | None,
    data: str | None,
    sample: tuple[int, ...] | None,
    split: str | None,
    optimizer: str | None,
    learning_rate: float | None,
    latex: bool,
    html: str | None,
    device: str,
    backend: str | None,
    console: Output,
    **data_options: Any,
) -> None:
    """Compute one training step and show every number of it.

    SOURCE is a worked example (note-000, note-001, xor) or a custom .toml file in the format that
    note-000.toml in the package explains. With --model, the step is that of a saved model on
    samples of a data set, with the optimizer, learning rate and penalty of its training run if
    config.toml is beside the model, otherwise by gradient descent. It is always the first step:
    the optimizer's state starts at zero.
    """
    if console.json and latex:
        raise click.UsageError("--json and --latex both print on stdout: give one of them")
    if html == "-":
        raise click.UsageError("--html needs the name of a file: the page is not printed")
    needing_model = {"--model": model, "--data": data, "--sample": sample, "--split": split}
    given = [name for name, value in needing_model.items() if value is not None]
    if source is not None and given:
        raise click.UsageError(f"{given[0]} and the source {source} exclude each other")
    if model is None and given:
        raise click.UsageError(f"{given[0]} needs --model: the file to take the network from")
    table_format = take_format(data_options)
    if model is not None:
        if data is None:
            raise click.UsageError("--model needs --data: the data set to take the sample from")
        from backprop_xp.trace.saved_model import trace_samples

        trace = trace_samples(
            open_model(model, device, backend, console),
            model_path(model),
            data,
            (0,) if sample is None else sample,
            split=split,
            optimizer=optimizer,
            learning_rate=learning_rate,
            table_format=table_format,
            **data_options,
        )
    else:
        example = _example(source, optimizer, learning_rate)
        trace = example.trace(use_device(device, backend, console, example.dtype))
    if html is not None:
        from backprop_xp.files import atomic_write
        from backprop_xp.trace.page import trace_page

        page = trace_page(trace).encode()
        atomic_write(html, lambda file: file.write(page))
        console.note(f"the page is in {html}")
    if console.json:
        console.result(trace.as_data())
    elif latex:
        from backprop_xp.trace.latex import latex_document

        for line in latex_document(trace).rstrip("\n").split("\n"):
            console.line(line)
    elif html is None:
        _print_tables(trace, console)


def _example(source: str | None, optimizer: str | None, learning_rate: float | None) -> Example:
    from backprop_xp.nn.optimizers import get_optimizer
    from backprop_xp.trace.examples import read_example

    if source is None:
        raise ConfigurationError(
            "there is nothing to trace",
            f"name a worked example ({', '.join(EXAMPLES)}), a custom .toml file, or "
            "--model runs/a/model.safetensors --data digits --sample 7",
        )
    example = read_example(source)
    if optimizer is not None:
        rule = get_optimizer(optimizer)
        example = example._replace(optimizer=rule, learning_rate=rule.learning_rate)
    return example if learning_rate is None else example._replace(learning_rate=learning_rate)


def _print_tables(trace: Trace, console: Output) -> None:
    from backprop_xp.trace.table import headline, tables

    data = trace.as_data()
    for text in [data["title"] or "one training step", *headline(data)]:
        for line in textwrap.wrap(text, 79, subsequent_indent="  "):
            console.line(line)
    for text, columns, rows in tables(data):
        console.line()
        for line in textwrap.wrap(text, 79):
            console.line(line)
        if rows:
            console.table(columns, rows)
