"""Data on its device: checked, converted once, and with classes as one-hot rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.backend.checks import reject_entries
from backprop_xp.backend.devices import Placement
from backprop_xp.data.memory_map import MemoryMap, as_memory_map
from backprop_xp.data.sparse import SparseRows
from backprop_xp.data.targets import one_hot
from backprop_xp.errors import DataError, DeviceError


class DeviceData(NamedTuple):
    """Inputs and targets on the device where they are used.

    Attributes
    ----------
    x : array, shape (n, n_inputs)
    y : array, shape (n, n_outputs)
    labeled : bool
        Whether the targets were given as class indices.
    """

    x: Array
    y: Array
    labeled: bool

    @property
    def n(self) -> int:
        """The number of rows."""
        return int(self.x.shape[0])

    def chunks(self) -> Iterator[DeviceData]:
        """Yield all rows at once: a set in memory is a single chunk."""
        yield self


def to_device(
    data: tuple[Any, Any],
    n_inputs: int,
    n_outputs: int,
    placement: Placement,
    *,
    what: str = "the data",
    first: int = 0,
    checked: bool = False,
) -> DeviceData:
    """Check that a network can use inputs and targets, and move them to a device.

    Parameters
    ----------
    data : pair (inputs, targets)
        Inputs of shape (n, n_inputs). Targets are class indices, integers of shape (n,), or
        numbers of shape (n, n_outputs), or (n,) for a single output.
    n_inputs, n_outputs : int
        The number of inputs and outputs of the network.
    placement : Placement
    what : str
        The name of the data in error messages.
    first : int
        The number of the first row, for error messages.
    checked : bool
        Whether the data was checked before, so that only its conversion remains.

    Raises
    ------
    DataError
        For a wrong shape, no rows, unequal lengths, NaN or infinity (with row and column), or
        a class index out of range (with its row).

    Examples
    --------
    >>> from backprop_xp.backend.devices import placement_of
    >>> data = [[0.5], [1.5]], [1, 0]
    >>> to_device(data, 1, 2, placement_of(data[0])).y
    array([[0., 1.],
           [1., 0.]], dtype=float32)
    """
    inputs, targets = data
    x = inputs_to_device(inputs, n_inputs, placement, what=what, first=first, checked=checked)
    y, labeled = _targets(targets, n_outputs, placement, what, first, checked)
    check_lengths(x, y, what)
    if not checked:
        _check_finite(y, placement.xp, f"the targets of {what}", first)
    return DeviceData(x, y, labeled)


def inputs_to_device(
    inputs: Any,
    n_inputs: int,
    placement: Placement,
    *,
    what: str = "the data",
    first: int = 0,
    checked: bool = False,
) -> Array:
    """Move inputs without targets to a device, with the checks of `to_device`."""
    if isinstance(inputs, SparseRows):
        check_width(inputs, n_inputs, what)
        if not checked and (infinite := inputs.first_not_finite()):
            row, dense = infinite
            _check_finite(dense, arrays.namespace(dense), f"the inputs of {what}", first + row)
        return inputs
    inputs = as_memory_map(inputs)
    _check_type(inputs, f"the inputs of {what}")
    if isinstance(inputs, MemoryMap):
        check_width(inputs, n_inputs, what)
        inputs = inputs.read(slice(None), placement.precision)
    try:
        x = placement.asarray(inputs)
    except MemoryError as error:
        raise DeviceError(
            f"the inputs of {what} do not fit into the memory of the device {placement.name}",
            "leave them in their file, from which they are streamed: a folder with x.npy and "
            "y.npy, or np.load('x.npy', mmap_mode='r'); or use fewer rows",
        ) from error
    check_width(x, n_inputs, what)
    if x.shape[0] == 0:
        raise DataError(f"{what} has no rows", "give at least one sample")
    if not checked:
        _check_finite(x, placement.xp, f"the inputs of {what}", first)
    return x


def _check_type(values: Any, what: str) -> None:
    """Raise a `DataError` for values that would lose a part of them, or cannot be converted."""
    if hasattr(values, "tocsr"):
        raise DataError(
            f"{what} are a sparse matrix of SciPy",
            "convert it with .toarray(), or use MLPClassifier or MLPRegressor, which train on it",
        )
    complex_numbers = arrays.is_array(values) and arrays.namespace(values).isdtype(
        values.dtype, "complex floating"
    )
    if complex_numbers:
        raise DataError(
            f"{what} are complex numbers ({values.dtype})",
            "give real numbers, for instance the real and imaginary parts as two columns",
        )


def check_lengths(x: Any, y: Any, what: str) -> None:
    """Raise a `DataError` if inputs and targets have different numbers of rows."""
    if x.shape[0] != y.shape[0]:
        raise DataError(
            f"{what} has {x.shape[0]} rows of inputs and {y.shape[0]} of targets",
            "give one target for each row",
        )


def check_width(x: Array, n_inputs: int, what: str) -> None:
    """Raise a `DataError` unless inputs are a table with one column for each network input."""
    if x.ndim != 2 or x.shape[1] != n_inputs:
        raise DataError(
            f"{what} has the shape {tuple(x.shape)}, and the network takes {n_inputs} inputs",
            f"give an array of the shape (samples, {n_inputs})",
        )


def _targets(
    targets: Any, n_outputs: int, placement: Placement, what: str, first: int, checked: bool
) -> tuple[Array, bool]:
    """Return the targets on the device, and whether they were given as class indices."""
    xp, dtype = placement.xp, placement.dtype
    if not arrays.is_array(targets):  # PyTorch would convert a list of floats to float32
        targets = arrays.backend_namespace("numpy").asarray(targets)
    _check_type(targets, f"the targets of {what}")
    y = arrays.asarray(targets, xp=xp, device=placement.device)
    if y.ndim == 1 and xp.isdtype(y.dtype, "integral"):
        n_classes = max(n_outputs, 2)  # a single output distinguishes two classes
        if not checked:
            _check_labels(y, n_classes, xp, what, first)
        if n_outputs == 1:
            return xp.astype(y[:, None], dtype), True
        return one_hot(y, n_outputs, dtype=dtype, xp=xp), True
    check_columns(y, n_outputs, what)
    return xp.astype(y[:, None] if y.ndim == 1 else y, dtype, copy=False), False


def check_columns(y: Any, n_outputs: int, what: str) -> None:
    """Raise a `DataError` unless numeric targets have one column for each output."""
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
    hint = "remove such rows or fill the gaps before training"
    reject_entries(xp.logical_not(xp.isfinite(x)), x, xp, what, hint, first)
