"""Benchmark epochs of MNIST on every backend, and with alternatives to this package.

    pip install -e '.[jax,torch]' scikit-learn
    python scripts/benchmarks/bench.py --data-dir FOLDER
    python scripts/benchmarks/bench.py --workloads A,C --peers ours-numpy,sklearn --memory
    python scripts/benchmarks/bench.py --device cuda --json results.json

FOLDER contains the four files of MNIST; missing ones are downloaded into it.

Measurement: each peer trains in its own process (`bench_peers.py`), so that thread pools do not
interfere. The processes take turns, epoch by epoch and in a new order in each round, so that other
work on the machine affects all of them. (It slows down threads that wait for each other far more
than single ones: use ``--threads 1`` on a busy machine.) The result of a peer is the median over
the rounds of the ratio of its seconds to those of the reference (`ours-numpy`) in the same round;
above 1 it is slower. The first epoch is not counted; its additional time, mostly compilation, is
reported separately.

Fairness: all peers start from the same weights and data, and use the rows in the same order. The
loss on the training rows and the accuracy on the test set are computed by the same code for all,
after the first and the last epoch. A peer gets no ratio if its loss after the first epoch or its
accuracy after the last differs too much from the reference. (The loss after the last epoch is only
shown: float32 rounding errors grow, and after some ten thousand steps of workload A the losses of
two libraries differ by several percent, though every step is the same.) scikit-learn has its own
loss and shuffles, so only its accuracy is compared.

The peers ``ours-*`` call `backprop_xp.fit` with its default settings. The second table of a
workload compares them with everything optional turned off (``ours-*-bare``). The summary at the end
gives the seconds of ours relative to those of the best other peer, again as the median over the
rounds. The exit code is 1 if one of ours failed or did not learn the same.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bench_job import SEED, WORKLOADS, Job, Workload, as_file, weights_in
from bench_peers import PEERS

from backprop_xp import Layer, Network, initial_parameters, load_mnist
from backprop_xp.data.targets import one_hot
from backprop_xp.nn.losses import get_loss
from backprop_xp.training.evaluation import evaluate

REFERENCE = "ours-numpy"
OWN_LOSS = {"sklearn"}
"""Peers with a different loss or different shuffles."""

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NPROC",  # the size of the thread pool of XLA
)
STEERING = ("OPENBLAS_", "OMP_", "MKL_", "KMP_", "GOMP_", "XLA_", "JAX_", "MALLOC_")
"""Prefixes of environment variables that change how the libraries work; they are reported."""

UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Variables that make OpenBLAS take another processor for this one; no peer runs with them."""

ONE_THREAD = {"torch-eager-1"}
"""Peers that run with one thread on the CPU, whatever ``--threads`` is."""

PACKAGES = ("backprop-xp", "numpy", "scipy", "jax", "jaxlib", "torch", "scikit-learn", "cupy")


class Rows(NamedTuple):
    """Inputs in float32, and labels."""

    x: np.ndarray
    y: np.ndarray


class Worker:
    """A process that trains one peer, one epoch per request."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.memory = 0
        self.trouble = ""
        environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(job.threads))
        for name in UNSET:
            environment.pop(name, None)
        environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # several share the GPU
        if job.device == "cpu":
            environment["JAX_PLATFORMS"] = "cpu"
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("bench_peers.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self.send(asdict(job))

    def send(self, message: Any) -> None:
        """Send a message, unless the process has ended."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(message), file=self.process.stdin, flush=True)

    def ask(self, message: Any = None) -> dict[str, Any]:
        """Send a message, if any, and wait for the next reply; record errors."""
        if message is not None:
            self.send(message)
        assert self.process.stdout is not None
        if line := self.process.stdout.readline():
            reply: dict[str, Any] = json.loads(line)
        else:
            reply = {"error": f"the process ended with exit code {self.process.wait()}"}
        for kind in ("missing", "error"):
            if kind in reply:
                self.trouble = f"{kind}: {reply[kind].strip().splitlines()[0]}"
        return reply

    def epoch(self) -> None:
        """Train one epoch."""
        reply = self.ask("epoch")
        if "seconds" in reply:
            self.seconds.append(reply["seconds"])
            self.cpu_seconds.append(reply["cpu_seconds"])

    def finish(self) -> None:
        """Wait until the process has saved its weights."""
        self.memory = self.ask().get("memory", 0)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


