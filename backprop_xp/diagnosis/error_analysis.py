"""An analysis of a model's errors on held-out rows, as plain data of bounded size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

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


def start_analysis(model: Model, part: Split) -> ErrorAnalysis:
    """Return an analysis of the errors of a model on rows that it was not trained on.

    Parameters
    ----------
    model : Model
        With the inputs and outputs of the rows, one output for each class.
    part : Split
        Raw rows, in memory or in a file.

    Returns
    -------
    ErrorAnalysis
        Its ``add`` takes the outputs for the rows, chunk by chunk. After all of them, its
        ``result()`` is a dict.

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
    >>> model, test = run.model(run.train()), run.dataset.test
    >>> analysis = start_analysis(model, test)
    >>> analysis.add(model.outputs(test.inputs))
    >>> errors = analysis.result()
    >>> counts = [count for _, _, count in errors["confused"]]
    >>> sum(map(sum, errors["matrix"])), errors["wrong"] == sum(counts)
    (357, True)
    """
    return _NumberErrors(model, part) if model.classes is None else _ClassErrors(model, part)


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


class ErrorAnalysis:
    """An analysis of errors that receives outputs chunk by chunk, from `start_analysis`."""

    def __init__(self, model: Model, part: Split) -> None:
        self._model = model
        self._part = part
        self._worst = _WorstRows(part)
        self._done = 0

    def add(self, outputs: Array) -> None:
        """Add the outputs for the next rows, a host array from `Model.outputs`."""
        first = self._done
        self._done += len(outputs)
        self._add(first, self._part.targets[first : self._done], outputs)

    def _add(self, first: int, targets: Array, outputs: Array) -> None:
        raise NotImplementedError

    def result(self) -> dict[str, Any]:
        """Return the analysis; see `start_analysis`."""
        raise NotImplementedError


class _ClassErrors(ErrorAnalysis):
    def __init__(self, model: Model, part: Split) -> None:
        super().__init__(model, part)
        self._classes = model.classes or ()
        self._counts: Counter[tuple[int, int]] = Counter()

    def _add(self, first: int, targets: Array, outputs: Array) -> None:
        n = len(self._classes)
        predicted = classes_of(outputs, xp=np)
        codes, times = np.unique(targets * n + predicted, return_counts=True)
        pairs = (divmod(code, n) for code in codes.tolist())
        self._counts.update(dict(zip(pairs, times, strict=True)))
        wrong = np.flatnonzero(predicted != targets)
        self._worst.add(first, wrong, outputs[wrong, predicted[wrong]], targets, outputs)

    def result(self) -> dict[str, Any]:
        classes, counts = self._classes, self._counts
        n = len(classes)
        ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
        mistakes = [(t, p, int(times)) for (t, p), times in ordered if t != p]
        small = n <= MATRIX
        return {
            "wrong": sum(times for _, _, times in mistakes),
            "classes": list(classes) if small else None,
            "matrix": [[int(counts[t, p]) for p in range(n)] for t in range(n)] if small else None,
            "confused": [(classes[t], classes[p], times) for t, p, times in mistakes[:COMMONEST]],
            "probabilities": self._model.network.activations[-1].output_range == (0.0, 1.0),
            "worst": [
                {
                    **self._part.name_row(row),
                    "target": classes[target],
                    "predicted": classes[order[0]],
                    "sure": float(outputs[order[0]]),
                    "target_output": float(outputs[target]),
                    "likeliest": [(classes[k], float(outputs[k])) for k in order],
                    "inputs": inputs,
                }
                for row, target, outputs, inputs in self._worst.rows()
                for order in [np.argsort(-outputs, kind="stable")[:TOP_CLASSES].tolist()]
            ],
        }


class _NumberErrors(ErrorAnalysis):
    def __init__(self, model: Model, part: Split) -> None:
        super().__init__(model, part)
        self._n_outputs = min(OUTPUTS, part.targets.shape[1])
        self._sample = _evenly(part.size)
        self._pairs: list[Array] = []
        # Of the residuals, their absolute values and their squares.
        self._sums = np.zeros((3, self._n_outputs))
        self._largest = np.zeros(self._n_outputs)

    def _add(self, first: int, targets: Array, outputs: Array) -> None:
        n_outputs, sample = self._n_outputs, self._sample
        with np.errstate(over="ignore", invalid="ignore"):
            residuals = outputs.astype(np.float64) - targets
            squares = np.sum(residuals**2, axis=1)
            listed = residuals[:, :n_outputs]
            self._sums += np.stack([listed, np.abs(listed), listed**2]).sum(axis=1)
        self._largest = np.maximum(self._largest, np.max(np.abs(listed), axis=0))
        self._worst.add(first, np.arange(len(targets)), squares, targets, outputs)
        here = sample[(sample >= first) & (sample < first + len(targets))] - first
        pair = targets[here, :n_outputs], outputs[here, :n_outputs]
        self._pairs.append(np.stack(pair, axis=-1))

    def result(self) -> dict[str, Any]:
        part, n_outputs = self._part, self._n_outputs
        mean, mean_absolute, mean_square = (self._sums / part.size).tolist()
        spread = np.std(part.targets[:, :n_outputs], axis=0).tolist()
        return {
            "outputs": [
                {
                    "mean": mean[k],
                    "mean_absolute": mean_absolute[k],
                    "root_mean_square": mean_square[k] ** 0.5,
                    "largest": float(self._largest[k]),
                    "target_deviation": spread[k],
                }
                for k in range(n_outputs)
            ],
            "pairs": np.concatenate(self._pairs).tolist(),
            "worst": [
                {
                    **part.name_row(row),
                    "target": target[:OUTPUTS].tolist(),
                    "predicted": outputs[:OUTPUTS].tolist(),
                    "inputs": inputs,
                }
                for row, target, outputs, inputs in self._worst.rows()
            ],
        }


def _evenly(n: int) -> Array:
    return np.unique(np.linspace(0, n - 1, min(n, SAMPLE)).astype(np.int64))


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
