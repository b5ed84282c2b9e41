"""``backprop-xp check``: are the gradients right, and does this device compute what NumPy does?"""

from __future__ import annotations

import click

from backprop_xp.cli.options import device_options, output_options
from backprop_xp.cli.output import print_json, print_table, say


@click.command()
@device_options()
@output_options
def command(device: str, backend: str | None, json: bool, quiet: bool, debug: bool) -> int:
    """Check the hand-written gradients, and a device against NumPy.

    Gradients are held against central differences in float64, for every activation, loss and
    depth. The device is held against NumPy in float64 for every quantity of a training step,
    one step of every optimizer, and ten steps of training. The exit code is 1 if a line fails.
    """
    from backprop_xp.backend.devices import select
    from backprop_xp.diagnosis.device_check import backend_rows, gradient_rows

    placement = select(device, backend)
    if not quiet:
        say(placement.note)
    rows = [*gradient_rows(), *backend_rows(placement)]
    failed = [row for row in rows if not row.passed]
    if json:
        print_json(
            "check",
            {
                "backend": placement.backend,
                "device": placement.name,
                "passed": not failed,
                "rows": [{**row._asdict(), "passed": row.passed} for row in rows],
            },
        )
    else:
        print_table(
            ("compared", "quantity", "largest error", "limit", "verdict", "where"),
            (
                (
                    row.group,
                    row.name,
                    f"{row.error:.1e}",
                    f"{row.limit:.0e}",
                    "ok" if row.passed else "FAILED",
                    row.where,
                )
                for row in rows
            ),
        )
        click.echo(f"{len(rows) - len(failed)} of {len(rows)} comparisons are within their limits")
    return 1 if failed else 0
