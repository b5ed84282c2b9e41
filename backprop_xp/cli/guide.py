"""``backprop-xp guide``: show the chapters of the guide in the terminal."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from backprop_xp.cli.help import Command
from backprop_xp.cli.options import output_options
from backprop_xp.cli.output import Output
from backprop_xp.errors import check_name

GUIDE = Path(__file__).parents[1] / "guide"
"""The folder of the chapters; its README.md lists them in the order of reading."""

_PIPE_WIDTH, _WIDEST = 80, 100  # columns; longer lines are hard to read


def chapters() -> dict[str, str]:
    """Return the name of each chapter and what it is about, in the order of reading.

    Examples
    --------
    >>> list(chapters())[0]
    'first-steps'
    """
    index = (GUIDE / "README.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^- \[([^]]+)\]\(\1\.md\): (.+)$", index, flags=re.MULTILINE))


def rendered(markdown: str, width: int | None = None) -> str:
    """Return a chapter as text for the terminal.

    The width is that of the terminal, at most 100 columns, and 80 in a pipe.

    Examples
    --------
    >>> print(rendered("Read [nn](../nn) and [tables](tables.md)."), end="")
    Read nn and tables (guide tables).
    """
    from rich.console import Console
    from rich.markdown import Markdown

    markdown = re.sub(r"<!--.*?-->\n", "", markdown)
    blocks = markdown.split("```")  # every second one is code
    blocks[::2] = [re.sub(r"(!?)\[([^]]+)\]\(([^)]+)\)", _link, block) for block in blocks[::2]]
    console = Console()
    terminal = min(console.width, _WIDEST) if console.is_terminal else _PIPE_WIDTH
    console.width = width or terminal
    with console.capture() as captured:
        console.print(Markdown("```".join(blocks)))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _link(match: re.Match[str]) -> str:
    """Return a link as the text to print: the targets in the repository mean nothing there."""
    image, text, target = match.groups()
    chapter = re.fullmatch(r"([\w-]+)\.md(#.*)?", target)
    if image:
        return f"(Image: {text})"
    if chapter and chapter[1] in chapters():
        return f"{text} (`guide {chapter[1]}`)"
    return f"{text} ({target})" if target.startswith("http") else text


class _Guide(Command):
    """A command whose help lists the chapters."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Chapters"):
            formatter.write_dl(list(chapters().items()))


class _Chapter(click.ParamType[str]):
    """The name of a chapter; the command checks it, since its error suggests the nearest name."""

    name = "chapter"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Return the chapters that begin with the given text."""
        return [
            click.shell_completion.CompletionItem(name, help=subject)
            for name, subject in chapters().items()
            if name.startswith(incomplete)
        ]


@click.command(
    cls=_Guide,
    examples=(("guide", "list the chapters"), ("guide first-steps", "read one of them")),
)
@click.argument("chapter", required=False, type=_Chapter())
@output_options
def command(chapter: str | None, console: Output) -> None:
    """Show CHAPTER of the guide; without a chapter, list all of them."""
    known = chapters()
    if chapter is None:
        console.result({"chapters": [{"name": n, "subject": s} for n, s in known.items()]})
        console.table(("chapter", "subject"), known.items())
        console.note("'backprop-xp guide CHAPTER' shows a chapter")
        return
    check_name("chapter", chapter, known)
    text = (GUIDE / f"{chapter}.md").read_text(encoding="utf-8")
    console.result({"chapter": chapter, "text": text})
    if not console.json:
        # Spelled before the text is laid out, so that columns stay aligned.
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        text = text.encode(encoding, sys.stdout.errors or "strict").decode(encoding)
        sys.stdout.write(rendered(text))
