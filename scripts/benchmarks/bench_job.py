"""The workloads of the benchmark, the job of a worker, and its protocol.

Messages are JSON, one per line. A worker receives its job and replies when its data is loaded. For
each ``"epoch"`` it receives, it trains one epoch and replies with the elapsed and the CPU seconds;
after the last one it replies with its peak memory. It saves its weights after the first and the
last epoch.
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
"""The seed of all initial weights and shuffles."""

Weights = list[tuple[np.ndarray, np.ndarray]]
"""For each layer the weights, shape (n_out, n_in), and the bias, shape (n_out,)."""


@dataclass(frozen=True)
class Workload:
    """A network, its training settings, and the number of MNIST rows in an epoch."""

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
            f"{self.learning_rate:g}, batch {self.batch}, {self.samples:,} samples per epoch"
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
    """The start of all peers: inputs (n, 784), labels (n,), initial weights."""

    x: np.ndarray
    y: np.ndarray
    weights: Weights

    def one_hot(self) -> np.ndarray:
        """Return the labels one-hot encoded."""
        return np.eye(10, dtype=np.float32)[self.y]


@dataclass(frozen=True)
class Job:
    """The job of a worker: its peer, workload, device, epochs and the folder of the data."""

    peer: str
    workload: str
    device: str
    threads: int
    epochs: int
    folder: str

    @property
    def work(self) -> Workload:
        """The workload itself."""
        return WORKLOADS[self.workload]

    def saved(self, when: str) -> str:
        """Return the path of the weights after the ``"first"`` or the ``"last"`` epoch."""
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
    """Read weights from arrays named by `as_file`."""
    return [(file[f"w{i}"], file[f"b{i}"]) for i in range(len(file.files)) if f"w{i}" in file]


def as_file(weights: Weights) -> dict[str, np.ndarray]:
    """Return the arrays by their names in a file."""
    named = {}
    for i, (w, b) in enumerate(weights):
        named |= {f"w{i}": w, f"b{i}": b}
    return named


class Turns:
    """The epochs of a worker: each starts on a request and ends with a reply."""

    def __init__(self, job: Job, channel: Any) -> None:
        self.job = job
        self.channel = channel
        self.memory_of_imports = 0

    def imported(self) -> None:
        """Record the memory of the interpreter after its imports."""
        self.memory_of_imports = resident_memory("VmRSS")

    def finished(self) -> None:
        """Reply with the peak memory in excess of that of the imports."""
        self.send(memory=resident_memory("VmHWM") - self.memory_of_imports)

    def send(self, **reply: Any) -> None:
        """Write one JSON object."""
        print(json.dumps(reply), file=self.channel, flush=True)

    def epochs(self, weights: Callable[[], Weights]) -> Iterator[int]:
        """Yield the number of each epoch on request; call this when everything is ready."""
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
    """Return the memory of this process in bytes: ``VmRSS`` is current, ``VmHWM`` the peak.

    On Linux the peak of `resource.getrusage` includes that of the parent process, so it is only
    used elsewhere.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            fields = {line.split(":")[0]: line.split()[1] for line in status if line[:2] == "Vm"}
        return int(fields[field]) * 1024
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
