"""``backprop-xp train``: train a network and say what came out."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from backprop_xp.cli.options import device_options, output_options
from backprop_xp.cli.output import Progress, print_json, say
from backprop_xp.cli.settings import config_option, settings_options, show_settings
from backprop_xp.errors import DivergenceError
from backprop_xp.training.settings import RunSettings
from backprop_xp.version import __version__

if TYPE_CHECKING:
    from backprop_xp.diagnosis.doctor import Finding
    from backprop_xp.runs.folder import RunFolder
    from backprop_xp.runs.outcome import Measured
    from backprop_xp.runs.run import Run
    from backprop_xp.training.state import TrainState


@click.command(
    epilog="Every option can also be set by BACKPROP_XP_ and its name in the environment."
)
@click.argument("data", default="digits", envvar="BACKPROP_XP_DATA")
@settings_options
@device_options()
@config_option
@click.option("--print-config", is_flag=True, help="Print each setting with its source, and end.")
@click.option("--doctor", is_flag=True, help="Look for what commonly goes wrong, and advise.")
@click.option("--out", metavar="DIR", help="Folder for the model, the history and the settings.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in that folder.")
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    config: str | None,
    print_config: bool,
    doctor: bool,
    out: str | None,
    overwrite: bool,
    json: bool,
    quiet: bool,
    debug: bool,
    **values: Any,
) -> None:
    """Train a network on DATA.

    DATA is 'digits' (1,797 handwritten digits that come with the package), 'mnist', a folder
    of IDX files or of x.npy and y.npy, a .csv with a header line, or a .npz with the arrays
    x and y.
    """
    settings = RunSettings(**values)
    if print_config:
        show_settings(ctx, settings, json)
        return
    from backprop_xp.runs.folder import RunFolder
    from backprop_xp.runs.outcome import measure, outcome_of
    from backprop_xp.runs.run import prepare

    with contextlib.nullcontext() if out is None else RunFolder(out, overwrite=overwrite) as folder:
        run = prepare(settings)
        if not quiet:
            say(run.placement.note)
            say(f"seed: {run.settings.seed}")
        with (
            _kept_if_cut_off(run, folder, doctor),
            Progress(settings.epochs, quiet=quiet) as progress,
        ):

            def on_epoch(state: TrainState) -> None:
                if folder is not None:
                    folder.record(run.settings, state.history)
                progress.epoch(state.history[-1])

            state = run.train(on_epoch)
        if folder is not None:
            folder.record(run.settings, state.history)
            folder.finish(run.model(state))
        measured = measure(run, state)
        findings = run.examine(state) if doctor else None
        if folder is not None:
            folder.conclude(outcome_of(run, state, measured, advice=findings))
    _report(run, state, measured, folder, findings, json)


@contextlib.contextmanager
def _kept_if_cut_off(run: Run, folder: RunFolder | None, doctor: bool) -> Iterator[None]:
    """Keep the last good weights and the outcome when a training is interrupted or diverges."""
    from backprop_xp.runs.outcome import outcome_of
    from backprop_xp.training.state import TrainingInterrupted

    try:
        yield
    except (TrainingInterrupted, DivergenceError) as error:
        state: Any = error.state
        diverged = isinstance(error, DivergenceError)
        findings = run.examine(state, diverged=True) if doctor and diverged and state else None
        # An earlier run gives way to one that has an epoch to show.
        if folder and state and (state.epoch > 0 or (diverged and not folder.held)):
            status, hint = "diverged" if diverged else "interrupted", error.hint
            folder.record(run.settings, state.history)
            if state.epoch > 0:
                folder.finish(run.model(state))
                kept = f"the model of epoch {state.epoch} is in {folder.model}"
                error.hint = f"{hint}; {kept}" if hint else kept
            told = {"status": status, "message": str(error), "hint": hint}
            folder.conclude(outcome_of(run, state, told=told, advice=findings))
        if findings is not None:
            error.hint = "\n".join([error.hint or "", *map(_advice, findings)])
        raise


def _advice(finding: Finding) -> str:
    return f"doctor: {finding.fault}: {finding.evidence}; {finding.mend}"


def _report(
    run: Run,
    state: TrainState,
    measured: Measured,
    folder: RunFolder | None,
    findings: list[Finding] | None,
    json: bool,
) -> None:
    from backprop_xp.runs.outcome import headline
    from backprop_xp.training.history import counted

    data, settings = run.dataset, run.settings
    seconds = sum(record["seconds"] for record in state.history)
    if json:
        print_json(
            "train",
            {
                "version": __version__,
                "data": {
                    "name": data.name,
                    "inputs": data.n_inputs,
                    "classes": data.classes,
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
                "advice": None if findings is None else [one._asdict() for one in findings],
                "seconds": seconds,
                "out": None if folder is None else str(folder.path),
            },
        )
        return
    sizes = "-".join(map(str, run.network.sizes))
    click.echo(
        f"{data.name}: {sizes}, {run.network.n_parameters:,} parameters, {settings.optimizer}, "
        f"{counted(state.epoch, 'epoch')} in {seconds:.1f} s on {run.placement.name} "
        f"({run.placement.backend}), seed {state.seed}"
    )
    name = headline(measured) or ""
    result: Any = measured[name]
    if result.get("accuracy") is not None:
        right = round(result["accuracy"] * result["count"])
        text = f"{name} accuracy {result['accuracy']:.2%} ({right:,} of {result['count']:,})"
    else:
        text = f"{name} loss {result['loss']:.6g}"
    click.echo(text + (f"; model in {folder.model}" if folder else ""))
    if findings is not None:
        for finding in findings:
            click.echo(_advice(finding))
        if not findings:
            click.echo("doctor: nothing that commonly goes wrong was found")
