"""``backprop-xp train``: train a network and print the result."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import click

from backprop_xp.cli.help import Command
from backprop_xp.cli.next_steps import next_steps
from backprop_xp.cli.options import (
    File,
    device_options,
    out_option,
    output_options,
    plain_option,
)
from backprop_xp.cli.output import Output, say
from backprop_xp.cli.progress import Progress
from backprop_xp.cli.settings import (
    ENVIRONMENT,
    config_option,
    settings_options,
    show_settings,
)
from backprop_xp.data.dataset import NAMED
from backprop_xp.errors import ConfigurationError
from backprop_xp.runs.settings import RunSettings
from backprop_xp.version import __version__

if TYPE_CHECKING:
    from backprop_xp.runs.folder import RunFolder
    from backprop_xp.runs.resume import ResumableRun
    from backprop_xp.runs.run import Run
    from backprop_xp.runs.session import Trained


def _read_run(ctx: click.Context, param: click.Parameter, path: str | None) -> ResumableRun | None:
    """Read a run to be resumed, and use its settings as defaults."""
    if path is None:
        return None
    from backprop_xp.runs.resume import read_resumable_run

    stored = read_resumable_run(path)
    ctx.default_map = {
        name: value for name, value in vars(stored.settings).items() if value is not None
    }
    return stored


@click.command(
    cls=Command,
    examples=(
        ("train", "the bundled digits"),
        ("train iris.csv --label species -o runs/iris", "keep the run"),
        ("train mnist --hidden 256,128 --device cuda", "on a GPU"),
    ),
    epilog=ENVIRONMENT,
)
@click.argument("data", type=File(NAMED), default="digits", envvar="BACKPROP_XP_DATA")
@out_option(
    "DIR", "Folder for the model, the history, the settings, and a checkpoint to resume from."
)
@plain_option(
    "--overwrite", group="Output", is_flag=True, help="Replace an earlier run in that folder."
)
@plain_option(
    "--resume",
    group="Output",
    metavar="DIR",
    type=File(folder=True),
    is_eager=True,
    callback=_read_run,
    help="Continue the run in this folder, with its settings; --epochs extends it.",
)
@device_options
@settings_options()
@config_option
@plain_option("--print-config", is_flag=True, help="Print each setting with its source and exit.")
@plain_option(
    "--doctor/--no-doctor",
    group="Output",
    default=None,
    help="Look for common faults, and suggest fixes. By default findings are notes on stderr; "
    "--doctor makes them a part of the result.",
)
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    config: str | None,
    print_config: bool,
    doctor: bool | None,
    out: str | None,
    overwrite: bool,
    resume: ResumableRun | None,
    console: Output,
    **values: Any,
) -> int:
    """Train a network on DATA.

    DATA is 'digits' (1,797 handwritten digits that come with the package), 'mnist', a table (.csv,
    .tsv, .parquet, .feather; the column to predict is named by --label), a .npz with the arrays x
    and y, or a folder of IDX files or of x.npy and y.npy.
    """
    for name, given in (("out", out), ("overwrite", overwrite), ("config", config)):
        if resume is not None and given:
            raise click.UsageError(f"--resume and --{name} exclude each other")
    settings = RunSettings(**values)
    if print_config:
        show_settings(ctx, settings, console)
        return 0
    from backprop_xp.runs.folder import RunFolder
    from backprop_xp.runs.run import prepare_run
    from backprop_xp.runs.session import train_run

    with contextlib.ExitStack() as stack:
        folder = None
        if out is not None:
            folder = stack.enter_context(RunFolder(out, overwrite=overwrite))
        elif resume is not None:
            folder = stack.enter_context(RunFolder(resume.folder, resume=True))
            settings = resume.resumed(values)
        run = prepare_run(settings)
        console.note(run.placement.note)
        console.note(f"seed: {run.settings.seed}")
        for note in run.dataset.notes:
            console.note(note)
        if resume is not None:
            console.note(resume.progress(run.settings))
        with Progress(run.settings.epochs or 0, shown=not console.quiet) as progress:
            trained = train_run(
                run,
                folder,
                doctor=doctor is not False,
                on_epoch=progress.on_epoch,
                on_steps=progress.on_steps,
            )
    _report(run, trained, folder, console)
    _advise(trained, doctor, console)
    if not console.json:
        model = None if folder is None else str(folder.path)
        for line in next_steps(ctx, settings, model, trained.state.seed):
            console.note(line)
    if folder is not None and folder.fault:
        say(f"error: {folder.fault}")
        return ConfigurationError.exit_code
    return 0


def _report(run: Run, trained: Trained, folder: RunFolder | None, console: Output) -> None:
    from backprop_xp.formatting import pluralize
    from backprop_xp.runs.outcome import common_class, headline, in_words

    state, measured, findings = trained
    data, settings = run.dataset, run.settings
    seconds = sum(record["seconds"] for record in state.history)
    console.result(
        {
            "version": __version__,
            "data": {
                "name": data.name,
                "inputs": data.n_inputs,
                "classes": data.classes,
                "task": data.task,
                "notes": data.notes,
                **{name: m and m["count"] for name, m in measured.items()},
            },
            "network": {
                "sizes": run.network.sizes,
                "activations": [f.name for f in run.network.activations],
                "parameters": run.network.n_parameters,
            },
            "settings": dataclasses.asdict(settings),
            "backend": run.placement.backend,
            "device": run.placement.name,
            "dtype": settings.dtype,
            "seed": state.seed,
            "epochs": state.history,
            "stopped": state.stopped or None,
            **measured,
            "advice": None if findings is None else [one.as_dict() for one in findings],
            "seconds": seconds,
            "out": None if folder is None else str(folder.path),
        }
    )
    sizes = "-".join(map(str, run.network.sizes))
    console.line(
        f"{data.name}: {sizes}, {run.network.n_parameters:,} parameters, {settings.optimizer}, "
        f"{pluralize(state.epoch, 'epoch')} in {seconds:.1f} s on {run.placement.name} "
        f"({run.placement.backend}), seed {state.seed}"
    )
    name = headline(measured) or ""
    result: Any = measured[name]
    text = f"{name} {in_words(result)}"
    if data.classes is not None and result["accuracy"] <= (common := common_class(run, name))[1]:
        text += f", no better than always predicting {common[0]!r} ({common[1]:.2%})"
    if state.stopped == "early_stopping" and state.best is not None:
        text += f"; stopped early, the weights are those of epoch {state.best.epoch}"
    elif settings.patience and state.best is not None and state.best.epoch < state.epoch:
        text += f"; the weights are those of epoch {state.best.epoch}, the best one"
    console.line(text + (f"; model in {folder.model}" if folder else ""))


def _advise(trained: Trained, doctor: bool | None, console: Output) -> None:
    """Print the findings of the doctor: as a part of the result where they were asked for."""
    from backprop_xp.runs.session import advice

    show = console.line if doctor else console.note
    for finding in trained.findings or []:
        show(advice(finding))
    if doctor and not trained.findings:
        console.line("doctor: nothing that commonly goes wrong was found")
