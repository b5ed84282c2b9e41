"""``backprop-xp report``: one page of a training run, from its folder."""

from __future__ import annotations

import click

from backprop_xp.cli.options import output_options
from backprop_xp.cli.output import print_json, say


@click.command()
@click.argument("run")
@click.argument("more", nargs=-1, metavar="")
@click.option("--out", metavar="FILE", help="The page; by default RUN/report.html.")
@click.option(
    "--compare",
    multiple=True,
    metavar="RUN",
    help="Lay other runs beside it: --compare RUN2 RUN3 ...",
)
@output_options
def command(
    run: str,
    more: tuple[str, ...],
    out: str | None,
    compare: tuple[str, ...],
    json: bool,
    quiet: bool,
    debug: bool,
) -> None:
    """Make a page of RUN, a folder that 'train --out' has filled.

    The page is one file that asks for nothing elsewhere. The rows that went most wrong lead to
    their traces, which go into RUN/traces.
    """
    from backprop_xp.report.page import write_report
    from backprop_xp.training.history import counted

    if more and not compare:
        raise click.UsageError(f"a report is of one run: lay {more[0]} beside it with --compare")
    compare += more
    written = write_report(run, out, compare)
    if json:
        print_json(
            "report",
            {
                "run": run,
                "compared": compare,
                "status": written.status,
                "report": str(written.path),
                "traces": [str(path) for path in written.traces],
                "problems": written.problems,
            },
        )
        return
    if not quiet:
        for problem in written.problems:
            say(f"note: {problem}")
    traces = f", and {counted(len(written.traces), 'trace')}" if written.traces else ""
    click.echo(f"report in {written.path}{traces}")
