"""Compiled steps on CuPy: the same results as operation by operation, and as a CUDA graph."""

import numpy as np
import pytest
from helpers import bytes_of

from backprop_xp import Network, fit
from backprop_xp.backend.arrays import backend_name
from backprop_xp.nn.optimizers import OPTIMIZERS
from backprop_xp.training import trainer
from backprop_xp.training.execution import cuda
from backprop_xp.training.execution.cuda_program import CudaProgram
from backprop_xp.training.execution.eager import EagerExecutor
from backprop_xp.training.settings import TrainingSettings
from backprop_xp.training.state import initial_state
from backprop_xp.training.step import TrainingStep
from backprop_xp.training.trainer import Trainer
from backprop_xp.training.training_data import TrainingData

pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)

RNG = np.random.default_rng(0)
N = 50  # two complete batches and a short one
X, LABELS, NUMBERS = RNG.normal(size=(N, 9)), RNG.integers(0, 4, N), RNG.normal(size=(N, 4))
WEIGHTS = RNG.uniform(0.5, 2.0, N)
CLASSES = Network((9, 7, 4), ("tanh", "softmax"))
SETTINGS = {"epochs": 2, "batch_size": 20, "learning_rate": 0.05, "seed": 0}

CASES = {
    **{name: {"optimizer": name} for name in OPTIMIZERS},
    "dropout": {"dropout": 0.4, "optimizer": "sgd"},
    "penalties": {"l1": 0.01, "l2": 0.01, "optimizer": "momentum"},
    "penalty per batch": {"l2": 0.1, "penalty": "per_batch"},
    "clipped": {"clip_norm": 0.1, "max_norm": 0.5, "optimizer": "nesterov"},
    "sample weights": {"sample_weight": WEIGHTS},
    "all rows": {"batch_size": N},
    "one row": {"batch_size": 1},
    "augmentation": {"augment": "shift", "image_shape": (3, 3)},
    "label smoothing": {"label_smoothing": 0.1, "class_weight": "balanced"},
    "diagnostics off": {"diagnostics": False, "evaluate_training": True},
}


@pytest.fixture
def cupy_library(library):
    if backend_name(library.xp) != "cupy":
        pytest.skip("only CuPy's steps are compiled")
    return library


def train(library, dtype, network=CLASSES, targets=LABELS, **settings):
    kind = "index" if targets.dtype.kind == "i" else dtype
    data = library.array(X, dtype), library.array(targets, kind)
    return fit(network, data, **{**SETTINGS, **settings})


@pytest.mark.parametrize("case", CASES)
def test_results_are_those_of_the_step_as_written(cupy_library, dtype, case, monkeypatch):
    compiled = train(cupy_library, dtype, **CASES[case])
    monkeypatch.setattr(trainer, "make_executor", lambda step, **options: EagerExecutor(step))
    written = train(cupy_library, dtype, **CASES[case])
    tolerance = {"float32": 1e-4, "float64": 1e-12}[dtype]
    for got, wanted in zip(compiled.history, written.history, strict=True):
        assert got["loss"] == pytest.approx(wanted["loss"], rel=tolerance)
        assert got["accuracy"] == wanted["accuracy"]
    for one, other in zip(compiled.parameters, written.parameters, strict=True):
        for got, wanted in zip(one, other, strict=True):
            error = cupy_library.numpy(abs(got - wanted)).max()
            assert error <= tolerance * 10 * cupy_library.numpy(abs(wanted)).max()


@pytest.mark.parametrize("case", CASES)
def test_a_graph_gives_the_same_bits(cupy_library, case):
    launched, captured = (
        train(cupy_library, "float32", **CASES[case], cuda_graph=graph) for graph in (False, True)
    )
    assert bytes_of(launched.parameters) == bytes_of(captured.parameters)
    assert [r["loss"] for r in launched.history] == [r["loss"] for r in captured.history]


def test_a_regression_counts_nothing(cupy_library):
    network = Network((9, 7, 4), ("tanh", "identity"))
    state = train(cupy_library, "float64", network, NUMBERS)
    on_host = fit(network, (X, NUMBERS), **SETTINGS)
    assert "accuracy" not in state.history[-1]
    assert state.history[-1]["loss"] == pytest.approx(on_host.history[-1]["loss"], rel=1e-12)


def test_a_state_is_not_changed_by_later_epochs(cupy_library):
    states, kept = [], []

    def on_epoch(state):
        states.append(state)
        kept.append(bytes_of(state.parameters))

    last = train(cupy_library, "float64", epochs=4, on_epoch=on_epoch, optimizer="adam")
    assert [bytes_of(state.parameters) for state in states] == kept
    again = train(cupy_library, "float64", epochs=4, state=states[1], optimizer="adam")
    assert bytes_of(again.parameters) == bytes_of(last.parameters)


def test_an_interrupted_epoch_can_be_run_again(cupy_library):
    settings = TrainingSettings.of({**SETTINGS, "optimizer": "adam"})
    placement = cupy_library.placement
    data = TrainingData.of(CLASSES, settings, placement, (X, LABELS))
    step = TrainingStep.of(CLASSES, settings, placement, n=N, seed=0)
    trainer = Trainer(step, data, settings)
    state = trainer.run_epoch(initial_state(CLASSES, settings, placement))
    wanted = trainer.run_epoch(state)

    def interrupt(done, steps):
        raise KeyboardInterrupt

    again = Trainer(step, data, settings)
    state = again.run_epoch(initial_state(CLASSES, settings, placement))
    again._on_steps = interrupt
    with pytest.raises(KeyboardInterrupt):
        again.run_epoch(state)
    again._on_steps = None
    assert bytes_of(again.run_epoch(state).parameters) == bytes_of(wanted.parameters)


def test_a_step_that_cannot_be_compiled_runs_as_written_and_says_so(cupy_library, monkeypatch):
    wanted = train(cupy_library, "float64")

    def failing(*args):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(CudaProgram, "__init__", failing)
    with pytest.warns(RuntimeWarning, match="could not be compiled: no compiler"):
        state = train(cupy_library, "float64")
    assert state.history[-1]["loss"] == pytest.approx(wanted.history[-1]["loss"], rel=1e-12)


def test_a_compiled_step_with_other_results_is_not_used(cupy_library, monkeypatch):
    wanted = train(cupy_library, "float64")
    run = CudaProgram.run

    def wrong(self):
        run(self)
        self._bound[0] += 1.0

    monkeypatch.setattr(CudaProgram, "run", wrong)
    with pytest.warns(RuntimeWarning, match="results are not those of the step as written"):
        state = train(cupy_library, "float64")
    assert state.history[-1]["loss"] == pytest.approx(wanted.history[-1]["loss"], rel=1e-12)


def test_a_graph_that_cannot_be_captured_says_so(cupy_library, monkeypatch):
    wanted = train(cupy_library, "float64")

    def failing(program):
        raise NotImplementedError("not during capture")

    monkeypatch.setattr(cuda, "CudaGraph", failing)
    with pytest.warns(RuntimeWarning, match="CUDA graph: not during capture"):
        state = train(cupy_library, "float64", cuda_graph=True)
    assert bytes_of(state.parameters) == bytes_of(wanted.parameters)
