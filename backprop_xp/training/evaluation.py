"""Prediction and evaluation, in chunks of rows so that memory stays bounded for any data set."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array, Namespace, compiled
from backprop_xp.backend.fast_numpy import fast_namespace
from backprop_xp.backend.host import ignore_overflow
from backprop_xp.data.device_data import DeviceData, check_width
from backprop_xp.data.sparse import SparseRows
from backprop_xp.data.streaming import StreamedData
from backprop_xp.nn.backpropagation import forward
from backprop_xp.nn.losses import Loss, loss_and_delta
from backprop_xp.nn.metrics import correct
from backprop_xp.nn.network import Network, Parameters
from backprop_xp.training.settings import TrainingSettings
from backprop_xp.training.step import TrainingStep
from backprop_xp.training.training_data import TrainingData, has_classes

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
    xp = fast_namespace(arrays.namespace(weights))
    check_width(x, network.sizes[0], "the data")
    with arrays.on_device_of(weights):
        outputs = _outputs_of(network, xp)
        parts = [outputs(parameters, x[rows, ...])[1] for rows in row_slices(network, x)]
        return parts[0] if len(parts) == 1 else xp.concat(parts, axis=0)


def evaluate(
    network: Network,
    loss: Loss,
    parameters: Parameters,
    x: Array,
    y: Array,
    *,
    xp: Namespace,
    on_outputs: Callable[[Array], object] | None = None,
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
    on_outputs : callable ``(outputs)``, optional
        Called with the outputs of the network for each chunk of rows, in their order.

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
    xp = fast_namespace(xp)
    n, outputs_of = x.shape[0], _outputs_of(network, xp)
    total: Any = 0.0
    hits: Any = 0
    with arrays.on_device_of(parameters[0].weights):
        for rows in row_slices(network, x):
            targets = y[rows, ...]
            z, a = outputs_of(parameters, x[rows, ...])
            if on_outputs is not None:
                on_outputs(a)
            value, _ = loss_and_delta(loss, network.activations[-1], z, a, targets, xp=xp)
            # Sums stay on the device until all chunks are done.
            total = value * (targets.shape[0] / n) + total
            hits = correct(a, targets, xp=xp) + hits
    total, hits = arrays.read_numbers([total, hits], xp=xp)
    return {"loss": total, "accuracy": hits / n, "correct": int(hits), "count": n}


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


def evaluate_chunks(
    network: Network,
    loss: Loss,
    parameters: Parameters,
    data: DeviceData | StreamedData,
    *,
    xp: Namespace,
    on_outputs: Callable[[Array], object] | None = None,
) -> dict[str, float]:
    """Return the result of `evaluate` for a data set, which is freed chunk by chunk."""
    results = [
        evaluate(network, loss, parameters, chunk.x, chunk.y, xp=xp, on_outputs=on_outputs)
        for chunk in data.chunks()
    ]
    n = sum(result["count"] for result in results)
    hits = sum(result["correct"] for result in results)
    return {
        "loss": sum(result["loss"] * (result["count"] / n) for result in results),
        "accuracy": hits / n,
        "correct": hits,
        "count": n,
    }


def measure_epoch(
    step: TrainingStep, data: TrainingData, settings: TrainingSettings, parameters: Parameters
) -> dict[str, float]:
    """Return the loss and accuracy on each data set that is to be measured."""
    record = {}
    sets = {"train": data.train if settings.evaluate_training else None}
    sets["validation"] = data.validation
    with ignore_overflow(step.xp):
        for name, measured in sets.items():
            if measured is None:
                continue
            result = evaluate_chunks(step.network, step.loss, parameters, measured, xp=step.xp)
            record[f"{name}_loss"] = result["loss"]
            if has_classes(measured, step.loss):
                record[f"{name}_accuracy"] = result["accuracy"]
    return record


def row_slices(network: Network, x: Array | SparseRows) -> Iterator[slice]:
    """Yield slices that cover the rows of ``x``, so large that the work is done in big products
    and, from 256 rows on, so small that what is made for one stays within a few megabytes: its
    activations, and the inputs where sparse rows are made dense."""
    n, dense = x.shape[0], isinstance(x, SparseRows) and x.made_dense
    rows = max(256, _CHUNK // sum(network.sizes[0 if dense else 1 :]))
    for start in range(0, max(n, 1), rows):
        yield slice(start, min(start + rows, n))
