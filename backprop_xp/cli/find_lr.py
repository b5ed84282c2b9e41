"""``backprop-xp find-lr``: suggest a learning rate, by a range test."""

from __future__ import annotations

import dataclasses
import functools
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from backprop_xp.cli.help import Command
from backprop_xp.cli.options import (
    File,
    device_options,
    given_options,
    output_options,
    plain_option,
)
from backprop_xp.cli.output import Output
from backprop_xp.cli.settings import ENVIRONMENT, config_option, settings_options
from backprop_xp.data.dataset import NAMED
from backprop_xp.diagnosis.learning_rate_finder import HIGH, LOW, STEPS, check_range
from backprop_xp.runs.settings import RunSettings
from backprop_xp.training.settings import LEARNING_RATE_AND_STOPPING

if TYPE_CHECKING:
    from backprop_xp.diagnosis.learning_rate_finder import RateFinding

_range_option = functools.partial(plain_option, group="Training", show_default=True)

_SHOWN = 16  # lines of the curve
_WIDTH = 40  # characters of the loss at the start


@click.command(
    cls=Command,
    examples=(
        ("find-lr", "for the bundled digits"),
        ("find-lr iris.csv --label species", "for a table"),
        ("find-lr mnist --hidden 512,512", "for another network"),
    ),
    epilog=ENVIRONMENT,
)
@click.argument("data", type=File(NAMED), default="digits", envvar="BACKPROP_XP_DATA")
@_range_option("--low", type=float, default=LOW, help="First learning rate.")
@_range_option("--high", type=float, default=HIGH, help="Last learning rate.")
@_range_option("--steps", type=int, default=STEPS, help="Steps between them.")
@device_options
@settings_options(but=(*LEARNING_RATE_AND_STOPPING, "checkpoint_every"))
@config_option
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    low: float,
    high: float,
    steps: int,
    config: str | None,
    console: Output,
    **values: Any,
) -> int:
    """Suggest a learning rate for training on DATA, as described for 'train'.

    A short training run raises the learning rate at each step until the loss grows; its weights
    are discarded. The exit code is 1 if the loss does not suggest a learning rate.
    """
    check_range(low, high, steps)  # before any data is read
    settings = RunSettings(**values)
    from backprop_xp.runs.run import prepare_run

    run = prepare_run(settings)
    console.note(run.placement.note)
    console.note(f"seed: {run.settings.seed}")
    finding = run.find_learning_rate(low=low, high=high, steps=steps)
    used = dataclasses.asdict(run.settings)
    for name in LEARNING_RATE_AND_STOPPING:
        del used[name]
    console.result({"settings": used, **finding._asdict()})
    if not console.json:
        for line in _curve(finding):
            console.note(line)
    if finding.suggestion is None:
        console.line(f"no learning rate: {finding.reason}")
        return 1
    console.line(
        f"learning rate {finding.suggestion:g}, from {len(finding.rates)} steps of "
        f"{settings.optimizer} with batches of {run.settings.batch_size}"
    )
    console.line(_training(ctx, finding.suggestion))
    return 0


def _curve(finding: RateFinding) -> Iterator[str]:
    """Yield lines that show the smoothed loss over the learning rate."""
    rates, smoothed = finding.rates, finding.smoothed
    for index in range(0, len(rates), max(1, len(rates) // _SHOWN)):
        size = round(_WIDTH * smoothed[index] / max(smoothed[0], 1e-300))
        bar = "#" * min(size, 2 * _WIDTH)
        yield f"rate {rates[index]:<7.1e}  loss {smoothed[index]:<9.4g}  {bar}"


def _training(ctx: click.Context, rate: float) -> str:
    """Return the command that trains with a learning rate, and with the options of this one."""
    given = given_options(ctx, but=("low", "high", "steps", "quiet", "debug"))
    return shlex.join(["backprop-xp", "train", *given, "--learning-rate", f"{rate:g}"])
