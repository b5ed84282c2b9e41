"""The one door to the array libraries: namespaces, devices, and the way to and from NumPy.

No other module imports `array_api_compat`. Everything above this floor is handed
a namespace ``xp`` and uses only the Python array API standard.
"""

from __future__ import annotations

import functools
import importlib
import types
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import array_api_compat

Array = Any
"""Any array that follows the Python array API standard (there is no common base class)."""

Namespace = Any
"""A module of array functions: the ``xp`` of the array API standard."""

BACKENDS = ("numpy", "cupy", "jax", "torch", "array_api_strict")

_WRAPPED = {"cupy", "torch"}
"""The libraries that array_api_compat has to help. NumPy follows the standard by itself since 2.1,
and a wrapper around each of its functions was measured to cost a small network 4 % of a step."""

_SMALL = 8_192
"""Numbers in a product so small that its calculation is not all there is to a call."""

_IN_CACHE = 65_536
"""Numbers in an array that is made for one use; a larger one was measured to cost more than it
saves."""


def backend_namespace(backend: str) -> Namespace:
    """Return the array API namespace of a library, named as in `BACKENDS`.

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
    parts = name.split(".")  # "jax.numpy" is JAX, so NumPy is asked for last
    return next((backend for backend in BACKENDS[1:] if backend in parts), "numpy")


_NAMESPACES: dict[type, Namespace] = {}
"""The namespaces that are known, by the types of their arrays."""


def namespace(*arrays: Array | None) -> Namespace:
    """Return the namespace that the given arrays share (``None`` is passed over).

    Raises
    ------
    TypeError
        If they are no arrays, or of more than one library.
    """
    kinds = {type(x) for x in arrays}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind in _NAMESPACES:  # to ask takes 5 µs, and a prediction of one row asks ten times
        return _NAMESPACES[kind]
    xp = array_api_compat.array_namespace(*arrays)
    if backend_name(xp) == "numpy":
        xp = backend_namespace("numpy")
        _NAMESPACES[type(xp.empty(0))] = xp
    elif kind is not None and kind.__module__ != "numpy":  # JAX knows empty arrays of NumPy's type
        _NAMESPACES[kind] = xp
    return xp


@functools.cache
def direct(xp: Namespace) -> Namespace:
    """Return a namespace for the inside of a step: NumPy's without the detours of its functions.

    Some functions of NumPy are written in Python around a method in C that does the work: 2 µs
    a call, which was measured to be a quarter of a step of a small network. Here the methods
    are called. Small products are left to the method dot, which takes half the time, and a
    fifth for the product of a column and a row. And maximum and minimum of an array and a number
    go entry by entry, four times slower than those of two arrays; here the number is made an
    array first, where that one stays in cache. The results are the same to the last bit. Other
    namespaces are returned as they are.

    Examples
    --------
    >>> xp = direct(backend_namespace("numpy"))
    >>> float(xp.sum(xp.asarray([1.0, 2.0])))
    3.0
    """
    if backend_name(xp) != "numpy" or hasattr(xp, "_direct"):
        return xp
    short = types.ModuleType(xp.__name__)
    vars(short).update(vars(xp), _direct=True)

    def reduction(ufunc: Any) -> Any:
        def reduce(x: Array, *, axis: Any = None, keepdims: bool = False) -> Array:
            return ufunc.reduce(x, axis, None, None, keepdims)

        return reduce

    def of_two(ufunc: Any) -> Any:
        def extremum(x: Array, y: Any) -> Array:
            if isinstance(y, float) and x.dtype.kind == "f" and x.size <= _IN_CACHE:
                filled = xp.empty_like(x)
                filled.fill(y)
                y = filled
            return ufunc(x, y)

        return extremum

    def matmul(x: Array, y: Array) -> Array:
        if type(x) is not type(y):  # sparse rows, which know how they are multiplied
            return x @ y
        # dot fills its result with zeros before, which a large one should be spared.
        if x.ndim == y.ndim == 2 and (x.shape[0] * y.shape[1] <= _SMALL or y.shape[0] == 1):
            return x.dot(y)
        return xp.matmul(x, y)

    vars(short).update(
        matmul=matmul,
        maximum=of_two(xp.maximum),
        minimum=of_two(xp.minimum),
        sum=reduction(xp.add),
        max=reduction(xp.maximum),
        take=lambda x, indices, *, axis=None: x.take(indices, axis=axis),
        astype=lambda x, dtype, *, copy=True: x.astype(dtype, copy=copy),
        reshape=lambda x, shape, *, copy=None: x.reshape(shape, copy=copy),
    )
    return short


def is_array(x: object) -> bool:
    """Say whether ``x`` is an array of some library that follows the standard."""
    return array_api_compat.is_array_api_obj(x)


def device(x: Array) -> Any:
    """Return the device on which ``x`` lives."""
    return array_api_compat.device(x)


def to_numpy(x: Array) -> Any:
    """Return ``x`` as a NumPy array on the host; the one way back from a device.

    Examples
    --------
    >>> to_numpy(backend_namespace("numpy").asarray([1.0, 2.0]))
    array([1., 2.])
    """
    import numpy as np

    if array_api_compat.is_cupy_array(x):
        return x.get()
    if array_api_compat.is_torch_array(x):
        return x.detach().cpu().numpy()
    if type(x).__module__.startswith("array_api_strict"):
        xp = namespace(x)  # it lends its memory only from its CPU_DEVICE
        x = x.to_device(xp.Device("CPU_DEVICE"))
    return np.asarray(x)


def asarray(
    x: Any, *, xp: Namespace, dtype: Any = None, device: Any = None, copy: bool | None = None
) -> Array:
    """Return ``x`` as an array of ``xp`` on ``device``; copied only where it must be.

    Parameters
    ----------
    x : array_like
        A nested sequence, a NumPy array, or an array of any other library.
    xp : namespace
        The library wanted.
    dtype : dtype of ``xp``, optional
        The data type wanted; by default that of ``x``.
    device : device of ``xp``, optional
        Where the result shall live; by default the library's own choice.
    copy : bool, optional
        True for a result with memory of its own in any case.
    """
    if is_array(x) and backend_name(namespace(x)) != backend_name(xp):
        x = to_numpy(x)
    if backend_name(xp) == "jax" and not copy and type(x).__module__ == "numpy" and x.ndim:
        import jax  # its asarray makes a second copy of the whole on the way

        return jax.device_put(x if dtype is None else x.astype(dtype, copy=False), device)
    return xp.asarray(x, dtype=dtype, device=device, copy=copy)


def index_dtype(xp: Namespace) -> Any:
    """Return the integer type in which ``xp`` counts positions (JAX: 32 bits unless told)."""
    return xp.__array_namespace_info__().default_dtypes()["indexing"]


def on_device_of(x: Array) -> AbstractContextManager[Any]:
    """Return a context in which new arrays are made on the device of ``x``.

    CuPy makes them on its current device, whatever ``device=`` says, so every public function
    that makes arrays enters this first. The other libraries need no context.
    """
    if array_api_compat.is_cupy_array(x):
        context: AbstractContextManager[Any] = x.device
        return context
    return nullcontext()
