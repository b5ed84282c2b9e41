"""Executors: how an epoch of training steps is run on each backend. See README.md here."""

from __future__ import annotations

import warnings

from backprop_xp.backend.arrays import backend_name
from backprop_xp.training.execution.cuda import CudaExecutor
from backprop_xp.training.execution.eager import EagerExecutor
from backprop_xp.training.execution.scan import ScanExecutor
from backprop_xp.training.step import TrainingStep


def make_executor(step: TrainingStep, *, cuda_graph: bool = False) -> EagerExecutor:
    """Return the executor for the backend of a training step; the only place that chooses one.

    With ``cuda_graph``, each step is a single launch on CuPy; elsewhere a warning says that it has
    no effect.
    """
    backend = backend_name(step.xp)
    if backend == "cupy":
        return CudaExecutor(step, graph=cuda_graph)
    if cuda_graph:
        warnings.warn(f"cuda_graph has no effect: {backend} is not CuPy", UserWarning, 2)
    return ScanExecutor(step) if backend == "jax" else EagerExecutor(step)
