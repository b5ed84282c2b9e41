"""The report of a run: one HTML page made from its folder, and traces of its worst rows."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from backprop_xp.files import atomic_write
from backprop_xp.formatting import printable
from backprop_xp.report.charts import need_libraries
from backprop_xp.report.sections import attempt, compared, sections
from backprop_xp.report.text import status
from backprop_xp.report.traces import write_traces
from backprop_xp.runs.reader import read_run
from backprop_xp.version import __version__

REPORT = "report.html"


class Report(NamedTuple):
    """The files of a report.

    Attributes
    ----------
    path : Path
    status : str
        How the run ended, in one or two words.
    traces : list of Path
        Pages of single rows.
    problems : list of str
        What could not be read or written, and why.
    notes : list of str
        What else is unusual in the folder.
    """

    path: Path
    status: str
    traces: list[Path]
    problems: list[str]
    notes: list[str]


def write_report(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    compare: Sequence[str | os.PathLike[str]] = (),
) -> Report:
    """Write the report of a run, and traces of the rows with the worst predictions.

    Parameters
    ----------
    run : path
        The folder of a run; traces are written to its subfolder ``traces``.
    out : path, optional
        File name of the page; by default ``report.html`` in the folder of the run.
    compare : sequence of path
        Folders of runs to compare it with.

    Raises
    ------
    ConfigurationError
        If a folder holds no run, the page cannot be written, or Jinja2 or matplotlib is missing.
    """
    need_libraries()
    stored = read_run(run)
    others = [read_run(path) for path in compare]
    page = stored.path / REPORT if out is None else Path(out)
    home = page.absolute().parent
    traces = write_traces(stored)
    addresses = {
        row: quote(os.fsencode(Path(os.path.relpath(path.absolute(), home)).as_posix()))
        for row, path in traces.items()
    }
    if out is None and page.is_symlink():  # it would lead out of the folder
        stored.notes.append(f"{page} was a symbolic link, which the report replaces")
    shown = sections(stored, addresses)
    runs = [stored, *others]
    comparison = attempt(stored, "the comparison", lambda: compared(runs), None) if others else None
    text = _page(shown, comparison)
    if out is None and page.is_symlink():
        page.unlink()
    atomic_write(page, lambda file: file.write(text.encode()))
    return Report(page, status(stored)[1], [*traces.values()], stored.problems, stored.notes)


def _page(shown: dict[str, Any], comparison: dict[str, Any] | None) -> str:
    """Return the page as HTML."""
    from markupsafe import Markup

    css = (files(__package__) / "assets" / "report.css").read_text("utf-8")
    return str(
        _template().render(**shown, compared=comparison, version=__version__, css=Markup(css))
    )


def _shown(value: Any) -> Any:
    """Return what a page shows of a value: text without control characters, and markup as it is."""
    return printable(value) if type(value) is str else value


@functools.cache
def _template() -> Any:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("backprop_xp", "report/assets"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
    )
    environment.filters["svg"] = Markup
    return environment.get_template("report.html")
