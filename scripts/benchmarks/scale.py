"""Measure how time and memory grow with the batch size and with the width of a layer.

    python scripts/benchmarks/scale.py
    python scripts/benchmarks/scale.py --device cuda --json scale.json --plot scale.png
    python scripts/benchmarks/scale.py --widths 32,512,4096 --batches 16,256,4096 --seconds 2

Each point trains 784-width-10 (ReLU, softmax, Adam, float32) on random rows. Time is the median of
the epochs after the first, per sample. Memory is the peak of a training run without its inputs,
next to the minimum: targets, parameters, gradients, Adam's two arrays, and one batch with its
tape. It is measured for NumPy's arrays, CuPy's pool and PyTorch on a GPU. The plot needs
matplotlib.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl
from bench import machine

from backprop_xp import Network, fit, select_device
from backprop_xp.backend.devices import Placement

INPUTS, OUTPUTS, ROWS = 784, 10, 8192


def train(width: int, batch: int, epochs: int, data: tuple[Any, Any], where: Placement) -> Any:
    """Train, and return the seconds of each epoch."""
    network = Network((INPUTS, width, OUTPUTS), ("relu", "softmax"))
    settings = {"optimizer": "adam", "batch_size": batch, "epochs": epochs, "seed": 0}
    quick = {"evaluate_training": False, "diagnostics": False}
    state = fit(network, data, device=where, dtype="float32", **settings, **quick)
    return [record["seconds"] for record in state.history]


def peak_of(run: Callable[[], Any], where: Placement) -> int | None:
    """Return the peak memory of a training run in bytes, or None if it cannot be measured."""
    if where.backend == "numpy":
        tracemalloc.start()
        run()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak
    if where.backend == "cupy":
        pool = where.xp.get_default_memory_pool()
        pool.free_all_blocks()
        run()
        return int(pool.total_bytes())
    if where.backend == "torch" and str(where.device).startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        run()
        return int(torch.cuda.max_memory_allocated())
    return None


def needed(width: int, batch: int, rows: int) -> int:
    """Return the minimum memory of a training run in bytes, without its inputs, in float32."""
    parameters = width * (INPUTS + 1) + OUTPUTS * (width + 1)
    tape = INPUTS + OUTPUTS + 2 * (width + OUTPUTS)  # the batch, z and a
    return 4 * (rows * OUTPUTS + 4 * parameters + batch * tape)


def point(width: int, batch: int, seconds: float, where: Placement) -> dict[str, Any]:
    """Measure one width at one batch size."""
    rows = min(ROWS, max(512, 8 * batch))
    rng = np.random.default_rng(0)
    x = where.xp.asarray(rng.random((rows, INPUTS), dtype=np.float32), device=where.device)
    data = x, rng.integers(0, OUTPUTS, rows)
    probe = train(width, batch, 2, data, where)[-1]
    epochs = 1 + max(1, min(30, round(seconds / probe)))
    taken = train(width, batch, epochs, data, where)[1:]
    peak = peak_of(lambda: train(width, batch, 1, data, where), where)
    if peak is not None and where.backend != "numpy":  # NumPy's inputs were allocated before
        peak -= rows * INPUTS * 4
    return {
        "width": width,
        "batch": batch,
        "rows": rows,
        "microseconds": statistics.median(taken) / rows * 1e6,
        "peak_bytes": peak,
        "needed_bytes": needed(width, batch, rows),
    }


def table(points: Sequence[dict[str, Any]], title: str, text: Callable[[Any], str]) -> str:
    """Return a table of widths by batch sizes."""
    widths, batches = (sorted({one[name] for one in points}) for name in ("width", "batch"))
    cell = {(one["width"], one["batch"]): text(one) for one in points}
    lines = [title, "width \\ batch" + "".join(f"{batch:>14}" for batch in batches)]
    for width in widths:
        lines.append(f"{width:>13}" + "".join(f"{cell[width, batch]:>14}" for batch in batches))
    return "\n".join(lines)


def megabytes(one: dict[str, Any]) -> str:
    measured = "–" if one["peak_bytes"] is None else f"{one['peak_bytes'] / 1e6:.1f}"
    return f"{measured} / {one['needed_bytes'] / 1e6:.1f}"


def plot(points: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw time and memory over batch size and width."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    kinds = {"microseconds": "µs per sample", "peak_bytes": "peak memory besides the inputs, MB"}
    shown = [kind for kind in kinds if points[0][kind] is not None]
    figure, axes = plt.subplots(
        len(shown), 2, figsize=(10, 4 * len(shown)), squeeze=False, layout="constrained"
    )
    for row, kind in zip(axes, shown, strict=True):
        for panel, (along, each) in zip(row, (("batch", "width"), ("width", "batch")), strict=True):
            values = sorted({one[each] for one in points})
            colors = plt.get_cmap("viridis")(np.linspace(0.0, 0.85, len(values)))
            for value, color in zip(values, colors, strict=True):
                line = sorted((p[along], p[kind]) for p in points if p[each] == value)
                scale = 1e6 if kind == "peak_bytes" else 1.0
                xs, ys = [x for x, _ in line], [y / scale for _, y in line]
                panel.plot(xs, ys, "o-", color=color, label=f"{each} {value}", markersize=4)
            panel.set_xscale("log", base=2)
            panel.set_yscale("log")
            panel.set_xlabel("batch size" if along == "batch" else "neurons of the hidden layer")
            panel.set_ylabel(kinds[kind])
            panel.grid(alpha=0.3)
            panel.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    def numbers(text: str) -> list[int]:
        found = [int(number) for number in text.split(",")]
        if min(found) < 1:
            raise argparse.ArgumentTypeError(f"{text!r}: numbers must be at least 1")
        return found

    parser = argparse.ArgumentParser(description="Measure time and memory by batch size and width.")
    add = parser.add_argument
    add("--widths", type=numbers, default=[16, 64, 256, 1024], help="neurons of the hidden layer")
    add("--batches", type=numbers, default=[1, 8, 64, 512, 4096], help="batch sizes")
    add("--seconds", type=float, default=0.5, help="seconds of training at each point")
    add("--device", default="cpu", help="cpu, cuda or cuda:N")
    add("--backend", default=None, help="numpy, cupy, jax or torch")
    add(
        "--threads",
        type=int,
        default=os.cpu_count(),
        help="BLAS threads; default: all cores",
    )
    add("--json", type=Path, help="file for the results")
    add("--plot", type=Path, help="file for the plot")
    options = parser.parse_args()
    where = select_device(options.device, options.backend, dtype="float32")
    found = machine(options)
    print(
        f"{where.backend} on {where.name}; {found['gpu'] or found['processor']}, {found['cores']} "
        f"cores, {options.threads} threads; load before {found['load_before']}"
    )
    with where.activate(), threadpoolctl.threadpool_limits(options.threads, user_api="blas"):
        train(4, 8, 1, (np.zeros((8, INPUTS), np.float32), np.zeros(8, np.int64)), where)
        points = [
            point(width, batch, options.seconds, where)
            for width in options.widths
            for batch in options.batches
        ]
    print(table(points, "\nmicroseconds per sample", lambda one: f"{one['microseconds']:.2f}"))
    print(table(points, "\nmegabytes without the inputs: peak / minimum", megabytes))
    if options.json is not None:
        report = {"machine": found, "backend": where.backend, "device": where.name}
        report |= {"threads": options.threads, "points": points}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.plot is not None:
        plot(points, options.plot)


if __name__ == "__main__":
    main()
