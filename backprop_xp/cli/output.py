"""Printing: results as text or as JSON on stdout, everything else on stderr.

All text passes through `backprop_xp.formatting.printable`: names and messages can come from files,
and a terminal obeys control characters.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from backprop_xp.formatting import json_safe, printable, printable_json, shorten

SCHEMA_VERSION = 1

_LONGEST = 4000  # characters of a line on stderr, and of the message and the hint of an error


@dataclass(frozen=True)
class Output:
    """The output of one command: its result as text or as JSON, and notes for people."""

    json: bool  # the result is exactly one JSON object on stdout, and no text
    quiet: bool  # no progress and no notes

    def result(self, fields: dict[str, Any]) -> None:
        """Print the result with ``--json``."""
        if self.json:
            command = click.get_current_context().info_name
            _dump({"schema_version": SCHEMA_VERSION, "command": command, **fields})

    def line(self, text: str = "") -> None:
        """Print a line of the result without ``--json``; it may contain tabs, but no line ends."""
        if not self.json:
            print(printable(text, keep="\t"))

    def table(self, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table without ``--json``: fitted to a terminal, else one line for each row."""
        if self.json:
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for title in titles:
            table.add_column(printable(title), overflow="fold")
        for row in rows:
            table.add_row(*map(printable, row))
        width = None if sys.stdout.isatty() else 10_000
        # Names such as [red] and :cat: are text.
        Console(highlight=False, markup=False, emoji=False, width=width).print(table)

    def note(self, text: str) -> None:
        """Print a line for people on stderr, unless ``--quiet`` is given."""
        if not self.quiet:
            say(text)


def print_error(kind: str, message: str, hint: str | None, *, as_json: bool) -> None:
    """Print an error on stderr, and with ``--json`` as the JSON object on stdout as well."""
    message, hint = shorten(message, _LONGEST), hint and shorten(hint, _LONGEST)
    say(f"error: {message}")
    for number, line in enumerate(hint.split("\n") if hint else ()):
        say(f"  {line}" if number else f"hint: {line}")
    if as_json:
        error = {"kind": kind, "message": message, "hint": hint}
        _dump({"schema_version": SCHEMA_VERSION, "error": error})


def print_traceback() -> None:
    """Print the traceback of the current error on stderr."""
    print(printable(traceback.format_exc(), keep="\n"), end="", file=sys.stderr, flush=True)


def _dump(fields: dict[str, Any]) -> None:
    # Escapes keep every character, also where the stream cannot encode it.
    escaped = not _encoding(sys.stdout).startswith("utf")
    print(printable_json(json.dumps(json_safe(fields), ensure_ascii=escaped, allow_nan=False)))


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Print each warning as one line on stderr, without the place in the code."""

    def show(message: Warning | str, *place: Any, **more: Any) -> None:
        say(f"warning: {' '.join(str(message).split())}")

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show
        yield


_SPELLED = {
    **{"∂": "d", "∇": "grad ", "Σ": "sum", "√": "sqrt", "⊙": "*", "·": "*", "×": "x", "÷": "/"},
    **{"−": "-", "–": "-", "±": "+/-", "∓": "-/+", "←": "<-", "→": "->", "≤": "<=", "≥": ">="},
    **{"½": "1/2", "²": "^2", "³": "^3", "⁻": "^-", "ᵀ": "^T", "ᵗ": "^t", "₁": "_1", "₂": "_2"},
    **{"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "η": "eta"},
    **{
        "•": "*",
        "λ": "lambda",
        "μ": "mu",
        "µ": "u",
        "π": "pi",
        "ρ": "rho",
        "σ": "sigma",
        "…": "...",
    },
}
"""How the symbols of formulas are written where they cannot be encoded."""


def accept_any_text() -> None:
    """Let stdout and stderr accept every character, and let stderr never fail.

    A pipe on Windows is usually encoded as cp1252 or gbk, and neither has all symbols of formulas
    and class names. Symbols are spelled out, and other characters become escapes such as
    ``\\u4e2d``, which unlike a question mark keep names apart.

    Notes and progress that cannot be written, because the terminal was closed or the disk is full,
    are dropped: they must not end a training run.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed before the program started
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stderr, io.TextIOWrapper):
        lossy = io.BufferedWriter(_Lossy(sys.stderr))
        sys.stderr = io.TextIOWrapper(lossy, sys.stderr.encoding, line_buffering=True)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backprop_xp.spell")


class _Lossy(io.RawIOBase):
    """A stream that drops what the stream below it cannot write."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream  # it would close its file if nothing referred to it
        buffer: Any = stream.buffer
        self._raw: Any = getattr(buffer, "raw", buffer)

    def write(self, data: Any) -> int:
        try:
            return int(self._raw.write(data) or len(data))  # None if a pipe is full
        except OSError:
            return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Return the replacement for characters that cannot be encoded, and where they end."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    spelled = (
        _SPELLED.get(char) or char.encode("ascii", "backslashreplace").decode()
        for char in characters
    )
    return "".join(spelled), error.end


codecs.register_error("backprop_xp.spell", _spell)


def spelled(text: str, stream: Any) -> str:
    """Return text with the characters that the encoding of a stream lacks spelled out.

    Examples
    --------
    >>> import io
    >>> spelled("λ Σ|w|", io.TextIOWrapper(io.BytesIO(), "ascii"))
    'lambda sum|w|'
    """
    encoding = _encoding(stream)
    return text.encode(encoding, "backprop_xp.spell").decode(encoding)


def _encoding(stream: Any) -> str:
    return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name


def say(text: str) -> None:
    """Print a line on stderr; the middle of a very long one is left out."""
    print(printable(shorten(text, 2 * _LONGEST)), file=sys.stderr, flush=True)
