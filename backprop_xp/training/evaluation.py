"""Prediction and evaluation, in chunks of rows so that memory stays bounded for any data set."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.data.device_data import Placed, check_width
from backprop_xp.data.sparse import SparseRows
from backprop_xp.nn.losses import Loss, output_error
from backprop_xp.nn.metrics import correct
from backprop_xp.nn.network import Network, Parameters, forward
from backprop_xp.training.execution.eager import compiled

_CHUNK = 1 << 21
"""Numbers in the activations of one chunk: 8 MB in float32."""


def predict(network: Network, parameters: Parameters, x: Array | SparseRows) -> Array:
    """Return the outputs of a network.

    Parameters
    ----------
    network : Network
    parameters : list of Layer
    x : array or `SparseRows`, shape (n, n_inputs)
        Of the library, the data type and on the device of the parameters.

    Returns
    -------
    array, shape (n, n_outputs)
        Of the same library and on the same device.

    Raises
    ------
    DataError
        If ``x`` has not as many columns as the network has inputs.

    Examples
    --------
    >>> import numpy as np
    >>> from backprop_xp.nn.network import Layer
    >>> predict(Network((2, 1), "identity"), [Layer(np.ones((1, 2)), None)], np.ones((3, 2)))
    array([[2.],
           [2.],
           [2.]])
    """
    weights = parameters[0].weights
    xp = arrays.direct(arrays.namespace(weights))
    check_width(x, network.sizes[0], "the data")
    with arrays.on_device_of(weights):
        outputs = _outputs_of(network, xp)
        parts = [outputs(parameters, x[rows, ...])[1] for rows in chunks(network, x)]
        return parts[0] if len(parts) == 1 else xp.concat(parts, axis=0)


def evaluate(
    network: Network, loss: Loss, parameters: Parameters, x: Array, y: Array, *, xp: Namespace
) -> dict[str, float]:
    """Return the mean loss and the accuracy on a data set.

    Parameters
    ----------
    network : Network
    loss : Loss
    parameters : list of Layer
    x : array or `SparseRows`, shape (n, n_inputs)
    y : array, shape (n, n_outputs)
        Targets; classes as one-hot rows.
    xp : namespace

    Returns
    -------
    dict
        ``loss``, ``accuracy``, ``correct`` and ``count``. The accuracy means something for
        classes only; the caller drops it for a regression.

    Examples
    --------
    >>> import numpy as np
    >>> from backprop_xp.nn.losses import get_loss
    >>> from backprop_xp.nn.network import Layer
    >>> network, parameters = Network((2, 2), "softmax"), [Layer(np.eye(2) * 50.0, None)]
    >>> x = y = np.eye(2)
    >>> evaluate(network, get_loss("cross_entropy"), parameters, x, y, xp=np)
    {'loss': 0.0, 'accuracy': 1.0, 'correct': 2, 'count': 2}
    """
    xp = arrays.direct(xp)
    n, outputs = x.shape[0], _outputs_of(network, xp)
    total, hits = 0.0, 0
    for rows in chunks(network, x):
        targets = y[rows, ...]
        z, a = outputs(parameters, x[rows, ...])
        value, _ = output_error(loss, network.activations[-1], z, a, targets, xp=xp)
        # Sums stay on the device until all chunks are done.
        total = value * (targets.shape[0] / n) + total
        hits = correct(a, targets, xp=xp) + hits
    return {
        "loss": float(total),
        "accuracy": int(hits) / n,
        "correct": int(hits),
        "count": n,
    }


def _outputs_of(network: Network, xp: Namespace) -> Callable[..., tuple[Array, Array]]:
    try:
        return _outputs(network, xp)
    except TypeError:  # a function of one's own cannot be hashed
        return _outputs.__wrapped__(network, xp)


@functools.lru_cache(maxsize=8)
def _outputs(network: Network, xp: Namespace) -> Callable[..., tuple[Array, Array]]:
    """Return the forward pass that keeps the outputs alone, z and a: on JAX it is compiled, once
    for each shape, which takes less time than JAX needs to begin each operation by itself."""

    def outputs(parameters: Parameters, x: Array) -> tuple[Array, Array]:
        tape = forward(network, parameters, x, xp=xp)
        return tape.z[-1], tape.a[-1]

    return compiled(outputs, xp)


def evaluate_parts(
    network: Network, loss: Loss, parameters: Parameters, parts: Iterable[Placed], *, xp: Namespace
) -> dict[str, float]:
    """Return what `evaluate` does for a data set that comes in parts, each let go in its turn."""
    found = [evaluate(network, loss, parameters, part.x, part.y, xp=xp) for part in parts]
    n = sum(part["count"] for part in found)
    hits = sum(part["correct"] for part in found)
    return {
        "loss": sum(part["loss"] * (part["count"] / n) for part in found),
        "accuracy": hits / n,
        "correct": hits,
        "count": n,
    }


def chunks(network: Network, x: Array | SparseRows) -> Iterator[slice]:
    """Yield slices that cover the rows of ``x``, so large that the work is done in big products
    and, from 256 rows on, so small that what is made for one stays within a few megabytes: its
    activations, and the inputs where sparse rows are made dense."""
    n, dense = x.shape[0], isinstance(x, SparseRows) and x.made_dense
    rows = max(256, _CHUNK // sum(network.sizes[0 if dense else 1 :]))
    for start in range(0, max(n, 1), rows):
        yield slice(start, min(start + rows, n))
