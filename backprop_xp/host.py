"""What the host is told while a step runs on it: threads, memory, warnings."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from backprop_xp.arrays import Namespace, backend_name
from backprop_xp.network import Parameters


def reads_freely(xp: Namespace) -> bool:
    """Say whether a number of ``xp`` can be read at any step without making a device wait."""
    return backend_name(xp) in ("numpy", "array_api_strict")


_SMALL_PRODUCT = 1_000_000
"""Multiplications in a matrix product below which a second BLAS thread was measured to gain
nothing; where other work shares the cores it can then cost many times the step."""


@functools.cache
def _blas() -> Any:
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


def few_threads(parameters: Parameters, rows: int, *, xp: Namespace) -> AbstractContextManager[Any]:
    """Return a context with one BLAS thread, where NumPy's products are too small for more.

    Products that are large enough keep the number of threads that the user's environment sets.
    """
    if backend_name(xp) != "numpy":
        return nullcontext()
    if rows * max(layer.weights.size for layer in parameters) > _SMALL_PRODUCT:
        return nullcontext()
    context: AbstractContextManager[Any] = _blas().limit(limits=1, user_api="blas")
    return context


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


def quiet(xp: Namespace) -> AbstractContextManager[Any]:
    """Return a context without NumPy's overflow warnings: a loss that is not finite is an error
    of its own, which names the layer and the step."""
    if backend_name(xp) in ("numpy", "array_api_strict"):  # the latter computes by NumPy
        import numpy as np

        return np.errstate(over="ignore", invalid="ignore", divide="ignore")
    return nullcontext()
