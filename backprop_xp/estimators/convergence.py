"""Convergence by scikit-learn's rules: order of rows, learning rates, curves, and stopping.

The numbers that the rules depend on are attributes of the estimator.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.backend.devices import Placement
from backprop_xp.data.device_data import DeviceData, to_device
from backprop_xp.estimators.inputs import Rows, device_inputs
from backprop_xp.estimators.parameters import RATES
from backprop_xp.nn.losses import Loss, check_targets
from backprop_xp.nn.network import Network, Parameters
from backprop_xp.nn.schedules import get_schedule
from backprop_xp.training.evaluation import evaluate
from backprop_xp.training.state import TrainState


class ValidationRows(NamedTuple):
    """Validation rows on the device, with their targets and sample weights on the host."""

    data: DeviceData
    targets: Any
    weights: Any

    @classmethod
    def of(cls, rows: Rows, network: Network, loss: Loss, placement: Placement) -> Self:
        """Return checked rows on a device.

        Raises
        ------
        DataError
            If the loss cannot use the targets.
        """
        x, targets, weights = rows
        what = "the validation data"
        with placement.activate():
            pair = device_inputs(x, placement), targets
            data = to_device(pair, network.sizes[0], network.sizes[-1], placement, what=what)
            check_targets(data.y, loss=loss, xp=placement.xp, what=what)
        return cls(data, targets, weights)


class ConvergenceMonitor:
    """The monitor of one call of ``fit`` or ``partial_fit``, called by `backprop_xp.fit`."""

    def __init__(
        self,
        estimator: Any,
        network: Network,
        loss: Loss,
        rng: Any,
        n: int,
        validation: ValidationRows | None,
    ) -> None:
        self.estimator = estimator
        self.network = network
        self.loss = loss
        self.rng = rng
        self.n = n
        self.validation = validation
        self.state: TrainState | None = None
        self.stopped = False
        self.row_order = np.arange(n)
        if estimator.early_stopping and estimator.validation_scores_ is None:
            estimator.validation_scores_, estimator.best_validation_score_ = [], -np.inf
        elif not estimator.early_stopping and estimator.best_loss_ is None:
            estimator.best_loss_ = np.inf

    def start_from(self, parameters: Parameters) -> None:
        """Set the best weights so far, with their score on the validation rows of this call."""
        self.estimator._best = parameters
        _, self.estimator.best_validation_score_ = self._measure(parameters)

    def order(self, epoch: int, n: int) -> Any:
        """Return the order of the rows in the next epoch: the last order, shuffled."""
        if self.estimator.shuffle:
            # As sklearn.utils.shuffle draws it, whose checks take a tenth of an epoch of 150 rows.
            self.row_order = self.rng.permutation(self.row_order)
        return self.row_order

    def rates(self, state: TrainState, steps: int) -> list[float]:
        """Return the learning rate of each step of the next epoch."""
        est = self.estimator
        if isinstance(est.learning_rate, str) and est.learning_rate in RATES:
            return [est._eta] * steps
        factor, total = get_schedule(est.learning_rate), max(1, est.max_iter)
        return [
            est._eta * factor(min(1.0, (est._rounds + k / steps) / total)) for k in range(steps)
        ]

    def epoch_end(self, state: TrainState) -> bool:
        """Record an epoch in the estimator; return whether to stop."""
        est, record = self.estimator, state.history[-1]
        self.state = state
        est._accept_changes()
        est._rounds += 1
        est.n_iter_ += 1
        est.t_ += self.n
        est.loss_ = record["loss"]
        est.loss_curve_.append(est.loss_)
        self._say(f"Iteration {est.n_iter_}, loss = {est.loss_:.8f}")
        metrics = {
            "epoch": est.n_iter_,
            **{key: record[key] for key in ("loss", "learning_rate", "seconds")},
        }
        if self.validation is not None:
            loss, score = self._measure(state.parameters)
            metrics["validation_loss"], metrics["validation_score"] = loss, score
            est.validation_loss_curve_.append(loss)
        self._count(metrics, state.parameters)
        if est.solver == "sgd" and est.learning_rate == "invscaling":
            est._eta = float(est.learning_rate_init) / (est.t_ + 1) ** est.power_t
        if est._no_improvement_count > est.n_iter_no_change:
            self.stopped = self._slow_down()
            if not self.stopped:
                est._no_improvement_count = 0
        if est.callback is not None:
            est._set_coefs(state.parameters)
            self.stopped = bool(est.callback(est, metrics)) or self.stopped
        return self.stopped

    def record_divergence(self) -> None:
        """Record an epoch without a finite loss, as scikit-learn does with early stopping."""
        est = self.estimator
        est.n_iter_ += 1
        est.loss_ = np.nan
        est.loss_curve_.append(np.nan)
        est.validation_scores_.append(np.nan)
        est.validation_loss_curve_.append(np.nan)
        self.stopped = True

    def _measure(self, parameters: Parameters) -> tuple[float, float]:
        """Return the loss and the score on the validation rows."""
        assert self.validation is not None
        data, targets, weights = self.validation
        parts: list[Array] = []
        xp = arrays.namespace(parameters[0].weights)
        # Overflows of a run that is about to diverge are not warned of.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            measured = evaluate(
                *(self.network, self.loss, parameters, data.x, data.y),
                xp=xp,
                on_outputs=parts.append,
            )
            outputs = np.concatenate([arrays.to_numpy(part) for part in parts])
            if not np.isfinite(outputs).all():
                return measured["loss"], np.nan  # as in scikit-learn
            score = float(self.estimator._score_of(outputs, targets, weights))
        return measured["loss"], score

    def _count(self, metrics: dict[str, Any], parameters: Parameters) -> None:
        """Count the consecutive epochs without an improvement by ``tol``."""
        est = self.estimator
        if est.early_stopping:
            score = metrics["validation_score"]
            est.validation_scores_.append(score)
            self._say(f"Validation score: {score:f}")
            better = not score < est.best_validation_score_ + est.tol
            if score > est.best_validation_score_:
                est.best_validation_score_ = score
                est._best = parameters
        else:
            better = not est.loss_ > est.best_loss_ - est.tol
            est.best_loss_ = min(est.loss_, est.best_loss_)
        est._no_improvement_count = 0 if better else est._no_improvement_count + 1

    def _slow_down(self) -> bool:
        """Lower an adaptive learning rate; return True if training should stop instead."""
        est = self.estimator
        measure = "Validation score" if est.early_stopping else "Training loss"
        text = (
            f"{measure} did not improve more than tol={est.tol:f} for "
            f"{est.n_iter_no_change} consecutive epochs."
        )
        if est.solver != "sgd" or est.learning_rate != "adaptive":
            self._say(f"{text} Stopping.")
            return True
        if est._eta <= 1e-6:
            self._say(f"{text} Learning rate too small. Stopping.")
            return True
        est._eta /= 5.0
        self._say(f"{text} Setting learning rate to {est._eta:f}")
        return False

    def _say(self, text: str) -> None:
        if self.estimator.verbose:
            print(text)
