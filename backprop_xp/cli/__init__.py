"""The command line, ``backprop-xp COMMAND``: parsing and printing only."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

import click

from backprop_xp.cli.help import HelpContext, write_examples
from backprop_xp.cli.output import (
    accept_any_text,
    plain_warnings,
    print_error,
    print_traceback,
)
from backprop_xp.cli.suggestions import explain
from backprop_xp.errors import BackpropError
from backprop_xp.version import __version__

_COMMANDS = {
    "train": "Train a network on handwritten digits, MNIST, a .csv or a .npz.",
    "find-lr": "Suggest a learning rate, by a range test.",
    "evaluate": "Measure a trained model on a data set.",
    "predict": "Predict with a trained model.",
    "export": "Write a trained model for ONNX, PyTorch or NumPy.",
    "summary": "Show a trained model layer by layer.",
    "trace": "Show every number of one training step.",
    "report": "Make a web page about a training run, from its folder.",
    "devices": "List backends and devices, and why some cannot be used.",
    "reproduce": "Run a named experiment and compare it with published results.",
    "plot": "Draw activations, losses or learning-rate schedules.",
    "check": "Check the gradients, and compare a device with NumPy.",
    "guide": "Show a chapter of the guide.",
    "completion": "Print the script that completes commands with Tab in your shell.",
}

COMPLETION = "_BACKPROP_XP_COMPLETE"
"""The environment variable in which a shell tells click what to complete."""

_EXAMPLES = (
    ("backprop-xp train", "the bundled handwritten digits"),
    ("backprop-xp train iris.csv --label species", "a table"),
    ("backprop-xp guide", "how to go on"),
)

UNEXPECTED, USAGE, INTERRUPTED, UNREAD = 1, 2, 130, 141
"""Exit codes; the last one is that of programs in a shell whose output nobody reads (SIGPIPE)."""


class _Commands(click.Group):
    """Commands whose modules are imported when called, so that ``--help`` loads no NumPy."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"backprop_xp.cli.{name.replace('-', '_')}")
        command: click.Command = module.command
        command.context_class = HelpContext
        return command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(_EXAMPLES, formatter)
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))
        click.Command.format_options(self, ctx, formatter)


_Commands.context_class = HelpContext


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="backprop-xp")
def cli() -> None:
    """Train fully connected networks with backpropagation written out by hand.

    'backprop-xp COMMAND --help' shows the options of a command, with examples.
    """


class Terminated(KeyboardInterrupt):
    """SIGTERM, or SIGHUP when the terminal is closed; it unwinds the program as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated(number)


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line, print any error, and exit with its code."""
    args = sys.argv[1:] if args is None else args
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores it
            signal.signal(number, _terminate)
    accept_any_text()
    if COMPLETION in os.environ:  # a shell asks
        importlib.import_module("backprop_xp.cli.completion")
    sys.exit(_run(args))


def _run(args: list[str]) -> int:
    """Run the command line and return its exit code, after the output is flushed."""
    try:
        return _call(args)
    except SystemExit:
        # click and rich exit with 1 when the reader of the output is gone.
        if COMPLETION in os.environ:  # click exits after a completion, too
            raise
        code = UNREAD
    except BrokenPipeError:
        code = UNREAD
    except OSError:
        code = UNEXPECTED
    # The reader of the output is gone ('| head'), or accepts no more: nothing can be printed,
    # and the rest of the buffer must not fail again when the interpreter exits.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _show_traceback(args: list[str]) -> None:
    if "--debug" in args:
        print_traceback()


def _call(args: list[str]) -> int:
    def fail(
        code: int, kind: str, message: str, hint: str | None, error: BaseException | None = None
    ) -> int:
        # The notes of other errors than ours say where a training run was saved.
        hint = "; ".join([*([hint] if hint else []), *getattr(error, "__notes__", ())]) or None
        print_error(kind, message, hint, as_json="--json" in args)
        sys.stdout.flush()
        return code

    try:
        with plain_warnings():
            result: Any = cli.main(
                args or ["--help"], prog_name="backprop-xp", standalone_mode=False
            )
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.UsageError as error:
        return fail(USAGE, "usage", *explain(error, args))
    except (KeyboardInterrupt, click.Abort, EOFError) as error:
        cause = error.__cause__ or error  # click wraps the error in its own Abort
        terminated = _terminated(cause)
        code, what = INTERRUPTED, "interrupted"
        if terminated is not None:
            code, what = terminated.exit_code, "terminated"
        return fail(code, what, str(cause) or what, getattr(cause, "hint", None))
    except BrokenPipeError:
        raise
    except OSError as error:
        _show_traceback(args)
        return fail(
            UNEXPECTED,
            "system",
            f"the operating system reported an error: {error}",
            "check for a full disk, and for a file or folder that was removed",
            error,
        )
    except BackpropError as error:
        _show_traceback(args)
        return fail(error.exit_code, error.kind, error.message, error.hint)
    except MemoryError as error:
        return fail(
            UNEXPECTED,
            "memory",
            "there is not enough memory for this data, network and batch size",
            "use a smaller batch size, fewer neurons, or --dtype float32",
            error,
        )
    except Exception as error:
        _show_traceback(args)
        return fail(
            UNEXPECTED,
            "unexpected",
            f"unexpected {type(error).__name__}: {error}",
            "this is a bug in the program; run it again with --debug and report the traceback",
            error,
        )


def _terminated(error: BaseException | None) -> Terminated | None:
    while error is not None and not isinstance(error, Terminated):
        error = error.__cause__ or error.__context__
    return error
