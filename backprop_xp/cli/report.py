"""``backprop-xp report``: one page of a training run, from its folder."""

from __future__ import annotations

import click

from backprop_xp.cli.help import Command
from backprop_xp.cli.options import File, out_option, output_options, plain_option
from backprop_xp.cli.output import Output


@click.command(
    cls=Command,
    examples=(
        ("report runs/a", "writes runs/a/report.html"),
        ("report runs/a --compare runs/b runs/c", "beside other runs"),
    ),
)
@click.argument("run", type=File(folder=True))
@click.argument("more", nargs=-1, metavar="", type=File(folder=True))
@out_option("FILE", "The page; by default RUN/report.html.")
@plain_option(
    "--compare",
    multiple=True,
    metavar="RUN",
    type=File(folder=True),
    help="Compare it with other runs: --compare RUN2 RUN3 ...",
)
@output_options
def command(
    run: str,
    more: tuple[str, ...],
    out: str | None,
    compare: tuple[str, ...],
    console: Output,
) -> None:
    """Make a page of RUN, a folder that 'train --out' has written.

    The page is one file that loads nothing else. The rows with the worst errors link to their
    traces, which are written to RUN/traces.
    """
    from backprop_xp.formatting import pluralize
    from backprop_xp.report.page import write_report

    if more and not compare:
        raise click.UsageError(f"a report is of one run: lay {more[0]} beside it with --compare")
    compare += more
    written = write_report(run, out, compare)
    console.result(
        {
            "run": run,
            "compared": compare,
            "status": written.status,
            "report": str(written.path),
            "traces": [str(path) for path in written.traces],
            "problems": written.problems,
            "notes": written.notes,
        }
    )
    if not console.json:
        for text in (*written.problems, *written.notes):
            console.note(f"note: {text}")
    traces = f", and {pluralize(len(written.traces), 'trace')}" if written.traces else ""
    console.line(f"report in {written.path}{traces}")
