"""The trace of a saved model on samples of a data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backprop_xp.data.dataset import NAMED, Split
from backprop_xp.data.table_format import TableFormat
from backprop_xp.errors import DataError
from backprop_xp.models.model import Model
from backprop_xp.nn.optimizers import Optimizer
from backprop_xp.nn.regularizers import Penalty
from backprop_xp.runs.config_file import load_settings
from backprop_xp.runs.folder import CONFIG, OUTCOME
from backprop_xp.runs.outcome_file import read_outcome
from backprop_xp.runs.run import read_dataset
from backprop_xp.runs.settings import RunSettings
from backprop_xp.trace.step_trace import Trace, trace_step

_LEFT_OUT = ("dropout", "augment", "max_norm", "clip_norm", "label_smoothing", "class_weight")
"""Settings that change the steps of a training run but not the traced step."""


def trace_samples(
    model: Model,
    path: str,
    data: str,
    samples: Sequence[int],
    *,
    split: str | None = None,
    data_dir: str | None = None,
    label: str | None = None,
    optimizer: str | None = None,
    learning_rate: float | None = None,
    table_format: TableFormat | None = None,
) -> Trace:
    """Trace a training step of a saved model on samples of a data set.

    Optimizer, learning rate and penalty are those of the model's training run if its
    ``config.toml`` is beside the model. Other settings of its steps, such as dropout, are left out
    and listed in the trace's source. The optimizer starts anew: a model file holds no slots.

    Parameters
    ----------
    model : Model
    path : str
        The file of the model.
    data, data_dir, label
        As for `backprop_xp.models.model.Model.read`.
    samples : sequence of int
        Row numbers, counted from 0.
    split : {"train", "validation", "test"}, optional
        By default ``"test"``.
    optimizer, learning_rate
        By default those of the training run, or else gradient descent.
    table_format : TableFormat, optional
        How a text file is written; by default this is detected.

    Raises
    ------
    ConfigurationError
        If an option or the file beside the model is wrong.
    DataError
        If the data is missing or does not fit the model, or has no such sample.
    """
    found = model.read(
        data,
        label,
        labeled=True,
        split=split or "test",
        data_dir=data_dir,
        table_format=table_format,
    )
    targets: Any = found.targets
    for sample in samples:
        if not 0 <= sample < len(targets):
            raise DataError(
                f"there is no sample {sample} in {data}: it has {len(targets)}",
                f"give numbers from 0 to {len(targets) - 1}",
            )
    rows = Split(found.inputs, targets, found.lines).take(list(samples))
    split = split or ("test" if data in NAMED else None)
    config = Path(path).with_name(CONFIG)
    settings = load_settings(config) if os.path.isfile(config) else None
    rule: str | Optimizer = "sgd" if optimizer is None else optimizer
    if settings is not None and optimizer is None:
        rule = settings.resolve_optimizer()
        learning_rate = settings.resolve_learning_rate() if learning_rate is None else learning_rate
    source: dict[str, Any] = {"model": path, "data": data, "part": split}
    source["sample"] = samples[0] if len(samples) == 1 else list(samples)
    if settings is not None:
        source["left_out"] = [name for name in _LEFT_OUT if getattr(settings, name)]
    return trace_step(
        model,
        rows.inputs,
        rows.targets,
        optimizer=rule,
        learning_rate=learning_rate,
        penalty=None if settings is None else _penalty(settings, config.parent),
        title=f"{Path(data).name}{f' ({split})' if split else ''}, "
        f"sample {', '.join(map(str, samples))}"
        + ("" if model.target_scaling is None else ", standardized target"),
        source=source,
    )


def _penalty(settings: RunSettings, folder: Path) -> Penalty:
    """Return the penalty in the steps of the training run in a folder."""
    if settings.penalty != "per_sample" or not (settings.l1 or settings.resolve_l2()):
        return settings.resolve_penalty(1)
    if rows := (read_outcome(folder / OUTCOME, []).get("data") or {}).get("train"):
        return settings.resolve_penalty(rows)
    try:  # the rows are counted in the data
        dataset = read_dataset(settings, settings.seed or 0)
    except DataError as error:
        raise DataError(
            "the penalty of the training run is divided by the number of its samples, and they "
            f"cannot be counted: {error.message}",
            f"put the data back, or move {CONFIG} away from the model",
        ) from error
    return settings.resolve_penalty(dataset.train.size)
