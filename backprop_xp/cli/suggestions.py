"""Errors of usage: what is wrong, and the nearest command or option."""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Sequence

import click
from click.core import ParameterSource

_COMMANDS = {
    **dict.fromkeys(("fit", "learn", "run", "resume", "doctor"), "train"),
    **dict.fromkeys(("eval", "test", "score", "validate", "measure"), "evaluate"),
    **dict.fromkeys(("infer", "inference", "classify", "prediction"), "predict"),
    **dict.fromkeys(("lr", "lr-find", "lr-finder", "findlr", "learning-rate"), "find-lr"),
    **dict.fromkeys(("info", "show", "inspect", "describe", "model"), "summary"),
    **dict.fromkeys(("html", "view", "compare", "page"), "report"),
    **dict.fromkeys(("gpu", "gpus", "device", "backends", "list-devices"), "devices"),
    **dict.fromkeys(("experiment", "experiments", "benchmark"), "reproduce"),
    **dict.fromkeys(("draw", "graph", "chart"), "plot"),
    **dict.fromkeys(("gradcheck", "gradient-check", "selftest", "self-test"), "check"),
    **dict.fromkeys(("convert", "onnx", "torch", "save"), "export"),
    **dict.fromkeys(("step", "explain", "debug"), "trace"),
    **dict.fromkeys(("docs", "doc", "tutorial", "manual", "man"), "guide"),
    **dict.fromkeys(("complete", "completions", "autocomplete"), "completion"),
    **{"help": "--help", "version": "--version"},
}
"""Other names of commands, with the command."""

_OPTIONS = {
    **dict.fromkeys(("lr", "eta", "learning-rate-init", "step-size", "rate"), "--learning-rate"),
    **dict.fromkeys(("batch", "batchsize", "minibatch", "bs", "b"), "--batch-size"),
    **dict.fromkeys(("epoch", "n-epochs", "num-epochs", "max-iter", "iterations"), "--epochs"),
    **dict.fromkeys(("e", "max-epochs"), "--epochs"),
    **dict.fromkeys(("layers", "layer", "hidden-layers", "hidden-size", "units"), "--hidden"),
    **dict.fromkeys(("hidden-layer-sizes", "neurons", "sizes", "width"), "--hidden"),
    **dict.fromkeys(("target", "targets", "labels", "y", "target-column", "class"), "--label"),
    **dict.fromkeys(("label-column", "class-column", "response", "column"), "--label"),
    **dict.fromkeys(("output", "output-dir", "out-dir", "outdir", "save", "save-dir"), "--out"),
    **dict.fromkeys(("output-file", "outfile", "folder", "logdir", "run-dir"), "--out"),
    **dict.fromkeys(("gpu", "cuda"), "--device cuda"),
    **{"cpu": "--device cpu", "no-gpu": "--device cpu", "no-cuda": "--device cpu"},
    **dict.fromkeys(("solver", "opt", "optim"), "--optimizer"),
    **dict.fromkeys(("act", "activations", "activation-function", "nonlinearity"), "--activation"),
    **dict.fromkeys(("alpha", "reg", "regularization", "l2-penalty"), "--l2"),
    **dict.fromkeys(("decay-rate", "wd"), "--weight-decay"),
    **dict.fromkeys(("early-stopping", "n-iter-no-change"), "--patience"),
    **dict.fromkeys(("tol", "min-delta", "tolerance"), "--min-improvement"),
    **dict.fromkeys(("random-state", "random-seed", "rng", "s"), "--seed"),
    **dict.fromkeys(("init", "initialization", "weights", "initialize"), "--initializer"),
    **dict.fromkeys(("loss-function", "criterion", "cost", "objective"), "--loss"),
    **dict.fromkeys(("val", "valid", "validation-data", "validation-file"), "--validation"),
    **dict.fromkeys(("validation-split", "val-split", "val-fraction"), "--validation-fraction"),
    **dict.fromkeys(("test-size", "test-split"), "--test-fraction"),
    **dict.fromkeys(("sep", "delimiter", "delim"), "--separator"),
    **dict.fromkeys(("normalize", "standardize", "scale", "scaler"), "--scaling"),
    **dict.fromkeys(("exclude", "ignore", "drop-columns"), "--drop"),
    **dict.fromkeys(("augmentation", "augmentations"), "--augment"),
    **dict.fromkeys(("lr-schedule", "scheduler", "lr-scheduler", "annealing"), "--schedule"),
    **dict.fromkeys(("warmup", "warmup-steps", "warm-up-steps"), "--warm-up"),
    **dict.fromkeys(("gradient-clip", "clip", "clip-grad", "grad-clip"), "--clip-norm"),
    **dict.fromkeys(("precision", "float", "type"), "--dtype"),
    "smoothing": "--label-smoothing",
    **dict.fromkeys(("force", "f", "clobber"), "--overwrite"),
    **dict.fromkeys(("continue", "restart", "from-checkpoint"), "--resume"),
    **dict.fromkeys(("configuration", "settings", "c"), "--config"),
    **dict.fromkeys(("silent", "no-progress", "quite"), "--quiet"),
    **dict.fromkeys(("verbose", "traceback"), "--debug"),
    **dict.fromkeys(("proba", "probability", "probs"), "--probabilities"),
    **dict.fromkeys(("samples", "row", "index"), "--sample"),
}
"""What other programs call an option, with its name here."""

