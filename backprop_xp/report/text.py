"""The texts of a report: formatted numbers, how a run ended, its data, network and settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from backprop_xp.formatting import pluralize
from backprop_xp.runs.outcome import PARTS, headline
from backprop_xp.runs.reader import StoredRun
from backprop_xp.runs.settings import RunSettings

SHOWN = (
    *("data", "task", "hidden", "activation", "output", "loss", "optimizer", "learning_rate"),
    *("batch_size", "epochs", "seed", "dtype"),
)
"""Settings that are always shown; the others are shown if they differ from their defaults."""

_DEFAULTS = RunSettings()


def number(value: Any) -> str:
    """Return a number as text: an integer with all of its digits, others with at least four.

    Examples
    --------
    >>> number(0.0123456), number(23860), number(23860.4), number(None)
    ('0.01235', '23,860', '23,860', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e8 else f"{value:.4g}"


def percent(value: float | None) -> str:
    """Return a fraction as a percentage.

    Examples
    --------
    >>> percent(0.97759), percent(None)
    ('97.76%', '–')
    """
    return "–" if value is None else f"{value:.2%}"


def status(run: StoredRun) -> tuple[str, str, str]:
    """Return how a run ended: ``"good"``, ``"fair"`` or ``"bad"``, a short label, a sentence."""
    outcome, done = run.outcome, f"after {pluralize(len(run.history), 'epoch')}"
    epoch = outcome.get("model_epoch")
    weights = f" The model has the weights of epoch {epoch}." if epoch else ""
    message = str(outcome.get("message") or "training diverged").removeprefix("training ")
    fix = f" To fix it: {outcome['hint']}." if outcome.get("hint") else ""
    reached = f"Stopped {done}: a batch reached the target loss."
    known = {
        "finished": ("good", "finished", ""),
        "early_stopping": ("good", "stopped early", f"Stopped early {done}.{weights}"),
        "target_loss": ("good", "target reached", reached),
        "interrupted": ("fair", "interrupted", f"The training was interrupted {done}.{weights}"),
        "diverged": ("bad", "diverged", f"The training {message}.{weights}{fix}"),
    }
    unknown = (
        f"The folder does not say how the training ended: {done} it is still running, or it was "
        "killed."
    )
    return known.get(str(outcome.get("status")), ("fair", "not ended", unknown))


def result(run: StoredRun) -> tuple[str, str] | None:
    """Return the headline figure of a run and its description; None if nothing was measured."""
    measured = run.outcome.get("measured") or {}
    part = headline(measured)
    known = measured[part] if part is not None else {}
    outputs = (run.outcome.get("review") or {}).get("outputs") or []
    targets = known.get("targets") or []
    if known.get("accuracy") is not None:
        n = known["count"]
        correct = round(known["accuracy"] * n)
        return percent(known["accuracy"]), f"{titled(part)} accuracy: {correct:,} of {n:,} correct"
    if len(targets) == 1 and targets[0]["r2"] is not None:
        return (
            f"R² {targets[0]['r2']:.4f}",
            f"of {targets[0]['name']} on the {titled(part)} rows: mean absolute error "
            f"{number(targets[0]['mae'])}, root mean square error {number(targets[0]['rmse'])}",
        )
    if len(outputs) == 1 and outputs[0]["root_mean_square"] is not None:
        return (
            number(outputs[0]["root_mean_square"]),
            f"root mean square error on the {titled(part)} rows (standard deviation of their "
            f"targets: {number(outputs[0]['target_deviation'])})",
        )
    if known.get("loss") is not None:
        return number(known["loss"]), f"{titled(part)} loss on {pluralize(known['count'], 'row')}"
    for record in reversed(run.history):
        for what, shown in (("accuracy", percent), ("loss", number)):
            for part, when in (("validation", "after"), ("train", "after"), ("", "during")):
                name = f"{part}_{what}" if part else what
                if name in record:
                    described = f"{titled(part or 'train')} {what} {when} epoch {record['epoch']}"
                    return shown(record[name]), described
    return None


def titled(part: str | None) -> str:
    """Return the display name of a split of the data.

    Examples
    --------
    >>> titled("train"), titled("test")
    ('training', 'test')
    """
    return {"train": "training"}.get(part or "", part or "")


def training_figures(run: StoredRun, *, complete: bool) -> str:
    """Describe how loss and accuracy of the training rows were measured.

    Parameters
    ----------
    run : StoredRun
    complete : bool
        Whether it was done on the complete training set after each epoch.
    """
    if complete:
        return "on the complete training set after each epoch"
    text, used = "during the epoch, each batch before its update", []
    if run.settings is not None:
        used += ["dropout"] if any(run.settings.dropout or ()) else []
        used += ["augmentation"] if run.settings.augment else []
    return f"{text}, with {' and '.join(used)}" if used else text


def row_name(row: dict[str, Any]) -> str:
    """Return the name of a row of a review: its line in the file if it has one, or its number.

    Examples
    --------
    >>> row_name({"row": 4, "line": 17}), row_name({"row": 4})
    ('line 17', 'row 4')
    """
    return f"line {row['line']}" if row.get("line") is not None else f"row {row['row']}"


def rows(run: StoredRun) -> str:
    """Describe the data of a run in one line; empty if they are not known."""
    data = run.outcome.get("data")
    if data is None:
        return ""
    shape = data["image_shape"]
    text = f"images of {shape[0]} × {shape[1]}" if shape else pluralize(data["inputs"], "input")
    if data["classes"] is not None:
        text += f", {pluralize(data['classes'], 'class')}"
    parts = [f"{data[part]:,} {titled(part)}" for part in PARTS if data[part]]
    return f"{text[0].upper()}{text[1:]}; rows: {', '.join(parts)}."


def network(run: StoredRun) -> dict[str, Any]:
    """Return ``sizes``, ``activations``, ``bias`` and ``parameters``; empty if not known."""
    if run.model is None:
        return dict(run.outcome.get("network") or {})
    shape = run.model.network
    return {
        "sizes": list(shape.sizes),
        "activations": [f.name for f in shape.activations],
        "bias": shape.bias,
        "parameters": shape.n_parameters,
    }


def data_name(run: StoredRun) -> str:
    """Return the name of the data that the run was trained on."""
    if name := (run.outcome.get("data") or {}).get("name"):
        return str(name)
    data = "" if run.settings is None else run.settings.data
    return data.replace("\\", "/").rstrip("/").rpartition("/")[2] or "unknown data"


def sentence(run: StoredRun) -> str:
    """Describe the network and its training in one sentence."""
    shape, settings = network(run), run.settings
    text = "A network, trained"
    if shape:
        sizes, kinds = "-".join(map(str, shape["sizes"])), dict.fromkeys(shape["activations"])
        text = f"A network of {sizes} neurons ({', '.join(kinds)}), trained"
    if settings is not None:
        rate = number(settings.resolve_learning_rate())
        text += f" with {settings.optimizer} at a learning rate of {rate}"
    seconds = sum(record.get("seconds", 0.0) for record in run.history)
    text += f" for {pluralize(len(run.history), 'epoch')} in {seconds:.1f} s"
    if environment := run.outcome.get("environment"):
        text += f" on {environment['device']} ({environment['library']})"
    return text + (f", seed\N{NO-BREAK SPACE}{settings.seed}." if settings is not None else ".")


def settings_rows(settings: RunSettings) -> list[tuple[str, str, bool]]:
    """Return name and value of each setting to show, and whether it differs from its default."""
    rows = []
    for field in dataclasses.fields(settings):
        value, default = getattr(settings, field.name), getattr(_DEFAULTS, field.name)
        if field.name in ("device", "backend") or value is None:
            continue  # device and backend are shown under the environment
        if field.name in SHOWN or value != default:
            rows.append((field.name, setting(value), value != default and default is not None))
    order = {name: index for index, name in enumerate(SHOWN)}
    return sorted(rows, key=lambda row: order.get(row[0], len(order)))


def setting(value: Any) -> str:
    """Return the value of a setting as text.

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


def differences(runs: Sequence[StoredRun]) -> list[tuple[str, list[str]]]:
    """Return each setting that differs between runs, with its value in each."""
    rows = []
    for field in dataclasses.fields(RunSettings):
        values = [
            "not known" if run.settings is None else setting(getattr(run.settings, field.name))
            for run in runs
        ]
        if len(set(values) - {"not known"}) > 1:
            rows.append((field.name, values))
    return rows


def results(runs: Sequence[StoredRun]) -> list[tuple[str, list[str]]]:
    """Return the rows of a table of results with a column for each run, without empty rows."""
    rows = [("ended", [status(run)[1] for run in runs])]
    for part in PARTS:
        for key, shown in (
            ("accuracy", percent),
            ("r2", number),
            ("rmse", number),
            ("loss", number),
        ):
            known = [((run.outcome.get("measured") or {}).get(part) or {}).get(key) for run in runs]
            name = {"r2": "R²", "rmse": "RMSE"}.get(key, key)
            rows.append((f"{titled(part)} {name}", [shown(value) for value in known]))
    rows.append(("best epoch", [number(run.best["epoch"]) if run.best else "–" for run in runs]))
    rows.append(("epochs", [number(len(run.history)) for run in runs]))
    rows.append(("parameters", [number(network(run).get("parameters")) for run in runs]))
    seconds = [sum(record.get("seconds", 0.0) for record in run.history) for run in runs]
    rows.append(("seconds", [f"{value:.1f}" for value in seconds]))
    return [(name, values) for name, values in rows if set(values) != {"–"}]