def train_all(
    name: str,
    peers: Sequence[str],
    options: argparse.Namespace,
    folder: Path,
    train: Rows,
    test: Rows,
) -> list[dict[str, Any]]:
    """Run a workload on all peers in turns and return a record for each."""
    work = WORKLOADS[name]
    rows = Rows(train.x[: work.samples], train.y[: work.samples])
    parameters = initial_parameters(network_of(work), SEED, xp=np, dtype=np.float32)
    weights = as_file([(layer.weights, layer.bias) for layer in parameters])
    np.savez(folder / f"{name}.npz", x=rows.x, y=rows.y, **weights)

    workers: list[Worker] = []
    try:
        for peer in peers:
            threads = 1 if peer in ONE_THREAD else options.threads
            job = Job(peer, name, options.device, threads, options.rounds + 1, str(folder))
            workers.append(Worker(job))
        for worker in workers:  # they start side by side
            worker.ask()
        for epoch in range(options.rounds + 1):
            for worker in random.Random(epoch).sample(workers, len(workers)):
                if not worker.trouble:
                    time.sleep(options.pause)  # until the threads of the previous one sleep
                    worker.epoch()
            print(f"{name}: epoch {epoch + 1} of {options.rounds + 1}", file=sys.stderr)
        records = []
        for worker in workers:
            if not worker.trouble:
                worker.finish()
            record = {
                "peer": worker.job.peer,
                "title": PEERS[worker.job.peer][0],
                "trouble": worker.trouble,
                "seconds": worker.seconds,
                "cpu_seconds": worker.cpu_seconds,
                "memory_bytes": worker.memory,
            }
            if not worker.trouble:
                record |= learned(worker.job, rows, test)
            records.append(record)
        return records
    finally:
        for worker in workers:
            worker.close()


def network_of(work: Workload) -> Network:
    """Return the network of a workload."""
    return Network(work.sizes, (*[work.hidden] * (len(work.sizes) - 2), work.output))


def learned(job: Job, train: Rows, test: Rows) -> dict[str, float]:
    """Return the losses on the training rows and the accuracies on the test set."""
    found = {}
    for when in ("first", "last"):
        with np.load(job.saved(when)) as file:
            layers = [Layer(w, b) for w, b in weights_in(file)]
        network, loss = network_of(job.work), get_loss(job.work.loss)
        for part, (x, y) in {"train": train, "test": test}.items():
            targets = one_hot(y, job.work.sizes[-1], dtype=np.float32, xp=np)
            measured = evaluate(network, loss, layers, x, targets, xp=np)
            found[f"{part}_accuracy_{when}"] = measured["accuracy"]
            if job.peer not in OWN_LOSS:
                found[f"{part}_loss_{when}"] = measured["loss"]
    return found


def compare(
    record: dict[str, Any], reference: dict[str, Any], loss_limit: float, accuracy_limit: float
) -> None:
    """Add the ratio to the reference to a record, or the reason why there is none."""
    record["seconds_median"] = statistics.median(record["seconds"][1:])
    record["first_epoch_extra"] = record["seconds"][0] - record["seconds_median"]
    for key, limit in (
        ("train_loss_first", loss_limit * reference["train_loss_first"]),
        ("test_accuracy_last", accuracy_limit),
    ):
        if key in record and abs(record[key] - reference[key]) > limit:
            difference = f"{key} {record[key]:.5g}, not {reference[key]:.5g}"
            record["trouble"] = f"did not learn the same: {difference}"
            return
    ratios = ratios_of(record, reference)
    record["ratio"] = statistics.median(ratios)
    record["ratio_lowest"], record["ratio_highest"] = min(ratios), max(ratios)


