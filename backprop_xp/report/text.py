"""What the report says in words: numbers as people read them, how a run ended, its settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from backprop_xp.runs.outcome import PARTS, headline
from backprop_xp.runs.reader import Found
from backprop_xp.training.history import counted
from backprop_xp.training.settings import RunSettings

SHOWN = (
    *("data", "task", "hidden", "activation", "output", "loss", "optimizer", "learning_rate"),
    *("batch_size", "epochs", "seed", "dtype"),
)
"""Settings that are always shown; the others where they are not the usual ones."""

_PLACED = ("device", "backend")  # where it ran stands under the environment

_DEFAULTS = RunSettings()


def number(value: Any) -> str:
    """Return a number with four significant digits, a whole one with all of its own.

    Examples
    --------
    >>> number(0.0123456), number(23860), number(None)
    ('0.01235', '23,860', '–')
    """
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def percent(value: float | None) -> str:
    """Return a share as a percentage.

    Examples
    --------
    >>> percent(0.97759), percent(None)
    ('97.76%', '–')
    """
    return "–" if value is None else f"{value:.2%}"


def status(found: Found) -> tuple[str, str, str]:
    """Return how a run ended: ``"good"``, ``"fair"`` or ``"bad"``; in a word; in a sentence."""
    outcome, epochs = found.outcome, len(found.history)
    told = outcome.get("status")
    done = f"after {counted(epochs, 'epoch')}"
    kept = outcome.get("model_epoch")
    weights = f" The model has the weights of epoch {kept}." if kept else ""
    if told == "finished":
        return "good", "finished", ""
    if told == "early_stopping":
        return "good", "stopped early", f"Stopped early {done}.{weights}"
    if told == "target_loss":
        return "good", "target reached", f"Stopped {done}: a batch had the loss that was asked for."
    if told == "interrupted":
        return "fair", "interrupted", f"The training was interrupted {done}.{weights}"
    if told == "diverged":
        message = str(outcome.get("message") or "training diverged").removeprefix("training ")
        hint = outcome.get("hint")
        mend = f" To mend it: {hint}." if hint else ""
        return "bad", "diverged", f"The training {message}.{weights}{mend}"
    return (
        "fair",
        "not ended",
        f"The folder does not say how the training ended: after {counted(epochs, 'epoch')} it is "
        "still running, or it was killed.",
    )


def result(found: Found) -> tuple[str, str] | None:
    """Return the one figure that stands for a run, and what it is; None where nothing is known."""
    measured = found.outcome.get("measured") or {}
    part = headline(measured)
    known = measured[part] if part is not None else {}
    outputs = (found.outcome.get("review") or {}).get("outputs") or []
    if known.get("accuracy") is not None:
        n = known["count"]
        right = round(known["accuracy"] * n)
        return percent(known["accuracy"]), f"{titled(part)} accuracy: {right:,} of {n:,} right"
    if len(outputs) == 1 and outputs[0]["root_mean_square"] is not None:
        return (
            number(outputs[0]["root_mean_square"]),
            f"root mean square error on the {titled(part)} rows (standard deviation of their "
            f"targets: {number(outputs[0]['target_deviation'])})",
        )
    if known.get("loss") is not None:
        return number(known["loss"]), f"{titled(part)} loss on {counted(known['count'], 'row')}"
    for record in reversed(found.history):
        for name in ("validation_accuracy", "train_accuracy", "validation_loss", "train_loss"):
            if name in record:
                shown = percent if name.endswith("accuracy") else number
                part, _, what = name.partition("_")
                return shown(record[name]), f"{titled(part)} {what} after epoch {record['epoch']}"
    return None


def titled(part: str | None) -> str:
    """Return what people call a part of the data.

    Examples
    --------
    >>> titled("train"), titled("test")
    ('training', 'test')
    """
    return {"train": "training"}.get(part or "", part or "")


def rows(found: Found) -> str:
    """Return what the data of a run were, in one line; empty where that is not known."""
    data = found.outcome.get("data")
    if data is None:
        return ""
    shape = data["image_shape"]
    text = f"images of {shape[0]} × {shape[1]}" if shape else counted(data["inputs"], "input")
    if data["classes"] is not None:
        text += f", {counted(data['classes'], 'class')}"
    parts = [f"{data[part]:,} {titled(part)}" for part in PARTS if data[part]]
    return f"{text[0].upper()}{text[1:]}; rows: {', '.join(parts)}."


def network(found: Found) -> dict[str, Any]:
    """Return ``sizes``, ``activations``, ``bias`` and ``parameters``, empty where not known."""
    if found.model is None:
        return dict(found.outcome.get("network") or {})
    shape = found.model.network
    return {
        "sizes": list(shape.sizes),
        "activations": [f.name for f in shape.activations],
        "bias": shape.bias,
        "parameters": shape.n_parameters,
    }


def data_name(found: Found) -> str:
    """Return what the run was trained on."""
    if name := (found.outcome.get("data") or {}).get("name"):
        return str(name)
    data = "" if found.settings is None else found.settings.data
    return data.replace("\\", "/").rstrip("/").rpartition("/")[2] or "unknown data"


def sentence(found: Found) -> str:
    """Return what was trained, and how, in one sentence."""
    shape, told = network(found), found.settings
    text = "A network, trained"
    if shape:
        sizes, kinds = "-".join(map(str, shape["sizes"])), dict.fromkeys(shape["activations"])
        text = f"A network of {sizes} neurons ({', '.join(kinds)}), trained"
    if told is not None:
        text += f" with {told.optimizer} at a learning rate of {number(told.eta())}"
    seconds = sum(record.get("seconds", 0.0) for record in found.history)
    text += f" for {counted(len(found.history), 'epoch')} in {seconds:.1f} s"
    if environment := found.outcome.get("environment"):
        text += f" on {environment['device']} ({environment['library']})"
    return text + (f", seed\N{NO-BREAK SPACE}{told.seed}." if told is not None else ".")


def settings_rows(settings: RunSettings) -> list[tuple[str, str, bool]]:
    """Return each setting that is always shown or not the usual one, and whether it is not."""
    rows = []
    for field in dataclasses.fields(settings):
        value, usual = getattr(settings, field.name), getattr(_DEFAULTS, field.name)
        changed = value != usual and usual is not None
        if field.name in _PLACED or value is None:
            continue
        if field.name in SHOWN or value != usual:
            rows.append((field.name, setting(value), changed))
    order = {name: place for place, name in enumerate(SHOWN)}
    return sorted(rows, key=lambda row: order.get(row[0], len(order)))


def setting(value: Any) -> str:
    """Return the value of a setting.

    Examples
    --------
    >>> setting((30, 20)), setting(True), setting(None), setting(0.001)
    ('30, 20', 'yes', '–', '0.001')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(setting, value)) or "none"
    return "–" if value is None else str(value)


