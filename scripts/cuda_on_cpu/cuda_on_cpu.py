"""Counts of what CuPy did on the emulated GPU, and the lines of Python that copied data."""

import contextlib
import ctypes
import os
import traceback
from collections import Counter
from collections.abc import Iterator

_library = ctypes.CDLL("libcuda_on_cpu.so")
_library.cuda_on_cpu_counts.restype = ctypes.c_size_t
_library.cuda_on_cpu_counts.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
_WATCHER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_size_t)


def counts() -> Counter[str]:
    """Return how often each operation ran since `reset`: kernel:NAME, blas:NAME, copy:d2h, ..."""
    room = _library.cuda_on_cpu_counts(None, 0) + 4096
    text = ctypes.create_string_buffer(room)
    _library.cuda_on_cpu_counts(text, room)
    pairs = (line.rsplit(" ", 1) for line in text.value.decode().splitlines())
    return Counter({name: int(number) for name, number in pairs})


def reset() -> None:
    """Set all counts to zero."""
    _library.cuda_on_cpu_reset()


def summary(done: Counter[str]) -> dict[str, int]:
    """Return totals of `counts`: kernels, cuBLAS calls, copies by direction, synchronizations."""
    kinds: Counter[str] = Counter()
    for name, number in done.items():
        by_kind = name.startswith(("copy:", "bytes:", "sync:"))
        kinds[name if by_kind else name.split(":")[0]] += number
    return dict(sorted(kinds.items()))


@contextlib.contextmanager
def watch(
    wanted: tuple[str, ...] = ("copy:h2d", "copy:d2h"), within: str = os.sep
) -> Iterator[Counter[tuple[str, int, str]]]:
    """Collect the lines of Python that caused copies, as counts of (direction, bytes, lines).

    Of each call stack, the three innermost lines are kept whose file name contains `within`.
    """
    seen: Counter[tuple[str, int, str]] = Counter()

    def watcher(what: bytes, size: int) -> None:
        if what.decode() in wanted:
            frames = [f for f in traceback.extract_stack() if within in f.filename][-3:]
            lines = (f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in frames[::-1])
            seen[what.decode(), size, " < ".join(lines)] += 1

    callback = _WATCHER(watcher)
    _library.cuda_on_cpu_watch(callback)
    try:
        yield seen
    finally:
        _library.cuda_on_cpu_watch(_WATCHER())


@contextlib.contextmanager
def idle() -> Iterator[None]:
    """Skip all work on the device: the remaining time is the host's, and results are garbage."""
    _library.cuda_on_cpu_idle(1)
    try:
        yield
    finally:
        _library.cuda_on_cpu_idle(0)
