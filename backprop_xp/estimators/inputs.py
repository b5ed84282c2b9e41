"""Inputs and sample weights: checked as scikit-learn does, and moved to a device."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils._array_api import get_namespace_and_device
from sklearn.utils.validation import _check_sample_weight, validate_data

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.backend.devices import Placement, placement_of, select_device
from backprop_xp.data.sparse import SparseRows
from backprop_xp.errors import ConfigurationError


def check_inputs(estimator: Any, X: Any, *, reset: bool) -> Any:
    """Return inputs as a table of real numbers: an array, or a sparse matrix of SciPy.

    Parameters
    ----------
    estimator
    X : array_like, data frame or sparse matrix, shape (n, n_features)
    reset : bool
        Whether the number and names of the features are taken from ``X`` or compared with it.

    Raises
    ------
    ValueError, TypeError
        As scikit-learn does; for a missing value with its row and column.
    """
    xp, _, _ = get_namespace_and_device(X)
    types = (xp.float64, xp.float32)
    try:
        X = validate_data(estimator, X, accept_sparse="csr", dtype=types, reset=reset)
    except ValueError as error:
        where = _first_not_finite(X) if "contains" in str(error) else ""
        if not where:
            raise
        raise ValueError(f"{error}\n{where}") from None
    scaling = getattr(estimator, "_scaling", None)
    if scaling is None:
        return X
    X = X.toarray() if sparse.issparse(X) else X  # a shift leaves no zeros
    offset, divisor = (
        arrays.asarray(p, xp=xp, dtype=X.dtype, device=arrays.device(X)) for p in scaling
    )
    return (X - offset) / divisor


def _first_not_finite(X: Any) -> str:
    """Return text that locates the first value that is NaN or infinite; empty if unknown."""
    try:
        names = getattr(X, "columns", None)
        if sparse.issparse(X):
            table = X.tocoo()
            bad = np.flatnonzero(~np.isfinite(table.data))[:1]
            positions = [(int(table.row[i]), int(table.col[i])) for i in bad]
        else:
            host = arrays.to_numpy(X) if arrays.is_array(X) else np.asarray(X)
            finite = np.isfinite(host.astype(np.float64))
            positions = [(int(row), int(column)) for row, column in np.argwhere(~finite)[:1]]
        row, column = positions[0]
    except (TypeError, ValueError, IndexError):
        return ""
    name = "" if names is None else f" ({names[column]!r})"
    return f"The first one is in row {row}, column {column}{name}, both counted from 0."


def check_weights(weights: Any, X: Any) -> Array | None:
    """Return checked sample weights on the host.

    Raises
    ------
    ValueError
        If their number is wrong, one is negative or not finite, or all are 0.
    """
    if weights is None:
        return None
    weights = arrays.to_numpy(weights) if arrays.is_array(weights) else weights
    rows = np.empty((X.shape[0], 0))
    return _check_sample_weight(weights, rows, dtype=np.float64, ensure_non_negative=True)


def on_host(y: Any) -> Any:
    """Return an array of another library as a NumPy array, and anything else unchanged."""
    foreign = arrays.is_array(y) and arrays.backend_name(arrays.namespace(y)) != "numpy"
    return arrays.to_numpy(y) if foreign else y


def is_on_device(X: Any) -> bool:
    """Return whether inputs are arrays of another library than NumPy, and computed on in place."""
    return arrays.is_array(X) and arrays.backend_name(arrays.namespace(X)) != "numpy"


def placement_for(estimator: Any, X: Any, dtype: str | None = None) -> Placement:
    """Return where to compute with checked inputs.

    The data type is the given one, or that of the estimator's parameters, or that of the inputs.

    Raises
    ------
    DeviceError, ConfigurationError
        If the device of the estimator's parameters cannot be used.
    """
    dtype = dtype or estimator.dtype or precision_of(X)
    if is_on_device(X):
        return placement_of(X, dtype=dtype)
    return select_device(estimator.device, estimator.backend, dtype=dtype)


def precision_of(X: Any) -> str:
    """Return the name of the data type of checked inputs, or of weights."""
    return "float32" if "float32" in str(X.dtype) else "float64"


def training_inputs(X: Any, placement: Placement) -> Any:
    """Return checked inputs for `backprop_xp.fit`: sparse ones as `SparseRows`.

    Raises
    ------
    ConfigurationError
        For sparse inputs on JAX, which compiles an epoch as one function.
    """
    if not sparse.issparse(X):
        return X
    if placement.backend == "jax":
        raise ConfigurationError(
            "JAX cannot train on sparse inputs", "use another backend, or X.toarray()"
        )
    return device_inputs(X, placement)


def device_inputs(X: Any, placement: Placement) -> Array | SparseRows:
    """Return checked inputs on their device; sparse ones stay on the host until they are used."""
    if sparse.issparse(X):
        return SparseRows(X, placement)
    return placement.asarray(X)


def take_rows(data: Any, rows: Any) -> Any:
    """Return rows of inputs, targets or weights by their numbers; None stays None."""
    if data is None or not is_on_device(data):
        return None if data is None else data[rows]
    return arrays.namespace(data).take(data, placement_of(data).index_array(rows), axis=0)


def without_zeros(X: Any, targets: Any, weights: Any) -> tuple[Any, Any, Any]:
    """Leave out the rows of weight 0: a batch of nothing else would have no mean."""
    if weights is None or weights.all():
        return X, targets, weights
    rows = np.flatnonzero(weights)
    return take_rows(X, rows), take_rows(targets, rows), weights[rows]
