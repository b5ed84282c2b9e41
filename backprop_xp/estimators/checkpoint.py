"""The checkpoint of an estimator: the state of its training, and what scikit-learn's rules add."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from backprop_xp.backend.devices import Placement
from backprop_xp.data.fingerprint import fingerprint
from backprop_xp.errors import ConfigurationError
from backprop_xp.estimators.convergence import ConvergenceMonitor
from backprop_xp.nn.network import map_arrays
from backprop_xp.training.checkpoint import Checkpoint, layers_of, named_tensors, plain
from backprop_xp.training.state import TrainState

COUNTERS = ("n_iter_", "t_", "_rounds", "_no_improvement_count", "_eta", "loss_", "best_loss_")
CURVES = ("loss_curve_", "validation_loss_curve_", "validation_scores_")

MAY_CHANGE = ("max_iter", "verbose", "callback", "checkpoint", "n_jobs", "device", "backend")
"""The parameters that may be others when a fit is continued."""


class EstimatorCheckpoint(Checkpoint):
    """The checkpoint of one call of ``fit``.

    Parameters
    ----------
    estimator : estimator
    monitor : ConvergenceMonitor
        Of this call.
    placement : Placement
    """

    def __init__(self, estimator: Any, monitor: ConvergenceMonitor, placement: Placement) -> None:
        super().__init__(os.fspath(estimator.checkpoint))
        self._estimator = estimator
        self._monitor = monitor
        self._placement = placement
        self._captured: tuple[TrainState, dict[str, Any], dict[str, Any]] | None = None

    def begin(self, about: dict[str, Any], *, resume: bool) -> TrainState | None:
        """Return the state to continue from, and set the attributes of the estimator to it."""
        parameters = {
            f"parameter {name}": plain(value)
            for name, value in self._estimator.get_params(deep=False).items()
            if name not in MAY_CHANGE
        }
        data = dict(about["data"])
        if self._monitor.validation is not None:  # which `fit` does not know of
            for name, value in fingerprint(self._monitor.validation.data).items():
                data[f"validation {name}"] = value
        about = {**about, "settings": {**about["settings"], **parameters}, "data": data}
        try:
            state = super().begin(about, resume=resume)
        except ConfigurationError as error:
            error.hint = (
                "fit the same data with the same parameters, of which max_iter may change, or "
                "remove the file to start anew"
            )
            raise
        if state is None:
            return None
        assert self.stored is not None
        return self._restore(state, self.stored.extra, self.stored.tensors)

    def update(self, state: TrainState) -> None:
        """Take note of the state and of the estimator after an epoch; write both if that is due."""
        est, monitor = self._estimator, self._monitor
        counters = {name: getattr(est, name, None) for name in COUNTERS}
        counters["best_validation_score_"] = est.best_validation_score_
        curves = {name: getattr(est, name) for name in CURVES}
        lengths = {name: None if curve is None else len(curve) for name, curve in curves.items()}
        generator = monitor.rng.get_state(legacy=False)
        extra = {
            "counters": counters,
            "lengths": lengths,
            "stopped": monitor.stopped,
            "position": generator["state"]["pos"],
            "gauss": [generator["has_gauss"], generator["gauss"]],
        }
        tensors = {"key": generator["state"]["key"], "order": monitor.row_order, "best": est._best}
        self._captured = state, extra, tensors
        super().update(state)

    def write(self, state: TrainState) -> None:
        """Write a state after an epoch: the estimator's rules have none within one."""
        if self._captured is not None and self._captured[0] is state:
            super().write(state)

    def write_latest(self) -> None:
        """Write the last state that the estimator has taken note of."""
        self.latest = None if self._captured is None else self._captured[0]
        super().write_latest()

    def extra(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what belongs to the state, as plain data and tensors."""
        assert self._captured is not None
        _, extra, tensors = self._captured
        curves = {
            name: None if n is None else [float(v) for v in getattr(self._estimator, name)[:n]]
            for name, n in extra["lengths"].items()
        }
        arrays = {"key": tensors["key"], "order": np.asarray(tensors["order"], dtype=np.int64)}
        if tensors["best"] is not None:
            arrays |= named_tensors("best", tensors["best"])
        return {**extra, "curves": curves}, arrays

    def _restore(
        self, state: TrainState, extra: dict[str, Any], tensors: dict[str, Any]
    ) -> TrainState:
        est, monitor = self._estimator, self._monitor
        for name, value in {**extra["counters"], **extra["curves"]}.items():
            if value is not None or hasattr(est, name):
                setattr(est, name, value)
        best = layers_of(tensors, "best")
        est._best = map_arrays(self._placement.asarray, best) if best else None
        monitor.row_order = tensors["order"]
        monitor.stopped = bool(extra["stopped"])
        generator = monitor.rng.get_state(legacy=False)
        generator["state"] = {"key": tensors["key"], "pos": int(extra["position"])}
        generator["has_gauss"], generator["gauss"] = extra["gauss"]
        monitor.rng.set_state(generator)
        state = state._replace(
            parameters=map_arrays(self._placement.asarray, state.parameters),
            stopped="on_epoch" if monitor.stopped else "",
        )
        monitor.state = state
        return state
