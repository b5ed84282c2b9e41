"""Run a record of `backprop-xp reproduce` until it ends or the time is up.

    python scripts/benchmarks/record.py --seconds 300 --data-dir FOLDER --json record.json

Training stops after the epoch in which the time is up, and what it has learned is tested. The file
is also written about every ten seconds before that. The exit code is 1 only if a complete run does
not confirm the record.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from bench import machine

from backprop_xp import TrainState, select_device
from backprop_xp.experiments.experiment import experiments, get_experiment


def main() -> None:
    records = [name for name, one in experiments().items() if one.epochs]
    parser = argparse.ArgumentParser(description="Run a record for a limited time.")
    add = parser.add_argument
    add("--record", choices=records, default="mnist-record-deep")
    add("--seconds", type=float, default=300.0, help="time after which training stops")
    add("--data-dir", help="folder with the MNIST files; default: BACKPROP_XP_DATA_DIR")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--backend", help="numpy, cupy, jax or torch")
    add("--json", type=Path, metavar="FILE", help="file for the result")
    options = parser.parse_args()
    started = time.monotonic()
    record = get_experiment(options.record)
    where = select_device(options.device, options.backend, dtype="float32")
    print(f"{record.name} on {where.name} ({where.backend}): {record.settings}", flush=True)
    result: dict[str, Any] = {"machine": machine(options), "device": where.name}
    result |= {"record": record.name, "epochs": record.epochs}
    written = started

    def write(**found: Any) -> None:
        result.update(found)
        if options.json is not None:
            options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    def on_epoch(state: TrainState) -> bool:
        nonlocal written
        now, latest = time.monotonic(), state.history[-1]
        done = now >= started + options.seconds
        result["epochs_done"] = state.epoch
        if done or now >= written + 10.0 or state.epoch in (1, record.epochs):
            written = now
            print(
                f"epoch {state.epoch} of {record.epochs}: loss {latest['loss']:.5f}, "
                f"{latest['seconds']:.2f} s, {now - started:.0f} s in all",
                flush=True,
            )
            write(loss=latest["loss"], seconds_of_epoch=latest["seconds"], seconds=now - started)
        return done

    outcome = record.run(options.data_dir, where, on_epoch)
    complete = result["epochs_done"] == record.epochs
    write(complete=complete, measured=outcome.measured, verdict=outcome.verdict)
    if complete:
        print(f"{'confirmed' if outcome.passed else 'NOT confirmed'}: {outcome.verdict}")
        raise SystemExit(int(not outcome.passed))
    print(f"stopped after {result['epochs_done']} of {record.epochs} epochs: {outcome.verdict}")


if __name__ == "__main__":
    main()
