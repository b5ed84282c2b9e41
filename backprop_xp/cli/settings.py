"""The settings of a run as options, read from a configuration file, and printed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection
from typing import Any

import click
from click.core import ParameterSource

from backprop_xp.cli.options import (
    Command,
    File,
    Name,
    add_options,
    data_dir_option,
    format_options,
    label_option,
    option,
    plain_option,
)
from backprop_xp.cli.output import Output
from backprop_xp.data.augmentation import AUGMENTATIONS
from backprop_xp.data.dataset import MISSING, TASKS
from backprop_xp.nn.activations import ACTIVATIONS, OUTPUTS
from backprop_xp.nn.initializers import INITIALIZERS
from backprop_xp.nn.losses import LOSSES
from backprop_xp.nn.optimizers import OPTIMIZERS
from backprop_xp.nn.schedules import SCHEDULES
from backprop_xp.runs.settings import MAX_EPOCHS, MIN_STEPS, TARGET_SCALINGS, RunSettings
from backprop_xp.training.settings import MONITORS, PENALTIES

_FIELDS = {field.name: field for field in dataclasses.fields(RunSettings)}


class Numbers(click.ParamType[tuple[Any, ...]]):
    """Numbers separated by commas, ``30,20``, or a list in a file; empty for none."""

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


class Names(click.ParamType[tuple[str, ...]]):
    """Names separated by commas, or a list in a file; empty for none."""

    name = "names"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names as a tuple."""
        items = value.split(",") if isinstance(value, str) else value
        return tuple(str(item).strip() for item in items if str(item).strip())


class OutputName(Name):
    """The activation of the output layer, which may be mistaken for the folder ``--out``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name, unless it looks like a path."""
        if isinstance(value, str) and re.search(r"[/\\]|\.\w+$", value):
            self.fail(
                f"{value!r} is not an activation; the folder of a run is --out {value}", param, ctx
            )
        return value


def read_config(ctx: click.Context, param: click.Parameter, path: str | None) -> str | None:
    """Use a configuration file as defaults, which options and environment variables override."""
    if path is not None:
        from backprop_xp.runs.config_file import read_settings

        ctx.default_map = read_settings(path)
    return path


config_option = plain_option(
    "--config",
    metavar="FILE",
    type=File(),
    is_eager=True,
    callback=read_config,
    help="A TOML file of settings; options and environment variables override it.",
)


_TYPES = {
    "task": Name(TASKS),
    "validation": File(),
    "scaling": Name(["none", "standard"]),
    "drop": Names(),
    "categorical": Names(),
    "numeric": Names(),
    "missing": Name(MISSING),
    "target_scaling": Name(TARGET_SCALINGS),
    "hidden": Numbers(int, "30,20"),
    "activation": Name(ACTIVATIONS, several=True),
    "output": OutputName(OUTPUTS),
    "loss": Name(LOSSES),
    "initializer": Name([*INITIALIZERS, "auto"]),
    "optimizer": Name(OPTIMIZERS),
    "penalty": Name(PENALTIES),
    "dropout": Numbers(float, "0.2,0.5"),
    "augment": Name(AUGMENTATIONS),
    "class_weight": Name(["balanced"]),
    "schedule": Name(SCHEDULES),
    "monitor": Name(MONITORS),
    "dtype": Name(["float32", "float64"]),
}
_METAVARS = {
    "validation": "FILE",
    "scaling": "SCALING",
    "checkpoint_every": "TIME",
    "drop": "COLUMN,...",
    "categorical": "COLUMN,...",
    "numeric": "COLUMN,...",
}

