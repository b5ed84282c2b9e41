"""Measure the cost of an optimizer on NumPy, relative to the same rule in plain expressions.

    python scripts/benchmarks/optimizer_cost.py
    python scripts/benchmarks/optimizer_cost.py --parameters 100000

Both take turns on float32 parameters and give the same results, to rounding. The result is the
median over the rounds of the ratio of their times in the same round. The exit code is 1 if the
ratio of Adam is above 0.35 at a million parameters.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import threadpoolctl
from bench import machine

from backprop_xp.backend.fast_numpy import fast_namespace
from backprop_xp.nn.network import Layer
from backprop_xp.nn.optimizers import get_optimizer, initial_slots
from backprop_xp.training.execution.slices import update_in_slices

ETA, BOUND = 0.001, 0.35


def plain_adam(p: Any, g: Any, state: dict[str, Any], t: int) -> Any:
    state["m"] = 0.9 * state.get("m", 0.0) + (1.0 - 0.9) * g
    state["v"] = 0.999 * state.get("v", 0.0) + (1.0 - 0.999) * g**2
    m_hat = state["m"] / (1.0 - 0.9**t)
    v_hat = state["v"] / (1.0 - 0.999**t)
    return p - ETA * m_hat / (np.sqrt(v_hat) + 1e-8)


def plain_rmsprop(p: Any, g: Any, state: dict[str, Any], t: int) -> Any:
    state["s"] = 0.99 * state.get("s", 0.0) + (1.0 - 0.99) * g**2
    return p - ETA * g / (np.sqrt(state["s"]) + 1e-8)


def plain_nesterov(p: Any, g: Any, state: dict[str, Any], t: int) -> Any:
    state["v"] = 0.9 * state.get("v", 0.0) - ETA * g
    return p + 0.9 * state["v"] - ETA * g


PLAIN = {"adam": plain_adam, "rmsprop": plain_rmsprop, "nesterov": plain_nesterov}


def seconds(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def ratios_of(name: str, n: int, rounds: int) -> list[float]:
    """Return the ratio of our time to that of the plain rule, for each round."""
    rng = np.random.default_rng(0)
    optimizer, xp = get_optimizer(name), fast_namespace(np)
    start, gradient = (rng.normal(size=(n // 100, 100)).astype(np.float32) for _ in range(2))
    ours, theirs = [Layer(start.copy(), None)], start.copy()
    slots, state = initial_slots(optimizer, ours, xp=xp), {}
    steps = 10
    spare = [gradient.copy() for _ in range(steps)]  # a rule consumes its gradient
    found = []
    for turn in range(rounds + 1):
        for copy in spare:
            copy[:] = gradient

        def our_way(first: int = turn * steps) -> None:
            nonlocal ours, slots
            for index, g in enumerate(spare):
                scalars = optimizer.scalars(ETA, first + index + 1)
                if optimizer.linear_in_gradient:  # a training step does this earlier
                    g *= ETA
                ours, slots = update_in_slices(
                    optimizer, ours, [Layer(g, None)], slots, scalars, xp=xp
                )

        def plain_way(first: int = turn * steps) -> None:
            nonlocal theirs
            for index in range(steps):
                theirs = PLAIN[name](theirs, gradient, state, first + index + 1)

        times = {way: seconds(way) for way in (our_way, plain_way)[:: 1 if turn % 2 else -1]}
        found.append(times[our_way] / times[plain_way])
    difference = float(np.max(np.abs(ours[0].weights - theirs)))
    if difference > 1e-4:  # after steps of 0.001 each
        raise SystemExit(f"{name}: the results differ by {difference}")
    return found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what optimizers cost on NumPy.")
    parser.add_argument("--parameters", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=21, help="number of rounds that are counted")
    options = parser.parse_args()
    found = machine(argparse.Namespace(device="cpu"))
    print(
        f"{found['processor']}, NumPy {found['packages']['numpy']}; {options.parameters:,} float32"
    )
    medians = {}
    with threadpoolctl.threadpool_limits(1):
        for name in PLAIN:
            ratios = ratios_of(name, options.parameters, options.rounds)
            medians[name] = statistics.median(ratios)
            print(f"{name}: {medians[name]:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    raise SystemExit(int(options.parameters == 1_000_000 and medians["adam"] > BOUND))


if __name__ == "__main__":
    main()
