"""``backprop-xp reproduce``: run a named experiment and hold it against what was published."""

from __future__ import annotations

import time
from typing import Any

import click

from backprop_xp.cli.options import device_options, option, output_options
from backprop_xp.cli.output import Progress, print_json, print_table, say
from backprop_xp.errors import ConfigurationError


@click.command()
@click.argument("name", required=False)
@click.option("--list", "list_all", is_flag=True, help="List the experiments, and end.")
@option("--data-dir", metavar="DIR", help="Folder of the MNIST files.")
@device_options()
@output_options
def command(
    name: str | None,
    list_all: bool,
    data_dir: str | None,
    device: str,
    backend: str | None,
    json: bool,
    quiet: bool,
    debug: bool,
) -> int:
    """Run the experiment NAME; without a name, list what there is.

    The exit code is 1 if the outcome does not bear the claim out. Only the records take a device;
    all others run with NumPy.
    """
    from backprop_xp.backend.devices import select
    from backprop_xp.experiments.experiment import experiments, get_experiment

    if list_all or name is None:
        listed = [
            (found.name, "MNIST" if found.needs_mnist else "-", found.shows)
            for found in experiments().values()
        ]
        if json:
            keys = ("name", "data", "shows")
            print_json(
                "reproduce", {"experiments": [dict(zip(keys, row, strict=True)) for row in listed]}
            )
        else:
            print_table(("name", "data", "what it shows"), listed)
        return 0
    experiment = get_experiment(name)
    if not quiet:
        say(f"{experiment.name}: {experiment.shows}")
        say(f"settings: {experiment.settings}")
        say(f"source: {experiment.source}")
    if not experiment.epochs and (backend not in (None, "numpy") or device not in ("auto", "cpu")):
        raise ConfigurationError(
            f"the experiment {name!r} runs with NumPy on the CPU",
            "leave --device and --backend out",
        )
    started = time.perf_counter()
    if experiment.epochs:
        placement = select(device, backend)
        if not quiet:
            say(placement.note)
        with Progress(experiment.epochs, quiet=quiet) as progress:
            outcome = experiment.run(
                data_dir, placement, lambda state: progress.epoch(state.history[-1])
            )
    else:
        outcome = experiment.run(data_dir)
    seconds = time.perf_counter() - started
    if json:
        about: dict[str, Any] = {key: getattr(experiment, key) for key in ("name", "shows")}
        about |= {"settings": experiment.settings, "source": experiment.source}
        print_json("reproduce", {**about, **outcome._asdict(), "seconds": seconds})
    else:
        shared = [key for key in outcome.published if key in outcome.measured]
        rows = [
            (str(key), _text(outcome.published[key]), _text(outcome.measured[key]))
            for key in shared
        ]
        print_table(("", "published", "measured"), rows)
        verdict = "borne out" if outcome.passed else "NOT borne out"
        click.echo(f"{verdict}: {outcome.verdict} ({seconds:.1f} s)")
    return 0 if outcome.passed else 1


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "  ".join(map(_text, value))
    return f"{value:.12g}" if isinstance(value, float) else str(value)
