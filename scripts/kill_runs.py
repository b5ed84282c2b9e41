"""Cut off small training runs at random moments, resume them, and compare every bit.

    python scripts/kill_runs.py --runs 1000 --signal KILL --seed 1
    python scripts/kill_runs.py --runs 300 --signal INT --signal TERM --signal HUP --signal USR1
    python scripts/kill_runs.py --runs 300 --fault removed --fault replaced
    sudo python scripts/kill_runs.py --runs 300 --fault full --fault read-only

Each run is ``backprop-xp train ... --out DIR`` in a process of its own, forked from this one, which
has imported everything. One half is cut off at a random time of its life, the other half before a
random line of the code that writes its files. In two of three cases the folder holds an earlier
run, which ``--overwrite`` replaces. Sometimes a second signal follows within 50 ms, and sometimes
the resumed run is cut off, too. Afterwards

- the folder can be read, and settings, history and model are those of one run;
- the files of the earlier run are unchanged, or the new run has a checkpoint, and a model is there;
- after a signal that can be handled, no epoch is missing from the checkpoint;
- ``train --resume DIR`` (or another ``train``, if the run was cut off before its first checkpoint)
  ends with the model and the history of a run that was never interrupted, bit for bit;
- no temporary files are left.

With ``--fault``, the disk is filled (a small one in memory), or the folder is made read-only,
removed or replaced by another one, at such a moment. The run must end as if nothing had happened,
and name the place where it is; ``train --resume PLACE`` then gives the same bits, too.

Faulty folders are kept under ``--out``, and the exit code is then 1.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"  # a fork does not inherit the threads of BLAS

import numpy as np

import backprop_xp.cli.train
import backprop_xp.runs.session  # noqa: F401 - before the first fork
from backprop_xp import BackpropError, cli, load_model
from backprop_xp.data import streaming
from backprop_xp.runs.folder import CHECKPOINT, FILES, HISTORY, MODEL
from backprop_xp.runs.reader import read_run
from backprop_xp.training import checkpoint

SIGNALS = ("KILL", "TERM", "HUP", "INT", "USR1")
FAULTS = ("full", "read-only", "removed", "replaced")

WRITING = ("files.py", "tensor_file.py", "folder.py", "session.py", "interruption.py", "fit.py")
WRITING += ("checkpoint.py", "model_file.py")
"""The modules whose lines are counted for a cut at a line."""

CLEAN_UP = 20.0
"""Seconds after which a process that a signal should have ended is a fault."""


class Kind(NamedTuple):
    """A kind of training run."""

    data: str
    options: str
    every: tuple[str, ...] = ("1 epochs", "3 epochs", "never", "0.02s")
    streamed: bool = False


KINDS = {
    "early stopping": Kind(
        "table.csv", "--label kind --hidden 8 --epochs 60 --patience 4 --learning-rate 0.05"
    ),
    "digits, adam": Kind("digits", "--hidden 16 --epochs 5"),
    "momentum, dropout": Kind(
        "table.csv", "--label kind --hidden 12,8 --optimizer momentum --dropout 0.3 --epochs 25"
    ),
    "plateau": Kind(
        "table.csv",
        "--label width --hidden 8 --plateau-patience 1 --learning-rate 0.1 --epochs 25 "
        "--patience 0",
    ),
    "one cycle": Kind(
        "table.csv", "--label kind --hidden 8 --schedule one_cycle --warm-up 3 --epochs 25"
    ),
    "augmentation": Kind("digits", "--hidden 12 --augment shift --epochs 4"),
    "streamed": Kind(
        "stream",
        "--hidden 8 --epochs 4 --optimizer adam --dropout 0.2 --batch-size 20",
        ("1 epochs", "0.001s", "never"),
        streamed=True,
    ),
}

EARLIER = "--label kind --hidden 5 --epochs 3 --seed 9 --quiet"


class Cut(NamedTuple):
    """When a process is cut off: seconds after its start, or before a line of `WRITING`.

    What is done to it is the number of a signal, or a function.
    """

    at_line: bool
    moments: tuple[float, ...]
    actions: tuple[object, ...]


def write_data(folder):
    """Write a table of three classes that overlap, and a folder of arrays."""
    rng = np.random.default_rng(0)
    kinds = np.arange(120) % 3
    points = rng.normal(size=(120, 2)) + 1.5 * kinds[:, None]
    rows = [f"{a:.4f},{b:.4f},{'abc'[k]}" for (a, b), k in zip(points, kinds, strict=True)]
    (folder / "table.csv").write_text("\n".join(["height,width,kind", *rows]) + "\n")
    (folder / "stream").mkdir()
    np.save(folder / "stream" / "x.npy", rng.normal(size=(600, 6)).astype(np.float32))
    np.save(folder / "stream" / "y.npy", rng.integers(0, 3, 600))


def start(args, log, streamed=False, cut=None, count=None, temporary=None):
    """Fork a process that runs the command line; ``count`` receives the lines of `WRITING`."""
    sys.stdout.flush()
    sys.stderr.flush()
    handled = {signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, handled)  # until the child is as a new process
    process = os.fork()
    if process:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)
        return process
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        text = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream, target in enumerate((null, text, text)):
            os.dup2(target, stream)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)
        except KeyboardInterrupt:
            os._exit(130)
        tempfile.tempdir = temporary and str(temporary)
        checkpoint.MOST_COST = 1.0  # of so short a run there would be few checkpoints
        if streamed:
            streaming.CHUNK_BYTES = 100 * 6 * 4
        lines = _trace(cut) if count is not None or (cut and cut.at_line) else [0]
        try:
            cli.main([str(arg) for arg in args])
        except SystemExit as end:
            sys.settrace(None)
            if count is not None:
                count.value = lines[0]
            os._exit(end.code if isinstance(end.code, int) else 1)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(99)


def _trace(cut):
    """Count the lines of `WRITING` that are executed, and send the signals of a cut to itself."""
    lines, due = [0], dict(zip(cut.moments, cut.actions, strict=True)) if cut else {}

    def on_line(frame, event, argument):
        if event == "line":
            lines[0] += 1
            if lines[0] in due:
                act(due[lines[0]], os.getpid())
        return on_line

    def on_call(frame, event, argument):
        path = frame.f_code.co_filename
        return on_line if path.endswith(WRITING) and "backprop_xp" in path else None

    sys.settrace(on_call)
    return lines


def act(action, process):
    """Do what a cut has for a process, which exists until `wait` has its exit code."""
    action() if callable(action) else os.kill(process, action)


def wait(process, cut=None):
    """Send the signals of a cut, and return the exit code; None if the process had to be killed."""
    began = time.monotonic()
    if cut is not None and not cut.at_line:
        for moment, action in zip(cut.moments, cut.actions, strict=True):
            time.sleep(max(0.0, moment - (time.monotonic() - began)))
            act(action, process)
    limit = time.monotonic() + CLEAN_UP
    while time.monotonic() < limit:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def content(folder):
    """Return the bytes of the files of a run."""
    return {name: (folder / name).read_bytes() for name in FILES if (folder / name).is_file()}


def numbers(folder):
    """Return the model and the history without its times, as they must be after each run."""
    history = [json.loads(line) for line in (folder / HISTORY).read_text().splitlines()]
    return (folder / MODEL).read_bytes(), [{**record, "seconds": 0} for record in history]


class Base(NamedTuple):
    """An uninterrupted run: its numbers, its seconds, and its lines of `WRITING`."""

    numbers: tuple[bytes, list[dict[str, object]]]
    seconds: float
    lines: int


def command(kind, every, data, out):
    """Return the command line of a run."""
    source = kind.data if kind.data == "digits" else data / kind.data
    options = (*kind.options.split(), "--seed", 3, "--device", "cpu", "--checkpoint-every", every)
    return ["train", source, *options, "--out", out]


def base_of(kind, every, data, folder):
    """Return an uninterrupted run, and with a second one its time."""
    count = multiprocessing.Value("q", 0, lock=False)
    seconds = 0.0
    for number, counted in enumerate((count, None)):
        out, log = folder / f"base{number}", folder / "base.log"
        began = time.monotonic()
        code = wait(start(command(kind, every, data, out), log, kind.streamed, count=counted))
        seconds = time.monotonic() - began
        if code != 0:
            raise SystemExit(f"a run that nothing interrupts fails:\n{log.read_text()}")
        found = numbers(out)
        shutil.rmtree(out)
    return Base(found, seconds, count.value)


def random_cut(rng, name, base, at_line=None):
    """Return a random cut of a run by a signal."""
    first = getattr(signal, f"SIG{name}")
    at_line = rng.random() < 0.5 if at_line is None else at_line
    moment = rng.randint(1, base.lines) if at_line else rng.uniform(0.01, 1.1 * base.seconds)
    if name in ("KILL", "USR1") or rng.random() < 0.6:
        return Cut(at_line, (moment,), (first,))
    gap = rng.randint(1, 200) if at_line else rng.uniform(0.001, 0.05)
    second = rng.choice([first, signal.SIGINT, signal.SIGTERM])
    return Cut(at_line, (moment, moment + gap), (first, second))


def faults_of(folder, before, name, code):
    """Return what is wrong with a folder after a cut, and what it holds."""
    files = content(folder) if folder.is_dir() else {}
    if not files:
        return (["the earlier run is gone"] if before else []), "nothing"
    if files == before:
        return [], "earlier"
    faults = []
    ours = CHECKPOINT in files and files[CHECKPOINT] != before.get(CHECKPOINT)
    if not ours:
        faults.append("the folder was changed, but has no checkpoint")
    try:
        run = read_run(folder)
        faults += [f"read_run: {problem}" for problem in run.problems]
        if run.settings is None or not run.history:
            faults.append("the run that was read has no settings or no history")
        elif run.model is not None:
            hidden = tuple(run.model.network.sizes[1:-1])
            if hidden != tuple(run.settings.hidden):
                faults.append(f"a model of {hidden} with settings of {run.settings.hidden}")
        if ours and name != "KILL" and code != -getattr(signal, f"SIG{name}"):
            epochs = checkpoint.read_checkpoint(folder / CHECKPOINT).state.epoch
            if epochs != len(run.history):
                faults.append(f"the checkpoint is of epoch {epochs} of {len(run.history)}")
    except BackpropError as error:
        faults.append(f"unreadable: {error}")
    if MODEL in files:
        try:
            load_model(folder / MODEL)
        except BackpropError as error:
            faults.append(f"the model: {error}")
    elif MODEL in before:
        faults.append("there was a model, and there is none")
    return faults, "new" if ours else "mixed"


def one(rng, name, bases, earlier, data, folder):
    """Cut off one run, resume it, and return its faults and what happened."""
    kind_name = rng.choice(list(KINDS))
    kind = KINDS[kind_name]
    every = rng.choice(kind.every)
    base = bases[kind_name, every]
    out, log = folder / "run", folder / "log"
    more, before = [], {}
    if rng.random() < 2 / 3:
        shutil.copytree(earlier, out)
        more, before = ["--overwrite"], content(out)
    cut = random_cut(rng, name, base)
    told = [f"{kind_name}, every {every}, earlier {bool(before)}, {cut}"]
    args, faults, seen = [*command(kind, every, data, out), *more], [], Counter()
    twice, held = rng.random() < 0.25, ""
    for turn in range(3):
        if turn:
            args = [*command(kind, every, data, out), *more]
            if held == "new":
                args = ["train", "--resume", out]
            cut = random_cut(rng, name, base) if twice and turn == 1 else None
            told.append(f"{args[1]} {cut}")
        code = wait(start(args, log, kind.streamed, cut), cut)
        told.append(f"exit code {code}")
        found, held = faults_of(folder / "run", before, name, code)
        faults += found
        if code is None:
            faults.append("it did not end")
        if cut is None:
            if code != 0:
                faults.append("the resumed run failed")
            break
        seen[f"{held} after {'a second cut' if turn else 'the cut'}"] += 1
        if turn == 0:
            seen["finished before"] += code == 0 and name != "USR1"
    if not faults and numbers(out) != base.numbers:
        faults.append("the resumed run differs from the uninterrupted one")
    if rest := {path.name for path in out.iterdir()} - {*FILES}:
        faults.append(f"left behind: {sorted(rest)}")
    text = log.read_text()
    # Python drops an exception in a callback of its garbage collector, and says so.
    if "Traceback" in text.partition("Exception ignored in")[0] or "unexpected " in text:
        faults.append("a traceback")
    return faults, seen, "\n".join([*told, "", *faults, "", text])


def fill(disk, left):
    """Fill a disk but for a number of blocks."""
    with open(disk / "filler", "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            file.truncate(max(0, file.tell() - 4096 * left))


def make_read_only(disk):
    """Make a disk read-only, between two moments at which a file is open for writing."""
    command = ["mount", "-o", "remount,ro", disk]
    for _ in range(100):
        if not subprocess.run(command, capture_output=True).returncode:
            return


def replace(out):
    """Replace a folder, if there is one, by an empty one."""
    if out.is_dir():
        out.rename(out.with_name("moved"))
        out.mkdir()


def one_fault(rng, name, bases, earlier, data, folder):
    """Take the disk or the folder from one run, and return its faults and what happened."""
    kind_name = rng.choice(list(KINDS))
    kind = KINDS[kind_name]
    every = rng.choice(kind.every)
    base = bases[kind_name, every]
    disk, log, other = folder / "disk", folder / "log", folder / "other"
    out = disk / "run"
    disk.mkdir()
    other.mkdir()
    action = {
        "full": lambda: fill(disk, left),
        "read-only": lambda: make_read_only(disk),
        "removed": lambda: shutil.rmtree(out, ignore_errors=True),
        "replaced": lambda: replace(out),
    }[name]
    left = rng.randint(0, 12)
    cut = random_cut(rng, "KILL", base, at_line=False if name == "read-only" else None)
    cut = cut._replace(actions=(action,))
    told, faults, more = [f"{kind_name}, every {every}, {cut.at_line}, {cut.moments}"], [], []
    if mounted := name in ("full", "read-only"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        if rng.random() < 0.5:
            shutil.copytree(earlier, out)
            more = ["--overwrite"]
        args = [*command(kind, every, data, out), *more]
        code = wait(start(args, log, kind.streamed, cut, temporary=other), cut)
        text = log.read_text()
        told.append(f"exit code {code}")
        errors = re.findall("^error: .*", text, re.MULTILINE)
        place = re.search("the run is in (.*) instead$", errors[-1]) if errors else None
        if code == 0:
            seen = "in time"
            if errors:
                faults.append("an error with exit code 0")
            if name not in ("removed", "replaced") and numbers(out) != base.numbers:
                faults.append("the run differs from the one without a fault")
            elif not content(out):
                seen = "taken after the end"
        elif place is not None:
            seen = "moved"
            place = Path(place[1])
            if code != 2 or len(errors) != 1:
                faults.append(f"exit code {code} with {len(errors)} errors")
            if numbers(place) != base.numbers:
                faults.append("the run that was moved differs from the one without a fault")
            code = wait(start(["train", "--resume", place], log, kind.streamed))
            if code != 0 or numbers(place) != base.numbers:
                faults.append("the resumed run differs from the one without a fault")
        else:
            seen = "rejected"
            if code != 2 or len(errors) != 1 or "\nepoch 1/" in text:
                faults.append(f"exit code {code} with {len(errors)} errors and no place")
    finally:
        if mounted:
            subprocess.run(["umount", "-l", disk], check=True)
    if "Traceback" in text or "unexpected " in text:
        faults.append("a traceback")
    return faults, Counter([seen]), "\n".join([*told, "", *faults, "", text])


def work(name, seed, indices, bases, earlier, data, keep):
    """Cut off some runs; return the counts, and the faults with the number of their run."""
    warnings.simplefilter("ignore")
    counts, faulty = Counter(), []
    for index in indices:
        with tempfile.TemporaryDirectory(dir=data.parent) as place:
            folder = Path(place)
            rng = random.Random(f"{seed}-{name}-{index}")
            call = one if name in SIGNALS else one_fault
            faults, seen, text = call(rng, name, bases, earlier, data, folder)
            counts.update(seen)
            counts["runs"] += 1
            if faults:
                faulty.append((index, faults))
                kept = keep / f"{name}-{index}"
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(folder, kept)
                (kept / "told.txt").write_text(text)
    return counts, faulty


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=100, metavar="N", help="for each signal")
    parser.add_argument("--signal", action="append", choices=SIGNALS, help="by default KILL")
    parser.add_argument("--fault", action="append", default=[], choices=FAULTS)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", type=int, metavar="I", help="run I alone")
    parser.add_argument("--out", type=Path, default=Path("kill_runs"), help="for faulty folders")
    options = parser.parse_args()

    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    place = Path(tempfile.mkdtemp(prefix="kill_runs", dir=memory))
    failed = False
    try:
        data, earlier = place / "data", place / "earlier"
        data.mkdir()
        write_data(data)
        args = ["train", data / "table.csv", *EARLIER.split(), "--out", earlier]
        if wait(start(args, place / "log")) != 0:
            raise SystemExit((place / "log").read_text())
        bases = {
            (name, every): base_of(kind, every, data, place)
            for name, kind in KINDS.items()
            for every in kind.every
        }
        seconds = [base.seconds for base in bases.values()]
        print(f"an uninterrupted run takes {min(seconds):.2f} to {max(seconds):.2f} s", flush=True)
        for name in (options.signal or ["KILL"][: not options.fault]) + options.fault:
            began = time.monotonic()
            indices = range(options.runs) if options.only is None else [options.only]
            parts = [indices[job :: options.jobs] for job in range(options.jobs)]
            given = name, options.seed
            counts, faulty = Counter(), []
            context = multiprocessing.get_context("fork")
            with concurrent.futures.ProcessPoolExecutor(options.jobs, context) as pool:
                jobs = [
                    pool.submit(work, *given, part, bases, earlier, data, options.out)
                    for part in parts
                    if part
                ]
                for job in jobs:
                    found, faults = job.result()
                    counts.update(found)
                    faulty += faults
            print(f"{name}: {counts.pop('runs')} runs in {time.monotonic() - began:.0f} s")
            for what, number in sorted(counts.items()):
                print(f"  {what:<26}{number:>7,}")
            kinds = Counter(fault.split(": ")[0] for _, faults in faulty for fault in faults)
            print(f"  {'runs with a fault':<26}{len(faulty):>7,}")
            for what, number in kinds.most_common():
                print(f"    {what}: {number:,}")
            for index, faults in sorted(faulty)[:5]:
                print(f"    run {index}: {'; '.join(faults)}")
            sys.stdout.flush()
            failed |= bool(faulty)
    finally:
        shutil.rmtree(place)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
