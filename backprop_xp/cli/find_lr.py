"""``backprop-xp find-lr``: suggest a learning rate, by a range test."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from backprop_xp.cli.options import device_options, output_options
from backprop_xp.cli.output import Output
from backprop_xp.cli.settings import config_option, settings_options
from backprop_xp.diagnosis.learning_rate_finder import HIGH, LOW, STEPS, check_range
from backprop_xp.runs.settings import RunSettings
from backprop_xp.training.settings import LEARNING_RATE_AND_STOPPING

if TYPE_CHECKING:
    from backprop_xp.diagnosis.learning_rate_finder import RateFinding

_SHOWN = 16  # lines of the curve
_WIDTH = 40  # characters of the loss at the start


@click.command(
    epilog="Every setting can also be given by BACKPROP_XP_ and its name in the environment."
)
@click.argument("data", default="digits", envvar="BACKPROP_XP_DATA")
@click.option("--low", type=float, default=LOW, show_default=True, help="First learning rate.")
@click.option("--high", type=float, default=HIGH, show_default=True, help="Last learning rate.")
@click.option("--steps", type=int, default=STEPS, show_default=True, help="Steps between them.")
@settings_options(but=(*LEARNING_RATE_AND_STOPPING, "checkpoint_every"))
@device_options
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
    words = ["backprop-xp", "train"]
    for param in ctx.command.params:
        name = param.name or ""
        given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not given or name in ("low", "high", "steps", "quiet", "debug"):
            continue
        value = ctx.params[name]
        if isinstance(value, bool):
            words.append((param.opts if value else param.secondary_opts)[0])
        else:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [text] if isinstance(param, click.Argument) else [param.opts[0], text]
    return shlex.join([*words, "--learning-rate", f"{rate:g}"])
