"""Compare steps that are launched one by one with a CUDA graph that is replayed, on CuPy.

    python scripts/benchmarks/cuda_graph.py
    python scripts/benchmarks/cuda_graph.py --workloads A --epochs 3 --json graph.json

The workloads are those of `bench_job.py`, on random inputs. The host time of a step is the time to
put all its work into the queue of the GPU, from epochs that are short enough for the queue. The
time of a step is that of a complete epoch, divided by its steps: where it equals the host time, the
GPU waits for the host.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench import machine
from bench_job import SEED, WORKLOADS, Workload

from backprop_xp import Network, TrainState, fit, select_device
from backprop_xp.backend.arrays import to_numpy
from backprop_xp.backend.devices import Placement
from backprop_xp.training.trainer import Trainer

SHORT, LONG = 10, 20
"""Steps of the epochs whose host time is measured; the queue of a GPU holds 1,024 launches."""

WARM_UP = 10
"""Epochs that are not counted: a step is recorded, and captured, only after some steps."""

WAYS: dict[str, dict[str, Any]] = {"eager": {}, "graph": {"cuda_graph": True}}


def rows_of(work: Workload, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random inputs, and the labels that random weights give them."""
    rng = np.random.default_rng(SEED)
    x = rng.random((n, work.sizes[0]), dtype=np.float32)
    x *= rng.random((n, work.sizes[0]), dtype=np.float32) < 0.2  # mostly 0, as in MNIST
    return x, np.argmax(x @ rng.standard_normal((work.sizes[0], work.sizes[-1])), axis=1)


def train(work: Workload, n: int, epochs: int, where: Placement, way: str) -> TrainState:
    """Train for some epochs of ``n`` rows."""
    return fit(
        Network(work.sizes, (*[work.hidden] * (len(work.sizes) - 2), work.output)),
        rows_of(work, n),
        device=where,
        loss=work.loss,
        optimizer=work.optimizer,
        learning_rate=work.learning_rate,
        batch_size=work.batch,
        epochs=epochs,
        seed=SEED,
        **WAYS[way],
    )


def host_seconds(work: Workload, epochs: int, where: Placement, way: str) -> float:
    """Return the seconds in which the host queues a step.

    The difference between epochs of two lengths leaves out what is done once in an epoch. Of many
    such epochs the fastest count: other work on the machine only adds to the time.
    """
    taken: list[float] = []
    run_steps = Trainer.run_steps

    def timed(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        result = run_steps(*arguments, **options)  # it does not wait for the GPU
        taken.append(time.perf_counter() - started)
        return result

    Trainer.run_steps = timed  # type: ignore[method-assign]
    try:
        fastest = []
        for steps in (SHORT, LONG):
            taken.clear()
            train(work, steps * work.batch, WARM_UP + epochs, where, way)
            fastest.append(min(taken[WARM_UP:]))
    finally:
        Trainer.run_steps = run_steps  # type: ignore[method-assign]
    return (fastest[1] - fastest[0]) / (LONG - SHORT)


def measure(work: Workload, epochs: int, where: Placement) -> dict[str, Any]:
    """Measure a workload in both ways, and compare what they learn."""
    result: dict[str, Any] = {}
    weights = {}
    for way in WAYS:
        host = host_seconds(work, 30, where, way)
        state = train(work, work.samples, 1 + epochs, where, way)
        seconds = [record["seconds"] for record in state.history]
        epoch = statistics.median(seconds[1:])
        result[way] = {
            "host_microseconds_per_step": host * 1e6,
            "microseconds_per_step": epoch / (work.samples // work.batch) * 1e6,
            "epoch_seconds": epoch,
            "first_epoch_extra": seconds[0] - epoch,
            "losses": [record["loss"] for record in state.history],
        }
        weights[way] = np.concatenate(
            [to_numpy(layer.weights).ravel() for layer in state.parameters]
        )
    apart = np.abs(weights["graph"] - weights["eager"])
    result["largest_difference_of_weights"] = float(apart.max())
    return result


def text(name: str, work: Workload, found: dict[str, Any]) -> str:
    """Return the measurements of a workload as lines of text."""
    lines = [f"{name}: {work}"]
    for way in WAYS:
        one = found[way]
        lines.append(
            f"  {way}: host {one['host_microseconds_per_step']:.0f} µs a step; "
            f"{one['microseconds_per_step']:.0f} µs a step and {one['epoch_seconds']:.3f} s an "
            f"epoch ({one['first_epoch_extra']:+.2f} s for the first); last loss "
            f"{one['losses'][-1]:.7g}"
        )
    if (apart := found.get("largest_difference_of_weights")) is not None:
        lines.append(f"  largest difference of the weights after training: {apart:.3g}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare eager steps with a CUDA graph.")
    add = parser.add_argument
    add("--workloads", default="A,C", help="letters of the workloads of bench_job.py; default: A,C")
    add("--epochs", type=int, default=5, help="complete epochs that are counted")
    add("--samples", type=int, help="rows of an epoch; by default those of the workload")
    add("--device", default="cuda", help="cuda or cuda:N")
    add("--json", type=Path, metavar="FILE", help="file for the results")
    options = parser.parse_args()
    where = select_device(options.device, "cupy", dtype="float32")
    about = machine(options)
    report: dict[str, Any] = {"machine": about, "device": where.name, "workloads": {}}
    print(
        f"{where.name}; {about['gpu'] or 'GPU unknown'}; {about['processor']}, "
        f"{about['cores']} cores"
    )
    for name in options.workloads.split(","):
        work = WORKLOADS[name]
        if options.samples is not None:
            work = dataclasses.replace(work, samples=options.samples)
        found = measure(work, options.epochs, where)
        report["workloads"][name] = {**dataclasses.asdict(work), **found}
        print(text(name, work, found), flush=True)
        if options.json is not None:  # after each workload, in case the next one is stopped
            options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