def ratios_of(record: dict[str, Any], other: dict[str, Any]) -> list[float]:
    """Return the ratio of the seconds of two peers in each round that is counted."""
    pairs = zip(record["seconds"][1:], other["seconds"][1:], strict=True)
    return [mine / others for mine, others in pairs]


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return ours relative to the best other peer, and the default settings relative to bare.

    The latter is given for the median round and for the sum of all: diagnostics are not measured in
    every epoch, and the median may leave them out.
    """
    found = {record["peer"]: record for record in records if "ratio" in record}
    others = [record for peer, record in found.items() if not peer.startswith("ours-")]
    ours = [peer for peer in found if peer.startswith("ours-") and not peer.endswith("-bare")]
    result: dict[str, Any] = {}
    if others:
        best = min(others, key=lambda record: record["ratio"])
        relative = {peer: statistics.median(ratios_of(found[peer], best)) for peer in ours}
        backend = min(relative, key=lambda peer: relative[peer])
        result = {"best_peer": best["peer"], "to_best_peer": relative, "best_of_ours": backend}
    result["to_bare"] = {}
    for peer in ours:
        if f"{peer}-bare" in found:
            bare = found[f"{peer}-bare"]
            ratios = ratios_of(found[peer], bare)
            total = sum(found[peer]["seconds"][1:]) / sum(bare["seconds"][1:])
            result["to_bare"][peer] = {
                "median": statistics.median(ratios),
                "lowest": min(ratios),
                "highest": max(ratios),
                "total": total,
            }
    return result


def markdown(lines: list[list[str]]) -> str:
    """Return a Markdown table; the first line is the header."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rows = [lines[0], ["-" * width for width in widths], *lines[1:]]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        for row in rows
    )


def bare_table(records: list[dict[str, Any]], to_bare: dict[str, Any]) -> str:
    """Return ours with everything optional turned off, and the cost of the default settings."""
    found = {record["peer"]: record for record in records}
    lines = [
        ["peer", "default", "bare", "default / bare", "lowest to highest", "sum of all epochs"]
    ]
    for peer, ratio in to_bare.items():
        lines.append(
            [
                found[peer]["title"],
                f"{found[peer]['seconds_median']:.3f} s",
                f"{found[f'{peer}-bare']['seconds_median']:.3f} s",
                f"{ratio['median']:.3f}",
                f"{ratio['lowest']:.3f} to {ratio['highest']:.3f}",
                f"{ratio['total']:.3f}",
            ]
        )
    return f"Default settings, and everything optional turned off (bare):\n\n{markdown(lines)}"


def summary_table(summaries: dict[str, dict[str, Any]]) -> str:
    """Return the summaries of all workloads, one per line."""
    found = [name for one in summaries.values() for name in one.get("to_best_peer", {})]
    ours = list(dict.fromkeys(found))
    lines = [["workload", "best peer", *ours, "best of ours"]]
    for workload, one in summaries.items():
        if "best_peer" in one:
            relative = one["to_best_peer"]
            cells = [f"{relative[peer]:.2f}" if peer in relative else "–" for peer in ours]
            best = f"{one['best_of_ours']} {relative[one['best_of_ours']]:.2f}"
            lines.append([workload, one["best_peer"], *cells, best])
    return f"### Summary: seconds divided by those of the best peer\n\n{markdown(lines)}"


