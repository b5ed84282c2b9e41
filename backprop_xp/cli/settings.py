"""The settings of a run as options, read from a configuration file, and printed."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import click
from click.core import ParameterSource

from backprop_xp.cli.options import Name, option
from backprop_xp.cli.output import Output
from backprop_xp.data.augmentation import AUGMENTATIONS
from backprop_xp.data.dataset import TASKS
from backprop_xp.nn.activations import ACTIVATIONS, OUTPUTS
from backprop_xp.nn.initializers import INITIALIZERS
from backprop_xp.nn.losses import LOSSES
from backprop_xp.nn.optimizers import OPTIMIZERS
from backprop_xp.nn.schedules import SCHEDULES
from backprop_xp.runs.settings import RunSettings
from backprop_xp.training.settings import MONITORS, PENALTIES

_FIELDS = {field.name: field for field in dataclasses.fields(RunSettings)}


class Numbers(click.ParamType[tuple[Any, ...]]):
    """Numbers separated by commas, ``30,20``, or a list in a file; empty for none.

    Parameters
    ----------
    kind : type
        ``int`` or ``float``.
    example : str
    """

    name = "numbers"

    def __init__(self, kind: type[int] | type[float], example: str) -> None:
        self.kind = kind
        self.example = example

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Return the numbers as a tuple."""
        items = value.split(",") if isinstance(value, str) else value
        try:
            if any(isinstance(item, bool) for item in items):
                raise TypeError("true is not a number")
            if self.kind is int and any(isinstance(item, float) for item in items):
                raise TypeError("int() would cut off a fraction")
            return tuple(self.kind(item) for item in items if str(item).strip())
        except (TypeError, ValueError):
            what = "whole numbers" if self.kind is int else "numbers"
            self.fail(f"{value!r} is not a list of {what} such as {self.example}", param, ctx)


def read_config(ctx: click.Context, param: click.Parameter, path: str | None) -> str | None:
    """Use a configuration file as defaults, which options and environment variables override."""
    if path is None:
        return None
    from backprop_xp.runs.config_file import read_settings

    ctx.default_map = read_settings(path)
    return path


config_option = click.option(
    "--config",
    metavar="FILE",
    is_eager=True,
    callback=read_config,
    help="A TOML file of settings; options and environment variables override it.",
)


def _setting(*declarations: str, **attributes: Any) -> tuple[str, Any]:
    """Return the name of a setting and its option, with the default of `RunSettings`."""
    name = declarations[0].split("/")[0].lstrip("-").replace("-", "_")
    default = _FIELDS[name].default
    if default is not None:
        attributes.setdefault("default", default)
        attributes.setdefault(
            "show_default", ",".join(map(str, default)) if isinstance(default, tuple) else True
        )
    return name, option(*declarations, **attributes)


