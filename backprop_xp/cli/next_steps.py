"""The commands to continue with after a training run."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backprop_xp.cli.options import given_options
from backprop_xp.data.dataset import NAMED

if TYPE_CHECKING:
    from backprop_xp.runs.settings import RunSettings


def next_steps(
    ctx: click.Context, settings: RunSettings, folder: str | None, seed: int
) -> Iterator[str]:
    r"""Yield lines with the commands to continue with after a run, as they can be copied.

    Parameters
    ----------
    ctx : click.Context
        Of the command that trained.
    settings : RunSettings
    folder : str or None
        The folder of the run, if it was kept. Otherwise the command is the one that trained, with
        a folder for the run and the seed.
    seed : int

    Examples
    --------
    >>> from backprop_xp.runs.settings import RunSettings
    >>> ctx = click.Context(click.Command("train"))
    >>> print(*next_steps(ctx, RunSettings(), "runs/a", 0), sep="\n")
    next:
      backprop-xp report runs/a           # curves and mistakes as a page
      backprop-xp evaluate runs/a digits  # the test rows
      backprop-xp predict runs/a digits   # the test rows
    """
    yield "next:"
    if folder is None:
        words = [*given_options(ctx, but=("seed", "quiet", "overwrite")), "--seed", str(seed)]
        words += ["--out", _free_folder(settings.data)]
        yield f"  {shlex.join(['backprop-xp', 'train', *words])}  # keep the model"
        return
    # The checkpoint of a resumed run has absolute paths.
    show = str if ctx.params.get("resume") is None else _below_here
    data = [folder, show(settings.data)]
    for name in ("data_dir", "separator", "decimal", "encoding"):
        value = getattr(settings, name)
        data += [] if value is None else [f"--{name.replace('_', '-')}", show(value)]
    if settings.header is not None:
        data.append("--header" if settings.header else "--no-header")
    named = settings.data in NAMED
    steps = (
        (["report", folder], "curves and mistakes as a page"),
        (["evaluate", *data], "the test rows" if named else "or another labeled file"),
        (["predict", *data], "the test rows" if named else "or a file of new rows"),
    )
    commands = [shlex.join(["backprop-xp", *words]) for words, _ in steps]
    longest = max(map(len, commands))
    for command, (_, meaning) in zip(commands, steps, strict=True):
        yield f"  {command:{longest}}  # {meaning}"


def _below_here(path: str) -> str:
    """Return an absolute path as a relative one if it is below the current folder."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _free_folder(data: str) -> str:
    """Return the name of a folder for a run on this data, below runs/, which does not exist."""
    first = name = f"runs/{Path(data).stem or 'run'}"
    number = 1
    while os.path.exists(name):
        number += 1
        name = f"{first}-{number}"
    return name
