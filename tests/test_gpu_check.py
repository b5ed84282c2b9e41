"""scripts/gpu_check.sh, as far as it can be tested without a GPU and with a stub for Python."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "gpu_check.sh"

if not shutil.which("bash") or not shutil.which("timeout"):
    pytest.skip("bash or timeout is not installed", allow_module_level=True)
if not SCRIPT.is_file():
    pytest.skip("scripts/ is not in this copy of the tests", allow_module_level=True)


@pytest.fixture
def call(tmp_path):
    """Return a function that runs the script, with the lines of a shell script as its Python."""
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").touch()

    def run(*arguments, python="exit 0", **environment):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{python}\n", encoding="utf-8")
        path.chmod(0o755)
        return subprocess.run(
            ["bash", str(SCRIPT), *arguments],
            env=os.environ | {"PYTHON": str(path)} | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.mark.parametrize("arguments", [(), ("3",), ("mnist",)])
def test_an_unknown_part_is_one_error(call, arguments):
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"unknown part '{''.join(arguments)}'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_is_missing_is_listed_and_nothing_runs_without_cupy(call, tmp_path):
    done = call("1", "none", "results", python="exit 1")
    assert done.returncode == 1
    for name in ("cupy", "pytest", "sklearn", "torch", "jax", "MNIST"):
        assert f"missing: {name}; needed for " in done.stdout
    assert done.stdout.splitlines()[-1] == "nothing can be checked without CuPy"
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["gpu_1.txt"]
    assert "missing: torch; " in (tmp_path / "results" / "gpu_1.txt").read_text(encoding="utf-8")


def test_a_step_that_fails_is_listed_at_the_end_and_the_others_run(call, tmp_path):
    python = r'case "$*" in *-m\ pytest*) echo 3 failed; exit 7;; *) echo "ran $*";; esac'
    python = f'case "$1" in -c) exit 0;; esac\n{python}'
    done = call("1", "mnist", "results", python=python)  # relative to the current folder
    results = tmp_path / "results"
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == [
        "failures:",
        f"- tests: exit code 7; see {results / 'gpu_tests.txt'}",
    ]
    assert "3 failed" in (results / "gpu_tests.txt").read_text(encoding="utf-8")
    for name in ("check", "graph", "bench_1"):
        text = (results / f"gpu_{name}.txt").read_text(encoding="utf-8")
        assert text.startswith("20")  # the date, then the machine
        assert "commit " in text
        assert "ran " in text


def test_a_part_ends_in_time_and_keeps_what_a_stopped_step_wrote(call, tmp_path):
    python = 'case "$*" in *benchmarks/record*) echo epoch 1; exec sleep 50;; esac'
    done = call("2", "mnist", "results", python=python, GPU_CHECK_SECONDS="3")
    assert done.returncode == 1
    assert "- record: stopped after " in done.stdout
    assert "epoch 1" in (tmp_path / "results" / "gpu_record.txt").read_text(encoding="utf-8")
