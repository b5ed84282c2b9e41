"""Count what a training step and an epoch ask of CUDA, over the emulated runtime.

    scripts/cuda_on_cpu/run VENV python scripts/benchmarks/cuda_launches.py

For each case: the kernels, cuBLAS calls and graphs that a step launches, what an epoch does besides
its steps, its copies and synchronizations, and the host's time for a step while the device does
nothing (the median of 15 times). The table is Markdown.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from typing import Any, NamedTuple

import cuda_on_cpu
import numpy as np
from bench_job import WORKLOADS

from backprop_xp import Network, select_device
from backprop_xp.training.settings import TrainingSettings
from backprop_xp.training.state import TrainState, initial_state
from backprop_xp.training.step import TrainingStep
from backprop_xp.training.trainer import Trainer
from backprop_xp.training.training_data import TrainingData

SHORT, LONG = 10, 60
"""Steps of two epochs; their difference leaves out what is done once in an epoch."""

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "A": ("A", {}),
    "C": ("C", {}),
    "C, dropout 0.5": ("C", {"dropout": 0.5}),
    "C, l2 and clip_norm": ("C", {"l2": 1e-3, "clip_norm": 1.0}),
}

COLUMNS = (
    "case",
    "kernels",
    "cuBLAS",
    "graphs",
    "host µs",
    "epoch: other kernels",
    "copies to the device",
    "copies from it",
    "synchronizations",
)


class Run(NamedTuple):
    """A training run of epochs of some steps."""

    trainer: Trainer
    state: TrainState

    def count_epoch(self) -> Counter[str]:
        """Return what an epoch asks of CUDA, by kind."""
        cuda_on_cpu.reset()
        self.trainer.run_epoch(self.state)
        return Counter(cuda_on_cpu.summary(cuda_on_cpu.counts()))

    def seconds(self) -> float:
        """Return the host's time for the steps of an epoch while the device does nothing."""
        rates = [0.1] * self.trainer.data.steps
        with cuda_on_cpu.idle():
            started = time.perf_counter()
            self.trainer.run_steps(self.state, rates)
            return time.perf_counter() - started


def begin(workload: str, steps: int, options: dict[str, Any]) -> Run:
    """Return a training run after its first epoch, in which its steps are compiled."""
    work = WORKLOADS[workload]
    rng = np.random.default_rng(0)
    n = steps * work.batch
    data = rng.random((n, work.sizes[0]), dtype=np.float32), rng.integers(0, work.sizes[-1], n)
    network = Network(work.sizes, (*[work.hidden] * (len(work.sizes) - 2), work.output))
    settings = TrainingSettings.of(
        {
            **{"loss": work.loss, "optimizer": work.optimizer, "batch_size": work.batch},
            **{"learning_rate": work.learning_rate, "seed": 0, **options},
        }
    )
    placement = select_device("cuda", "cupy")
    loaded = TrainingData.of(network, settings, placement, data)
    step = TrainingStep.of(network, settings, placement, n=n, seed=0)
    trainer = Trainer(step, loaded, settings)
    return Run(trainer, trainer.run_epoch(initial_state(network, settings, placement)))


def measure(workload: str, options: dict[str, Any]) -> list[str]:
    """Return a row of the table without the name of the case."""
    short, long = (begin(workload, steps, options) for steps in (SHORT, LONG))
    few, many = short.count_epoch(), long.count_epoch()
    per_step = {kind: (many[kind] - few[kind]) / (LONG - SHORT) for kind in many}
    times = [(long.seconds() - short.seconds()) / (LONG - SHORT) * 1e6 for _ in range(15)]
    kernels, products, graphs = (per_step.get(kind, 0) for kind in ("kernel", "blas", "graph"))
    synchronized = sum(count for kind, count in many.items() if kind.startswith("sync:"))
    return [
        *(f"{number:g}" for number in (kernels, products, graphs)),
        f"{statistics.median(times):.0f}",
        f"{many['kernel'] - kernels * LONG:g}",
        *(str(count) for count in (many["copy:h2d"], many["copy:d2h"], synchronized)),
    ]


def main() -> None:
    print(f"| {' | '.join(COLUMNS)} |")
    print(f"|{'---|' * len(COLUMNS)}")
    for graph in (False, True):
        for name, (workload, options) in CASES.items():
            title = f"{name}, as a graph" if graph else name
            row = measure(workload, {**options, "cuda_graph": graph})
            print(f"| {' | '.join([title, *row])} |")


if __name__ == "__main__":
    main()
