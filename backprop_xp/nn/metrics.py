"""Metrics: the number of correct predictions, counted on the device."""

from __future__ import annotations

from backprop_xp.backend.arrays import Array, Namespace


def correct(outputs: Array, targets: Array, *, xp: Namespace) -> Array:
    """Return the number of samples whose class is predicted correctly, an array of shape ().

    Outputs and targets have the shape (n, n_outputs).

    Examples
    --------
    >>> import numpy as np
    >>> int(correct(np.asarray([[0.1, 0.9], [0.7, 0.3]]), np.asarray([[0, 1], [0, 1]]), xp=np))
    1
    """
    return count_equal(classes_of(outputs, xp=xp), classes_of(targets, xp=xp), xp=xp)


def count_equal(classes: Array, others: Array, *, xp: Namespace) -> Array:
    """Return the number of rows with equal classes, an integer or an array of shape ().

    Examples
    --------
    >>> import numpy as np
    >>> int(count_equal(np.asarray([0, 1, 2]), np.asarray([0, 2, 2]), xp=np))
    2
    """
    return xp.count_nonzero(classes == others)


def classes_of(outputs: Array, *, xp: Namespace) -> Array:
    """Return the class index of each row of outputs, an integer array of shape (n,).

    With several outputs the class is the index of the largest one; with a single output it is 1
    if the output is at least one half, else 0.

    Examples
    --------
    >>> import numpy as np
    >>> classes_of(np.asarray([[0.1, 0.9], [0.7, 0.3]]), xp=np).tolist()
    [1, 0]
    """
    if outputs.shape[-1] == 1:
        return xp.astype(outputs[..., 0] >= 0.5, xp.int32)
    return xp.argmax(outputs, axis=-1)
