"""The traces of a report: a page for each of the rows with the worst predictions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from backprop_xp.errors import BackpropError
from backprop_xp.files import atomic_write
from backprop_xp.formatting import abridged
from backprop_xp.report.text import data_name, row_name, titled
from backprop_xp.runs.folder import MODEL, OUTCOME
from backprop_xp.runs.reader import StoredRun

FOLDER = "traces"

MOST = 100
"""The largest number of pages; those of more rows are not written."""

LARGEST = 3_000_000
"""The largest number of characters of a page; a larger one is not written."""

ALL = 24_000_000
"""The largest number of characters of all pages together."""


def write_traces(run: StoredRun) -> dict[int, Path]:
    """Write a trace of each of the worst rows into the folder of a run, delete earlier ones, and
    return the page of each row that has one."""
    review = run.outcome.get("review")
    rows = [] if review is None or run.model is None else review["worst"][:MOST]
    folder, part = run.path / FOLDER, run.outcome.get("part")
    written: dict[int, Path] = {}
    if folder.is_symlink():  # it would lead out of the folder of the run
        run.problems.append(f"{folder} is a symbolic link, so no traces are written to it")
        return {}
    try:
        size = 0
        for row in rows:
            page = None if row["inputs"] is None else _trace(run, row, str(part))
            if page is None or len(page) > LARGEST or size + len(page) > ALL:
                continue
            size += len(page)
            folder.mkdir(exist_ok=True)
            path = folder / f"{part}-{row['row']}.html"
            if path.is_symlink():
                path.unlink()
            _write(path, page)
            written[row["row"]] = path
        for path in folder.glob("*.html"):
            earlier = re.fullmatch(r"(train|validation|test)-\d+\.html", path.name)
            if earlier and path not in written.values():
                path.unlink()
    except OSError as error:
        run.problems.append(f"{folder} cannot be written: {error.strerror or error}")
        return {}
    except BackpropError as error:
        run.problems.append(f"the worst rows have no traces: {error.message}")
        return {}
    except (ValueError, LookupError, TypeError, ArithmeticError) as error:
        run.problems.append(f"the worst rows in {run.path / OUTCOME} do not fit the model: {error}")
        return {}
    return written


def _write(path: Path, page: str) -> None:
    atomic_write(path, lambda file: file.write(page.encode()))


def _trace(run: StoredRun, row: dict[str, Any], part: str) -> str:
    """Return the page of one training step on one row, starting from the model of the run."""
    from backprop_xp.trace.page import trace_page
    from backprop_xp.trace.step_trace import trace_step

    model, settings = run.model, run.settings
    assert model is not None
    if model.classes is None:
        targets = np.asarray([row["target"]], dtype=np.float64)
    elif row["target"] not in model.classes:
        raise ValueError(f"it has no class {abridged(row['target'])}")
    else:
        targets = np.asarray([model.classes.index(row["target"])])
    options: dict[str, Any] = {}
    if settings is not None:
        options = {
            "optimizer": settings.resolve_optimizer(),
            "learning_rate": settings.resolve_learning_rate(),
            "penalty": settings.resolve_penalty(run.outcome["data"]["train"]),
        }
    trace = trace_step(
        model,
        np.asarray([row["inputs"]]),
        targets,
        title=f"{data_name(run)}: {row_name(row)} of the {titled(part)} rows"
        + ("" if model.target_scaling is None else ", standardized target"),
        source={
            "model": str(run.path / MODEL),
            "data": data_name(run),
            "part": part,
            "sample": row["row"],
        },
        **options,
    )
    return trace_page(trace)
