"""The options that several commands share, and the device and the model that they name."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from backprop_xp.backend.arrays import BACKENDS
from backprop_xp.cli.help import Option
from backprop_xp.cli.output import Output
from backprop_xp.data.dataset import NAMED

if TYPE_CHECKING:
    from backprop_xp.backend.devices import Placement
    from backprop_xp.data.table_format import TableFormat
    from backprop_xp.models.model import Model

Command = TypeVar("Command", bound=Callable[..., Any])


class Name(click.ParamType[str]):
    """A name from a registry, completed by the shell.

    The library checks it, since its error suggests the nearest name.

    Parameters
    ----------
    known : iterable of str
    several : bool
        Whether names separated by commas are completed, too.
    """

    name = "name"

    def __init__(self, known: Iterable[str], *, several: bool = False) -> None:
        self.known = list(known)
        self.several = several

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the known names that begin with the given text."""
        before, comma, last = incomplete.rpartition(",") if self.several else ("", "", incomplete)
        return [
            CompletionItem(f"{before}{comma}{name}") for name in self.known if name.startswith(last)
        ]


class File(click.ParamType[str]):
    """The path of a file or folder, which the shell completes, or one of some names.

    Parameters
    ----------
    known : iterable of str
        The names.
    folder : bool
        Whether only folders are completed.
    """

    name = "file"

    def __init__(self, known: Iterable[str] = (), *, folder: bool = False) -> None:
        self.known = list(known)
        self.kind = "dir" if folder else "file"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the known names that begin with the given text, and a mark for files."""
        names = [CompletionItem(name) for name in self.known if name.startswith(incomplete)]
        return [*names, CompletionItem(incomplete, type=self.kind)]


data_argument = click.argument("data", type=File(NAMED))
model_argument = click.argument("model", type=File())


def option(*declarations: str, **attributes: Any) -> Callable[[Command], Command]:
    """Return an `Option` that can also be set by ``BACKPROP_XP_`` and its name."""
    long = next(text for text in declarations if text.startswith("--"))
    variable = long.split("/")[0].lstrip("-").upper().replace("-", "_")
    attributes.setdefault("envvar", f"BACKPROP_XP_{variable}")
    return plain_option(*declarations, **attributes)


def plain_option(*declarations: str, **attributes: Any) -> Callable[[Command], Command]:
    """Return an `Option` that only the command line sets."""
    return click.option(*declarations, cls=Option, **attributes)


def add_options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return a decorator that adds options, which ``--help`` lists in this order."""

    def add(command: Command) -> Command:
        for one in reversed(options):
            command = one(command)
        return command

    return add


device_options = add_options(
    option(
        "--device",
        group="Device",
        default="auto",
        type=Name(["auto", "cpu", "cuda", "cuda:1"]),
        show_default=True,
        help="auto, cpu, cuda or cuda:N. auto takes a usable GPU, else the CPU.",
    ),
    option(
        "--backend",
        group="Device",
        type=Name(BACKENDS),
        help=f"Array library: {', '.join(BACKENDS)}. By default NumPy or CuPy, by the device.",
    ),
)

data_dir_option = option(
    "--data-dir",
    group="Data",
    metavar="DIR",
    type=File(folder=True),
    help="Folder of the MNIST files.",
)
label_option = option(
    "--label",
    group="Data",
    metavar="COLUMN",
    help="The label column of a table, or the targets of a regression: price,rent.",
)
format_options = add_options(
    option(
        "--separator",
        group="Data",
        metavar="CHAR",
        help="Between the cells of a text file, or 'tab'. By default it is detected.",
    ),
    option(
        "--decimal",
        group="Data",
        metavar="CHAR",
        help="Decimal point of a text file: '.' or ','.",
    ),
    option(
        "--encoding",
        group="Data",
        metavar="NAME",
        help="Encoding of a text file: latin-1, cp1252, ... By default UTF-8.",
    ),
    option(
        "--header/--no-header",
        group="Data",
        default=None,
        help="Whether the first line of a text file names the columns. Without a header they are "
        "named c1, c2, ...",
    ),
)
"""How a text file with a table is written; by default this is detected."""

model_options = add_options(data_dir_option, label_option, format_options, device_options)
"""The options of commands that use a trained model on a data set."""


def out_option(metavar: str, help: str, **attributes: Any) -> Callable[[Command], Command]:
    """Return the option ``-o``, ``--out`` for the file or folder that a command writes."""
    return plain_option(
        "-o", "--out", group="Output", metavar=metavar, type=File(), help=help, **attributes
    )


def given_options(ctx: click.Context, but: Collection[str] = ()) -> list[str]:
    """Return the options and arguments of the command line as words, except those in ``but``."""
    words = []
    for param in ctx.command.params:
        name = param.name or ""
        if ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE or name in but:
            continue
        value, long = ctx.params[name], param.opts[-1]
        if isinstance(value, bool):
            words.append(long if value else param.secondary_opts[-1])
        else:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [text] if isinstance(param, click.Argument) else [long, text]
    return words


def take_format(options: dict[str, Any]) -> TableFormat:
    """Remove the `format_options` from the options of a command, and return them."""
    from backprop_xp.data.table_format import TableFormat

    return TableFormat(**{name: options.pop(name) for name in TableFormat._fields})


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json``, ``--quiet`` and ``--debug``; the command receives an `Output` instead."""

    @functools.wraps(command)
    def with_output(*args: Any, json: bool, quiet: bool, debug: bool, **values: Any) -> Any:
        return command(*args, console=Output(json, quiet), **values)

    add = add_options(
        plain_option(
            "--json",
            group="Output",
            is_flag=True,
            help="Print exactly one JSON object on stdout.",
        ),
        plain_option(
            "-q", "--quiet", group="Output", is_flag=True, help="Print only results and errors."
        ),
        plain_option("--debug", is_flag=True, help="Show the traceback of an error."),
    )
    return add(with_output)


def use_device(
    device: str, backend: str | None, console: Output, dtype: str = "float32"
) -> Placement:
    """Return the placement of the options ``--device`` and ``--backend``, and say which it is."""
    from backprop_xp.backend import devices

    placement = devices.select_device(device, backend, dtype=dtype)
    console.note(placement.note)
    return placement


def model_path(path: str) -> str:
    """Return the path of a model file: a file as it is, and the model in the folder of a run."""
    inside = os.path.join(path, "model.safetensors")
    return inside if os.path.isdir(path) else path


def open_model(path: str, device: str, backend: str | None, console: Output) -> Model:
    """Return the model in a file or in the folder of a run, on the device of the options."""
    from backprop_xp.models.model import load_model

    model = load_model(path)
    return model.to(use_device(device, backend, console, model.dtype))