_DATA = (".csv", ".tsv", ".npz", ".parquet", ".feather", ".txt", ".gz")


def explain(error: click.UsageError, args: Sequence[str]) -> tuple[str, str]:
    """Return the message and the hint for an error of usage, with the nearest name.

    Parameters
    ----------
    error : click.UsageError
    args : sequence of str
        The words of the command line.

    Examples
    --------
    >>> command = click.Command("train", params=[click.Option(["--learning-rate"])])
    >>> ctx = click.Context(command, info_name="train")
    >>> print(*explain(click.NoSuchOption("--lr", ctx=ctx), ["--lr", "0.1"]), sep=" | ")
    there is no option '--lr' | did you mean '--learning-rate'? 'train --help' shows the options
    """
    ctx = error.ctx
    where = ctx.command_path if ctx else "backprop-xp"
    message, near = error.format_message(), ""
    shows = f"'{where} --help' shows the options"
    if isinstance(error, click.NoSuchOption) and ctx is not None:
        name = _as_typed(error.option_name, args)
        message, near = f"there is no option '{name}'", _nearest_option(name, ctx)
    elif isinstance(error, click.exceptions.NoSuchCommand) and ctx is not None:
        name = error.command_name
        message, near = f"there is no command {name!r}", _nearest_command(name, ctx)
        shows = f"'{where} --help' lists the commands"
    elif isinstance(error, click.BadParameter) and (variable := _variable(error, args)):
        error.param_hint = variable
        shows = f"correct or unset the environment variable {variable}; {shows}"
        message = error.format_message()
    elif isinstance(error, click.MissingParameter) and ctx is not None:
        message = " ".join(message.split())  # the choices are on lines of their own
        examples = getattr(ctx.command, "examples", ())
        if examples:
            return message, f"for example: {examples[0][0]}; {shows}"
    return message, f"{near}{shows}"


def _variable(error: click.BadParameter, args: Sequence[str]) -> str:
    """Return the environment variable that a wrong value comes from; empty if it does not."""
    if error.ctx is None or error.param is None or not isinstance(error.param.envvar, str):
        return ""
    variable = error.param.envvar
    source = error.ctx.get_parameter_source(error.param.name or "")
    if source is None:  # click 8.4.0 sets it only after the value was converted
        typed = {arg.partition("=")[0] for arg in args}
        from_variable = variable in os.environ and typed.isdisjoint(error.param.opts)
    else:
        from_variable = source is ParameterSource.ENVIRONMENT
    return variable if from_variable else ""


def _as_typed(name: str, args: Sequence[str]) -> str:
    """Return the word in which an unknown short option was found: ``-lr`` for ``-l``."""
    if name.startswith("--"):
        return name
    return next((word for word in args if word.startswith(name)), name).split("=")[0]


def _nearest_option(name: str, ctx: click.Context) -> str:
    """Return a question that names the option that was probably meant, or nothing."""
    params = ctx.command.get_params(ctx)
    known = [text for param in params for text in (*param.opts, *param.secondary_opts)]
    bare = name.lstrip("-").lower().replace("_", "-")
    meant = _OPTIONS.get(bare, "")
    if f"--{bare}" in known:
        near = [f"--{bare}"]
    elif meant.split(" ")[0] in known:
        near = [meant]
    else:
        long = [text for text in known if text.startswith("--")]
        near = difflib.get_close_matches(f"--{bare}", long, n=1, cutoff=0.7)
        near = near or ([text for text in long if bare in text][:3] if len(bare) > 2 else [])
    return _question(near)


def _nearest_command(name: str, ctx: click.Context) -> str:
    assert isinstance(ctx.command, click.Group)
    known = ctx.command.list_commands(ctx)
    bare = name.lower().replace("_", "-")
    if bare in known:
        return _question([bare])
    if name.lower().endswith(_DATA) or name in ("digits", "mnist") or os.path.exists(name):
        return _question([shlex.join(["backprop-xp", "train", name])])
    meant = _COMMANDS.get(bare, "")
    if meant.startswith("--") or meant in known:
        return _question([meant])
    return _question(difflib.get_close_matches(bare, known, n=1))


def _question(near: Sequence[str]) -> str:
    named = " or ".join(f"'{one}'" for one in near)
    return f"did you mean {named}? " if near else ""
