"""The page of a report: a run's folder in, one HTML file and the traces beside the run out."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from backprop_xp.models.model_file import write_whole
from backprop_xp.report.charts import need_libraries
from backprop_xp.report.sections import compared, sections
from backprop_xp.report.text import status
from backprop_xp.report.traces import write_traces
from backprop_xp.runs.folder import OUTCOME
from backprop_xp.runs.reader import Found, read_run
from backprop_xp.version import __version__

REPORT = "report.html"


class Report(NamedTuple):
    """What was written.

    Attributes
    ----------
    path : Path
    status : str
        How the run ended, in a word.
    traces : list of Path
        Pages of single rows.
    problems : list of str
        What could not be read of the run.
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
    """Write the report of a run, and the traces of the rows that went most wrong.

    Parameters
    ----------
    run : path
        The folder of a run; the traces go into its folder ``traces``.
    out : path, optional
        The page; by default ``report.html`` in that folder.
    compare : sequence of path
        Folders of runs to lay beside it.

    Raises
    ------
    ConfigurationError
        If a folder holds no run, the page cannot be written, or Jinja2 or matplotlib is missing.
    """
    need_libraries()
    found, beside = read_run(run), [_sound(read_run(path), _alone)[0] for path in compare]
    page = found.path / REPORT if out is None else Path(out)
    home = page.absolute().parent

    def show(found: Found) -> tuple[str, list[Path]]:
        traces = write_traces(found)
        shown = sections(found, {row: _address(path, home) for row, path in traces.items()})
        return _page(shown, compared([found, *beside]) if beside else None), [*traces.values()]

    found, (text, traces) = _sound(found, show)
    write_whole(page, lambda file: file.write(text.encode()))
    return Report(page, status(found)[1], traces, found.problems)


def _address(path: Path, home: Path) -> str:
    return quote(Path(os.path.relpath(path.absolute(), home)).as_posix())


def _alone(found: Found) -> Any:
    return compared([found])


def _sound(found: Found, show: Callable[[Found], Any]) -> tuple[Found, Any]:
    """Return a run and what is shown of it; without its outcome, if that cannot be shown."""
    try:
        return found, show(found)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        if not found.outcome:
            raise
        problem = (
            f"{found.path / OUTCOME} is not as this version writes it: "
            f"{type(error).__name__}: {error}"
        )
        found = found._replace(outcome={}, problems=[*found.problems, problem])
        return found, show(found)


def _page(shown: dict[str, Any], beside: dict[str, Any] | None) -> str:
    """Return the page as HTML."""
    from markupsafe import Markup

    css = (files(__package__) / "assets" / "report.css").read_text("utf-8")
    text: str = _template().render(**shown, compared=beside, version=__version__, css=Markup(css))
    return text


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
