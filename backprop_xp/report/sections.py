"""The sections of a report: everything the page shows, as plain data for its template."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from backprop_xp.formatting import pluralize, shorten
from backprop_xp.models.metrics import figures_by_class
from backprop_xp.nn.network import Network
from backprop_xp.report.curves import compared_curves, layer_curves, training_curves
from backprop_xp.report.images import (
    UNITS,
    input_images,
    matrix_chart,
    pairs_chart,
    plane,
    weight_images,
)
from backprop_xp.report.text import (
    data_name,
    differences,
    network,
    number,
    percent,
    result,
    results,
    row_name,
    rows,
    sentence,
    settings_rows,
    status,
    titled,
)
from backprop_xp.runs.folder import CONFIG
from backprop_xp.runs.reader import StoredRun

Shown = TypeVar("Shown")

ROWS = 100
"""The largest number of epochs in the table of the history; a longer one is thinned evenly."""

TABLE = 20
"""The largest number of classes for which a confusion matrix is a table of numbers."""

COLUMNS = 8
"""The number of inputs of a row that are shown if they are not an image."""

COMMONEST = 12
"""The number of confusions that are listed if the matrix is not a table."""

_FIGURES = ("precision", "recall", "f1")

_TITLES = {
    "layer_curves": "the statistics of the layers",
    "review": "the error analysis",
    "plane": "the decision boundary",
    "weights": "the weights of the first layer",
}
"""The names of sections in messages, where they are not those of their data."""

_RESIDUALS = {
    "root_mean_square": "root mean square",
    "mean_absolute": "mean absolute",
    "mean": "mean",
    "largest": "largest",
    "target_deviation": "standard deviation of the targets",
}

_FIELDS = {
    "epoch": ("epoch", number),
    "learning_rate": ("learning rate", number),
    "loss": ("training loss (during the epoch)", number),
    "train_loss": ("loss (complete training set)", number),
    "validation_loss": ("validation loss", number),
    "accuracy": ("training accuracy (during the epoch)", percent),
    "train_accuracy": ("accuracy (complete training set)", percent),
    "validation_accuracy": ("validation accuracy", percent),
    "seconds": ("seconds", number),
}


def sections(run: StoredRun, traces: Mapping[int, str]) -> dict[str, Any]:
    """Return everything the page shows of one run; ``traces`` holds the addresses by row.

    If files of the run do not fit together, such as a model of another run, the sections that need
    both of them are left out, and the run's problems say so.
    """
    shape = network(run)
    shown: dict[str, tuple[Callable[[], Any], Any]] = {
        "advice": (lambda: _advice(run), None),
        "environment": (lambda: _environment(run), []),
        "data": (lambda: data_name(run), "unknown data"),
        "sentence": (lambda: sentence(run), ""),
        "rows": (lambda: rows(run), ""),
        "result": (lambda: result(run), None),
        "cards": (lambda: _cards(run), []),
        "curves": (lambda: training_curves(run), []),
        "history": (lambda: _history(run), {"titles": [], "rows": [], "epochs": 0}),
        "layer_curves": (lambda: layer_curves(run), []),
        "layers": (lambda: _layers(run, shape), []),
        "review": (lambda: _review(run, traces), None),
        "plane": (lambda: _plane(run), None),
        "weights": (lambda: _weights(run), None),
        "columns": (lambda: _table_columns(run), None),
        "settings": (lambda: None if run.settings is None else settings_rows(run.settings), None),
    }
    return {
        "name": run.name,
        "status": status(run),
        "problems": run.problems,
        "remarks": run.notes,
        "parameters": number(shape.get("parameters")),
        "notes": (run.outcome.get("data") or {}).get("notes") or [],
        "again": shlex.join(["backprop-xp", "train", "--config", str(run.path / CONFIG)]),
        **{
            name: attempt(run, _TITLES.get(name, name), build, default)
            for name, (build, default) in shown.items()
        },
    }


def attempt(run: StoredRun, name: str, build: Callable[[], Shown], default: Shown) -> Shown:
    """Return what ``build`` returns; if it raises an error, add a problem to the run instead."""
    try:
        with np.errstate(all="ignore"):  # a number from a file may be close to the largest one
            return build()
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        fault = shorten(f"{type(error).__name__}: {error}", 200)
        run.problems.append(
            f"the files in {run.path} do not fit together: {name} cannot be shown ({fault})"
        )
        return default


def compared(runs: Sequence[StoredRun]) -> dict[str, Any]:
    """Return the section of the page that compares several runs."""
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.path) for run in runs]
    return {
        "names": names,
        "curves": compared_curves(runs, names),
        "differences": differences(runs),
        "results": results(runs),
    }


def _advice(run: StoredRun) -> list[tuple[str, str, str]] | None:
    """Return fault, evidence and remedy of each finding; None if the doctor did not run."""
    advice = run.outcome.get("advice")
    return advice and [(one["fault"], one["evidence"], one["mend"]) for one in advice]


def _cards(run: StoredRun) -> list[tuple[str, str, str]]:
    """Return the figures at the top of the page: title, value, and a note."""
    cards = []
    measured = run.outcome.get("measured") or {}
    for part in ("test", "validation", "train"):
        if not (known := measured.get(part)):
            continue
        title, loss = titled(part), number(known["loss"])
        if known.get("accuracy") is not None:
            cards.append((f"{title} accuracy", percent(known["accuracy"]), f"loss {loss}"))
        elif known.get("r2") is not None:
            note = f"RMSE {number(known['rmse'])}, MAE {number(known['mae'])}"
            cards.append((f"{title} R²", f"{known['r2']:.4f}", note))
        else:
            cards.append((f"{title} loss", loss, pluralize(known["count"], "row")))
    if run.best is not None:
        lowest = run.best.get("validation_loss")
        note = "" if lowest is None else f"validation loss {number(lowest)}"
        cards.append(("best epoch", number(run.best["epoch"]), note))
    if shape := network(run):
        layers = pluralize(len(shape["activations"]), "layer")
        cards.append(("parameters", number(shape["parameters"]), layers))
    if run.history:
        seconds = sum(record.get("seconds", 0.0) for record in run.history)
        each = 1000.0 * seconds / len(run.history)
        cards.append(("time", f"{seconds:.1f} s", f"{each:.3g} ms per epoch"))
    return cards


def _history(run: StoredRun) -> dict[str, Any]:
    known = [name for name in _FIELDS if any(name in record for record in run.history)]
    n, best = len(run.history), run.best
    chosen = {round(k * (n - 1) / (ROWS - 1)) for k in range(ROWS)} if n > ROWS else set(range(n))
    lines = [
        ([_FIELDS[name][1](record.get(name)) for name in known], record is best)
        for index, record in enumerate(run.history)
        if index in chosen or record is best
    ]
    return {"titles": [_FIELDS[name][0] for name in known], "rows": lines, "epochs": n}


def _layers(run: StoredRun, shape: dict[str, Any]) -> list[list[str]]:
    """Return a row for each layer: its shape, and its latest statistics."""
    if not shape:
        return []
    measured: list[dict[str, Any]] = next(
        (record["layers"] for record in reversed(run.history) if record["layers"]), []
    )
    lines = []
    pairs = zip(shape["sizes"][:-1], shape["sizes"][1:], strict=True)
    for index, (n_in, n_out) in enumerate(pairs):
        last = measured[index] if index < len(measured) else {}
        layer = Network((n_in, n_out), "identity", bias=bool(shape["bias"]))
        lines.append(
            [
                number(index + 1),
                shape["activations"][index],
                f"{n_in:,} → {n_out:,}",
                number(layer.n_parameters),
                number(last.get("gradient")),
                percent(last.get("saturated")),
                percent(last.get("dead")),
            ]
        )
    return lines


def _review(run: StoredRun, traces: Mapping[int, str]) -> dict[str, Any] | None:
    review, outcome = run.outcome.get("review"), run.outcome
    if review is None:
        return None
    part, shape, width = outcome["part"], outcome["data"]["image_shape"], outcome["data"]["inputs"]
    inputs = [row["inputs"] for row in review["worst"]]
    wide = None in inputs
    drawn = shape is not None and bool(inputs) and not wide
    images = input_images(inputs, (shape[0], shape[1])) if drawn else [None] * len(inputs)
    titles = [] if drawn or wide else _columns(run, width)
    if "outputs" in review:
        targets = outcome["measured"][part].get("targets") or []
        section = _of_numbers(review, [target["name"] for target in targets])
    else:
        section = _of_classes(review, part)
    for row, raw, image in zip(section["worst"], review["worst"], images, strict=True):
        row["row"], row["image"], row["trace"] = row_name(raw), image, traces.get(raw["row"])
        row["cells"] += [number(value) for value in raw["inputs"][:COLUMNS]] if titles else []
    return section | {
        "part": titled(part),
        "count": outcome["measured"][part]["count"],
        "images": drawn,
        "titles": section["titles"] + titles,
        "more": max(0, width - COLUMNS) if titles else 0,
        "wide": width if wide else 0,
        "traces": bool(traces),
    }


def _columns(run: StoredRun, width: int) -> list[str]:
    features = None if run.model is None else run.model.features
    return list(features or [f"input {k + 1}" for k in range(min(width, COLUMNS))])[:COLUMNS]


def _of_classes(review: dict[str, Any], part: str) -> dict[str, Any]:
    probabilities = review["probabilities"]
    shown = percent if probabilities else number
    worst = [
        {
            "predicted": row["predicted"],
            "confidence": shown(row["sure"]),
            "bar": min(max(row["sure"] or 0.0, 0.0), 1.0) if probabilities else None,
            "target": row["target"],
            "target_output": shown(row["target_output"]),
            "cells": [row["target"], row["predicted"], shown(row["sure"])],
        }
        for row in review["worst"]
    ]
    section = {
        "kind": "classes",
        "wrong": review["wrong"],
        "worst": worst,
        "titles": ["actual", "predicted", "confidence" if probabilities else "output"],
        "classes": review["classes"],
        "confused": [(t, p, number(n)) for t, p, n in review["confused"][:COMMONEST]],
        "table": None,
        "matrix": None,
        "figures": None,
    }
    matrix = review["matrix"]
    if matrix is None:
        return section
    if len(matrix) > TABLE:
        return section | {"matrix": matrix_chart(matrix, part)}
    mistakes = [n for t, row in enumerate(matrix) for p, n in enumerate(row) if t != p]
    most = max(mistakes, default=0) or 1
    table = []
    for t, row in enumerate(matrix):
        total = sum(row)
        cells = [(n, n / (total or 1) if t == p else n / most, t == p) for p, n in enumerate(row)]
        table.append((review["classes"][t], cells, percent(row[t] / total) if total else "–"))
    figures = [
        [row["name"], *(percent(row[key]) for key in _FIGURES), number(row["support"])]
        for row in figures_by_class(matrix, review["classes"])
    ]
    return section | {"table": table, "figures": figures}


def _of_numbers(review: dict[str, Any], names: list[str]) -> dict[str, Any]:
    summaries = review["outputs"]
    names = names or [f"output {k + 1}" for k in range(len(summaries))]
    several = len(summaries) > 1
    return {
        "kind": "numbers",
        "several": several,
        "worst": [
            {
                "predicted": ", ".join(map(number, row["predicted"])),
                "target": ", ".join(map(number, row["target"])),
                "confidence": "",
                "target_output": "",
                "bar": None,
                "cells": [", ".join(map(number, row[key])) for key in ("target", "predicted")],
            }
            for row in review["worst"]
        ],
        "titles": ["target", "prediction"],
        "residuals": [
            [*[names[k]] * several, *(number(summary[key]) for key in _RESIDUALS)]
            for k, summary in enumerate(summaries)
        ],
        "residual_titles": [*[""] * several, *_RESIDUALS.values()],
        "charts": [
            (
                names[k] if several else "Predictions",
                pairs_chart(review["pairs"], k, summary["target_deviation"]),
            )
            for k, summary in enumerate(summaries)
        ],
    }


def _plane(run: StoredRun) -> dict[str, Any] | None:
    points, model = run.outcome.get("points"), run.model
    if points is None or model is None or model.network.sizes[0] != 2:
        return None
    names = model.features or ("input 1", "input 2")
    svg, legend = plane(model, points, (names[0], names[1]))
    return {"svg": svg, "legend": legend[:TABLE], "count": len(points["targets"])}


def _weights(run: StoredRun) -> dict[str, Any] | None:
    if run.model is None or run.model.image_shape is None:
        return None
    units = [
        (image, f"neuron {k + 1}: weights from {number(low)} to {number(high)}")
        for k, (image, low, high) in enumerate(weight_images(run.model))
    ]
    return {"units": units, "left_out": max(0, run.model.network.sizes[1] - UNITS)}


def _table_columns(run: StoredRun) -> list[tuple[str, str]] | None:
    """Return each column of a table and what became of it; None for other data."""
    if run.model is None or run.model.preprocessing is None:
        return None
    preprocessing = run.model.preprocessing
    used = [(column.name, column.describe()) for column in preprocessing.columns]
    left_out = [(name, f"left out: {why}") for name, why in preprocessing.left_out.items()]
    return [*used, *left_out]


def _environment(run: StoredRun) -> list[tuple[str, str]]:
    known = run.outcome.get("environment")
    if known is None:
        return []
    return [
        ("backprop_xp", known["version"]),
        ("Python", known["python"]),
        ("array library", f"{known['library']} {known['library_version']}"),
        ("device", known["note"] or known["device"]),
        ("system", known["platform"]),
        ("ended", (run.outcome.get("ended") or "–").replace("T", " ")),
    ]
