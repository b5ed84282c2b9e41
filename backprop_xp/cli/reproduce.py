"""``backprop-xp reproduce``: run a named experiment and compare it with published results."""

from __future__ import annotations

import time
from typing import Any

import click
from click.shell_completion import CompletionItem

from backprop_xp.cli.help import Command
from backprop_xp.cli.options import (
    Name,
    data_dir_option,
    device_options,
    output_options,
    plain_option,
    use_device,
)
from backprop_xp.cli.output import Output
from backprop_xp.cli.progress import Progress
from backprop_xp.errors import ConfigurationError


class _Experiment(Name):
    """The name of an experiment; the experiments are imported when the shell completes it."""

    def __init__(self) -> None:
        super().__init__(())

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the experiments whose names begin with the given text."""
        from backprop_xp.experiments.experiment import experiments

        return [
            CompletionItem(one.name, help=one.shows)
            for one in experiments().values()
            if one.name.startswith(incomplete)
        ]


@click.command(
    cls=Command,
    examples=(
        ("reproduce", "list the experiments"),
        ("reproduce xor", "run one of them"),
        ("reproduce digits-log --data-dir data", "one that needs MNIST"),
    ),
)
@click.argument("name", required=False, type=_Experiment())
@plain_option("--list", "list_all", is_flag=True, help="List the experiments and exit.")
@data_dir_option
@device_options
@output_options
def command(
    name: str | None,
    list_all: bool,
    data_dir: str | None,
    device: str,
    backend: str | None,
    console: Output,
) -> int:
    """Run the experiment NAME; without a name, list all experiments.

    The exit code is 1 if the results do not confirm the claim. Only the records use a device; all
    other experiments run with NumPy.
    """
    from backprop_xp.experiments.experiment import experiments, get_experiment

    if list_all or name is None:
        listed = [
            (one.name, "MNIST" if one.needs_mnist else "-", one.shows)
            for one in experiments().values()
        ]
        keys = ("name", "data", "shows")
        console.result({"experiments": [dict(zip(keys, row, strict=True)) for row in listed]})
        console.table(("name", "data", "claim"), listed)
        return 0
    experiment = get_experiment(name)
    console.note(f"{experiment.name}: {experiment.shows}")
    console.note(f"settings: {experiment.settings}")
    console.note(f"source: {experiment.source}")
    if not experiment.epochs and (backend not in (None, "numpy") or device not in ("auto", "cpu")):
        raise ConfigurationError(
            f"the experiment {experiment.name!r} runs with NumPy on the CPU",
            "leave out --device and --backend",
        )
    started = time.perf_counter()
    if experiment.epochs:
        placement = use_device(device, backend, console)
        with Progress(experiment.epochs, shown=not console.quiet) as progress:
            outcome = experiment.run(data_dir, placement, progress.on_epoch)
    else:
        outcome = experiment.run(data_dir)
    seconds = time.perf_counter() - started
    about: dict[str, Any] = {
        key: getattr(experiment, key) for key in ("name", "shows", "settings", "source")
    }
    console.result({**about, **outcome._asdict(), "seconds": seconds})
    console.table(
        ("", "published", "measured"),
        (
            (str(key), _text(value), _text(outcome.measured[key]))
            for key, value in outcome.published.items()
            if key in outcome.measured
        ),
    )
    verdict = "confirmed" if outcome.passed else "NOT confirmed"
    console.line(f"{verdict}: {outcome.verdict} ({seconds:.1f} s)")
    return 0 if outcome.passed else 1


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "  ".join(map(_text, value))
    return f"{value:.12g}" if isinstance(value, float) else str(value)
