"""Executors: how an epoch of training steps is run on each backend. See README.md here."""

from __future__ import annotations

from backprop_xp.backend.arrays import backend_name
from backprop_xp.training.execution.eager import EagerExecutor
from backprop_xp.training.execution.scan import ScanExecutor
from backprop_xp.training.step import TrainingStep


def make_executor(step: TrainingStep) -> EagerExecutor:
    """Return the executor for the backend of a training step; the only place that chooses one."""
    return ScanExecutor(step) if backend_name(step.xp) == "jax" else EagerExecutor(step)
