"""Fitting an estimator: held-out rows, the settings, and the training loop."""

from __future__ import annotations

import warnings
from typing import Any, cast

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from backprop_xp.backend.devices import Placement
from backprop_xp.errors import DivergenceError
from backprop_xp.estimators.checkpoint import EstimatorCheckpoint
from backprop_xp.estimators.convergence import ConvergenceMonitor, ValidationRows
from backprop_xp.estimators.inputs import Rows, take_rows, training_inputs
from backprop_xp.estimators.lbfgs import minimize_lbfgs
from backprop_xp.estimators.parameters import optimizer_of, settings_of
from backprop_xp.nn.network import Network, map_arrays
from backprop_xp.training.fit import fit
from backprop_xp.training.state import TrainingInterrupted, TrainState


def split(estimator: Any, train: Rows, stratify: Any, rng: Any) -> tuple[Rows, Rows]:
    """Hold out validation rows for early stopping, the same ones as scikit-learn."""
    rows, held_out = train_test_split(
        np.arange(train[0].shape[0]),
        test_size=estimator.validation_fraction,
        random_state=rng,
        stratify=stratify,
    )
    if len(held_out) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' "
            "or the size of your dataset."
        )
    return take_rows(train, rows), take_rows(train, held_out)


def optimize(
    estimator: Any,
    network: Network,
    train: Rows,
    held_out: Rows | None,
    rng: Any,
    *,
    placement: Placement,
    incremental: bool,
) -> None:
    """Train an estimator's network from its current weights and state."""
    X, y, weights = train
    n, batch_size = int(X.shape[0]), estimator.batch_size
    if not isinstance(batch_size, str) and batch_size > n and not incremental:
        _warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
    settings = {**settings_of(estimator, network, n), **estimator._own_settings()}
    data = training_inputs(X, placement), y
    state = estimator._state
    if state.parameters and not (incremental and estimator._shown == estimator._fingerprint()):
        state = state._replace(parameters=[], slots=[], step=0)
    if estimator.solver == "lbfgs":
        estimator.n_iter_ = 0
        if estimator.max_iter == 0:
            return
        start = estimator._parameters(data[0])
        parameters, estimator.n_iter_, loss = minimize_lbfgs(
            estimator, network, data, start, placement=placement, weights=weights, settings=settings
        )
        estimator._set_coefs(parameters)
        estimator.loss_ = estimator.best_loss_ = loss
        estimator._state = state._replace(slots=[], step=0)
        return
    validation = None
    if held_out is not None:
        validation = ValidationRows.of(held_out, network, settings["loss"], placement)
        if estimator.validation_loss_curve_ is None:
            estimator.validation_loss_curve_ = []
    slots = optimizer_of(estimator).slots
    if slots != estimator._slots:  # another solver, which starts anew
        estimator._slots = slots
        state = state._replace(slots=[], step=0)
    estimator._state = state
    estimator.n_iter_ = 0
    if not incremental:
        estimator._eta, estimator._rounds = float(estimator.learning_rate_init), 0
    if estimator.callback is not None:
        try:
            stop = estimator.callback(estimator, {"epoch": 0})
        except BaseException:
            estimator._accept_changes()  # the weights that the callback received stay
            raise
        if stop:
            return
    monitor = ConvergenceMonitor(estimator, network, settings["loss"], rng, n, validation)
    checkpoint = None
    if estimator.checkpoint is not None and not incremental:
        if estimator.warm_start:
            raise ValueError("checkpoint and warm_start=True exclude each other.")
        checkpoint = EstimatorCheckpoint(estimator, monitor, placement)
    start = estimator._parameters(data[0])
    if incremental and estimator.early_stopping and estimator.t_:
        with placement.activate():
            monitor.start_from(map_arrays(lambda p: placement.asarray(p, copy=True), start))
    epochs = 1 if incremental else int(estimator.max_iter)
    try:
        fit(
            network,
            data,
            device=placement,
            sample_weight=weights,
            state=state,
            parameters=state.parameters or start,
            shuffle=monitor.order,
            learning_rates=monitor.rates,
            on_epoch=monitor.epoch_end,
            checkpoint=checkpoint,
            resume=checkpoint is not None,
            epochs=state.epoch + epochs,
            **settings,
        )
    except DivergenceError as error:
        monitor.state = cast(TrainState, error.state)
        if incremental or not estimator.early_stopping:
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                f"values and need to be preprocessed: {error}; {error.hint}"
            ) from error
        monitor.record_divergence()
        kept = "those of the best epoch"
        if estimator._best is None:
            monitor.state, kept = None, "the initial ones"
        _warn(f"{error}; the weights are {kept}. {error.hint}", ConvergenceWarning)
    except TrainingInterrupted as interrupt:
        monitor.state = interrupt.state
        _warn("Training interrupted by user.")
    finally:
        if monitor.state is not None:
            estimator._store_state(monitor.state, incremental=incremental)
    if not incremental and not monitor.stopped and 0 < estimator.n_iter_ == estimator.max_iter:
        _warn(
            f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the "
            "optimization hasn't converged yet.",
            ConvergenceWarning,
        )


def _warn(text: str, kind: type[Warning] = UserWarning) -> None:
    warnings.warn(text, kind, stacklevel=7)  # attributed to the line that called fit()
