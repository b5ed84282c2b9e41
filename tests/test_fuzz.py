"""Damaged and forged files: every reader succeeds, or raises one of the package's exceptions.

``scripts/fuzz.py`` does the same with a million files.
"""

import random

import fuzzing
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = (
    *("csv", "csv utf-16", "csv gzip", "parquet", "feather", "npz", "x.npy", "y.npy"),
    *("idx", "idx gzip", "folder of idx, train-lab", "folder of idx, t10k-imag"),
    *("config.toml", "trace", "run, history.jsonl", "run, outcome.json", "run, config.toml"),
    *("model", "model, a bit", "model, forged"),
    *("checkpoint", "checkpoint, a bit", "checkpoint, forged"),
)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return {case.name: case for case in fuzzing.cases(tmp_path_factory.mktemp("fuzz"))}


def test_all_cases_are_tested(cases):
    assert set(cases) <= set(NAMES)
    assert set(NAMES) - set(cases) <= {"parquet", "feather"}  # without pyarrow


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_file_is_read_or_is_an_error_of_the_package(name, cases):
    if name not in cases:
        pytest.skip("pyarrow is not installed (pip install 'backprop-xp[data]')")
    case = cases[name]
    assert {fuzzing.read(case, seed) for seed in case.seeds} == {"ok"}
    outcomes = set()

    @settings(derandomize=True, database=None, max_examples=100)
    @given(st.integers(0, 2**32 - 1))
    def check(number):
        outcomes.add(fuzzing.read(case, case.make(random.Random(number))))

    with fuzzing.limited_memory():
        check()
    assert outcomes - {"ok"} or name.startswith("run, ")  # whose reader reports problems instead


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (lambda path: None, fuzzing.Fault),
        (lambda path: bytearray(2 * fuzzing.BYTES), MemoryError),
        (lambda path: np.ones(1) / 0.0, RuntimeWarning),
        (lambda path: 1 // 0, ZeroDivisionError),
    ],
    ids=["silent", "memory", "warning", "exception"],
)
def test_a_fault_is_noticed(fault, error, cases):
    case = cases["model"]._replace(read=fault)
    with fuzzing.limited_memory(), pytest.raises(error):
        fuzzing.read(case, case.seeds[0] + b"\0")
