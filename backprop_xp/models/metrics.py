"""Metrics: what a model gets right and wrong, for each class or each target."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from backprop_xp.backend.arrays import Array


def regression_metrics(targets: Array, predictions: Array, names: Sequence[str]) -> dict[str, Any]:
    """Return R², the mean absolute error and the root mean square error of each target.

    R² is the share of the variance that the predictions explain: 1 is perfect, 0 is as good as
    the mean of the targets, and below 0 is worse.

    Parameters
    ----------
    targets, predictions : host array, shape (n, n_outputs)
        In the units of the targets.
    names : sequence of str
        The names of the targets.

    Returns
    -------
    dict
        ``targets``, a list of dicts with ``name``, ``r2`` (None if all targets are equal), ``mae``
        and ``rmse``; and the mean of each over the targets as ``r2``, ``mae`` and ``rmse``, where
        there is only one target.

    Examples
    --------
    >>> y = np.asarray([[1.0], [2.0], [3.0]])
    >>> regression_metrics(y, y + 1.0, ["price"])["targets"]
    [{'name': 'price', 'r2': -0.5, 'mae': 1.0, 'rmse': 1.0}]
    """
    rows: list[dict[str, Any]] = []
    for name, y, predicted in zip(names, targets.T, predictions.T, strict=True):
        y = y.astype(np.float64)
        errors = predicted.astype(np.float64) - y
        variance, square = float(np.mean(np.square(y - y.mean()))), float(np.mean(errors**2))
        rows.append(
            {
                "name": name,
                "r2": 1.0 - square / variance if variance > 0.0 else None,
                "mae": float(np.mean(np.abs(errors))),
                "rmse": square**0.5,
            }
        )
    only = {key: rows[0][key] for key in ("r2", "mae", "rmse")} if len(rows) == 1 else {}
    return {**only, "targets": rows}


def classification_metrics(
    targets: Array, predicted: Array, outputs: Array, classes: Sequence[str]
) -> dict[str, Any]:
    """Return the confusion matrix, and precision, recall and F1 of each class.

    The areas under the ROC curve and under the precision-recall curve (average precision) are
    those of each class against all others. They need scikit-learn.

    Parameters
    ----------
    targets, predicted : host array of int, shape (n,)
        Class indices.
    outputs : host array, shape (n, n_outputs)
        Probabilities: one column for each class, or a single one for the second of two classes.
    classes : sequence of str

    Returns
    -------
    dict
        - ``confusion``: rows of counts, one row for each true class and one column for each
          predicted class;
        - ``classes``: a dict for each class with ``name``, ``precision`` (None if the class was
          never predicted), ``recall`` (None if the class does not occur), ``f1``, ``support``
          (the number of rows), ``roc_auc`` and ``average_precision`` (None without scikit-learn,
          or if all rows or no rows are of the class);
        - ``macro`` and ``weighted``: the means of these over the classes that occur, with equal
          weights, and weighted by their support.

    Examples
    --------
    >>> y, predicted = np.asarray([0, 0, 1]), np.asarray([0, 1, 1])
    >>> metrics = classification_metrics(y, predicted, np.eye(2)[predicted], ["cat", "dog"])
    >>> metrics["confusion"]
    [[1, 1], [0, 1]]
    >>> cat = metrics["classes"][0]
    >>> cat["precision"], cat["recall"], cat["support"]
    (1.0, 0.5, 2)
    """
    n = len(classes)
    confusion = np.bincount(targets * n + predicted, minlength=n * n).reshape(n, n).tolist()
    probabilities = by_class(outputs)
    rows = [
        row | _areas(targets == index, probabilities[:, index])
        for index, row in enumerate(figures_by_class(confusion, classes))
    ]
    occurring = [row for row in rows if row["support"]]
    return {
        "confusion": confusion,
        "classes": rows,
        "macro": _means(occurring, [1.0] * len(occurring)),
        "weighted": _means(occurring, [row["support"] for row in occurring]),
    }


def by_class(outputs: Array) -> Array:
    """Return outputs with a column for each class, also where there is one for two classes.

    Examples
    --------
    >>> by_class(np.asarray([[0.25]]))
    array([[0.75, 0.25]])
    """
    return np.concatenate((1.0 - outputs, outputs), axis=1) if outputs.shape[1] == 1 else outputs


def figures_by_class(
    confusion: Sequence[Sequence[int]], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return ``name``, ``precision``, ``recall``, ``f1`` and ``support`` of each class.

    Parameters
    ----------
    confusion : sequence of sequence of int
        Counts, one row for each true class and one column for each predicted class.
    classes : sequence of str

    Examples
    --------
    >>> figures_by_class([[1, 1], [0, 2]], ["cat", "dog"])[0]
    {'name': 'cat', 'precision': 1.0, 'recall': 0.5, 'f1': 0.6666666666666666, 'support': 2}
    """
    figures = []
    for index, name in enumerate(classes):
        hits, support = confusion[index][index], sum(confusion[index])
        chosen = sum(row[index] for row in confusion)
        figures.append(
            {
                "name": name,
                "precision": hits / chosen if chosen else None,
                "recall": hits / support if support else None,
                "f1": 2.0 * hits / (support + chosen) if support + chosen else None,
                "support": support,
            }
        )
    return figures


_MEANS = ("precision", "recall", "f1", "roc_auc", "average_precision")


def _means(rows: list[dict[str, Any]], weights: Sequence[float]) -> dict[str, float | None]:
    """Return weighted means; a precision that does not exist counts as 0, as in scikit-learn."""
    total = sum(weights)
    means: dict[str, float | None] = {}
    for name in _MEANS:
        values = [row[name] for row in rows]
        if name in ("roc_auc", "average_precision") and None in values:
            means[name] = None
        else:
            pairs = zip(values, weights, strict=True)
            means[name] = sum((value or 0.0) * weight for value, weight in pairs) / total
    return means


def _areas(is_class: Array, scores: Array) -> dict[str, float | None]:
    known = importlib.util.find_spec("sklearn") is not None
    if not known or is_class.all() or not is_class.any() or not np.isfinite(scores).all():
        return {"roc_auc": None, "average_precision": None}
    from sklearn.metrics import average_precision_score, roc_auc_score

    return {
        "roc_auc": float(roc_auc_score(is_class, scores)),
        "average_precision": float(average_precision_score(is_class, scores)),
    }