_SETTINGS = [
    _setting("--data-dir", metavar="DIR", help="Folder of the MNIST files."),
    _setting("--label", metavar="COLUMN", help="The label column of a .csv."),
    _setting("--task", type=Name(TASKS), help="classification or regression."),
    _setting("--validation", metavar="FILE", help="A file with the rows for validation."),
    _setting(
        "--validation-fraction",
        type=float,
        help="Fraction of a .csv or .npz that is held out for validation.",
    ),
    _setting(
        "--scaling",
        metavar="none|standard|NUMBER",
        help="How inputs are scaled: not at all, to mean 0 and standard deviation 1, or divided by "
        "a number. "
        "By default images are divided by their largest value and tables are standardized.",
    ),
    _setting("--hidden", type=Numbers(int, "30,20"), help="Neurons of each hidden layer: 30,20."),
    _setting(
        "--activation",
        type=Name(ACTIVATIONS),
        help="Activation of the hidden layers, or one for each: relu,tanh. One of "
        f"{', '.join(ACTIVATIONS)}.",
    ),
    _setting(
        "--output",
        type=Name(OUTPUTS),
        help="Activation of the output layer; by default softmax, or identity for a regression.",
    ),
    _setting("--bias/--no-bias", help="Whether neurons have biases."),
    _setting(
        "--loss",
        type=Name(LOSSES),
        help=f"By default the loss for the output activation. One of {', '.join(LOSSES)}.",
    ),
    _setting(
        "--initializer",
        type=Name([*INITIALIZERS, "auto"]),
        help=f"Initial weights: auto (by the activation), {', '.join(INITIALIZERS)}.",
    ),
    _setting("--optimizer", type=Name(OPTIMIZERS), help=f"One of {', '.join(OPTIMIZERS)}."),
    _setting("--learning-rate", type=float, help="By default that of the optimizer."),
    _setting("--momentum", type=float, help="For momentum and nesterov; by default 0.9."),
    _setting("--decay", type=float, help="For rmsprop; by default 0.99."),
    _setting("--beta1", type=float, help="For adam and adamw; by default 0.9."),
    _setting("--beta2", type=float, help="For adam and adamw; by default 0.999."),
    _setting("--epsilon", type=float, help="For rmsprop, adam and adamw; by default 1e-8."),
    _setting("--weight-decay", type=float, help="For adamw; by default 0.01."),
    _setting(
        "--batch-size",
        type=int,
        help="Samples in a step; 0 uses all of them. By default 64, or all if there are fewer.",
    ),
    _setting("--epochs", type=int, help="Passes over the training data."),
    _setting("--seed", type=int, help="Seed of all random draws; drawn at random by default."),
    _setting("--l1", type=float, help="Coefficient λ of the penalty λ Σ|w| on the weights."),
    _setting("--l2", type=float, help="Coefficient λ of the penalty ½ λ Σw² on the weights."),
    _setting(
        "--penalty",
        type=Name(PENALTIES),
        help="per_sample divides λ by the number of training samples, per_batch by that of each "
        "batch, plain by nothing.",
    ),
    _setting("--penalize-biases/--no-penalize-biases", help="Whether biases are penalized too."),
    _setting(
        "--dropout",
        type=Numbers(float, "0.2,0.5"),
        help="Dropout rate of the hidden layers, or one for each: 0.2,0.5.",
    ),
    _setting(
        "--augment",
        type=Name(AUGMENTATIONS),
        help=f"Change images randomly in every step: {', '.join(AUGMENTATIONS)}.",
    ),
    _setting("--max-norm", type=float, help="Bound on the norm of a neuron's incoming weights."),
    _setting("--clip-norm", type=float, help="Bound on the norm of all gradients of a step."),
    _setting(
        "--label-smoothing",
        type=float,
        help="Fraction of each target that is spread over all classes.",
    ),
    _setting(
        "--class-weight", type=Name(["balanced"]), help="balanced gives rare classes more weight."
    ),
    _setting(
        "--schedule",
        type=Name(SCHEDULES),
        help=f"How the learning rate changes: {', '.join(SCHEDULES)}.",
    ),
    _setting("--warm-up", type=int, help="Steps over which the learning rate rises from 0."),
    _setting(
        "--plateau-patience",
        type=int,
        help="Epochs without a lower loss after which the learning rate is halved.",
    ),
    _setting(
        "--patience",
        type=int,
        help="Early stopping: epochs without improvement on the validation set after which the "
        "training stops; the best weights are restored.",
    ),
    _setting(
        "--min-improvement", type=float, help="Smallest change that counts as an improvement."
    ),
    _setting(
        "--monitor", type=Name(MONITORS), help="What early stopping monitors: loss, accuracy."
    ),
    _setting(
        "--target-loss", type=float, help="Stop at the first step whose loss is this or less."
    ),
    _setting(
        "--evaluate-training/--no-evaluate-training",
        help="Whether the complete training set is measured after each epoch.",
    ),
    _setting(
        "--diagnostics/--no-diagnostics",
        help="Whether some steps are measured layer by layer: norms of δ, gradient and update, "
        "saturated and dead units.",
    ),
    _setting("--dtype", type=Name(["float32", "float64"]), help="float32 or float64."),
]


def settings_options(command: Any, but: Collection[str] = ()) -> Any:
    """Add an option for each setting except those in ``but``."""
    for name, add in reversed(_SETTINGS):
        if name not in but:
            command = add(command)
    return command


def show_settings(ctx: click.Context, settings: RunSettings, console: Output) -> None:
    """Print every setting with its source."""
    from backprop_xp.runs.config_file import toml_value

    sources: dict[ParameterSource | None, str] = {
        ParameterSource.COMMANDLINE: "command line",
        ParameterSource.ENVIRONMENT: "environment",
        ParameterSource.DEFAULT_MAP: "configuration file",
    }
    rows = []
    for name in _FIELDS:
        source = sources.get(ctx.get_parameter_source(name), "default")
        rows.append((name, getattr(settings, name), source))
    fields = {name: {"value": value, "source": source} for name, value, source in rows}
    console.result({"settings": fields})
    for name, value, source in rows:
        text = f"# {name} =" if value is None else f"{name} = {toml_value(value)}"
        console.line(f"{text:<40}  # {source}")
