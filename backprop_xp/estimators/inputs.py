"""A user's inputs and weights as scikit-learn checks them, and where they are worked on."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils._array_api import get_namespace_and_device
from sklearn.utils.validation import _check_sample_weight, validate_data

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.backend.devices import Placement, select
from backprop_xp.data.sparse import SparseRows
from backprop_xp.errors import ConfigurationError


def check_inputs(estimator: Any, X: Any, *, reset: bool) -> Any:
    """Return inputs as a table of real numbers: an array, or SciPy's sparse rows.

    Parameters
    ----------
    estimator
    X : array_like, data frame or sparse matrix, shape (n, n_features)
    reset : bool
        Whether the number and names of the features are learned from ``X``, or compared.

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
    """Say where the first value that is NaN or infinite stands; nothing if that cannot be found."""
    try:
        names = getattr(X, "columns", None)
        if sparse.issparse(X):
            table = X.tocoo()
            bad = np.flatnonzero(~np.isfinite(table.data))[:1]
            places = [(int(table.row[i]), int(table.col[i])) for i in bad]
        else:
            host = arrays.to_numpy(X) if arrays.is_array(X) else np.asarray(X)
            finite = np.isfinite(host.astype(np.float64))
            places = [(int(row), int(column)) for row, column in np.argwhere(~finite)[:1]]
        row, column = places[0]
    except (TypeError, ValueError, IndexError):
        return ""
    name = "" if names is None else f" ({names[column]!r})"
    return f"The first one stands in row {row}, column {column}{name}, both counted from 0."


def check_weights(weights: Any, X: Any) -> Array | None:
    """Return the weights of samples on the host, checked.

    Raises
    ------
    ValueError
        If their number is another one, one is negative or not finite, or all are 0.
    """
    if weights is None:
        return None
    weights = arrays.to_numpy(weights) if arrays.is_array(weights) else weights
    rows = np.empty((X.shape[0], 0))
    return _check_sample_weight(weights, rows, dtype=np.float64, ensure_non_negative=True)


def on_host(y: Any) -> Any:
    """Return an array of another library as one of NumPy, and anything else as it is."""
    foreign = arrays.is_array(y) and arrays.backend_name(arrays.namespace(y)) != "numpy"
    return arrays.to_numpy(y) if foreign else y


def lives_elsewhere(X: Any) -> bool:
    """Say whether the work is to be done where the inputs live, and not where a parameter says."""
    return arrays.is_array(X) and arrays.backend_name(arrays.namespace(X)) != "numpy"


def placement_of(estimator: Any, X: Any, dtype: str | None = None) -> tuple[Placement, str]:
    """Return where checked inputs are worked on, and in which data type: the one given, or that of
    the estimator's parameters, or that of the inputs.

    Raises
    ------
    DeviceError, ConfigurationError
        If the device of the estimator's parameters cannot be used.
    """
    dtype = dtype or estimator.dtype or precision_of(X)
    if lives_elsewhere(X):
        xp, home = arrays.namespace(X), arrays.device(X)
        return Placement(arrays.backend_name(xp), str(home), xp, home), dtype
    return select(estimator.device, estimator.backend, dtype=dtype), dtype


def precision_of(X: Any) -> str:
    """Return the name of the data type of checked inputs, or of weights."""
    return "float32" if "float32" in str(X.dtype) else "float64"


def feed(X: Any, placement: Placement, dtype: str) -> Any:
    """Return checked inputs as the training takes them, sparse rows by the batch.

    Raises
    ------
    ConfigurationError
        For sparse rows on JAX, which compiles a whole epoch at once.
    """
    if not sparse.issparse(X):
        return X
    if placement.backend == "jax":
        raise ConfigurationError(
            "sparse inputs cannot be trained on by JAX", "take another backend, or X.toarray()"
        )
    return placed(X, placement, placement.dtype(dtype))


def rows_of(data: Any, rows: Any) -> Any:
    """Return the rows of these numbers, of inputs, targets or weights; None stays None."""
    if data is None or not lives_elsewhere(data):
        return None if data is None else data[rows]
    xp = arrays.namespace(data)
    index = arrays.asarray(rows, xp=xp, dtype=arrays.index_dtype(xp), device=arrays.device(data))
    return xp.take(data, index, axis=0)


def without_zeros(X: Any, targets: Any, weights: Any) -> tuple[Any, Any, Any]:
    """Leave out the rows of weight 0: a batch of nothing else would have no mean."""
    if weights is None or weights.all():
        return X, targets, weights
    rows = np.flatnonzero(weights)
    return rows_of(X, rows), rows_of(targets, rows), weights[rows]


def placed(X: Any, placement: Placement, dtype: Any) -> Array | SparseRows:
    """Return checked inputs where they are predicted."""
    like = {"xp": placement.xp, "dtype": dtype, "device": placement.device}
    return SparseRows(X, **like) if sparse.issparse(X) else arrays.asarray(X, **like)
