"""Measure the cost of options on NumPy: the time of an epoch with them relative to one without.

    python scripts/benchmarks/option_cost.py
    python scripts/benchmarks/option_cost.py --threads 1 --rounds 5

Both training runs take turns, epoch by epoch, on random data, and alternate in going first, so
that other work on the machine affects both. The result is the median over the rounds of the ratio
of their seconds in the same round; the first epochs are not counted. The exit code is 1 if a ratio
is above its bound. The bound of dropout holds for the default batch size: the larger the batch, the
cheaper are the updates of an epoch, relative to the masks.
"""

from __future__ import annotations

import argparse
import os
import statistics
from typing import Any, NamedTuple

import numpy as np
import threadpoolctl
from bench import machine

from backprop_xp import Network, TrainState, fit


class Case(NamedTuple):
    """An option, the data and network to measure it on, and the bound of its ratio."""

    option: dict[str, Any]
    samples: int
    hidden: tuple[int, ...]
    batch_size: int
    epochs: int  # per round, so that work that is not done in every epoch is counted too
    bound: float


CASES = (
    Case({"dropout": 0.5}, 60_000, (512, 512), 64, 1, 1.5),
    Case({"diagnostics": True}, 60_000, (512, 512), 64, 1, 1.05),
    Case({"diagnostics": True}, 50_000, (30,), 10, 1, 1.05),
    Case({"diagnostics": True}, 1_223, (128,), 64, 64, 1.05),
)


def ratios_of(case: Case, rounds: int) -> list[float]:
    """Return the ratio of the seconds with the option to those without, for each round."""
    rng = np.random.default_rng(0)
    x = rng.random((case.samples, 784), dtype=np.float32)
    data = x, rng.integers(0, 10, case.samples)
    functions = [*["relu"] * len(case.hidden), "softmax"]
    network = Network((784, *case.hidden, 10), functions)
    settings = {"batch_size": case.batch_size, "seed": 0, "evaluate_training": False}
    ways: dict[str, dict[str, Any]] = {
        "with": {"diagnostics": False, **case.option},
        "without": {"diagnostics": False},
    }
    states: dict[str, TrainState | None] = dict.fromkeys(ways)
    for turn in range(1, rounds + 2):
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            options = {**settings, **ways[name], "epochs": turn * case.epochs}
            states[name] = fit(network, data, state=states[name], **options)
    seconds = {
        name: np.reshape([r["seconds"] for r in state.history], (-1, case.epochs)).sum(axis=1)
        for name, state in states.items()
        if state is not None
    }
    found: list[float] = (seconds["with"] / seconds["without"])[1:].tolist()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what options cost on NumPy.")
    add = parser.add_argument
    add("--rounds", type=int, default=7, help="number of rounds that are counted")
    add(
        "--threads",
        type=int,
        default=os.cpu_count(),
        help="BLAS threads; default: all cores",
    )
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    found = machine(argparse.Namespace(device="cpu"))
    print(
        f"{found['processor']}, {found['cores']} cores, {options.threads} threads; "
        f"NumPy {found['packages']['numpy']}; load before {found['load_before']}"
    )
    for name, value in found["variables"].items():
        print(f"note: {name}={value} is set, which may change the speed of a library")
    above = False
    for case in CASES:
        with threadpoolctl.threadpool_limits(options.threads, user_api="blas"):
            ratios = ratios_of(case, options.rounds)
        ratio = statistics.median(ratios)
        above |= ratio > case.bound
        name, value = next(iter(case.option.items()))
        sizes = "-".join(map(str, (784, *case.hidden, 10)))
        print(
            f"{name} {value}: {ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f}), bound "
            f"{case.bound}; {sizes}, batch {case.batch_size}, {case.samples:,} samples",
            flush=True,
        )
    raise SystemExit(int(above))


if __name__ == "__main__":
    main()
