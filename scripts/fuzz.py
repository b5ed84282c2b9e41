"""Read damaged and forged files of every kind: only errors of the package may come of it.

    python scripts/fuzz.py --files 1000000 --seed 1 --out fuzz

File i of a seed is always the same one. Each is read in a worker process of limited memory, and
may take 5 s. A file with another outcome than success or one of the package's exceptions is kept in
the folder ``--out``, beside a text with its traceback; the exit code is then 1. See
``tests/support/fuzzing.py`` for the files and the readers.
"""

import argparse
import faulthandler
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import fuzzing

KEPT = 20
"""The most files that are kept for a reader and an exception."""

REPORT = 500
"""A worker reports once it has read so many files."""


def file_of(cases, seed, index):
    """Return the case of a file, and its content."""
    case = cases[index % len(cases)]
    return case, case.make(random.Random(f"{seed}-{index}"))


def raise_too_slow(number, frame):
    raise fuzzing.TooSlow


def work(cases, seed, start, stop, skipped, current, pipe):
    """Read files, and send counts and faults; ``current`` always has the number of the file."""
    faulthandler.enable()
    signal.signal(signal.SIGALRM, raise_too_slow)
    counts, faults, slowest = Counter(), [], 0.0
    with fuzzing.limited_memory():
        for index in range(start, stop):
            if index in skipped:
                continue
            current.value = index
            case, content = file_of(cases, seed, index)
            began = time.perf_counter()
            signal.setitimer(signal.ITIMER_REAL, fuzzing.SECONDS)
            try:
                outcome = fuzzing.read(case, content)
            except (Exception, fuzzing.TooSlow) as error:
                signal.setitimer(signal.ITIMER_REAL, 0)
                outcome = f"FAULT {type(error).__name__}"
                faults.append((index, case.name, outcome, traceback.format_exc()))
            signal.setitimer(signal.ITIMER_REAL, 0)
            slowest = max(slowest, time.perf_counter() - began)
            counts[case.name, outcome] += 1
            if index % REPORT == 0:
                pipe.send((index + 1, counts, faults, slowest))
                counts, faults, slowest = Counter(), [], 0.0
        pipe.send((stop, counts, faults, slowest))


def run(cases, seed, files, seconds, keep):
    """Read files until one of the limits; return the counts and the time of the slowest file."""
    counts, done, slowest, began = Counter(), 0, 0.0, time.monotonic()
    told, skipped = began, set()
    current = multiprocessing.Value("q", 0, lock=False)
    while done < files and time.monotonic() - began < seconds:
        here, there = multiprocessing.Pipe(duplex=False)
        worker = multiprocessing.Process(
            target=work, args=(cases, seed, done, files, skipped, current, there)
        )
        worker.start()
        there.close()
        seen, since = -1, time.monotonic()
        while True:
            try:
                if here.poll(1.0):
                    done, found, faults, longest = here.recv()
                    counts.update(found)
                    slowest = max(slowest, longest)
                    for index, name, outcome, text in faults:
                        keep(index, name, outcome, text)
            except EOFError:
                break
            now = time.monotonic()
            if current.value != seen:
                seen, since = current.value, now
            if now - told > 60.0:
                told = now
                print(f"{done:,} files, {done / (now - began):.0f} a second", flush=True)
            stuck = now - since > 4 * fuzzing.SECONDS
            if done >= files or now - began > seconds or stuck:
                worker.kill()
                break
        worker.join()
        here.close()
        if done < files and time.monotonic() - began < seconds:
            # It hung where no signal reaches it, or crashed: the next one leaves this file out.
            index = current.value
            skipped.add(index)
            name = cases[index % len(cases)].name
            outcome = f"FAULT {'hung' if worker.exitcode == -signal.SIGKILL else 'crashed'}"
            counts[name, outcome] += 1
            keep(index, name, outcome, f"exit code {worker.exitcode}")
    return counts, slowest


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=float("inf"), metavar="N")
    parser.add_argument(
        "--files", type=int, metavar="N", help="by default as many as there is time"
    )
    parser.add_argument("--seed", default="0")
    parser.add_argument("--reader", action="append", help="only the readers with this name")
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="where faulty files go")
    parser.add_argument("--show", type=int, metavar="I", help="read file I alone, with a traceback")
    options = parser.parse_args()
    if options.files is None:
        options.files = sys.maxsize if options.minutes < float("inf") else 100_000

    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # much faster than most disks
    folder = Path(tempfile.mkdtemp(prefix="fuzz", dir=memory))
    try:
        cases = fuzzing.cases(folder)
        if options.reader:
            cases = [case for case in cases if case.name in options.reader]
        if options.show is not None:
            case, content = file_of(cases, options.seed, options.show)
            print(case.name, content[:2000])
            print(fuzzing.read(case, content))
            return 0
        kept = Counter()

        def keep(index, name, outcome, text):
            kept[name, outcome] += 1
            if kept[name, outcome] > KEPT:
                return
            case, content = file_of(cases, options.seed, index)
            place = options.out / f"{name} {outcome} {index}".replace(" ", "_").replace(",", "")
            place.mkdir(parents=True, exist_ok=True)
            (place / case.file).write_bytes(content)
            (place / "traceback.txt").write_text(text, encoding="utf-8")

        began = time.monotonic()
        counts, slowest = run(cases, options.seed, options.files, options.minutes * 60.0, keep)
        seconds = time.monotonic() - began
    finally:
        shutil.rmtree(folder)

    outcomes = sorted({outcome for _, outcome in counts}, key=lambda name: ("FAULT" in name, name))
    names = {case.name: None for case in cases}
    rows = [["reader", *outcomes, "files"]]
    for name in names:
        row = [counts[name, outcome] for outcome in outcomes]
        rows.append([name, *(f"{number:,}" for number in (*row, sum(row)))])
    totals = [sum(counts[name, outcome] for name in names) for outcome in outcomes]
    rows.append(["all", *(f"{number:,}" for number in (*totals, sum(totals)))])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]))
    print(
        f"seed {options.seed}: {sum(totals):,} files in {seconds:,.0f} s; the slowest took "
        f"{slowest:.2f} s"
    )
    faults = sum(kept.values())
    print(f"{faults:,} faults, the first of each kind in {options.out}" if faults else "no faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
