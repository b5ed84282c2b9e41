"""The help of commands: options in groups, examples, and defaults that are easy to read."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import click

from backprop_xp.cli.output import spelled
from backprop_xp.formatting import printable

GROUPS = ("Data", "Network", "Training", "Regularization", "Output", "Device")
"""The groups of options, in the order of the help; all others are the last group."""

_FIRST_COLUMN = 26  # of the options; with longer ones, the text begins on the next line
_METAVARS = {"INTEGER": "INT", "FLOAT": "NUM"}


class Option(click.Option):
    """An option in one of the `GROUPS`, which shows its default as one would write it.

    Parameters
    ----------
    group : str
        Empty for an option of no group.
    *args, **attributes
        Those of `click.Option`.

    Examples
    --------
    >>> bias = Option(["--bias/--no-bias"], default=True, show_default=True, help="Use biases.")
    >>> bias.get_help_record(click.Context(click.Command("train")))
    ('--[no-]bias', 'Use biases.  [default: yes]')
    """

    def __init__(self, *args: Any, group: str = "", **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.group = group

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the names of the option, and its help."""
        record = super().get_help_record(ctx)
        if record is None:
            return None
        return re.sub(r"--([\w-]+) / --no-\1", r"--[no-]\1", record[0]), record[1]

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Return what is shown after the help: the default, if there is one."""
        extra: Any = super().get_help_extra(ctx)
        value = self.get_default(ctx, call=False)
        if "default" not in extra or value is None or value == ():
            extra.pop("default", None)
        elif isinstance(value, (tuple, list)):
            extra["default"] = ",".join(map(str, value))
        elif isinstance(value, bool):
            extra["default"] = "yes" if value else "no"
        elif isinstance(value, float):
            extra["default"] = f"{value:g}"
        return extra

    def make_metavar(self, *args: Any, **options: Any) -> str:
        """Return the placeholder for the value."""
        metavar = super().make_metavar(*args, **options)
        return _METAVARS.get(metavar, metavar)


class _Formatter(click.HelpFormatter):
    def getvalue(self) -> str:
        # Values from a configuration file can be in the help, and click writes UTF-8 to a stream
        # that is encoded as ASCII.
        text = spelled(printable(super().getvalue(), keep="\n"), sys.stdout)
        if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
            return text
        headings = r"^(Usage:|[A-Z][\w ]*:$)"
        return re.sub(headings, lambda hit: click.style(hit[0], bold=True), text, flags=re.M)


class HelpContext(click.Context):
    """The context of a command; its help has no characters that a terminal obeys."""

    formatter_class = _Formatter


def write_examples(examples: Sequence[tuple[str, str]], formatter: click.HelpFormatter) -> None:
    """Write commands and what they do, each on one line so that it can be copied."""
    longest = max((len(command) for command, _ in examples), default=0)
    if examples:
        with formatter.section("Examples"):
            for command, meaning in examples:
                formatter.write(f"  {command:{longest}}  # {meaning}\n")


class Command(click.Command):
    """A command whose help has examples, and its options in groups.

    Parameters
    ----------
    examples : sequence of (str, str)
        The words after ``backprop-xp``, and what they do.
    *args, **attributes
        Those of `click.Command`.
    """

    context_class = HelpContext

    def __init__(
        self, *args: Any, examples: Sequence[tuple[str, str]] = (), **attributes: Any
    ) -> None:
        super().__init__(*args, **attributes)
        self.examples = [(f"backprop-xp {words}", meaning) for words, meaning in examples]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, and below them the options."""
        write_examples(self.examples, formatter)
        groups: dict[str, list[tuple[str, str]]] = {name: [] for name in GROUPS}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                first = record[0].ljust(_FIRST_COLUMN)  # so that all groups are aligned
                groups.setdefault(getattr(param, "group", ""), []).append((first, record[1]))
        several = any(groups[name] for name in GROUPS)
        for name, records in groups.items():
            if records:
                with formatter.section(name or ("Other options" if several else "Options")):
                    formatter.write_dl(records, col_max=_FIRST_COLUMN)
