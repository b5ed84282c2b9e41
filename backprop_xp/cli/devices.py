"""``backprop-xp devices``: which backends and devices there are, and why not others."""

from __future__ import annotations

import click

from backprop_xp.cli.options import output_options
from backprop_xp.cli.output import print_json


@click.command()
@output_options
def command(json: bool, quiet: bool, debug: bool) -> None:
    """List every backend and device, usable or not, and why."""
    from backprop_xp.devices import list_devices

    reports = list_devices()
    if json:
        print_json("devices", {"devices": [report._asdict() for report in reports]})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("backend", "version", "device", "usable", "why not, and what to do"):
        table.add_column(title, overflow="fold")
    for report in reports:
        why = f"{report.reason}: {report.mend}" if report.reason else report.name
        cells = (report.backend, report.version or "-", report.device)
        table.add_row(*cells, "yes" if report.usable else "no", why)
    Console(highlight=False, markup=False).print(table)
