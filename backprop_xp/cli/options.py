"""The options that several commands share, and how values are completed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from backprop_xp.backend.arrays import BACKENDS

Command = TypeVar("Command", bound=Callable[..., Any])


class Name(click.ParamType[str]):
    """A name out of a registry: completed by the shell, and checked by the library, whose error
    suggests the nearest name."""

    name = "name"

    def __init__(self, known: Iterable[str]) -> None:
        self.known = list(known)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the known names that begin as what was typed."""
        return [CompletionItem(name) for name in self.known if name.startswith(incomplete)]


def option(*declarations: str, **attributes: Any) -> Callable[[Command], Command]:
    """Return a click option that can also be set by ``BACKPROP_XP_`` and its name."""
    long = next(text for text in declarations if text.startswith("--"))
    variable = long.split("/")[0].lstrip("-").upper().replace("-", "_")
    attributes.setdefault("envvar", f"BACKPROP_XP_{variable}")
    return click.option(*declarations, **attributes)


def device_options(default: Any = None) -> Callable[[Command], Command]:
    """Add ``--device`` and ``--backend``."""

    def add(command: Command) -> Command:
        command = option(
            "--backend",
            type=Name(BACKENDS),
            help=f"Array library: {', '.join(BACKENDS)}. By default NumPy or CuPy, by the device.",
        )(command)
        return option(
            "--device",
            default="auto",
            type=Name(["auto", "cpu", "cuda", "cuda:1"]),
            show_default=True,
            help="auto, cpu, cuda or cuda:N. auto takes a usable GPU, else the CPU.",
        )(command)

    return add


def output_options(command: Command) -> Command:
    """Add ``--json``, ``--quiet`` and ``--debug``."""
    for flag, help_text in (
        ("--debug", "Show the traceback of an error."),
        ("--quiet", "Print no progress and no notes, only results and errors."),
        ("--json", "Print exactly one JSON object on stdout."),
    ):
        command = click.option(flag, is_flag=True, help=help_text)(command)
    return command
