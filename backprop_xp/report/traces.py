"""The traces of a report: a page for each of the rows that went most wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from backprop_xp.errors import BackpropError
from backprop_xp.report.text import data_name, titled
from backprop_xp.runs.folder import MODEL
from backprop_xp.runs.reader import Found

FOLDER = "traces"

LARGEST = 3_000_000
"""Characters of a page; none is written that would be larger."""

ALL = 24_000_000
"""Characters of all pages together."""


def write_traces(found: Found) -> dict[int, Path]:
    """Write a trace of each of the worst rows into the folder of a run, and take away earlier ones.

    Returns
    -------
    dict of int to Path
        The page of each row that has one.
    """
    review = found.outcome.get("review")
    rows = [] if review is None or found.model is None else review["worst"]
    folder, part = found.path / FOLDER, found.outcome.get("part")
    written: dict[int, Path] = {}
    try:
        size = 0
        for row in rows:
            page = None if row["inputs"] is None else _trace(found, row, str(part))
            if page is None or len(page) > LARGEST or size + len(page) > ALL:
                continue
            size += len(page)
            folder.mkdir(exist_ok=True)
            written[row["row"]] = path = folder / f"{part}-{int(row['row'])}.html"
            path.write_text(page, encoding="utf-8")
        for path in folder.glob("*.html"):
            earlier = re.fullmatch(r"(train|validation|test)-\d+\.html", path.name)
            if earlier and path not in written.values():
                path.unlink()
    except OSError as error:
        found.problems.append(f"{folder} cannot be written: {error.strerror or error}")
        return {}
    except BackpropError as error:
        found.problems.append(f"the worst rows have no traces: {error.message}")
        return {}
    return written


def _trace(found: Found, row: dict[str, Any], part: str) -> str:
    """Return the page of the first step of a training that starts from the model, on one row."""
    from backprop_xp.trace.examples import trace_model
    from backprop_xp.trace.page import trace_page

    model, settings = found.model, found.settings
    assert model is not None
    if model.classes is None:
        targets = np.asarray([row["target"]], dtype=np.float64)
    else:
        targets = np.asarray([model.classes.index(row["target"])])
    told: dict[str, Any] = {}
    if settings is not None:
        told = {"optimizer": settings.optimizer_record(), "learning_rate": settings.eta()}
        told["penalty"] = settings.penalty_record(found.outcome["data"]["train"])
    trace = trace_model(
        model,
        np.asarray([row["inputs"]]),
        targets,
        title=f"{data_name(found)}: row {row['row']} of the {titled(part)} rows",
        source={
            "model": str(found.path / MODEL),
            "data": data_name(found),
            **{"part": part, "sample": row["row"]},
        },
        **told,
    )
    return trace_page(trace)
