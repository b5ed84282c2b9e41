"""The sections of a report: what the page shows of a run, as plain data for its template."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

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
    rows,
    sentence,
    settings_rows,
    status,
    titled,
)
from backprop_xp.runs.folder import CONFIG
from backprop_xp.runs.reader import Found
from backprop_xp.training.history import counted

ROWS = 100
"""Epochs in the table of the history: evenly spaced ones of more."""

TABLE = 20
"""Classes up to which a confusion matrix is a table of numbers."""

COLUMNS = 8
"""Inputs of a row that are shown where they are no image."""

COMMONEST = 12
"""Kinds of confusions that are listed, where no table holds them all."""

_RESIDUALS = {
    "root_mean_square": "root mean square",
    "mean_absolute": "mean size",
    "mean": "mean",
    "largest": "largest",
    "target_deviation": "standard deviation of the targets",
}

_FIELDS = {
    "epoch": ("epoch", number),
    "learning_rate": ("learning rate", number),
    "loss": ("loss in the epoch", number),
    "train_loss": ("training loss", number),
    "validation_loss": ("validation loss", number),
    "train_accuracy": ("training accuracy", percent),
    "validation_accuracy": ("validation accuracy", percent),
    "seconds": ("seconds", number),
}


def sections(found: Found, traces: Mapping[int, str]) -> dict[str, Any]:
    """Return all that the page shows of one run.

    Parameters
    ----------
    found : Found
    traces : mapping of int to str
        For rows of the held-out part the address of their trace.
    """
    shape = network(found)
    return {
        "name": found.name,
        "data": data_name(found),
        "sentence": sentence(found),
        "rows": rows(found),
        "status": status(found),
        "result": result(found),
        "problems": found.problems,
        "cards": _cards(found),
        "advice": _advice(found),
        "curves": training_curves(found),
        "history": _history(found),
        "layer_curves": layer_curves(found),
        "layers": _layers(found, shape),
        "parameters": number(shape.get("parameters")),
        "review": _review(found, traces),
        "plane": _plane(found),
        "weights": _weights(found),
        "settings": None if found.settings is None else settings_rows(found.settings),
        "environment": _environment(found),
        "again": shlex.join(["backprop-xp", "train", "--config", str(found.path / CONFIG)]),
    }


def compared(runs: Sequence[Found]) -> dict[str, Any]:
    """Return what the page shows of several runs beside each other."""
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.path) for run in runs]
    return {
        "names": names,
        "curves": compared_curves(runs, names),
        "differences": differences(runs),
        "results": results(runs),
    }


def _advice(found: Found) -> list[tuple[str, str, str]] | None:
    """Return what the doctor said: fault, evidence and mend; None where it was not asked."""
    advice = found.outcome.get("advice")
    return advice and [(one["fault"], one["evidence"], one["mend"]) for one in advice]


def _cards(found: Found) -> list[tuple[str, str, str]]:
    """Return the figures at the top: what it is, the figure, and what belongs to it."""
    cards = []
    measured = found.outcome.get("measured") or {}
    for part in ("test", "validation", "train"):
        if not (known := measured.get(part)):
            continue
        title, loss = titled(part), number(known["loss"])
        if known.get("accuracy") is not None:
            cards.append((f"{title} accuracy", percent(known["accuracy"]), f"loss {loss}"))
        else:
            cards.append((f"{title} loss", loss, counted(known["count"], "row")))
    if found.best is not None:
        least = found.best.get("validation_loss")
        more = "" if least is None else f"validation loss {number(least)}"
        cards.append(("best epoch", number(found.best["epoch"]), more))
    if shape := network(found):
        layers = counted(len(shape["activations"]), "layer")
        cards.append(("parameters", number(shape["parameters"]), layers))
    if found.history:
        seconds = sum(record.get("seconds", 0.0) for record in found.history)
        each = 1000.0 * seconds / len(found.history)
        cards.append(("time", f"{seconds:.1f} s", f"{each:.3g} ms an epoch"))
    return cards


def _history(found: Found) -> dict[str, Any]:
    known = [name for name in _FIELDS if any(name in record for record in found.history)]
    n = len(found.history)
    chosen = {round(k * (n - 1) / (ROWS - 1)) for k in range(ROWS)} if n > ROWS else set(range(n))
    best = found.best
    lines = [
        ([_FIELDS[name][1](record.get(name)) for name in known], record is best)
        for place, record in enumerate(found.history)
        if place in chosen or record is best
    ]
    return {"titles": [_FIELDS[name][0] for name in known], "rows": lines, "epochs": n}


def _layers(found: Found, shape: dict[str, Any]) -> list[list[str]]:
    """Return a row for each layer: its shape, and what was measured of it last."""
    if not shape:
        return []
    measured: list[dict[str, Any]] = next(
        (record["layers"] for record in reversed(found.history) if record["layers"]), []
    )
    lines = []
    pairs = zip(shape["sizes"][:-1], shape["sizes"][1:], strict=True)
    for place, (n_in, n_out) in enumerate(pairs):
        last = measured[place] if place < len(measured) else {}
        lines.append(
            [
                number(place + 1),
                shape["activations"][place],
                f"{n_in:,} → {n_out:,}",
                number(n_out * (n_in + bool(shape["bias"]))),
                number(last.get("gradient")),
                percent(last.get("saturated")),
                percent(last.get("dead")),
            ]
        )
    return lines


def _review(found: Found, traces: Mapping[int, str]) -> dict[str, Any] | None:
    review, outcome = found.outcome.get("review"), found.outcome
    if review is None:
        return None
    part, shape, width = outcome["part"], outcome["data"]["image_shape"], outcome["data"]["inputs"]
    kept = [row["inputs"] for row in review["worst"]]
    wide = None in kept
    drawn = shape is not None and bool(kept) and not wide
    images = input_images(kept, (shape[0], shape[1])) if drawn else [None] * len(kept)
    titles = [] if drawn or wide else _columns(found, width)
    told = _of_numbers(review) if "outputs" in review else _of_classes(review, part)
    for row, raw, image in zip(told["worst"], review["worst"], images, strict=True):
        row["row"], row["image"], row["trace"] = raw["row"], image, traces.get(raw["row"])
        row["cells"] += [number(value) for value in raw["inputs"][:COLUMNS]] if titles else []
    return told | {
        "part": titled(part),
        "count": outcome["measured"][part]["count"],
        "images": drawn,
        "titles": told["titles"] + titles,
        "more": max(0, width - COLUMNS) if titles else 0,
        "wide": width if wide else 0,
        "traces": bool(traces),
    }


def _columns(found: Found, width: int) -> list[str]:
    features = None if found.model is None else found.model.features
    return list(features or [f"input {k + 1}" for k in range(width)])[:COLUMNS]


def _of_classes(review: dict[str, Any], part: str) -> dict[str, Any]:
    likely = review["probabilities"]
    shown = percent if likely else number
    worst = [
        {
            "taken": row["predicted"],
            "sure": shown(row["sure"]),
            "bar": min(max(row["sure"] or 0.0, 0.0), 1.0) if likely else None,
            "target": row["target"],
            "target_sure": shown(row["target_output"]),
            "cells": [row["target"], row["predicted"], shown(row["sure"])],
        }
        for row in review["worst"]
    ]
    told = {
        "kind": "classes",
        "wrong": review["wrong"],
        "worst": worst,
        "titles": ["is", "taken for", "sure" if likely else "output"],
        "classes": review["classes"],
        "confused": [(t, p, number(n)) for t, p, n in review["confused"][:COMMONEST]],
        **{"table": None, "matrix": None},
    }
    matrix = review["matrix"]
    if matrix is None:
        return told
    if len(matrix) > TABLE:
        return told | {"matrix": matrix_chart(matrix, part)}
    mistakes = [n for t, row in enumerate(matrix) for p, n in enumerate(row) if t != p]
    most = max(mistakes, default=0) or 1
    table = []
    for t, row in enumerate(matrix):
        total = sum(row)
        cells = [(n, n / (total or 1) if t == p else n / most, t == p) for p, n in enumerate(row)]
        table.append((review["classes"][t], cells, percent(row[t] / total) if total else "–"))
    return told | {"table": table}


def _of_numbers(review: dict[str, Any]) -> dict[str, Any]:
    summaries = review["outputs"]
    several = len(summaries) > 1
    return {
        "kind": "numbers",
        "several": several,
        "worst": [
            {
                "taken": ", ".join(map(number, row["predicted"])),
                "target": ", ".join(map(number, row["target"])),
                **{"sure": "", "target_sure": "", "bar": None},
                "cells": [", ".join(map(number, row[key])) for key in ("target", "predicted")],
            }
            for row in review["worst"]
        ],
        "titles": ["target", "prediction"],
        "residuals": [
            [*[f"output {k + 1}"] * several, *(number(summary[key]) for key in _RESIDUALS)]
            for k, summary in enumerate(summaries)
        ],
        "residual_titles": [*[""] * several, *_RESIDUALS.values()],
        "charts": [
            (
                f"Output {k + 1}" if several else "Predictions",
                pairs_chart(review["pairs"], k, summary["target_deviation"]),
            )
            for k, summary in enumerate(summaries)
        ],
    }


def _plane(found: Found) -> dict[str, Any] | None:
    points, model = found.outcome.get("points"), found.model
    if points is None or model is None or model.network.sizes[0] != 2:
        return None
    names = model.features or ("input 1", "input 2")
    svg, legend = plane(model, points, (names[0], names[1]))
    return {"svg": svg, "legend": legend[:TABLE], "count": len(points["targets"])}


def _weights(found: Found) -> dict[str, Any] | None:
    if found.model is None or found.model.image_shape is None:
        return None
    n = found.model.network.sizes[1]
    units = [
        (image, f"neuron {k + 1}: weights from {number(low)} to {number(high)}")
        for k, (image, low, high) in enumerate(weight_images(found.model))
    ]
    return {"units": units, "left_out": max(0, n - UNITS)}


def _environment(found: Found) -> list[tuple[str, str]]:
    known = found.outcome.get("environment")
    if known is None:
        return []
    return [
        ("backprop_xp", known["version"]),
        ("Python", known["python"]),
        ("array library", f"{known['library']} {known['library_version']}"),
        ("device", known["note"] or known["device"]),
        ("system", known["platform"]),
        ("ended", str(found.outcome["ended"]).replace("T", " ")),
    ]
