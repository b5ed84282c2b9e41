"""Measure the cost of checkpoints, and whether an epoch gets slower with the epochs before it.

    python scripts/benchmarks/checkpoint_cost.py
    python scripts/benchmarks/checkpoint_cost.py --seconds 60 --rounds 3 --case large
    python scripts/benchmarks/checkpoint_cost.py --case long

Runs of about a minute, as of ``train --out`` with default settings and of ``train`` without a
folder, take turns. The parts of the time that go into checkpoints and models, and into the lines of
the history, are measured within the run, where other work on the machine affects them little. The
first must be below 1 %. The last figure is the ratio of the times of the two runs. All are medians
over the rounds.

The long run is 20,000 epochs of a tiny problem with a validation set, early stopping and a learning
rate that is lowered on a plateau: its last 1,000 epochs may take 1.1 times the time and the memory
of its first 1,000. The exit code is 1 if a figure is above its bound.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import math
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bench import machine

from backprop_xp import Network, TrainState, fit
from backprop_xp.runs.folder import RunFolder
from backprop_xp.runs.run import Run, prepare_run
from backprop_xp.runs.session import RunCheckpoint, train_run
from backprop_xp.runs.settings import IN_MEMORY, RunSettings

COST, GROWTH = 0.01, 1.1
"""The bounds: of the part of the time for checkpoints, and of the growth over a long run."""

EPOCHS, PART = 20_000, 1_000


class Case(NamedTuple):
    """A data set of random numbers, and a network."""

    rows: int
    inputs: int
    classes: int
    hidden: tuple[int, ...]
    batch_size: int


CASES = {
    "small": Case(200, 4, 3, (16,), 64),
    "medium": Case(10_000, 784, 10, (256, 128), 128),
    "large": Case(10_000, 784, 10, (2048, 2048), 128),
}


def run_of(case: Case, epochs: int) -> Run:
    """Return a run on random data, with early stopping that never stops it."""
    rng = np.random.default_rng(0)
    data = rng.random((case.rows, case.inputs), dtype=np.float32)
    settings = RunSettings(
        data=IN_MEMORY,
        hidden=case.hidden,
        batch_size=case.batch_size,
        epochs=epochs,
        patience=epochs,
        dropout=0.0,
        seed=0,
        device="cpu",
    )
    return prepare_run(settings, data, rng.integers(0, case.classes, case.rows))


def train(case: Case, epochs: int, saved: bool, memory: bool = False) -> dict[str, Any]:
    """Train, and return the seconds, those for each kind of file, and what `watch` watched."""
    run, spent, active = run_of(case, epochs), {"checkpoints": 0.0, "history": 0.0}, []

    def timed(owner: type, name: str, kind: str) -> None:
        method = getattr(owner, name)

        def call(*arguments: Any, **more: Any) -> Any:
            active.append(name)
            started = time.perf_counter()
            try:
                return method(*arguments, **more)
            finally:
                active.pop()
                if not active:  # a call within another one is a part of it
                    spent[kind] += time.perf_counter() - started

        setattr(owner, name, call)

    timed(RunCheckpoint, "write", "checkpoints")
    timed(RunCheckpoint, "end", "checkpoints")
    timed(RunFolder, "append_history", "history")
    watched, on_epoch = watch() if memory else ([], None)
    with tempfile.TemporaryDirectory() as place:
        started = time.perf_counter()
        if saved:
            with RunFolder(Path(place) / "run") as folder:
                trained = train_run(run, folder, on_epoch=on_epoch)
        else:
            trained = train_run(run, on_epoch=on_epoch)
        seconds = time.perf_counter() - started
        size = sum(path.stat().st_size for path in Path(place).rglob("checkpoint*"))
    epoch = min(record["seconds"] for record in trained.state.history)
    return {"seconds": seconds, "epoch": epoch, "bytes": size, "watched": watched, **spent}


def watch() -> tuple[list[tuple[float, int]], Callable[[TrainState], None]]:
    """Return a list, and a function that adds the time and the memory after each epoch to it."""
    watched: list[tuple[float, int]] = []

    def on_epoch(state: TrainState) -> None:
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
        watched.append((time.perf_counter(), pages * os.sysconf("SC_PAGE_SIZE")))

    return watched, on_epoch


def fit_long() -> dict[str, Any]:
    """Train for many epochs with `fit`."""
    rng = np.random.default_rng(0)
    x = rng.random((40, 2))
    network = Network((2, 4, 3), ("tanh", "softmax"))
    watched, on_epoch = watch()
    fit(
        network,
        (x, np.arange(40) % 3),
        (x[:9], np.arange(9) % 3),
        epochs=EPOCHS,
        patience=EPOCHS,
        plateau_patience=50,
        seed=0,
        on_epoch=on_epoch,
    )
    return {"watched": watched}


def apart(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Call a function in a process of its own, and return its result."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *arguments).result()


def growth(watched: list[tuple[float, int]]) -> tuple[float, float, float, float]:
    """Return the milliseconds of an epoch and the bytes it adds, at the beginning and at the end.

    The first epochs, in which the libraries prepare themselves, are not counted.
    """
    seconds, memory = np.asarray(watched).T
    epochs = np.diff(seconds) * 1e3
    warm = PART // 10
    return (
        float(epochs[warm:PART].mean()),
        float(epochs[-PART:].mean()),
        float(memory[PART] - memory[warm]) / (PART - warm),
        float(memory[-1] - memory[-PART]) / PART,
    )


def cost(name: str, seconds: float, rounds: int) -> tuple[str, bool]:
    """Return a line of the table for a case, and whether it is above its bound."""
    case = CASES[name]
    epochs = max(3, math.ceil(seconds / apart(train, case, 8, False)["epoch"]))
    parts, lines, ratios, size, took = [], [], [], 0, 0.0
    for turn in range(rounds):
        found = {}
        for saved in (True, False)[:: 1 if turn % 2 else -1]:
            found[saved] = apart(train, case, epochs, saved)
        took, size = found[True]["seconds"], found[True]["bytes"]
        parts.append(found[True]["checkpoints"] / took)
        lines.append(found[True]["history"] / took)
        ratios.append(took / found[False]["seconds"] - 1)
    sizes = "-".join(map(str, (case.inputs, *case.hidden, case.classes)))
    return (
        f"| {name}: {sizes} | {epochs:,} | {took:.0f} | {size / 1e6:.2f} | "
        f"{statistics.median(parts):.2%} | {max(parts):.2%} | {statistics.median(lines):.2%} | "
        f"{statistics.median(ratios):+.1%} ({min(ratios):+.1%} to {max(ratios):+.1%}) |",
        statistics.median(parts) > COST,
    )


def long(name: str) -> tuple[str, bool]:
    """Return a line of the table for a long run, and whether it is above its bound."""
    tiny = Case(40, 2, 3, (4,), 34)
    found = apart(fit_long) if name == "fit" else apart(train, tiny, EPOCHS, True, True)
    first, last, early, late = growth(found["watched"])
    return (
        f"| {name} | {first:.3f} | {last:.3f} | {last / first:.2f} | {early:,.0f} | {late:,.0f} |",
        last > GROWTH * first or late > GROWTH * max(early, 1.0),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what checkpoints cost.")
    add = parser.add_argument
    add("--seconds", type=float, default=60.0, help="the length of a run")
    add("--rounds", type=int, default=3, help="the number of rounds")
    add("--case", action="append", choices=[*CASES, "long"], help="by default all")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds, --seconds: more than 0")
    names = options.case or [*CASES, "long"]
    found = machine(argparse.Namespace(device="cpu"))
    free = shutil.disk_usage(tempfile.gettempdir()).free
    print(
        f"Made by `python scripts/benchmarks/checkpoint_cost.py` on {date.today()}, "
        f"{found['cores']}-core {found['processor']}, NumPy {found['packages']['numpy']}; load "
        f"before {found['load_before']:.1f}; {free / 1e9:.0f} GB free for temporary files.\n"
    )
    above = False
    if cases := [name for name in names if name in CASES]:
        print(
            "| network | epochs | s | MB of checkpoints | checkpoints | at most | history | "
            "against no folder |\n|---|---|---|---|---|---|---|---|"
        )
        for name in cases:
            line, slow = cost(name, options.seconds, options.rounds)
            print(line, flush=True)
            above |= slow
        print()
    if "long" in names:
        print(
            f"| {EPOCHS:,} epochs | ms per epoch, first {PART:,} | last {PART:,} | ratio | "
            "bytes per epoch, first | last |\n|---|---|---|---|---|---|"
        )
        for name in ("fit", "train --out"):
            line, slow = long(name)
            print(line, flush=True)
            above |= slow
    raise SystemExit(int(above))


if __name__ == "__main__":
    main()
