"""The benchmark's workloads, the job a worker is given, and the turns in which it trains.

A worker speaks one JSON object a line. It is told its job; it replies when its data is in place;
told ``"epoch"``, it trains one epoch and replies with the seconds that passed and those its threads
computed; after the last one it replies with its peak memory. It saves its weights after the first
epoch and after the last.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from backprop_xp.backend.random import permutation

SEED = 1
"""All initial weights and shuffles follow from it."""

Weights = list[tuple[np.ndarray, np.ndarray]]
"""For each layer the weights, shape (n_out, n_in), and the bias, shape (n_out,)."""


@dataclass(frozen=True)
class Workload:
    """A network, how it is trained, and how many rows of MNIST make an epoch."""

    sizes: tuple[int, ...]
    hidden: str
    output: str
    loss: str
    optimizer: str
    learning_rate: float
    batch: int
    samples: int

    def __str__(self) -> str:
        sizes = "-".join(map(str, self.sizes))
        return (
            f"{sizes}, {self.hidden}, {self.output} + {self.loss}, {self.optimizer} "
            f"{self.learning_rate:g}, batch {self.batch}, {self.samples:,} samples an epoch"
        )


WORKLOADS = {
    "A": Workload(
        (784, 30, 10), "sigmoid", "sigmoid", "half_squared_error", "sgd", 3.0, 10, 50_000
    ),
    "B": Workload(
        (784, 100, 10), "sigmoid", "sigmoid", "binary_cross_entropy", "sgd", 0.5, 10, 50_000
    ),
    "C": Workload(
        (784, 256, 128, 10), "relu", "softmax", "cross_entropy", "adam", 1e-3, 128, 20_480
    ),
    "D": Workload(
        (784, 2048, 2048, 10), "relu", "softmax", "cross_entropy", "adam", 1e-4, 512, 5_120
    ),
}


class Data(NamedTuple):
    """What all peers start from: inputs (n, 784), labels (n,), initial weights."""

    x: np.ndarray
    y: np.ndarray
    weights: Weights

    def one_hot(self) -> np.ndarray:
        """Return the labels as rows with a 1 at the place of the class."""
        return np.eye(10, dtype=np.float32)[self.y]


@dataclass(frozen=True)
class Job:
    """What a worker is told: who it is, what to train, where the data is, how often."""

    peer: str
    workload: str
    device: str
    threads: int
    epochs: int
    folder: str

    @property
    def work(self) -> Workload:
        """The workload of that name."""
        return WORKLOADS[self.workload]

    def saved(self, when: str) -> str:
        """Return the file of its weights after the ``"first"`` or the ``"last"`` epoch."""
        return f"{self.folder}/{self.workload}-{self.peer}-{when}.npz"

    def load(self) -> Data:
        """Read the data and the initial weights."""
        with np.load(f"{self.folder}/{self.workload}.npz") as file:
            return Data(file["x"], file["y"], weights_in(file))

    def order(self, epoch: int) -> np.ndarray:
        """Return the order of the rows in an epoch, the same for every peer."""
        rows: np.ndarray = permutation(SEED, epoch, self.work.samples)
        return rows


def weights_in(file: Any) -> Weights:
    """Read what `as_file` named."""
    return [(file[f"w{i}"], file[f"b{i}"]) for i in range(len(file.files)) if f"w{i}" in file]


def as_file(weights: Weights) -> dict[str, np.ndarray]:
    """Name the arrays as they are named in a file."""
    named = {}
    for i, (w, b) in enumerate(weights):
        named |= {f"w{i}": w, f"b{i}": b}
    return named


class Turns:
    """The epochs of a worker, each started by a command and answered with its seconds."""

    def __init__(self, job: Job, channel: Any) -> None:
        self.job = job
        self.channel = channel
        self.memory_of_imports = 0

    def imported(self) -> None:
        """Note the memory of the bare interpreter with its imports."""
        self.memory_of_imports = resident_memory("VmRSS")

    def finished(self) -> None:
        """Reply with the peak memory beyond that of the imports."""
        self.send(memory=resident_memory("VmHWM") - self.memory_of_imports)

    def send(self, **reply: Any) -> None:
        """Write one JSON object."""
        print(json.dumps(reply), file=self.channel, flush=True)

    def epochs(self, weights: Callable[[], Weights]) -> Iterator[int]:
        """Yield the number of each epoch when it is wanted; all is in place when it begins."""
        self.send(ready=True)
        for epoch in range(self.job.epochs):
            if sys.stdin.readline().strip() != '"epoch"':
                raise SystemExit(0)  # the benchmark has ended
            started, cpu_started = time.perf_counter(), time.process_time()
            yield epoch
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
            for when, number in (("first", 0), ("last", self.job.epochs - 1)):
                if epoch == number:
                    np.savez(self.job.saved(when), **as_file(weights()))
            self.send(seconds=seconds, cpu_seconds=cpu)


def resident_memory(field: str) -> int:
    """Return the memory of this process in bytes: ``VmRSS`` as it is now, ``VmHWM`` at its peak.

    Linux lets `resource.getrusage` of a new program begin at the peak of the one that started
    it, so that is taken only where there is nothing better.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            found = {line.split(":")[0]: line.split()[1] for line in status if line[:2] == "Vm"}
        return int(found[field]) * 1024
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
