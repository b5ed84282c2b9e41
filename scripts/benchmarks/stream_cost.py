"""Measure the cost of streaming on NumPy: an epoch from a file relative to one from memory.

    python scripts/benchmarks/stream_cost.py
    python scripts/benchmarks/stream_cost.py --rows 500000 --rounds 7 --threads 2

Random images of MNIST's shape are written to a temporary .npy file. Training on the memory-mapped
file and on the same rows in memory take turns, epoch by epoch. The exit code is 1 if the median
of the ratios is above the bound. The first epochs are not counted; the pass over the rows before
them, which checks the values, is reported separately.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import threadpoolctl
from bench import machine

from backprop_xp import Network, TrainState, fit
from backprop_xp.data.scaling import scaling_for

BOUND = 1.3


class Case(NamedTuple):
    """A network, the settings of its training, and the data type of the stored images."""

    name: str
    dtype: str
    network: Network
    settings: dict[str, Any]


A = (
    Network((784, 30, 10), "sigmoid"),
    {"loss": "half_squared_error", "learning_rate": 3.0, "batch_size": 10},
)
C = (
    Network((784, 256, 128, 10), ("relu", "relu", "softmax")),
    {"optimizer": "adam", "batch_size": 128},
)
CASES = tuple(
    Case(name, dtype, network, {**settings, "evaluate_training": evaluated})
    for name, (network, settings) in {"A": A, "C": C}.items()
    for dtype in ("uint8", "float32")
    for evaluated in (False, True)
)


def write(folder: Path, dtype: str, rows: int) -> Path:
    """Write random images to a file, block by block."""
    path, rng = folder / f"{dtype}.npy", np.random.default_rng(0)
    file = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(rows, 784))
    for start in range(0, rows, 10_000):
        block = rng.integers(0, 256, (min(10_000, rows - start), 784), dtype=np.uint8)
        file[start : start + len(block)] = block
    file.flush()
    return path


def ratios_of(case: Case, path: Path, rounds: int) -> tuple[list[float], dict[str, float]]:
    """Return the ratio of the seconds in each round, and the seconds before the first epoch."""
    stored = np.load(path, mmap_mode="r")
    scaling = scaling_for("255", stored)
    labels = np.random.default_rng(1).integers(0, 10, stored.shape[0])
    inputs = {"file": scaling.apply(stored), "memory": scaling.apply(np.array(stored))}
    states: dict[str, TrainState | None] = dict.fromkeys(inputs)
    before = dict.fromkeys(inputs, 0.0)
    for turn in range(1, rounds + 2):
        for name in list(inputs)[:: 1 if turn % 2 else -1]:
            started = time.perf_counter()
            state = fit(
                case.network,
                (inputs[name], labels),
                state=states[name],
                epochs=turn,
                seed=0,
                diagnostics=False,
                **case.settings,
            )
            states[name] = state
            before[name] = time.perf_counter() - started - state.history[-1]["seconds"]
    seconds = {
        name: np.asarray([record["seconds"] for record in state.history])
        for name, state in states.items()
        if state is not None
    }
    found: list[float] = (seconds["file"] / seconds["memory"])[1:].tolist()
    return found, before


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what streaming from a file costs.")
    add = parser.add_argument
    add("--rows", type=int, default=400_000, help="number of images of 784 pixels")
    add("--rounds", type=int, default=5, help="number of rounds that are counted")
    add(
        "--threads",
        type=int,
        default=os.cpu_count(),
        help="BLAS threads; default: all cores",
    )
    options = parser.parse_args()
    if options.rounds < 1 or options.rows < 1:
        parser.error("--rounds, --rows: at least 1")
    found = machine(argparse.Namespace(device="cpu"))
    print(
        f"{found['processor']}, {found['cores']} cores, {options.threads} threads; "
        f"NumPy {found['packages']['numpy']}; load before {found['load_before']}"
    )
    above = False
    with tempfile.TemporaryDirectory() as folder:
        paths = {
            dtype: write(Path(folder), dtype, options.rows)
            for dtype in dict.fromkeys(case.dtype for case in CASES)
        }
        for case in CASES:
            path = paths[case.dtype]
            with threadpoolctl.threadpool_limits(options.threads, user_api="blas"):
                ratios, before = ratios_of(case, path, options.rounds)
            ratio = statistics.median(ratios)
            above |= ratio > BOUND
            measured = "" if case.settings["evaluate_training"] else "not "
            print(
                f"{case.name}, {case.dtype}, {path.stat().st_size / 1e6:.0f} MB, training set "
                f"{measured}measured: {ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f}), bound "
                f"{BOUND}; before the first epoch {before['file']:.1f} s, from memory "
                f"{before['memory']:.1f} s",
                flush=True,
            )
    raise SystemExit(int(above))


if __name__ == "__main__":
    main()