_HELP = {
    "Data": {
        "task": "classification or regression. By default the labels decide: text and few whole "
        "numbers are classes.",
        "validation": "A file with the rows for validation.",
        "validation_fraction": "Fraction of a table or .npz that is held out for validation.",
        "test_fraction": "Fraction of a table or .npz that is held out for a test.",
        "drop": "Columns of a table to leave out.",
        "categorical": "Columns of a table that contain categories, even if these are numbers.",
        "numeric": "Columns of a table that contain numbers, to be used in any case.",
        "missing": "Missing inputs: impute (the median or the most frequent category, and one more "
        "input that marks them), drop (leave the rows out), or error.",
        "scaling": "How inputs are scaled: none, standard (mean 0 and standard deviation 1), or a "
        "number that divides them. By default images are divided by their largest value and "
        "tables are standardized.",
        "target_scaling": "How the targets of a regression are scaled for training: standard (the "
        "default where the loss allows it) or none. Results are in the original units.",
        "class_weight": "balanced gives rare classes more weight.",
        "augment": f"Change images randomly in every step: {', '.join(AUGMENTATIONS)}.",
    },
    "Network": {
        "hidden": "Neurons of each hidden layer, such as 30,20.",
        "activation": "Activation of the hidden layers, or one for each, such as relu,tanh: "
        f"{', '.join(ACTIVATIONS)}.",
        "output": "Activation of the output layer; by default softmax, or identity for a "
        "regression.",
        "bias": "Add a bias to each neuron.",
        "initializer": f"Initial weights: auto (by the activation), {', '.join(INITIALIZERS)}.",
    },
    "Training": {
        "epochs": "Passes over the training data, if nothing stops it earlier. By default 50, or "
        f"for small data as many as {MIN_STEPS:,} steps take, at most {MAX_EPOCHS:,}.",
        "batch_size": "Rows in a step; 0 for all of them. By default 64, or all if there are "
        "fewer.",
        "optimizer": f"{', '.join(OPTIMIZERS)}.",
        "learning_rate": "By default that of the optimizer.",
        "schedule": f"How the learning rate changes: {', '.join(SCHEDULES)}.",
        "warm_up": "Steps over which the learning rate rises from 0.",
        "plateau_patience": "Epochs without a lower loss after which the learning rate is halved.",
        "momentum": "For momentum and nesterov; by default 0.9.",
        "decay": "For rmsprop; by default 0.99.",
        "beta1": "For adam and adamw; by default 0.9.",
        "beta2": "For adam and adamw; by default 0.999.",
        "epsilon": "For rmsprop, adam and adamw; by default 1e-8.",
        "loss": f"By default the loss for the output activation: {', '.join(LOSSES)}.",
        "clip_norm": "Bound on the norm of all gradients of a step.",
        "target_loss": "Stop at the first step with a loss as low as this.",
        "seed": "Seed of all random draws; drawn at random by default.",
    },
    "Regularization": {
        "patience": "Early stopping: stop after so many epochs without improvement on the "
        "validation rows, and restore the best weights. By default a fifth of the epochs, at "
        "least 10, if there are validation rows; 0 for none.",
        "min_improvement": "Smallest change that counts as an improvement.",
        "monitor": "What early stopping compares: loss or accuracy.",
        "l2": "Coefficient λ of the penalty ½ λ Σ w² on the weights. By default 1, or 2 for a "
        "regression, if there is no other penalty.",
        "l1": "Coefficient λ of the penalty λ Σ|w| on the weights.",
        "penalty": "What λ is divided by: per_sample (the number of training rows), per_batch "
        "(the rows of a batch), or plain (nothing).",
        "penalize_biases": "Apply the penalties to biases, too.",
        "weight_decay": "For adamw; by default 0.01.",
        "dropout": "Dropout rate of the hidden layers, or one for each, such as 0.2,0.5; 0 for "
        "none. By default 0.2 in layers of at least 32 neurons.",
        "max_norm": "Bound on the norm of a neuron's incoming weights.",
        "label_smoothing": "Fraction of each target that is spread over all classes.",
    },
    "Output": {
        "checkpoint_every": "How often a run with --out is saved, so that --resume can continue "
        "it: 30s, 5m, '10 epochs', or never (after the first epoch and at the end only).",
        "evaluate_training": "Measure loss and accuracy on all training rows after each epoch. "
        "Otherwise those of an epoch come from its steps: each batch is measured before its "
        "update, with dropout and augmentation.",
        "diagnostics": "Measure some steps layer by layer for the doctor and the report.",
    },
    "Device": {
        "dtype": "float32 or float64.",
        "cuda_graph": "Run each step as a single launch on a GPU with CuPy, which takes the CPU "
        "less time; the results are the same.",
    },
}
"""The help of each setting, by its group, in the order of ``--help``."""

ENVIRONMENT = (
    "An environment variable sets an option, too: BACKPROP_XP_EPOCHS=5 for --epochs, and so for "
    "all settings."
)
"""The last paragraph of the help of commands with all settings."""


def _setting_option(group: str, name: str) -> Callable[[Command], Command]:
    """Return the option of a setting, with the type and the default of `RunSettings`."""
    default, kind = _FIELDS[name].default, str(_FIELDS[name].type).split(" ")[0]
    flag = name.replace("_", "-")
    return option(
        f"--{flag}/--no-{flag}" if kind == "bool" else f"--{flag}",
        group=group,
        type=_TYPES.get(name, {"int": int, "float": float}.get(kind)),
        metavar=_METAVARS.get(name),
        default=default,
        show_default=True,
        help=_HELP[group][name],
    )


def settings_options(but: Collection[str] = ()) -> Callable[[Command], Command]:
    """Return a decorator that adds an option for each setting except those in ``but``."""
    settings = [
        _setting_option(group, name)
        for group, names in _HELP.items()
        for name in names
        if name not in but
    ]
    return add_options(label_option, *settings, data_dir_option, format_options)


def show_settings(ctx: click.Context, settings: RunSettings, console: Output) -> None:
    """Print every setting with its source."""
    from backprop_xp.runs.config_file import toml_value

    sources: dict[ParameterSource | None, str] = {
        ParameterSource.COMMANDLINE: "command line",
        ParameterSource.ENVIRONMENT: "environment",
        ParameterSource.DEFAULT_MAP: "configuration file",
    }
    fields = {
        name: {"value": value, "source": sources.get(ctx.get_parameter_source(name), "default")}
        for name, value in dataclasses.asdict(settings).items()
    }
    console.result({"settings": fields})
    for name, field in fields.items():
        value = field["value"]
        text = f"# {name} =" if value is None else f"{name} = {toml_value(value)}"
        console.line(f"{text:<40}  # {field['source']}")