def table(name: str, records: list[dict[str, Any]], *, memory: bool, data_bytes: int) -> str:
    """Return the records of a workload as a Markdown table, fastest first."""
    head = ["peer", "s/epoch", "ratio", "lowest to highest", "first epoch", "loss after it"]
    head += ["last loss", "test accuracy"]
    lines = [[*head, *(["memory", "of the data"] if memory else [])]]
    for record in sorted(records, key=lambda record: record.get("ratio", float("inf"))):
        if "ratio" not in record or record["peer"].endswith("-bare"):
            continue
        losses = [record.get(f"train_loss_{when}") for when in ("first", "last")]
        cells = [
            record["title"],
            f"{record['seconds_median']:.3f}",
            f"{record['ratio']:.2f}",
            f"{record['ratio_lowest']:.2f} to {record['ratio_highest']:.2f}",
            f"{max(record['first_epoch_extra'], 0.0):+.2f} s",
            *(f"{loss:.5f}" if loss else "different" for loss in losses),
            f"{record['test_accuracy_last']:.2%}",
        ]
        if memory:
            size = record["memory_bytes"]
            cells += [f"{size / 1e6:.0f} MB", f"{size / data_bytes:.2f}"]
        lines.append(cells)
    text = [f"### {name}: {WORKLOADS[name]}", "", markdown(lines)]
    if troubled := [record for record in records if "ratio" not in record]:
        text += ["", *(f"- {record['title']}: {record['trouble']}" for record in troubled)]
    return "\n".join(text)


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """Return a description of the machine and the versions of the packages."""
    processor = platform.processor()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line for line in lines if line.startswith("model name")).split(": ")[1]
    graphics = None
    if options.device != "cpu":
        with contextlib.suppress(OSError):
            command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
            graphics = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    versions = {}
    for package in (*PACKAGES, "cupy-cuda12x", "cupy-cuda13x"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "gpu": graphics,
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": versions,
        "variables": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(STEERING) and name not in THREAD_VARIABLES
        },
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options."""

    def chosen_from(known: Sequence[str]) -> Any:
        def names(text: str) -> list[str]:
            wanted = text.split(",")
            if unknown := [name for name in wanted if name not in known]:
                raise argparse.ArgumentTypeError(f"{unknown[0]!r}; choose from {', '.join(known)}")
            return wanted

        return names

    parser = argparse.ArgumentParser(
        description="Train on MNIST with every backend, and with alternatives to this package."
    )
    add = parser.add_argument
    add("--workloads", type=chosen_from(list(WORKLOADS)), default=list(WORKLOADS), metavar="A,B,..")
    add("--peers", type=chosen_from(list(PEERS)), default=list(PEERS), metavar="NAME,..")
    add("--rounds", type=int, default=9, help="number of epochs that are counted")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add(
        "--threads",
        type=int,
        default=os.cpu_count(),
        help="threads per process; default: all cores",
    )
    add("--data-dir", help="folder with the MNIST files; default: BACKPROP_XP_DATA_DIR")
    add("--memory", action="store_true", help="show the peak memory of each process")
    add("--json", type=Path, metavar="FILE", help="file for all results")
    add("--loss-limit", type=float, default=0.02, help="largest relative difference of the loss")
    add("--accuracy-limit", type=float, default=0.02, help="largest difference of the accuracy")
    add("--pause", type=float, default=0.3, help="seconds between two epochs")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    return options


def main() -> None:
    options = parse()
    peers = [REFERENCE, *(peer for peer in options.peers if peer != REFERENCE)]
    # CuPy has no CPU mode, and the threads of the CPU do not matter to a GPU.
    useless = "ours-cupy" if options.device == "cpu" else "torch-eager-1"
    peers = [peer for peer in peers if not peer.startswith(useless)]
    mnist = load_mnist(options.data_dir)
    assert mnist.test is not None
    train, test = (
        Rows(part.inputs.astype(np.float32) / np.float32(255.0), part.targets)
        for part in (mnist.train, mnist.test)
    )
    report: dict[str, Any] = {
        "schema_version": 1,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(options),
        "device": options.device,
        "threads": options.threads,
        "rounds": options.rounds,
        "reference": REFERENCE,
        "loss_limit": options.loss_limit,
        "workloads": {},
    }
    described = report["machine"]
    print(
        f"{described['gpu'] or described['processor']}, {described['cores']} cores, "
        f"{options.threads} threads per process; median of {options.rounds} rounds; "
        f"ratio: seconds divided by those of {PEERS[REFERENCE][0]}"
    )
    if (described["load_before"] or 0.0) > 0.5:
        print(f"note: this machine is busy (load {described['load_before']:.1f})")
    for name in UNSET:
        if described["variables"].pop(name, None) is not None:
            print(f"warning: {name} is set; the peers run without it", file=sys.stderr)
    for name, value in described["variables"].items():
        print(f"note: {name}={value} is set, which may change the speed of a library")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for name in options.workloads:
            records = train_all(name, peers, options, Path(folder), train, test)
            reference = records[0]
            if reference["trouble"]:
                raise SystemExit(f"{PEERS[REFERENCE][0]}: {reference['trouble']}")
            for record in records:
                if not record["trouble"]:
                    compare(record, reference, options.loss_limit, options.accuracy_limit)
                ours = record["peer"].startswith("ours-")
                failed |= ours and record["trouble"].startswith(("error", "did not"))
            data_bytes = WORKLOADS[name].samples * train.x.shape[1] * train.x.itemsize
            found = summary(records)
            text = table(name, records, memory=options.memory, data_bytes=data_bytes)
            print(f"\n{text}", flush=True)
            if found["to_bare"]:
                print(f"\n{bare_table(records, found['to_bare'])}", flush=True)
            report["workloads"][name] = {
                **asdict(WORKLOADS[name]),
                "data_bytes": data_bytes,
                "records": records,
                "summary": found,
            }
            if options.json is not None:  # after each workload, in case the next one is stopped
                text = json.dumps(report, indent=1) + "\n"
                options.json.write_text(text, encoding="utf-8")
    summaries = {name: workload["summary"] for name, workload in report["workloads"].items()}
    if any("best_peer" in one for one in summaries.values()):
        print(f"\n{summary_table(summaries)}")
    raise SystemExit(int(failed))


if __name__ == "__main__":
    main()
