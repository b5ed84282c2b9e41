"""``backprop-xp plot``: draw activations, losses or schedules into a file."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from backprop_xp.cli.help import Command
from backprop_xp.cli.options import Name, out_option, output_options
from backprop_xp.cli.output import Output
from backprop_xp.report.function_plots import KINDS, plot, save


def _complete(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem | str]:
    kind = KINDS.get(ctx.params.get("kind", ""))
    return [] if kind is None else [n for n in kind.records if n.startswith(incomplete)]


@click.command(
    cls=Command,
    examples=(
        ("plot activations", "all of them"),
        ("plot activations relu gelu -o gelu.svg", "two of them"),
        ("plot schedules", "learning rates"),
    ),
)
@click.argument("kind", type=Name(KINDS))
@click.argument("names", nargs=-1, shell_complete=_complete)
@out_option("FILE", "A .png or .svg; by default KIND.png, in this folder.")
@output_options
def command(kind: str, names: tuple[str, ...], out: str | None, console: Output) -> None:
    """Draw activations, losses or schedules: the NAMES given, or all of them.

    Functions are drawn with their derivatives, as the package computes them.
    """
    figure = plot(kind, names)
    path = f"{kind}.png" if out is None else out
    format_ = save(figure, path)
    names = names or tuple(KINDS[kind].records)
    console.result({"kind": kind, "names": names, "path": path, "format": format_})
    console.line(f"{kind} drawn in {path}")
