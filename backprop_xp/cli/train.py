"""``backprop-xp train``: train a network and say what came out."""

from __future__ import annotations

import contextlib
import dataclasses
import tomllib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from backprop_xp.activations import ACTIVATIONS
from backprop_xp.cli.options import Name, device_options, option, output_options
from backprop_xp.cli.output import Progress, print_json, say
from backprop_xp.data.records import TASKS
from backprop_xp.errors import ConfigurationError, DivergenceError, unknown_name
from backprop_xp.initializers import INITIALIZERS
from backprop_xp.losses import LOSSES
from backprop_xp.optimizers import OPTIMIZERS
from backprop_xp.settings import RunSettings
from backprop_xp.version import __version__

if TYPE_CHECKING:
    from backprop_xp.run import Run
    from backprop_xp.run_folder import RunFolder
    from backprop_xp.state import TrainState

_FIELDS = {field.name: field for field in dataclasses.fields(RunSettings)}


class _Sizes(click.ParamType[tuple[int, ...]]):
    """Layer sizes: ``30,20`` on the command line, a list in a file; empty for no hidden layer."""

    name = "sizes"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the sizes as a tuple of int."""
        items = value.split(",") if isinstance(value, str) else value
        try:
            if any(isinstance(item, (bool, float)) for item in items):
                raise TypeError("int() would cut off a fraction")
            return tuple(int(item) for item in items if str(item).strip())
        except (TypeError, ValueError):
            self.fail(f"{value!r} is no list of whole numbers such as 30,20", param, ctx)


def _read_config(ctx: click.Context, param: click.Parameter, path: str | None) -> str | None:
    """Take the values of a configuration file as defaults: options and variables go before it."""
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(
            f"the configuration file {path} cannot be read: {error.strerror}",
            "give the path of a TOML file, such as the config.toml of an earlier run",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the configuration file {path} is no valid TOML: {error}", "mend that place"
        ) from error
    for key in values:
        if key not in _FIELDS:
            raise unknown_name(f"key in {path}", key, _FIELDS)
        _check_type(key, values[key], path)
    ctx.default_map = values
    return path


def _check_type(key: str, value: Any, path: str) -> None:
    """Refuse what click would silently turn into another value, such as 2.5 epochs into 2."""
    wanted = str(_FIELDS[key].type).replace("[", " ").split()[0]
    types, words = {
        "int": ((int,), "a whole number"),
        "float": ((int, float), "a number"),
        "bool": ((bool,), "true or false"),
        "str": ((str, int, float), "a text"),
        "tuple": ((list, str), "a list of whole numbers such as [30, 20]"),
    }[wanted]
    if not isinstance(value, types) or (isinstance(value, bool) and wanted != "bool"):
        raise ConfigurationError(f"{key} in {path} is {value!r}", f"give {words}")


def _setting(*declarations: str, **attributes: Any) -> Any:
    """Return the option of a setting, with the default that the settings themselves have."""
    name = declarations[0].split("/")[0].lstrip("-").replace("-", "_")
    default = _FIELDS[name].default
    if default is not None:
        attributes.setdefault("default", default)
        attributes.setdefault(
            "show_default", ",".join(map(str, default)) if isinstance(default, tuple) else True
        )
    return option(*declarations, **attributes)


_SETTINGS = [
    _setting("--data-dir", metavar="DIR", help="Folder of the MNIST files."),
    _setting("--label", metavar="COLUMN", help="The label column of a .csv."),
    _setting("--task", type=Name(TASKS), help="classification or regression."),
    _setting("--validation", metavar="FILE", help="A file with the rows to validate on."),
    _setting(
        "--validation-fraction",
        type=float,
        help="Share of a .csv or .npz that is split off to validate on.",
    ),
    _setting(
        "--scaling",
        metavar="none|standard|NUMBER",
        help="How inputs are scaled: not, to mean 0 and deviation 1, or divided by a number. "
        "By default pictures are divided by their largest value and tables are standardised.",
    ),
    _setting("--hidden", type=_Sizes(), help="Neurons of each hidden layer: 30,20."),
    _setting(
        "--activation",
        type=Name(ACTIVATIONS),
        help=f"Of the hidden layers, or one for each: relu,tanh. {', '.join(ACTIVATIONS)}.",
    ),
    _setting(
        "--output",
        type=Name(ACTIVATIONS),
        help="Activation of the output layer; by default softmax, for a regression identity.",
    ),
    _setting("--bias/--no-bias", help="Whether neurons have biases."),
    _setting(
        "--loss",
        type=Name(LOSSES),
        help=f"By default the one that belongs to the output. {', '.join(LOSSES)}.",
    ),
    _setting(
        "--initializer",
        type=Name([*INITIALIZERS, "auto"]),
        help=f"Initial weights: auto (by the activation), {', '.join(INITIALIZERS)}.",
    ),
    _setting("--optimizer", type=Name(OPTIMIZERS), help=f"{', '.join(OPTIMIZERS)}."),
    _setting("--learning-rate", type=float, help="By default the usual one of the optimizer."),
    _setting("--momentum", type=float, help="Of momentum and nesterov; by default 0.9."),
    _setting("--decay", type=float, help="Of rmsprop; by default 0.99."),
    _setting("--beta1", type=float, help="Of adam and adamw; by default 0.9."),
    _setting("--beta2", type=float, help="Of adam and adamw; by default 0.999."),
    _setting("--epsilon", type=float, help="Of rmsprop, adam and adamw; by default 1e-8."),
    _setting("--weight-decay", type=float, help="Of adamw; by default 0.01."),
    _setting("--batch-size", type=int, help="Samples in a step; 0 takes all of them."),
    _setting("--epochs", type=int),
    _setting("--seed", type=int, help="All random draws follow from it; drawn if not given."),
    _setting(
        "--target-loss", type=float, help="Stop at the first step whose loss is this or less."
    ),
    _setting(
        "--evaluate-training/--no-evaluate-training",
        help="Whether the whole training set is measured after each epoch.",
    ),
    _setting("--dtype", type=Name(["float32", "float64"]), help="float32 or float64."),
]


def _with_settings(command: Any) -> Any:
    for add in reversed(_SETTINGS):
        command = add(command)
    return command


@click.command(
    epilog="Every option can also be set by BACKPROP_XP_ and its name in the environment."
)
@click.argument("data", default="digits", envvar="BACKPROP_XP_DATA")
@_with_settings
@device_options()
@click.option(
    "--config",
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="A TOML file of settings; options and environment variables go before it.",
)
@click.option("--print-config", is_flag=True, help="Print each setting with its source, and end.")
@click.option("--out", metavar="DIR", help="Folder for the model, the history and the settings.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in that folder.")
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    print_config: bool,
    out: str | None,
    overwrite: bool,
    json: bool,
    quiet: bool,
    debug: bool,
    **values: Any,
) -> None:
    """Train a network on DATA.

    DATA is 'digits' (1,797 handwritten digits that come with the package), 'mnist', a folder
    of IDX files, a .csv with a header line, or a .npz with the arrays x and y.
    """
    settings = RunSettings(**values)
    if print_config:
        _print_config(ctx, settings, json)
        return
    from backprop_xp.run import prepare
    from backprop_xp.run_folder import RunFolder

    with contextlib.nullcontext() if out is None else RunFolder(out, overwrite=overwrite) as folder:
        run = prepare(settings)
        if not quiet:
            say(run.placement.note)
            say(f"seed: {run.settings.seed}")
        with _kept_if_cut_off(run, folder), Progress(settings.epochs, quiet=quiet) as progress:

            def on_epoch(state: TrainState) -> None:
                if folder is not None:
                    folder.record(run.settings, state.history)
                progress.epoch(state.history[-1])

            state = run.train(on_epoch)
        if folder is not None:
            folder.record(run.settings, state.history)
            folder.finish(run.model(state))
    _report(run, state, folder, json)


@contextlib.contextmanager
def _kept_if_cut_off(run: Run, folder: RunFolder | None) -> Iterator[None]:
    """Save the last good weights when a training is interrupted or diverges."""
    from backprop_xp.state import TrainingInterrupted

    try:
        yield
    except (TrainingInterrupted, DivergenceError) as error:
        state: Any = error.state
        if folder is not None and state is not None and state.epoch > 0:
            folder.record(run.settings, state.history)
            folder.finish(run.model(state))
            kept = f"the model of epoch {state.epoch} is in {folder.model}"
            error.hint = f"{error.hint}; {kept}" if getattr(error, "hint", None) else kept
        raise


def _print_config(ctx: click.Context, settings: RunSettings, json: bool) -> None:
    from backprop_xp.run_folder import toml_value

    sources: dict[ParameterSource | None, str] = {
        ParameterSource.COMMANDLINE: "command line",
        ParameterSource.ENVIRONMENT: "environment",
        ParameterSource.DEFAULT_MAP: "configuration file",
    }
    rows = []
    for name in _FIELDS:
        source = sources.get(ctx.get_parameter_source(name), "default")
        rows.append((name, getattr(settings, name), source))
    if json:
        fields = {name: {"value": value, "source": source} for name, value, source in rows}
        print_json("train", {"settings": fields})
        return
    for name, value, source in rows:
        text = f"# {name} =" if value is None else f"{name} = {toml_value(value)}"
        click.echo(f"{text:<40}  # {source}")


def _report(run: Run, state: TrainState, folder: RunFolder | None, json: bool) -> None:
    model = run.model(state)
    data, settings = run.dataset, run.settings
    measured: dict[str, Any] = {}
    for name in ("train", "validation", "test"):
        part = getattr(data, name)
        last = state.history[-1] if state.history else {}
        if part is None:
            measured[name] = None
        elif name == "test" or f"{name}_loss" not in last:
            measured[name] = model.evaluate(part.inputs, part.targets)
        else:
            found = {key: last.get(f"{name}_{key}") for key in ("loss", "accuracy")}
            measured[name] = {**found, "count": part.size}
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
                "seconds": seconds,
                "out": None if folder is None else str(folder.path),
            },
        )
        return
    sizes = "-".join(map(str, run.network.sizes))
    click.echo(
        f"{data.name}: {sizes}, {run.network.n_parameters:,} parameters, {settings.optimizer}, "
        f"{state.epoch} epoch{'s' * (state.epoch != 1)} in {seconds:.1f} s on {run.placement.name} "
        f"({run.placement.backend}), seed {state.seed}"
    )
    name = next((name for name in ("test", "validation", "train") if measured[name]), "train")
    result = measured[name]
    if result.get("accuracy") is not None:
        right = round(result["accuracy"] * result["count"])
        text = f"{name} accuracy {result['accuracy']:.2%} ({right:,} of {result['count']:,})"
    else:
        text = f"{name} loss {result['loss']:.6g}"
    click.echo(text + (f"; model in {folder.model}" if folder else ""))
