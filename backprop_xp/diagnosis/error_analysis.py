"""A review of a model on held-out rows: what it gets wrong, as plain data of bounded size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.data.dataset import Part
from backprop_xp.models.model import Model
from backprop_xp.nn.metrics import classes_of

WORST = 24
"""Rows that are kept with what was made of them: those that went most wrong."""

WIDEST = 4096
"""Inputs are kept of rows that are no wider than this, such as images of 64 x 64."""

MATRIX = 100
"""Confusions are kept as a matrix for so many classes; for more, the commonest ones alone."""

COMMONEST = 50
"""The kinds of confusions that are listed."""

LIKELIEST = 5
"""Classes of which the output is kept, for each of the worst rows."""

OUTPUTS = 6
"""Outputs of a regression that are looked at one by one."""

SAMPLE = 1000
"""Rows that are kept to be drawn: pairs of a regression, points of a plane."""

_CHUNK = 1 << 22
"""Numbers in the inputs, or the outputs, of the rows that are looked at in one go."""


def review(model: Model, part: Part) -> dict[str, Any]:
    """Look at what a model makes of rows that it was not trained on.

    Parameters
    ----------
    model : Model
        With the inputs and outputs of the rows, one output for each class.
    part : Part
        Raw rows, in memory or in their file; read in turn.

    Returns
    -------
    dict
        Of classes: ``wrong``, how many; ``classes`` and ``matrix``, counts by true class and by
        predicted class, or None for both where there are more than `MATRIX`; ``confused``, the
        commonest confusions; ``probabilities``, whether outputs are such; and ``worst``, the
        wrong rows whose prediction was surest, each with ``row`` (counted from 0), ``target``,
        ``predicted``, ``sure`` (the output of the predicted class), ``target_output``,
        ``likeliest`` (pairs of class and output) and ``inputs``, raw, None where wider than
        `WIDEST`.

        Of numbers: ``outputs``, for each a summary of the residuals a − y; ``pairs``, target and
        output of a sample of rows; and ``worst``, by the sum of squared residuals, each with
        ``row``, ``target``, ``predicted`` and ``inputs``.

    Examples
    --------
    >>> from backprop_xp.runs.run import prepare
    >>> from backprop_xp.training.settings import RunSettings
    >>> run = prepare(RunSettings(hidden=(20,), epochs=2, seed=0, device="cpu"))
    >>> found = review(run.model(run.train()), run.dataset.test)
    >>> sum(map(sum, found["matrix"])), found["wrong"] == sum(pair[2] for pair in found["confused"])
    (357, True)
    """
    return _of_numbers(model, part) if model.classes is None else _of_classes(model, part)


def points(part: Part, classes: tuple[str, ...] | None) -> dict[str, Any]:
    """Return a sample of rows, evenly spaced, with their class or their first target.

    Parameters
    ----------
    part : Part
    classes : tuple of str or None

    Examples
    --------
    >>> points(Part(np.asarray([[1.0, 2.0], [3.0, 4.0]]), np.asarray([1, 0])), ("a", "b"))
    {'inputs': [[1.0, 2.0], [3.0, 4.0]], 'targets': [1, 0]}
    """
    rows = _evenly(part.size)
    targets = part.targets[rows]
    return {
        "inputs": part.inputs[rows].tolist(),
        "targets": (targets if classes is not None else targets[:, 0]).tolist(),
    }


def _of_classes(model: Model, part: Part) -> dict[str, Any]:
    classes = model.classes or ()
    n = len(classes)
    counts: Counter[tuple[int, int]] = Counter()
    worst = _Worst(part)
    for first, targets, outputs in _in_turn(model, part):
        predicted = classes_of(outputs, xp=np)
        pairs, times = np.unique(targets * n + predicted, return_counts=True)
        counts.update(dict(zip(((p // n, p % n) for p in pairs.tolist()), times, strict=True)))
        wrong = np.flatnonzero(predicted != targets)
        sure = outputs[wrong, predicted[wrong]]
        worst.add(first, wrong, sure, targets, outputs)
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    mistakes = [(t, p, int(times)) for (t, p), times in ordered if t != p]
    whole = n <= MATRIX
    return {
        "wrong": sum(times for _, _, times in mistakes),
        "classes": list(classes) if whole else None,
        "matrix": [[int(counts[t, p]) for p in range(n)] for t in range(n)] if whole else None,
        "confused": [(classes[t], classes[p], times) for t, p, times in mistakes[:COMMONEST]],
        "probabilities": model.network.activations[-1].output_range == (0.0, 1.0),
        "worst": [
            {
                "row": row,
                "target": classes[target],
                "predicted": classes[order[0]],
                "sure": float(outputs[order[0]]),
                "target_output": float(outputs[target]),
                "likeliest": [(classes[k], float(outputs[k])) for k in order],
                "inputs": inputs,
            }
            for row, target, outputs, inputs in worst.rows()
            for order in [np.argsort(-outputs, kind="stable")[:LIKELIEST].tolist()]
        ],
    }


def _of_numbers(model: Model, part: Part) -> dict[str, Any]:
    kept = min(OUTPUTS, part.targets.shape[1])
    sample = _evenly(part.size)
    drawn: list[Array] = []
    sums = np.zeros((3, kept))  # of the residuals, of their sizes and of their squares
    largest = np.zeros(kept)
    worst = _Worst(part)
    for first, targets, outputs in _in_turn(model, part):
        with np.errstate(over="ignore", invalid="ignore"):
            residuals = outputs.astype(np.float64) - targets
            sizes = np.sum(residuals**2, axis=1)
            some = residuals[:, :kept]
            sums += np.stack([some, np.abs(some), some**2]).sum(axis=1)
        largest = np.maximum(largest, np.max(np.abs(some), axis=0))
        worst.add(first, np.arange(len(targets)), sizes, targets, outputs)
        here = sample[(sample >= first) & (sample < first + len(targets))] - first
        drawn.append(np.stack([targets[here, :kept], outputs[here, :kept]], axis=-1))
    mean, mean_absolute, mean_square = (sums / part.size).tolist()
    spread = np.std(part.targets[:, :kept], axis=0).tolist()
    return {
        "outputs": [
            {
                "mean": mean[k],
                "mean_absolute": mean_absolute[k],
                "root_mean_square": mean_square[k] ** 0.5,
                "largest": float(largest[k]),
                "target_deviation": spread[k],
            }
            for k in range(kept)
        ],
        "pairs": np.concatenate(drawn).tolist(),
        "worst": [
            {
                "row": row,
                "target": target[:OUTPUTS].tolist(),
                "predicted": outputs[:OUTPUTS].tolist(),
                "inputs": inputs,
            }
            for row, target, outputs, inputs in worst.rows()
        ],
    }


def _evenly(n: int) -> Array:
    return np.unique(np.linspace(0, n - 1, min(n, SAMPLE)).astype(np.int64))


def _in_turn(model: Model, part: Part) -> Iterator[tuple[int, Array, Array]]:
    """Yield the number of a first row, targets and outputs, for a chunk of rows at a time."""
    rows = max(256, _CHUNK // max(model.network.sizes[0], model.network.sizes[-1]))
    for first in range(0, part.size, rows):
        chunk = slice(first, first + rows)
        yield first, part.targets[chunk], arrays.to_numpy(model.outputs(part.inputs[chunk]))


class _Worst:
    """The rows that have gone most wrong so far."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._kept: list[tuple[float, int, Any, Array]] = []

    def add(self, first: int, rows: Array, how: Array, targets: Array, outputs: Array) -> None:
        """Look at rows of a chunk, each with how wrong it went; what is no number is worst."""
        how = np.nan_to_num(how, nan=np.inf, posinf=np.inf)
        chosen = np.argsort(-how, kind="stable")[:WORST]
        self._kept += [
            (float(how[k]), first + int(rows[k]), targets[rows[k]], outputs[rows[k]])
            for k in chosen.tolist()
        ]
        self._kept = sorted(self._kept, key=lambda one: (-one[0], one[1]))[:WORST]

    def rows(self) -> Iterator[tuple[int, Any, Array, list[Any] | None]]:
        """Yield the number, target, outputs and inputs of each, from the worst on."""
        narrow = self._part.inputs.shape[1] <= WIDEST
        for _, row, target, outputs in self._kept:
            yield row, target, outputs, self._part.inputs[row].tolist() if narrow else None
