"""The outcome of a run: how it ended, where it ran, and what its model gets right and wrong."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from backprop_xp.backend.host import ignore_overflow
from backprop_xp.diagnosis.doctor import Finding
from backprop_xp.diagnosis.error_analysis import points, start_analysis
from backprop_xp.runs.run import Run
from backprop_xp.training.state import TrainState
from backprop_xp.version import __version__

SCHEMA_VERSION = 1

PARTS = ("train", "validation", "test")

Measured = dict[str, dict[str, Any] | None]
"""The loss, accuracy and number of rows of each part of the data; None for an absent part."""


class Measurement(NamedTuple):
    """The figures of a model on each part of the data, and an analysis of its errors.

    Attributes
    ----------
    measured : dict
    part : str or None
        The part whose figure represents the run; see `headline`.
    review : dict or None
        The analysis of the errors on that part (`backprop_xp.diagnosis.error_analysis`), where it
        was asked for.
    """

    measured: Measured
    part: str | None = None
    review: dict[str, Any] | None = None


def measure(run: Run, state: TrainState, *, review: bool = False) -> Measurement:
    """Return the figures of a state's model on each part of the data.

    Those that its history holds are not computed again.

    Parameters
    ----------
    run : Run
    state : TrainState
    review : bool
        Whether to analyze the errors on the part that represents the run. Its figures and the
        analysis are from the same outputs.

    Examples
    --------
    >>> from backprop_xp.runs.run import prepare_run
    >>> from backprop_xp.runs.settings import RunSettings
    >>> run = prepare_run(RunSettings(hidden=(20,), epochs=2, seed=0, device="cpu"))
    >>> measured, part, _ = measure(run, run.train())
    >>> part, {name: figures["count"] for name, figures in measured.items()}
    ('test', {'train': 1078, 'validation': 362, 'test': 357})
    """
    model = run.model(state)
    measured: Measured = {}
    parts = {name: getattr(run.dataset, name) for name in PARTS}
    shown = next((name for name in reversed(PARTS) if parts[name] is not None), None)
    analysis = None
    if review and shown is not None:
        analysis = start_analysis(model, parts[shown])
    epoch = model_epoch(state)
    last = state.history[epoch - 1] if epoch else {}
    # A squared error can overflow although the training loss did not; it is then shown.
    with ignore_overflow(run.placement.xp):
        for name, part in parts.items():
            on_outputs = analysis.add if analysis is not None and name == shown else None
            known = name != "test" and f"{name}_loss" in last and model.classes is not None
            if part is None:
                measured[name] = None
            elif known and on_outputs is None:
                figures = {key: last.get(f"{name}_{key}") for key in ("loss", "accuracy")}
                measured[name] = {**figures, "count": part.size}
            else:
                measured[name] = model.measure(part.inputs, part.targets, on_outputs=on_outputs)
        errors = None if analysis is None else analysis.result()
    return Measurement(measured, shown, errors)


def in_words(measured: dict[str, Any]) -> str:
    """Return the most important metrics of a part of the data in words.

    Examples
    --------
    >>> in_words({"accuracy": 0.75, "count": 4, "loss": 0.5})
    'accuracy 75.00% (3 of 4)'
    >>> in_words({"loss": 0.5, "count": 4, "targets": [{"r2": 0.9, "mae": 2.0, "rmse": 2.5}]})
    'R² 0.9000, MAE 2, RMSE 2.5'
    """
    if measured.get("accuracy") is not None:
        right, count = round(measured["accuracy"] * measured["count"]), measured["count"]
        return f"accuracy {measured['accuracy']:.2%} ({right:,} of {count:,})"
    targets = measured.get("targets") or []
    if not targets:
        return f"loss {measured['loss']:.6g}"
    texts = []
    for target in targets[:5]:
        r2 = "R² undefined" if target["r2"] is None else f"R² {target['r2']:.4f}"
        text = f"{r2}, MAE {target['mae']:.6g}, RMSE {target['rmse']:.6g}"
        texts.append(text if len(targets) == 1 else f"{target['name']}: {text}")
    return "; ".join(texts)


def common_class(run: Run, part: str) -> tuple[str, float]:
    """Return the most common class of a part of the data, and its share of the rows.

    Examples
    --------
    >>> from backprop_xp.runs.run import prepare_run
    >>> from backprop_xp.runs.settings import RunSettings
    >>> common_class(prepare_run(RunSettings(seed=0, device="cpu")), "test")[0]
    '1'
    """
    counts = np.bincount(getattr(run.dataset, part).targets)
    most = int(np.argmax(counts))
    return (run.dataset.classes or ())[most], float(counts[most] / counts.sum())


def model_epoch(state: TrainState) -> int:
    """Return the epoch of a state's weights: the best one after early stopping, else the last.

    Examples
    --------
    >>> model_epoch(TrainState([], [], epoch=3, step=30, seed=0))
    3
    """
    best = state.best
    # An interrupted training run has a best epoch, but the weights of its last one.
    return state.epoch if best is None or best.parameters is not state.parameters else best.epoch


def headline(measured: Measured) -> str | None:
    """Return the part whose figure represents a run: held-out data if there is any.

    Examples
    --------
    >>> headline({"train": {"loss": 0.1}, "validation": {"loss": 0.2}, "test": None})
    'validation'
    """
    return next((name for name in reversed(PARTS) if measured.get(name)), None)


def outcome_of(
    run: Run,
    state: TrainState,
    measurement: Measurement | None = None,
    *,
    ending: dict[str, str | None] | None = None,
    advice: Sequence[Finding] | None = None,
) -> dict[str, Any]:
    """Return the record of a run that is stored beside its model, as plain data of bounded size.

    Parameters
    ----------
    run : Run
    state : TrainState
        The last good one.
    measurement : Measurement, optional
        From `measure`, with its review; computed by default.
    ending : dict, optional
        ``status`` (``"interrupted"`` or ``"diverged"``), ``message`` and ``hint`` of a training
        run that did not reach its end; by default it ended as the state says.
    advice : sequence of Finding, optional
        The doctor's, where it was asked for.

    Returns
    -------
    dict
        ``status`` (``"finished"``, ``"early_stopping"``, ``"target_loss"``, ``"interrupted"`` or
        ``"diverged"``), ``environment``, ``data``, ``network``, ``measured``; ``review``, the
        error analysis (`backprop_xp.diagnosis.error_analysis`) of the held-out ``part``; and
        ``points``, a sample of the training rows if these have two inputs. ``measured`` is empty
        for a run that was cut off before the end of its first epoch.

    Examples
    --------
    >>> from backprop_xp.runs.run import prepare_run
    >>> from backprop_xp.runs.settings import RunSettings
    >>> run = prepare_run(RunSettings(hidden=(20,), epochs=2, seed=0, device="cpu"))
    >>> outcome = outcome_of(run, run.train())
    >>> outcome["status"], outcome["part"], outcome["network"]["sizes"]
    ('finished', 'test', [64, 20, 10])
    """
    data, place = run.dataset, run.placement
    default_ending = {"status": state.stopped or "finished", "message": None, "hint": None}
    trained = ending is None or state.epoch > 0
    if not trained:
        measurement = Measurement({})
    elif measurement is None:
        measurement = measure(run, state, review=True)
    return {
        "schema_version": SCHEMA_VERSION,
        **(ending or default_ending),
        "epochs": state.epoch,
        "best_epoch": None if state.best is None else state.best.epoch,
        "model_epoch": model_epoch(state),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": {
            "version": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "library": place.backend,
            "library_version": importlib.import_module(place.backend).__version__,
            "device": place.name,
            "note": place.note.removeprefix("device: "),
        },
        "data": {
            "name": data.name,
            "inputs": data.n_inputs,
            "image_shape": data.image_shape,
            "classes": None if data.classes is None else len(data.classes),
            "notes": list(data.notes),
            **{name: (one := getattr(data, name)) and one.size for name in PARTS},
        },
        "network": {
            "sizes": list(run.network.sizes),
            "activations": [f.name for f in run.network.activations],
            "bias": run.network.bias,
            "parameters": run.network.n_parameters,
        },
        **measurement._asdict(),
        "points": points(data.train, data.classes) if data.n_inputs == 2 else None,
        "advice": None if advice is None else [one.as_dict() for one in advice],
    }
