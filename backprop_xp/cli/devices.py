"""``backprop-xp devices``: which backends and devices there are, and why not others."""

from __future__ import annotations

import click

from backprop_xp.cli.options import output_options
from backprop_xp.cli.output import print_json, print_table


@click.command()
@output_options
def command(json: bool, quiet: bool, debug: bool) -> None:
    """List every backend and device, usable or not, and why."""
    from backprop_xp.backend.devices import list_devices

    reports = list_devices()
    if json:
        print_json("devices", {"devices": [report._asdict() for report in reports]})
        return
    print_table(
        ("backend", "version", "device", "usable", "why not, and what to do"),
        (
            (
                report.backend,
                report.version or "-",
                report.device,
                "yes" if report.usable else "no",
                f"{report.reason}: {report.mend}" if report.reason else report.name,
            )
            for report in reports
        ),
    )
