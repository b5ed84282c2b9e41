"""Targets and weights: one-hot rows, sample weights, class weights, label smoothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.backend.devices import Placement
from backprop_xp.errors import DataError


def one_hot(labels: Array, n_classes: int, *, dtype: object, xp: Namespace) -> Array:
    """Return one row per label, with a 1 in the column of the label and 0 elsewhere.

    The result has the shape (n, n_classes). A label out of range gives a row of zeros.

    Examples
    --------
    >>> import numpy as np
    >>> one_hot(np.asarray([2, 0]), 3, dtype=np.float32, xp=np)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    columns = xp.arange(n_classes, dtype=labels.dtype, device=getattr(labels, "device", None))
    return xp.astype(labels[:, None] == columns[None, :], dtype)


def check_sample_weight(weights: Any, n: int, placement: Placement) -> Array:
    """Check the weights of ``n`` samples, and move them to the device."""
    xp, w = placement.xp, placement.asarray(weights)
    if w.ndim != 1 or w.shape[0] != n:
        raise DataError(
            f"the sample weights have the shape {tuple(w.shape)}, and there are {n} samples",
            "give one weight for each row",
        )
    wrong = xp.logical_not(xp.logical_and(xp.isfinite(w), w >= 0.0))
    if bool(xp.any(wrong)):
        row = int(xp.nonzero(wrong)[0][0])
        raise DataError(
            f"the sample weight in row {row} is {float(w[row])}", "give finite numbers from 0 up"
        )
    if not bool(xp.any(w > 0.0)):
        raise DataError("all sample weights are 0", "give at least one sample a positive weight")
    return w


def class_weights(
    data: Any, class_weight: str | Mapping[int, float], *, xp: Namespace
) -> list[float]:
    """Return the weight of each class.

    Parameters
    ----------
    data : DeviceData or StreamedData
        With class indices as targets.
    class_weight : "balanced" or mapping
        "balanced" for weights inverse to the frequencies of the classes,
        ``n / (n_classes * count)``; or the weights by class index, 1 for a class without entry.
    xp : namespace

    Raises
    ------
    DataError
        If the targets are not classes, or a named class does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> from backprop_xp.backend.devices import placement_of
    >>> from backprop_xp.data.device_data import to_device
    >>> x, labels = np.zeros((4, 1)), [0, 0, 0, 1]
    >>> data = to_device((x, labels), 1, 2, placement_of(x))
    >>> class_weights(data, "balanced", xp=np)
    [0.6666666666666666, 2.0]
    """
    if not data.labeled:
        raise DataError(
            "class weights need class indices as targets, and these are numbers",
            "for a regression, leave class_weight out; convert one-hot rows with argmax",
        )
    by_chunk = []
    for chunk in data.chunks():
        y = _by_class(chunk.y, xp)
        by_chunk.append([float(xp.sum(y[:, k])) for k in range(y.shape[1])])
    counts = [sum(column) for column in zip(*by_chunk, strict=True)]
    if isinstance(class_weight, str):
        return [data.n / (len(counts) * count) if count else 0.0 for count in counts]
    for name in class_weight:
        if name not in range(len(counts)):
            hint = f"the classes are 0 to {len(counts) - 1}"
            raise DataError(f"class_weight has the class {name!r}", hint)
    return [float(class_weight.get(k, 1.0)) for k in range(len(counts))]


def sample_weights_from_classes(y: Array, weights: list[float], *, xp: Namespace) -> Array:
    """Return the weight of each sample: the weight of its class.

    Examples
    --------
    >>> import numpy as np
    >>> sample_weights_from_classes(np.asarray([[1.0, 0.0], [0.0, 1.0]]), [0.5, 2.0], xp=np)
    array([0.5, 2. ])
    """
    weight_of_class = xp.asarray(weights, dtype=y.dtype, device=arrays.device(y))
    return xp.matmul(_by_class(y, xp), weight_of_class)


def _by_class(y: Array, xp: Namespace) -> Array:
    """Return targets with a column for each class."""
    # A single output: the column is class 1, and class 0 is its complement.
    return xp.concat((1.0 - y, y), axis=1) if y.shape[1] == 1 else y


def smooth_labels(y: Array, epsilon: float) -> Array:
    """Return targets with the fraction ``epsilon`` spread evenly over all outputs.

    Source: Szegedy and others (2016), "Rethinking the Inception architecture".

    Examples
    --------
    >>> import numpy as np
    >>> smooth_labels(np.asarray([[0.0, 1.0]]), 0.1)
    array([[0.05, 0.95]])
    """
    classes = max(2, y.shape[1])
    return y * (1.0 - epsilon) + epsilon / classes
