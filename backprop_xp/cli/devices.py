"""``backprop-xp devices``: list backends and devices, and why some cannot be used."""

from __future__ import annotations

import click

from backprop_xp.cli.help import Command
from backprop_xp.cli.options import output_options
from backprop_xp.cli.output import Output


@click.command(
    cls=Command,
    examples=(("devices", "as a table"), ("devices --json", "for programs")),
)
@output_options
def command(console: Output) -> None:
    """List every backend and device, usable or not, and why."""
    from backprop_xp.backend.devices import list_devices

    reports = list_devices()
    console.result({"devices": [report.as_dict() for report in reports]})
    console.table(
        ("backend", "version", "device", "usable", "why not, and what to do"),
        (
            (
                report.backend,
                report.version or "-",
                report.device,
                "yes" if report.usable else "no",
                f"{report.reason}: {report.remedy}" if report.reason else report.name,
            )
            for report in reports
        ),
    )
