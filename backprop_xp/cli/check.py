"""``backprop-xp check``: compare gradients with differences, and a device with NumPy."""

from __future__ import annotations

import click

from backprop_xp.cli.help import Command
from backprop_xp.cli.options import device_options, output_options, use_device
from backprop_xp.cli.output import Output


@click.command(
    cls=Command,
    examples=(
        ("check", "the device that 'train' would use"),
        ("check --device cuda", "a GPU"),
        ("check --backend torch", "another library"),
    ),
)
@device_options
@output_options
def command(device: str, backend: str | None, console: Output) -> int:
    """Check the hand-written gradients, and a device against NumPy.

    Gradients are compared with central differences in float64, for every activation, loss and
    depth. The device is compared with NumPy in float64 for every quantity of a training step,
    one step of every optimizer, and ten steps of training. The exit code is 1 if a comparison
    fails.
    """
    from backprop_xp.diagnosis.device_check import backend_rows, gradient_rows

    placement = use_device(device, backend, console)
    rows = [*gradient_rows(), *backend_rows(placement)]
    failed = [row for row in rows if not row.passed]
    console.result(
        {
            "backend": placement.backend,
            "device": placement.name,
            "passed": not failed,
            "rows": [{**row._asdict(), "passed": row.passed} for row in rows],
        }
    )
    console.table(
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
    console.line(f"{len(rows) - len(failed)} of {len(rows)} comparisons are within their limits")
    return 1 if failed else 0
