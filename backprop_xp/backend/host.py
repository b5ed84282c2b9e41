"""The host of a computation: BLAS threads, freed memory, and NumPy's warnings."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from backprop_xp.backend.arrays import Namespace, backend_name


def is_synchronous(xp: Namespace) -> bool:
    """Return whether a number can be read at any step without waiting for a device."""
    return backend_name(xp) in ("numpy", "array_api_strict")


_SMALL_PRODUCT = 1_000_000
"""Multiplications in a matrix product below which a second BLAS thread was measured to gain
nothing; where other work shares the cores it can then cost many times the step."""


@functools.cache
def _blas() -> Any:
    import threadpoolctl

    return threadpoolctl.ThreadpoolController().select(user_api="blas")


_LIMITED: dict[str, tuple[int, int]] = {}
"""How many contexts keep a library to one thread, and how many it had before the first of them."""

_LIMITING = threading.Lock()


@contextmanager
def one_thread(libraries: Any) -> Iterator[None]:
    """Keep libraries to one thread each.

    The number is one for the whole process. Where contexts of several threads overlap, the last
    one to end gives it back as it was before the first, which threadpoolctl's own do not.
    """
    with _LIMITING:
        for library in libraries.lib_controllers:
            users, before = _LIMITED.get(library.filepath, (0, library.get_num_threads()))
            _LIMITED[library.filepath] = users + 1, before
            library.set_num_threads(1)
    try:
        yield
    finally:
        with _LIMITING:
            for library in libraries.lib_controllers:
                users, before = _LIMITED.pop(library.filepath)
                if users > 1:
                    _LIMITED[library.filepath] = users - 1, before
                else:
                    library.set_num_threads(before)


def limit_threads(multiplications: int, *, xp: Namespace) -> AbstractContextManager[Any]:
    """Return a context with one BLAS thread if NumPy's matrix products are too small for more.

    Larger products keep the number of threads that the user's environment sets.

    Parameters
    ----------
    multiplications : int
        Those of the largest matrix product: rows times weights.
    xp : namespace
    """
    if backend_name(xp) != "numpy":
        return nullcontext()
    if multiplications > _SMALL_PRODUCT:
        return nullcontext()
    return one_thread(_blas())


_LARGEST_KEPT = 32_000_000
"""Bytes in the largest block from which glibc still learns, a little below 32 MiB."""


@functools.cache
def keep_freed_memory() -> None:
    """Have the C library keep the memory that arrays give back, for the arrays of the next step.

    glibc returns the end of its heap to the system where more than a bound of it is free, and a
    step that needs it again gets it page by page, which was measured to be a sixth of a step of
    784-1000-1000-10. The bound is twice the largest block that was ever freed (mallopt(3),
    M_TRIM_THRESHOLD and M_MMAP_THRESHOLD), so one is taken and freed, untouched.
    """
    import numpy as np

    np.empty(_LARGEST_KEPT, dtype=np.uint8)


def ignore_overflow(xp: Namespace) -> AbstractContextManager[Any]:
    """Return a context without NumPy's overflow warnings: a loss that is not finite is an error
    of its own, which names the layer and the step."""
    if backend_name(xp) in ("numpy", "array_api_strict"):  # the latter computes by NumPy
        import numpy as np

        return np.errstate(over="ignore", invalid="ignore", divide="ignore")
    return nullcontext()
