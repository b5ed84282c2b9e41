"""The interface to the array libraries: namespaces, devices, and conversion from and to NumPy.

No other module imports `array_api_compat`. All others receive a namespace ``xp`` and use only the
Python array API standard.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import array_api_compat

from backprop_xp.errors import ConfigurationError

Array = Any
"""Any array that follows the Python array API standard (there is no common base class)."""

Namespace = Any
"""A module of array functions, the ``xp`` of the array API standard."""

BACKENDS = ("numpy", "cupy", "jax", "torch", "array_api_strict")

_WRAPPED = {"cupy", "torch"}
"""The libraries that need array_api_compat to follow the standard. NumPy has followed it since 2.1,
and a wrapper around each of its functions was measured to cost a small network 4 % of a step."""


def backend_namespace(backend: str) -> Namespace:
    """Return the array API namespace of one of the libraries in `BACKENDS`.

    Raises
    ------
    ImportError
        If the library is not installed.

    Examples
    --------
    >>> xp = backend_namespace("numpy")
    >>> xp.sum(xp.asarray([1.0, 2.0]))
    np.float64(3.0)
    """
    if backend in _WRAPPED:
        return importlib.import_module(f"array_api_compat.{backend}")
    return importlib.import_module({"jax": "jax.numpy"}.get(backend, backend))


def backend_name(xp: Namespace) -> str:
    """Return the name of the library behind a namespace.

    Examples
    --------
    >>> backend_name(backend_namespace("numpy"))
    'numpy'
    """
    return _backend_of(xp.__name__)


@functools.cache
def _backend_of(name: str) -> str:
    parts = name.split(".")  # "jax.numpy" is JAX, so NumPy is checked last
    return next((backend for backend in BACKENDS[1:] if backend in parts), "numpy")


_NAMESPACES: dict[type, Namespace] = {}
"""The namespaces already determined, by the types of their arrays."""


def namespace(*arrays: Array | None) -> Namespace:
    """Return the common namespace of some arrays; ``None`` is ignored.

    Raises
    ------
    ConfigurationError
        If they belong to more than one library.
    TypeError
        If they are not arrays.
    """
    kinds = {type(x) for x in arrays}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind in _NAMESPACES:  # otherwise it takes 5 µs, ten times in the prediction of one row
        return _NAMESPACES[kind]
    try:
        xp = array_api_compat.array_namespace(*arrays)
    except TypeError:
        found = (x for x in arrays if x is not None)
        names = {backend_name(array_api_compat.array_namespace(x)): None for x in found}
        if len(names) < 2:
            raise
        raise ConfigurationError(
            f"the arrays belong to several libraries: {', '.join(names)}",
            "convert them to arrays of one library first",
        ) from None
    if backend_name(xp) == "numpy":
        xp = backend_namespace("numpy")
        _NAMESPACES[type(xp.empty(0))] = xp
    elif kind is not None and kind.__module__ != "numpy":  # JAX also has empty arrays of that type
        _NAMESPACES[kind] = xp
    return xp


def is_array(x: object) -> bool:
    """Return whether ``x`` is an array of a library that follows the standard."""
    return array_api_compat.is_array_api_obj(x)


def device(x: Array) -> Any:
    """Return the device of ``x``."""
    return array_api_compat.device(x)


def to_numpy(x: Array) -> Any:
    """Return ``x`` as a NumPy array on the host, with NaN for the masked values of a masked array.

    Examples
    --------
    >>> to_numpy(backend_namespace("numpy").asarray([1.0, 2.0]))
    array([1., 2.])
    """
    import numpy as np

    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        kind: Any
        fill: Any
        kind, fill = (float, np.nan) if x.dtype.kind in "iuf" else (object, None)
        return np.where(np.ma.getmaskarray(x), fill, x.data.astype(kind))
    if array_api_compat.is_cupy_array(x):
        return x.get()
    if array_api_compat.is_torch_array(x):
        x = x.detach().cpu()
        # NumPy has no bfloat16; float32 has all of its values.
        return (x.float() if str(x.dtype) == "torch.bfloat16" else x).numpy()
    if type(x).__module__.startswith("array_api_strict"):
        xp = namespace(x)  # only arrays on its CPU_DEVICE can be converted
        x = x.to_device(xp.Device("CPU_DEVICE"))
    return np.asarray(x)


def read_numbers(numbers: Sequence[Any], *, xp: Namespace) -> list[float]:
    """Return numbers, some of them in arrays of shape (), as floats.

    From a GPU they are copied together, since the host waits for the GPU at every copy.

    Examples
    --------
    >>> xp = backend_namespace("numpy")
    >>> read_numbers([xp.asarray(0.5), 2, xp.asarray(True)], xp=xp)
    [0.5, 2.0, 1.0]
    """
    if backend_name(xp) not in _WRAPPED:
        return [float(number) for number in numbers]
    given = [number for number in numbers if is_array(number)]
    if not given:
        return [float(number) for number in numbers]
    with on_device_of(given[0]):
        together = xp.stack([xp.astype(number, xp.float64) for number in given])
    read = iter(to_numpy(together).tolist())
    return [next(read) if is_array(number) else float(number) for number in numbers]


def asarray(
    x: Any, *, xp: Namespace, dtype: Any = None, device: Any = None, copy: bool | None = None
) -> Array:
    """Return ``x``, a nested sequence or an array of any library, as an array of ``xp``.

    By default the data type is that of ``x``, the device is chosen by the library, and ``x`` is
    copied only if necessary.
    """
    if is_array(x) and backend_name(namespace(x)) != backend_name(xp):
        x = to_numpy(x)
    is_numpys = type(x).__module__ == "numpy" and x.ndim > 0
    if backend_name(xp) == "torch" and is_numpys and not x.flags.writeable:
        x = _without_flag(x)
    if backend_name(xp) == "jax" and not copy and is_numpys:
        import jax  # its asarray makes a second, temporary copy

        return jax.device_put(x if dtype is None else x.astype(dtype, copy=False), device)
    return xp.asarray(x, dtype=dtype, device=device, copy=copy)


class _SameMemory:
    """The memory of a read-only NumPy array, offered as writable."""

    def __init__(self, x: Any) -> None:
        self.owner = x
        self.__array_interface__ = {**x.__array_interface__, "data": (x.ctypes.data, False)}


def _without_flag(x: Any) -> Any:
    """Return a view of a read-only NumPy array that PyTorch takes without a warning.

    PyTorch has no read-only arrays, and warns of those that joblib maps into the memory of its
    processes. Inputs are never written to, so a copy is not needed.
    """
    import numpy as np

    return np.asarray(_SameMemory(x))


def index_dtype(xp: Namespace) -> Any:
    """Return the integer type of indices in ``xp`` (in JAX 32 bits unless configured)."""
    return xp.__array_namespace_info__().default_dtypes()["indexing"]


def on_device_of(x: Array) -> AbstractContextManager[Any]:
    """Return a context in which new arrays are created on the device of ``x``.

    CuPy creates them on its current device, whatever ``device=`` says, so every public function
    that creates arrays enters this context first. The other libraries do not need it.
    """
    if array_api_compat.is_cupy_array(x):
        context: AbstractContextManager[Any] = x.device
        return context
    return nullcontext()


def compiled(function: Callable[..., Any], xp: Namespace) -> Callable[..., Any]:
    """Return a pure function of arrays, compiled on JAX and unchanged elsewhere."""
    if backend_name(xp) != "jax":
        return function
    import jax

    result: Callable[..., Any] = jax.jit(function)
    return result
