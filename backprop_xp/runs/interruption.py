"""Signals that end a training run: the first one interrupts it, and later ones wait."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

PATIENCE = 10.0
"""Seconds after a signal for which further ones are ignored, so that the run can be saved."""


@contextmanager
def interrupted_once(on_warning: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """Let a signal interrupt the block once, so that a second one does not cut off its end.

    Ctrl-C and the signals that the program handles like it (SIGTERM and SIGHUP on the command
    line) raise their exception at the first signal. Ctrl-C is often pressed twice, and a scheduler
    may send several signals: those of the next ten seconds are ignored.

    Yields a function to call from time to time if the block goes on. It raises the exception again
    if that was lost: Python drops exceptions in the callbacks of its garbage collector.

    SIGUSR1, with which a scheduler can announce the end of a job (Slurm: ``--signal=USR1@60``),
    only calls ``on_warning``. In a thread other than the main one, where Python handles no signals,
    nothing changes.

    Parameters
    ----------
    on_warning : callable
        Called at SIGUSR1, between two steps of the program.

    Examples
    --------
    >>> with interrupted_once(lambda: None) as check:
    ...     for epoch in range(3):
    ...         check()
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    until, received = 0.0, list[tuple[Any, int]]()

    def once(handler: Any) -> Any:
        def handle(number: int, frame: FrameType | None) -> None:
            nonlocal until
            if time.monotonic() >= until:
                until = time.monotonic() + PATIENCE
                received.append((handler, number))
                handler(number, frame)

        return handle

    def check() -> None:
        if received:
            handler, number = received[-1]
            handler(number, None)

    def warned(number: int, frame: FrameType | None) -> None:
        on_warning()

    replaced: dict[int, Any] = {}
    for number in _numbers("SIGINT", "SIGTERM", "SIGHUP"):
        handler = signal.getsignal(number)
        if callable(handler):  # neither ignored, as under nohup, nor the system's default
            replaced[number] = signal.signal(number, once(handler))
    for number in _numbers("SIGUSR1"):
        if signal.getsignal(number) is signal.SIG_DFL:  # which ends the process
            replaced[number] = signal.signal(number, warned)
    try:
        yield check
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


def _numbers(*names: str) -> list[int]:
    """Return the numbers of signals; Windows does not have all of them."""
    return [getattr(signal, name) for name in names if hasattr(signal, name)]
