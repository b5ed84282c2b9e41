"""A user's data on its device: checked, converted once, and classes as one-hot rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.data.memory_map import Mapped, mapped
from backprop_xp.data.sparse import SparseRows
from backprop_xp.errors import DataError
from backprop_xp.nn.losses import Loss, one_hot


class Placed(NamedTuple):
    """Inputs and targets where they are used.

    Attributes
    ----------
    x : array, shape (n, n_inputs)
    y : array, shape (n, n_outputs)
    labelled : bool
        Whether the targets were given as class indices.
    """

    x: Array
    y: Array
    labelled: bool

    @property
    def n(self) -> int:
        """The number of rows."""
        return int(self.x.shape[0])

    def parts(self) -> Iterator[Placed]:
        """Yield all rows at once: a set in memory has one part."""
        yield self


def place(
    data: tuple[Any, Any],
    n_inputs: int,
    n_outputs: int,
    *,
    xp: Namespace,
    dtype: Any,
    device: Any = None,
    what: str = "the data",
    first: int = 0,
    checked: bool = False,
) -> Placed:
    """Bring inputs and targets to a device and check that a network can take them.

    Parameters
    ----------
    data : pair (inputs, targets)
        Inputs of the shape (n, n_inputs). Targets are class indices, integers of the shape
        (n,), or numbers of the shape (n, n_outputs), or (n,) for a single output.
    n_inputs, n_outputs : int
        Those of the network.
    xp, dtype, device
        Where the data shall live, and in which data type.
    what : str
        What errors call the data.
    first : int
        The number of the first row, for errors.
    checked : bool
        Whether all this was checked before.

    Raises
    ------
    DataError
        For another shape, no rows, unequal lengths, NaN or infinity (with row and column), or
        a class index out of range (with its row).

    Examples
    --------
    >>> import numpy as np
    >>> place(([[0.5], [1.5]], [1, 0]), 1, 2, xp=np, dtype=np.float32).y
    array([[0., 1.],
           [1., 0.]], dtype=float32)
    """
    inputs, targets = data
    told = {"xp": xp, "dtype": dtype, "device": device, "what": what}
    x = place_inputs(inputs, n_inputs, first=first, checked=checked, **told)
    y, labelled = _targets(targets, n_outputs, first=first, checked=checked, **told)
    check_lengths(x, y, what)
    if not checked:
        _check_finite(y, xp, f"the targets of {what}", first)
    return Placed(x, y, labelled)


def place_inputs(
    inputs: Any,
    n_inputs: int,
    *,
    xp: Namespace,
    dtype: Any,
    device: Any = None,
    what: str = "the data",
    first: int = 0,
    checked: bool = False,
) -> Array:
    """Bring inputs alone to a device, with the checks of `place`.

    Raises
    ------
    DataError
    """
    if isinstance(inputs, SparseRows):
        check_width(inputs, n_inputs, what)
        if not checked and (found := inputs.first_not_finite()):
            row, dense = found
            _check_finite(dense, arrays.namespace(dense), f"the inputs of {what}", first + row)
        return inputs
    inputs = mapped(inputs)
    if isinstance(inputs, Mapped):
        check_width(inputs, n_inputs, what)
        inputs = inputs.read(slice(None), "float64" if dtype == xp.float64 else "float32")
    x = arrays.asarray(inputs, xp=xp, dtype=dtype, device=device)
    check_width(x, n_inputs, what)
    if x.shape[0] == 0:
        raise DataError(f"{what} has no rows", "give at least one sample")
    if not checked:
        _check_finite(x, xp, f"the inputs of {what}", first)
    return x


def check_lengths(x: Any, y: Any, what: str) -> None:
    """Refuse inputs and targets of different numbers of rows.

    Raises
    ------
    DataError
    """
    if x.shape[0] != y.shape[0]:
        raise DataError(
            f"{what} has {x.shape[0]} rows of inputs and {y.shape[0]} of targets",
            "give one target for each row",
        )


def check_width(x: Array, n_inputs: int, what: str) -> None:
    """Refuse inputs that are no table, or have another number of columns than the network.

    Raises
    ------
    DataError
    """
    if x.ndim != 2 or x.shape[1] != n_inputs:
        raise DataError(
            f"{what} has the shape {tuple(x.shape)}, and the network takes {n_inputs} inputs",
            f"give an array of the shape (samples, {n_inputs})",
        )


def _targets(
    targets: Any,
    n_outputs: int,
    *,
    xp: Namespace,
    dtype: Any,
    device: Any,
    what: str,
    first: int,
    checked: bool,
) -> tuple[Array, bool]:
    if not arrays.is_array(targets):  # of a list of floats PyTorch would make float32
        targets = arrays.backend_namespace("numpy").asarray(targets)
    y = arrays.asarray(targets, xp=xp, device=device)
    if y.ndim == 1 and xp.isdtype(y.dtype, "integral"):
        n_classes = max(n_outputs, 2)  # a single output tells two classes apart
        if not checked:
            _check_labels(y, n_classes, xp, what, first)
        if n_outputs == 1:
            return xp.astype(y[:, None], dtype), True
        return one_hot(y, n_outputs, dtype=dtype, xp=xp), True
    check_columns(y, n_outputs, what)
    if y.ndim == 1:
        y = y[:, None]
    return xp.astype(y, dtype, copy=False), False


def check_columns(y: Any, n_outputs: int, what: str) -> None:
    """Refuse targets that are numbers, but not one for each output.

    Raises
    ------
    DataError
    """
    single = y.ndim == 1 and n_outputs == 1
    if not single and tuple(y.shape[1:]) != (n_outputs,):
        raise DataError(
            f"the targets of {what} have the shape {tuple(y.shape)} and the type {y.dtype}, "
            f"and the network has {n_outputs} outputs",
            f"give class indices of the shape (samples,) or numbers of the shape "
            f"(samples, {n_outputs})",
        )


def _check_labels(labels: Array, n_classes: int, xp: Namespace, what: str, first: int) -> None:
    # Checked before use, since some libraries wrap an index out of range silently.
    wrong = xp.logical_or(labels < 0, labels >= n_classes)
    if bool(xp.any(wrong)):
        row = int(xp.nonzero(wrong)[0][0])
        raise DataError(
            f"the class index in row {first + row} of {what} is {int(labels[row])}, "
            f"and there are {n_classes} classes",
            f"give indices from 0 to {n_classes - 1}, or a network with more outputs; "
            "for a regression, floating-point numbers",
        )


def _check_finite(x: Array, xp: Namespace, what: str, first: int) -> None:
    if bool(xp.all(xp.isfinite(x))):  # the usual case, for the least memory
        return
    _refuse(
        xp.logical_not(xp.isfinite(x)),
        x,
        xp,
        what,
        "remove such rows or fill the gaps before training",
        first,
    )


def check_targets(
    y: Array, loss: Loss, *, xp: Namespace, what: str = "the data", first: int = 0
) -> None:
    """Refuse targets that a loss of probabilities or of rates can make no sense of.

    Parameters
    ----------
    y : array, shape (n, n_outputs)
    loss : Loss
    xp : namespace
    what : str
        What errors call the data.
    first : int
        The number of the first row, for errors.

    Raises
    ------
    DataError
        For a target below 0, or above 1 where it must be a probability (with row and column).
    """
    if loss.of_probabilities:
        wrong, wanted = xp.logical_or(y < 0.0, y > 1.0), "between 0 and 1"
    elif loss.of_rates:
        wrong, wanted = y < 0.0, "from 0 up"
    else:
        return
    hint = f"the loss {loss.name!r} needs targets {wanted}; mend them, or take another loss"
    _refuse(wrong, y, xp, f"the targets of {what}", hint, first)


def _refuse(wrong: Array, x: Array, xp: Namespace, what: str, hint: str, first: int) -> None:
    """Raise an error that names the first wrong entry, if there is one."""
    if bool(xp.any(wrong)):
        rows, columns = xp.nonzero(wrong)
        row, column = int(rows[0]), int(columns[0])
        raise DataError(
            f"{float(x[row, column])} stands in row {first + row}, column {column} of {what} "
            "(both counted from 0)",
            hint,
        )


def place_weights(weights: Any, n: int, *, xp: Namespace, dtype: Any, device: Any = None) -> Array:
    """Bring the weights of ``n`` samples to a device.

    Raises
    ------
    DataError
        If their number is another one, one is negative or not finite, or all are 0.
    """
    w = arrays.asarray(weights, xp=xp, dtype=dtype, device=device)
    if w.ndim != 1 or w.shape[0] != n:
        raise DataError(
            f"the sample weights have the shape {tuple(w.shape)}, and there are {n} samples",
            "give one weight for each row",
        )
    wrong = xp.logical_not(xp.logical_and(xp.isfinite(w), w >= 0.0))
    if bool(xp.any(wrong)):
        row = int(xp.nonzero(wrong)[0][0])
        raise DataError(
            f"the sample weight in row {row} is {float(w[row])}", "give numbers from 0 up"
        )
    if not bool(xp.any(w > 0.0)):
        raise DataError("all sample weights are 0", "give at least one sample a weight")
    return w


def class_factors(
    data: Any, class_weight: str | Mapping[int, float], *, xp: Namespace
) -> list[float]:
    """Return the weight of each class.

    Parameters
    ----------
    data : Placed, or anything with its ``n``, ``labelled`` and ``parts()``
        With class indices as targets.
    class_weight : "balanced" or mapping
        Inverse to the frequencies of the classes, ``n / (classes * count)``; or from class
        index to weight, where a class that is not named has weight 1.
    xp : namespace

    Raises
    ------
    DataError
        If the targets are no classes, or a named class does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> data = place(([[0.0]] * 4, [0, 0, 0, 1]), 1, 2, xp=np, dtype=np.float64)
    >>> class_factors(data, "balanced", xp=np)
    [0.6666666666666666, 2.0]
    """
    if not data.labelled:
        raise DataError(
            "class weights need class indices as targets", "give sample weights instead"
        )
    by_part = []
    for part in data.parts():
        y = _by_class(part.y, xp)
        by_part.append([float(xp.sum(y[:, k])) for k in range(y.shape[1])])
    counts = [sum(column) for column in zip(*by_part, strict=True)]
    if isinstance(class_weight, str):
        return [data.n / (len(counts) * count) if count else 0.0 for count in counts]
    for name in class_weight:
        if name not in range(len(counts)):
            raise DataError(
                f"class_weight names the class {name!r}",
                f"there are the classes 0 to {len(counts) - 1}",
            )
    return [float(class_weight.get(k, 1.0)) for k in range(len(counts))]


def weights_of_classes(y: Array, factors: list[float], *, xp: Namespace) -> Array:
    """Return the weight of each sample from that of its class.

    Examples
    --------
    >>> import numpy as np
    >>> weights_of_classes(np.asarray([[1.0, 0.0], [0.0, 1.0]]), [0.5, 2.0], xp=np)
    array([0.5, 2. ])
    """
    factor = xp.asarray(factors, dtype=y.dtype, device=arrays.device(y))
    return xp.matmul(_by_class(y, xp), factor)


def _by_class(y: Array, xp: Namespace) -> Array:
    """Return targets with a column for each class."""
    if y.shape[1] == 1:  # a single output: class 1 is the column, class 0 what it lacks
        return xp.concat((1.0 - y, y), axis=1)
    return y


def smooth_labels(y: Array, epsilon: float) -> Array:
    """Return targets of which the share ``epsilon`` is spread evenly over all outputs.

    Source: Szegedy and others (2016), "Rethinking the Inception architecture".

    Examples
    --------
    >>> import numpy as np
    >>> smooth_labels(np.asarray([[0.0, 1.0]]), 0.1)
    array([[0.05, 0.95]])
    """
    classes = max(2, y.shape[1])
    return y * (1.0 - epsilon) + epsilon / classes
