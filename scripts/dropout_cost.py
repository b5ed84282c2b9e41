"""What dropout costs: an epoch of 784-512-512-10 with dropout 0.5, relative to one without.

    python scripts/dropout_cost.py
    python scripts/dropout_cost.py --threads 1 --rounds 5

Both trainings take turns, epoch by epoch, on random data of the shape of MNIST, and each begins
every second round, so that whatever else the machine does falls on both. The figure is the median
over the rounds of the ratio of their seconds in the same round; the first epoch is not counted. It
ends with the code 1 if that is above the bound. The bound is for the default batch: the larger the
batch, the less an epoch's updates weigh, and the more the masks do.
"""

from __future__ import annotations

import argparse
import os
import statistics
from typing import Any

import numpy as np
import threadpoolctl
from bench import machine

from backprop_xp import Network, TrainState, fit

BOUND = 1.5
NETWORK = Network((784, 512, 512, 10), ("relu", "relu", "softmax"))
RATES = {"without": 0.0, "with": 0.5}


def seconds_of(options: argparse.Namespace) -> dict[str, list[float]]:
    """Return the seconds of each epoch of both trainings, the first one included."""
    rng = np.random.default_rng(0)
    x = rng.random((options.samples, 784), dtype=np.float32)
    labels = rng.integers(0, 10, options.samples)
    told: dict[str, Any] = {"batch_size": options.batch, "seed": 0, "evaluate_training": False}
    states: dict[str, TrainState | None] = dict.fromkeys(RATES)
    for epoch in range(options.rounds + 1):
        for name in list(RATES)[:: 1 if epoch % 2 else -1]:
            state = states[name]
            states[name] = fit(
                NETWORK, (x, labels), dropout=RATES[name], state=state, epochs=epoch + 1, **told
            )
    return {name: [r["seconds"] for r in state.history] for name, state in states.items() if state}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what dropout costs on NumPy.")
    add = parser.add_argument
    add("--rounds", type=int, default=7, help="epochs that count")
    add("--samples", type=int, default=60_000)
    add("--batch", type=int, default=64)
    add("--threads", type=int, default=os.cpu_count(), help="of the BLAS; default: all cores")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    found = machine(argparse.Namespace(device="cpu"))
    print(
        f"{found['processor']}, {found['cores']} cores, {options.threads} threads; "
        f"NumPy {found['packages']['numpy']}, batch {options.batch}, {options.samples:,} samples; "
        f"load before {found['load_before']}"
    )
    for name, value in found["variables"].items():
        print(f"note: {name}={value} is set, which may change how fast a library is")
    with threadpoolctl.threadpool_limits(options.threads, user_api="blas"):
        seconds = seconds_of(options)
    for name, epochs in seconds.items():
        print(f"{name} dropout: {statistics.median(epochs[1:]):.3f} s an epoch")
    pairs = zip(seconds["with"][1:], seconds["without"][1:], strict=True)
    ratios = [mine / other for mine, other in pairs]
    ratio = statistics.median(ratios)
    print(f"ratio {ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f}); the bound is {BOUND}")
    raise SystemExit(int(ratio > BOUND))


if __name__ == "__main__":
    main()
