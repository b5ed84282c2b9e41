"""The report of a run: one HTML page made from its folder, and traces of its worst rows."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from backprop_xp.files import atomic_write
from backprop_xp.report.charts import need_libraries
from backprop_xp.report.sections import compared, sections
from backprop_xp.report.text import status
from backprop_xp.report.traces import write_traces
from backprop_xp.runs.folder import OUTCOME
from backprop_xp.runs.reader import StoredRun, read_run
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
    """

    path: Path
    status: str
    traces: list[Path]
    problems: list[str]


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
    others = [_show_safely(read_run(path), lambda run: compared([run]))[0] for path in compare]
    page = stored.path / REPORT if out is None else Path(out)
    home = page.absolute().parent

    def show(stored: StoredRun) -> tuple[str, list[Path]]:
        traces = write_traces(stored)
        addresses = {
            row: quote(Path(os.path.relpath(path.absolute(), home)).as_posix())
            for row, path in traces.items()
        }
        shown = sections(stored, addresses)
        return _page(shown, compared([stored, *others]) if others else None), [*traces.values()]

    stored, (text, traces) = _show_safely(stored, show)
    atomic_write(page, lambda file: file.write(text.encode()))
    return Report(page, status(stored)[1], traces, stored.problems)


def _show_safely(stored: StoredRun, show: Callable[[StoredRun], Any]) -> tuple[StoredRun, Any]:
    """Call ``show`` on a run, without its outcome if that raises; return the run and the result."""
    try:
        return stored, show(stored)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        if not stored.outcome:
            raise
        problem = (
            f"{stored.path / OUTCOME} is not in the format of this version: "
            f"{type(error).__name__}: {error}"
        )
        stored = stored._replace(outcome={}, problems=[*stored.problems, problem])
        return stored, show(stored)


def _page(shown: dict[str, Any], comparison: dict[str, Any] | None) -> str:
    """Return the page as HTML."""
    from markupsafe import Markup

    css = (files(__package__) / "assets" / "report.css").read_text("utf-8")
    return str(
        _template().render(**shown, compared=comparison, version=__version__, css=Markup(css))
    )


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
    )
    environment.filters["svg"] = Markup
    return environment.get_template("report.html")
