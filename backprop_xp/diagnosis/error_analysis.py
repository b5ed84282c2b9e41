"""An analysis of a model's errors on held-out rows, as plain data of bounded size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.data.dataset import Split
from backprop_xp.models.model import Model
from backprop_xp.nn.metrics import classes_of

WORST = 24
"""The number of worst rows that are kept, with their outputs."""

MAX_INPUTS = 4096
"""The inputs of a row are kept up to this number, such as images of 64 x 64."""

MATRIX = 100
"""Up to this many classes have a confusion matrix; for more, only the commonest are kept."""

COMMONEST = 50
"""The number of kinds of confusion that are listed."""

TOP_CLASSES = 5
"""The number of classes whose output is kept for each of the worst rows."""

OUTPUTS = 6
"""The number of outputs of a regression that are analyzed one by one."""

SAMPLE = 1000
"""The number of rows that are kept for plots: pairs of a regression, points of a plane."""

_CHUNK = 1 << 22
"""The number of inputs, or of outputs, in a chunk of rows."""


def analyze_errors(model: Model, part: Split) -> dict[str, Any]:
    """Analyze the errors of a model on rows that it was not trained on.

    Parameters
    ----------
    model : Model
        With the inputs and outputs of the rows, one output for each class.
    part : Split
        Raw rows, in memory or in a file, read in chunks.

    Returns
    -------
    dict
        For classes: ``wrong``, the number of wrong rows; ``classes`` and ``matrix``, counts by
        true class and by predicted class, both None for more than `MATRIX` classes; ``confused``,
        the commonest confusions; ``probabilities``, whether the outputs are probabilities; and
        ``worst``, the wrong rows of the highest confidence, each with ``row`` (counted from 0),
        ``line`` (in a text file), ``target``, ``predicted``, ``sure`` (the confidence: the output
        of the predicted class), ``target_output``, ``likeliest`` (pairs of class and output) and
        ``inputs``, raw, None for more than `MAX_INPUTS`.

        For numbers: ``outputs``, a summary of the residuals a − y of each; ``pairs``, target and
        output of a sample of rows; and ``worst``, by the sum of squared residuals, each with
        ``row``, ``target``, ``predicted`` and ``inputs``.

    Examples
    --------
    >>> from backprop_xp.runs.run import prepare_run
    >>> from backprop_xp.runs.settings import RunSettings
    >>> run = prepare_run(RunSettings(hidden=(20,), epochs=2, seed=0, device="cpu"))
    >>> errors = analyze_errors(run.model(run.train()), run.dataset.test)
    >>> counts = [count for _, _, count in errors["confused"]]
    >>> sum(map(sum, errors["matrix"])), errors["wrong"] == sum(counts)
    (357, True)
    """
    return _of_numbers(model, part) if model.classes is None else _of_classes(model, part)


def points(part: Split, classes: tuple[str, ...] | None) -> dict[str, Any]:
    """Return a sample of rows, evenly spaced, with their class or their first target.

    Parameters
    ----------
    part : Split
    classes : tuple of str or None

    Examples
    --------
    >>> points(Split(np.asarray([[1.0, 2.0], [3.0, 4.0]]), np.asarray([1, 0])), ("a", "b"))
    {'inputs': [[1.0, 2.0], [3.0, 4.0]], 'targets': [1, 0]}
    """
    rows = _evenly(part.size)
    targets = part.targets[rows]
    return {
        "inputs": part.inputs[rows].tolist(),
        "targets": (targets if classes is not None else targets[:, 0]).tolist(),
    }


def _of_classes(model: Model, part: Split) -> dict[str, Any]:
    classes = model.classes or ()
    n = len(classes)
    counts: Counter[tuple[int, int]] = Counter()
    worst = _WorstRows(part)
    for first, targets, outputs in _chunks(model, part):
        predicted = classes_of(outputs, xp=np)
        pairs, times = np.unique(targets * n + predicted, return_counts=True)
        counts.update(dict(zip(((p // n, p % n) for p in pairs.tolist()), times, strict=True)))
        wrong = np.flatnonzero(predicted != targets)
        confidence = outputs[wrong, predicted[wrong]]
        worst.add(first, wrong, confidence, targets, outputs)
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    mistakes = [(t, p, int(times)) for (t, p), times in ordered if t != p]
    small = n <= MATRIX
    return {
        "wrong": sum(times for _, _, times in mistakes),
        "classes": list(classes) if small else None,
        "matrix": [[int(counts[t, p]) for p in range(n)] for t in range(n)] if small else None,
        "confused": [(classes[t], classes[p], times) for t, p, times in mistakes[:COMMONEST]],
        "probabilities": model.network.activations[-1].output_range == (0.0, 1.0),
        "worst": [
            {
                **part.name_row(row),
                "target": classes[target],
                "predicted": classes[order[0]],
                "sure": float(outputs[order[0]]),
                "target_output": float(outputs[target]),
                "likeliest": [(classes[k], float(outputs[k])) for k in order],
                "inputs": inputs,
            }
            for row, target, outputs, inputs in worst.rows()
            for order in [np.argsort(-outputs, kind="stable")[:TOP_CLASSES].tolist()]
        ],
    }


def _of_numbers(model: Model, part: Split) -> dict[str, Any]:
    n_outputs = min(OUTPUTS, part.targets.shape[1])
    sample = _evenly(part.size)
    pairs: list[Array] = []
    sums = np.zeros((3, n_outputs))  # of the residuals, their absolute values and their squares
    largest = np.zeros(n_outputs)
    worst = _WorstRows(part)
    for first, targets, outputs in _chunks(model, part):
        with np.errstate(over="ignore", invalid="ignore"):
            residuals = outputs.astype(np.float64) - targets
            squares = np.sum(residuals**2, axis=1)
            listed = residuals[:, :n_outputs]
            sums += np.stack([listed, np.abs(listed), listed**2]).sum(axis=1)
        largest = np.maximum(largest, np.max(np.abs(listed), axis=0))
        worst.add(first, np.arange(len(targets)), squares, targets, outputs)
        here = sample[(sample >= first) & (sample < first + len(targets))] - first
        pairs.append(np.stack([targets[here, :n_outputs], outputs[here, :n_outputs]], axis=-1))
    mean, mean_absolute, mean_square = (sums / part.size).tolist()
    spread = np.std(part.targets[:, :n_outputs], axis=0).tolist()
    return {
        "outputs": [
            {
                "mean": mean[k],
                "mean_absolute": mean_absolute[k],
                "root_mean_square": mean_square[k] ** 0.5,
                "largest": float(largest[k]),
                "target_deviation": spread[k],
            }
            for k in range(n_outputs)
        ],
        "pairs": np.concatenate(pairs).tolist(),
        "worst": [
            {
                **part.name_row(row),
                "target": target[:OUTPUTS].tolist(),
                "predicted": outputs[:OUTPUTS].tolist(),
                "inputs": inputs,
            }
            for row, target, outputs, inputs in worst.rows()
        ],
    }


def _evenly(n: int) -> Array:
    return np.unique(np.linspace(0, n - 1, min(n, SAMPLE)).astype(np.int64))


def _chunks(model: Model, part: Split) -> Iterator[tuple[int, Array, Array]]:
    """Yield the number of the first row, the targets and the outputs of each chunk of rows."""
    rows = max(256, _CHUNK // max(model.network.sizes[0], model.network.sizes[-1]))
    for first in range(0, part.size, rows):
        chunk = slice(first, first + rows)
        yield first, part.targets[chunk], arrays.to_numpy(model.outputs(part.inputs[chunk]))


class _WorstRows:
    """The rows with the largest errors so far."""

    def __init__(self, part: Split) -> None:
        self._part = part
        self._rows: list[tuple[float, int, Any, Array]] = []

    def add(self, first: int, rows: Array, errors: Array, targets: Array, outputs: Array) -> None:
        """Add rows of a chunk, each with the size of its error; NaN counts as the largest."""
        errors = np.nan_to_num(errors, nan=np.inf, posinf=np.inf)
        chosen = np.argsort(-errors, kind="stable")[:WORST]
        self._rows += [
            (float(errors[k]), first + int(rows[k]), targets[rows[k]], outputs[rows[k]])
            for k in chosen.tolist()
        ]
        self._rows = sorted(self._rows, key=lambda one: (-one[0], one[1]))[:WORST]

    def rows(self) -> Iterator[tuple[int, Any, Array, list[Any] | None]]:
        """Yield the number, target, outputs and inputs of each row, the worst first."""
        narrow = self._part.inputs.shape[1] <= MAX_INPUTS
        for _, row, target, outputs in self._rows:
            yield row, target, outputs, self._part.inputs[row].tolist() if narrow else None