def differences(runs: Sequence[Found]) -> list[tuple[str, list[str]]]:
    """Return each setting in which runs differ, with its value in each."""
    rows = []
    for field in dataclasses.fields(RunSettings):
        values = [
            "not known" if run.settings is None else setting(getattr(run.settings, field.name))
            for run in runs
        ]
        if len(set(values) - {"not known"}) > 1:
            rows.append((field.name, values))
    return rows


def results(runs: Sequence[Found]) -> list[tuple[str, list[str]]]:
    """Return what came out of each run, row by row; rows of which nothing is known are left out."""
    rows = [("ended", [status(run)[1] for run in runs])]
    for part in PARTS:
        for key, shown in (("accuracy", percent), ("loss", number)):
            known = [((run.outcome.get("measured") or {}).get(part) or {}).get(key) for run in runs]
            rows.append((f"{titled(part)} {key}", [shown(value) for value in known]))
    rows.append(("best epoch", [number(run.best["epoch"]) if run.best else "–" for run in runs]))
    rows.append(("epochs", [number(len(run.history)) for run in runs]))
    rows.append(("parameters", [number(network(run).get("parameters")) for run in runs]))
    seconds = [sum(record.get("seconds", 0.0) for record in run.history) for run in runs]
    rows.append(("seconds", [f"{value:.1f}" for value in seconds]))
    return [(name, values) for name, values in rows if set(values) != {"–"}]
