"""Settings of the host process: BLAS threads, freed memory, and NumPy's warnings."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from backprop_xp.backend.arrays import Namespace, backend_name


def is_synchronous(xp: Namespace) -> bool:
    """Return whether an array's numbers can be read at any time without waiting for a device."""
    return backend_name(xp) in ("numpy", "array_api_strict")  # the latter uses NumPy


_SMALL_PRODUCT = 1_000_000
"""Multiplications in a matrix product up to which a second BLAS thread was measured to gain
nothing. If other work shares the cores, it can make a step many times slower."""


@functools.cache
def _blas() -> Any:
    import threadpoolctl

    return threadpoolctl.ThreadpoolController().select(user_api="blas")


_LIMITED: dict[str, tuple[Any, int, list[int]]] = {}
"""For each library that contexts limit now: itself, its number of threads before the first of
them, and the thread of each context."""

_LIMITING = threading.Lock()


@contextmanager
def one_thread(libraries: Any) -> Iterator[None]:
    """Limit libraries to one thread each.

    The limit applies to the process. Where contexts of several threads overlap, the last one to
    end restores the number from before the first, which threadpoolctl's own contexts do not.
    """
    thread = threading.get_ident()
    with _LIMITING:
        for library in libraries.lib_controllers:
            first = library, library.get_num_threads(), list[int]()
            _LIMITED.setdefault(library.filepath, first)[2].append(thread)
            _set_threads(library, 1)
    try:
        yield
    finally:
        with _LIMITING:
            for library in libraries.lib_controllers:
                _LIMITED[library.filepath][2].remove(thread)
            _restore()


def _restore() -> None:
    """Give back their threads to the libraries that no context limits any more."""
    for path, (library, before, threads) in list(_LIMITED.items()):
        if not threads:
            del _LIMITED[path]
            _set_threads(library, before)


def _set_threads(library: Any, number: int) -> None:
    # threadpoolctl 3.8 lets the first thread alone change the number of threads of OpenBLAS
    # and ignores all others. Here they take turns, and the last one must restore the number.
    free = getattr(library, "clear_controlling_thread", None)
    if free is not None:
        free(force=True)
    library.set_num_threads(number)
    if free is not None:
        free(force=True)


def _after_fork_in_child() -> None:
    """End the contexts of all threads but the one that forked: the child does not have them."""
    for _, _, threads in _LIMITED.values():
        threads[:] = [thread for thread in threads if thread == threading.get_ident()]
    _restore()
    _LIMITING.release()  # the child's copy, which was acquired before the fork


if hasattr(os, "register_at_fork"):
    # A fork waits until no other thread changes the limits, so that they are the same in the child.
    os.register_at_fork(
        before=_LIMITING.acquire,
        after_in_parent=_LIMITING.release,
        after_in_child=_after_fork_in_child,
    )


def limit_threads(multiplications: int, *, xp: Namespace) -> AbstractContextManager[Any]:
    """Return a context with one BLAS thread if NumPy's matrix products are too small for more.

    The largest product has this many multiplications: rows times weights. Larger ones use the
    number of threads that the user's environment sets.
    """
    if backend_name(xp) != "numpy" or multiplications > _SMALL_PRODUCT:
        return nullcontext()
    return one_thread(_blas())


_LARGEST_KEPT = 32_000_000
"""Bytes in the largest block that still raises glibc's threshold, a little below 32 MiB."""


@functools.cache
def keep_freed_memory() -> None:
    """Make the C library keep the memory of freed arrays for the arrays of the next step.

    glibc returns the end of its heap to the system when more than a threshold is free. A step that
    needs it again gets it page by page, which was measured to be a sixth of a step of
    784-1000-1000-10. The threshold is twice the largest block that was ever freed (mallopt(3),
    M_TRIM_THRESHOLD and M_MMAP_THRESHOLD), so a large block is allocated and freed, unused.
    """
    import numpy as np

    np.empty(_LARGEST_KEPT, dtype=np.uint8)


def ignore_overflow(xp: Namespace) -> AbstractContextManager[Any]:
    """Return a context without NumPy's overflow warnings; training raises its own error, which
    names the layer and the step."""
    if is_synchronous(xp):
        import numpy as np

        return np.errstate(over="ignore", invalid="ignore", divide="ignore")
    return nullcontext()
