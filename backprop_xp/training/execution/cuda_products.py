"""Matrix products by cuBLAS, called directly: CuPy's own calls cannot be captured as a graph."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

from backprop_xp.training.execution.cuda_operations import Layout, Node

_LIBRARIES = ("libcublas.so.13", "libcublas.so.12", "libcublas.so.11")
"""The library that CuPy has loaded is found by its name alone."""

_WORKSPACE = 32 << 20
"""Bytes that cuBLAS may use. NVIDIA recommends 32 MiB for Hopper, and less for older GPUs. With a
workspace of its own a captured product does not allocate memory."""


class _Handles(threading.local):
    """The products of each device that a thread has used: a handle takes long to make, and one
    that several threads share would run on the stream that another thread has set."""

    def __init__(self) -> None:
        self.by_device: dict[int, Products] = {}


_HANDLES = _Handles()


def products_here() -> Products:
    """Return the products of the current device, for this thread."""
    import cupy

    device = cupy.cuda.runtime.getDevice()
    if device not in _HANDLES.by_device:
        _HANDLES.by_device[device] = Products()
    return _HANDLES.by_device[device]


class Products:
    """A cuBLAS handle on the current device.

    Raises
    ------
    OSError
        If cuBLAS is not found or reports an error.
    """

    def __init__(self) -> None:
        import cupy

        self._library = _load()
        self._handle = ctypes.c_void_p()
        self._call("cublasCreate_v2", ctypes.byref(self._handle))
        self._workspace = cupy.empty(_WORKSPACE, dtype=cupy.uint8)

    def use_stream(self, stream: int) -> None:
        """Let the products run on a stream, given by its address."""
        self._call("cublasSetStream_v2", self._handle, ctypes.c_void_p(stream))
        self._call(  # the stream has reset it
            "cublasSetWorkspace_v2",
            self._handle,
            ctypes.c_void_p(self._workspace.data.ptr),
            ctypes.c_size_t(_WORKSPACE),
        )

    def product(self, node: Node, address: Callable[[Node], int]) -> Callable[[], None]:
        """Return a function that computes a product.

        Parameters
        ----------
        node : Node
            Of the kind ``"matmul"``.
        address : callable ``node -> int``
            The address of the array of a node.
        """
        real, name = _KINDS[node.dtype]
        left, right = node.operands
        # cuBLAS stores matrices by columns. One that is stored by rows is the transposed of it, and
        # (A B)ᵀ = Bᵀ Aᵀ.
        first, second = (left, left.layout), (right, right.layout)
        shape, layout = node.shape, node.layout
        if layout.strides[0] != 1 or shape[0] == 1:
            first, second = (right, _transposed(right.layout)), (left, _transposed(left.layout))
            shape, layout = shape[::-1], _transposed(layout)
        inner = left.shape[1]
        a_rows, b_rows = shape[0], inner
        a_transposed, a_step = _stored(first[1], (a_rows, inner))
        b_transposed, b_step = _stored(second[1], (b_rows, shape[1]))
        one, zero = real(1.0), real(0.0)
        arguments = (
            self._handle,
            *(ctypes.c_int(x) for x in (a_transposed, b_transposed, *shape, inner)),
            ctypes.byref(one),
            *(ctypes.c_void_p(address(first[0])), ctypes.c_int(a_step)),
            *(ctypes.c_void_p(address(second[0])), ctypes.c_int(b_step)),
            ctypes.byref(zero),
            *(ctypes.c_void_p(address(node)), ctypes.c_int(max(shape[0], layout.strides[1]))),
        )
        function = getattr(self._library, name)

        def multiply() -> None:
            if status := function(*arguments):
                raise OSError(f"{name} failed with the status {status}")

        return multiply

    def _call(self, name: str, *arguments: Any) -> None:
        if status := getattr(self._library, name)(*arguments):
            raise OSError(f"{name} failed with the status {status}")


_KINDS: dict[str, tuple[Any, str]] = {
    "float32": (ctypes.c_float, "cublasSgemm_v2"),
    "float64": (ctypes.c_double, "cublasDgemm_v2"),
}


def _load() -> Any:
    import cupy_backends.cuda.libs.cublas  # noqa: F401  (loads the library)

    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise OSError("cuBLAS was not found")


def _transposed(layout: Layout) -> Layout:
    return Layout(layout.offset, layout.strides[::-1])


def _stored(layout: Layout, shape: tuple[int, int]) -> tuple[bool, int]:
    """Return whether a matrix is stored by rows, and the step from one row or column to the next.

    Raises
    ------
    OSError
        If it is stored in neither way.
    """
    (rows, columns), (down, right) = shape, layout.strides
    if down == 1 or rows == 1:
        return False, max(rows, right if columns > 1 else rows)
    if right == 1 or columns == 1:
        return True, max(columns, down if rows > 1 else columns)
    raise OSError("cuBLAS cannot read an array with gaps")
