"""Measure what a search costs on each of joblib's backends: time, bytes sent, and memory.

    python scripts/benchmarks/search_cost.py
    python scripts/benchmarks/search_cost.py --rows 100000 --columns 200 --candidates 8

It needs Linux, ``pip install 'dask[distributed]'`` and a machine without other traffic on its
loopback interface, on which the bytes sent to Dask's workers are counted. The bytes that joblib's
own processes read from their pipes are counted by the kernel. Memory is that of a worker (of this
process for threads) above that before the search, without pages shared with others, such as
memory-mapped files; it is sampled. All searches have two workers, and must find the same scores.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import psutil
from bench import machine
from dask.distributed import Client, LocalCluster
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from backprop_xp.estimators import MLPClassifier

FOLDS = 3


def searched(X: Any, y: Any, candidates: int, jobs: int | None) -> Any:
    """Run a search, and return it."""

    def look(model: Any, metrics: dict[str, Any]) -> None:
        import threadpoolctl  # here, since the functions are sent to the workers

        libraries = threadpoolctl.threadpool_info()
        threads = [one["num_threads"] for one in libraries if one["user_api"] == "blas"]
        model.threads_ = max(threads, default=1)

    def score(model: Any, X: Any, y: Any) -> dict[str, float]:
        return {"accuracy": model.score(X, y), "threads": model.threads_}

    # No epoch is long enough to hide what it costs to send the data.
    model = MLPClassifier((16,), batch_size=256, max_iter=2, random_state=0, callback=look)
    grid = {"alpha": np.geomspace(1e-5, 1.0, candidates).tolist()}
    return GridSearchCV(model, grid, cv=FOLDS, n_jobs=jobs, scoring=score, refit=False).fit(X, y)


def loopback() -> int:
    """Return the number of bytes sent on the loopback interface so far."""
    for line in Path("/proc/net/dev").read_text(encoding="utf-8").splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "lo":
            return int(numbers.split()[0])
    raise SystemExit("there is no loopback interface to count bytes on")


def read_by(processes: list[psutil.Process]) -> int:
    """Return the number of bytes that processes have read from files and pipes so far."""
    return sum(process.io_counters().read_chars for process in processes)


def private(process: psutil.Process) -> int:
    """Return the bytes of memory that a process shares with no other."""
    memory = process.memory_info()
    return int(memory.rss - memory.shared)


@contextmanager
def sampled(processes: list[psutil.Process]) -> Iterator[Callable[[], int]]:
    """Yield a function that returns the largest growth of the memory of one of the processes."""
    before = {process: private(process) for process in processes}
    largest = 0
    done = threading.Event()

    def sample() -> None:
        nonlocal largest
        while not done.wait(0.005):
            largest = max(largest, *(private(one) - before[one] for one in processes))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield lambda: largest
    finally:
        done.set()
        sampler.join()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a search costs on each backend.")
    add = parser.add_argument
    add("--rows", type=int, default=60_000)
    add("--columns", type=int, default=200)
    add("--candidates", type=int, default=6, help=f"each is trained {FOLDS} times")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    os.environ["PYTHONWARNINGS"] = "ignore"  # of the workers
    rng = np.random.default_rng(0)
    X = rng.normal(size=(options.rows, options.columns)).astype(np.float32)
    y = (X[:, 0] > X[:, 1]).astype(np.int64)
    small, tasks = (X[:2000], y[:2000]), options.candidates * FOLDS
    found = machine(argparse.Namespace(device="cpu"))
    print(
        f"{found['processor']}, {found['cores']} cores; load before {found['load_before']}\n"
        f"inputs of {X.nbytes / 1e6:.0f} MB, {tasks} tasks, two workers\n"
        f"{'backend':28}{'seconds':>8}{'MB sent':>9}{'per task':>10}{'memory, MB':>12}"
        f"{'BLAS threads':>14}"
    )
    main_process, scores = psutil.Process(), []

    def measure(name: str, backend: str, jobs: int | None = None, **settings: Any) -> None:
        kept = {key: value for key, value in settings.items() if key != "scatter"}
        with joblib.parallel_config(backend, **kept):
            searched(*small, 4, jobs)  # starts the workers, and imports what they need
        workers = [] if backend in ("threading", "sequential") else children()
        sent = loopback if backend == "dask" else lambda: read_by(workers)
        before, started = sent(), time.perf_counter()
        with sampled(workers or [main_process]) as largest:
            with joblib.parallel_config(backend, **settings):
                search = searched(X, y, options.candidates, jobs)
            seconds, memory = time.perf_counter() - started, largest()
        total = (sent() - before) / 1e6
        scores.append(search.cv_results_["mean_test_accuracy"])
        threads = search.cv_results_["mean_test_threads"].max()
        print(
            f"{name:28}{seconds:8.1f}{total:9.1f}{total / tasks:10.1f}{memory / 1e6:12.0f}"
            f"{threads:14.0f}",
            flush=True,
        )

    def children() -> list[psutil.Process]:
        return main_process.children(recursive=True)

    measure("one process", "sequential")
    measure("threading", "threading", 2)
    measure("loky", "loky", 2)
    measure("loky, max_nbytes=None", "loky", 2, max_nbytes=None)  # pickles X for each task
    joblib.externals.loky.get_reusable_executor().shutdown()
    variables = dict(os.environ)  # Dask's nannies add to them
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster),
    ):
        measure("dask", "dask")
        measure("dask, scatter=[X, y]", "dask", scatter=[X, y])
    os.environ.clear()
    os.environ.update(variables)
    largest = max(float(np.abs(one - scores[0]).max()) for one in scores)
    print(f"largest difference of a score: {largest:.1e}")
    raise SystemExit(int(largest > 1e-3))  # other numbers of BLAS threads round differently


if __name__ == "__main__":
    main()
