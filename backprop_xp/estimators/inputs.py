"""Inputs and sample weights: checked as scikit-learn does, and moved to a device."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar, cast

import joblib
import numpy as np
from scipy import sparse
from sklearn.utils._array_api import get_namespace_and_device
from sklearn.utils.validation import _check_sample_weight, validate_data

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.backend.devices import Placement, placement_of, select_device
from backprop_xp.backend.host import limit_threads
from backprop_xp.data.sparse import SparseRows
from backprop_xp.errors import ConfigurationError

Method = TypeVar("Method", bound=Callable[..., Any])

Rows = tuple[Any, Any, Any]
"""Checked inputs and targets, and sample weights or None."""


def where_inputs_are(method: Method) -> Method:
    """Let a method that takes inputs first enter their device, if that is one of CuPy's.

    CuPy, and scikit-learn with it, would otherwise create arrays on the current GPU. A method
    that joblib runs in one of several threads also computes with one BLAS thread.
    """

    @functools.wraps(method)
    def entered(self: Any, X: Any, *args: Any, **options: Any) -> Any:
        with arrays.on_device_of(X), one_thread_beside_others():
            return method(self, X, *args, **options)

    return cast(Method, entered)


def one_thread_beside_others() -> AbstractContextManager[Any]:
    """Return a context with one BLAS thread in the threads of joblib's ``threading`` backend.

    BLAS threads of several fits at once wait for each other: two fits of 784-256-128-10 in two
    threads, with two BLAS threads, were measured to take 20 to 43 s of processor time on two busy
    cores, and 2 s with one. The number of BLAS threads belongs to the process, and small products
    set it to one. Without this limit, the last bits of a large network would depend on what other
    threads do meanwhile.

    joblib limits the threads of its processes itself, and Dask those of its workers; a number set
    by the user for them stays.
    """
    if threading.current_thread() is threading.main_thread():
        return nullcontext()
    backend, _ = joblib.parallel.get_active_backend()
    # Within a parallel call, joblib's backends for threads and processes have a level above 0.
    return limit_threads(0, xp=np) if backend.nesting_level else nullcontext()


def check_inputs(estimator: Any, X: Any, *, reset: bool) -> Any:
    """Return inputs as a table of real numbers: an array, or a sparse matrix of SciPy.

    With ``reset`` the number and names of the features are taken from ``X``, otherwise they are
    compared with it. Errors are scikit-learn's, for a missing value with its row and column.
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
    """Return sample weights on the host, checked as scikit-learn does."""
    if weights is None:
        return None
    rows = np.empty((X.shape[0], 0))
    weights = _check_sample_weight(
        on_host(weights), rows, dtype=np.float64, ensure_non_negative=True
    )
    if not weights.any():  # scikit-learn checks this itself from 1.9 on
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


def on_host(y: Any) -> Any:
    """Return an array of another library as a NumPy array, and anything else unchanged."""
    return arrays.to_numpy(y) if is_on_device(y) else y


def is_on_device(X: Any) -> bool:
    """Return whether inputs are arrays of another library than NumPy, and computed on in place."""
    return arrays.is_array(X) and arrays.backend_name(arrays.namespace(X)) != "numpy"


def placement_for(estimator: Any, X: Any, dtype: str | None = None) -> Placement:
    """Return where to compute with checked inputs.

    The data type is the given one, or that of the estimator's parameters, or that of the inputs.
    """
    dtype = dtype or estimator.dtype or precision_of(X)
    if is_on_device(X):
        return placement_of(X, dtype=dtype)
    return select_device(estimator.device, estimator.backend, dtype=dtype)


def precision_of(X: Any) -> str:
    """Return the name of the data type of checked inputs, or of weights."""
    return "float32" if "float32" in str(X.dtype) else "float64"


def training_inputs(X: Any, placement: Placement) -> Any:
    """Return checked inputs for `backprop_xp.fit`: sparse ones as `SparseRows`."""
    if not sparse.issparse(X):
        return X
    if placement.backend == "jax":  # which compiles an epoch as one function
        raise ConfigurationError(
            "JAX cannot train on sparse inputs", "use another backend, or X.toarray()"
        )
    return device_inputs(X, placement)


def device_inputs(X: Any, placement: Placement) -> Array | SparseRows:
    """Return checked inputs on their device; sparse ones stay on the host until they are used."""
    if sparse.issparse(X):
        return SparseRows(X, placement)
    return placement.asarray(X)


def take_rows(data: Rows, rows: Any) -> Rows:
    """Return the rows with these numbers."""

    def take(part: Any) -> Any:
        if is_on_device(part):
            return arrays.namespace(part).take(part, placement_of(part).index_array(rows), axis=0)
        return None if part is None else part[rows]

    X, targets, weights = data
    return take(X), take(targets), take(weights)


def without_zeros(data: Rows) -> Rows:
    """Leave out the rows of weight 0: a batch of nothing else would have no mean."""
    weights = data[2]
    return data if weights is None or weights.all() else take_rows(data, np.flatnonzero(weights))
