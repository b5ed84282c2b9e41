"""How an estimator is fitted: rows set aside, settings made, and the one training loop called."""

from __future__ import annotations

import warnings
from typing import Any, cast

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from backprop_xp.backend import arrays
from backprop_xp.backend.devices import Placement
from backprop_xp.errors import DivergenceError
from backprop_xp.estimators.convergence import Course, Validation
from backprop_xp.estimators.inputs import feed, placed, rows_of
from backprop_xp.estimators.lbfgs import minimise
from backprop_xp.estimators.parameters import optimizer_of, settings_of
from backprop_xp.nn.network import Network, map_arrays
from backprop_xp.training.fit import fit
from backprop_xp.training.state import TrainingInterrupted, TrainState

Rows = tuple[Any, Any, Any]
"""Checked inputs, targets, and weights of samples or None."""


def split(estimator: Any, train: Rows, stratify: Any, rng: Any) -> tuple[Rows, Rows]:
    """Set rows aside for early stopping, the same ones as scikit-learn does.

    Raises
    ------
    ValueError
        If fewer than two rows would be set aside.
    """
    rows, kept = train_test_split(
        np.arange(train[0].shape[0]),
        test_size=estimator.validation_fraction,
        random_state=rng,
        stratify=stratify,
    )
    if len(kept) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' "
            "or the size of your dataset."
        )
    X, y, weights = train
    return (
        (rows_of(X, rows), rows_of(y, rows), rows_of(weights, rows)),
        (rows_of(X, kept), rows_of(y, kept), rows_of(weights, kept)),
    )


def optimize(
    estimator: Any,
    network: Network,
    train: Rows,
    held_out: Rows | None,
    rng: Any,
    *,
    placement: Placement,
    dtype: str,
    before: dict[str, Any],
    incremental: bool,
) -> None:
    """Train an estimator's network, from its weights and its state to its new ones; ``before`` is
    cleared once there is something that was learned.

    Raises
    ------
    ValueError
        If the training diverges; the estimator is then that of the last good epoch.
    """
    X, y, weights = train
    n, batch_size = int(X.shape[0]), estimator.batch_size
    if not isinstance(batch_size, str) and batch_size > n and not incremental:
        _warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
    settings = {**settings_of(estimator, network, n), **estimator._own_settings()}
    where: dict[str, Any] = {"dtype": dtype, "placement": placement}
    data = feed(X, placement, dtype), y
    state = estimator._state
    if state.parameters and not (incremental and estimator._shown == estimator._fingerprint()):
        state = state._replace(parameters=[], slots=[], step=0)
    if isinstance(estimator.solver, str) and estimator.solver == "lbfgs":
        if estimator.max_iter == 0:
            estimator.n_iter_ = 0
            return
        start = estimator._parameters(data[0])
        estimator._expose(
            minimise(estimator, network, data, start, weights=weights, settings=settings, **where)
        )
        estimator._state = state._replace(slots=[], step=0)
        return
    measured, validation = None, None
    if held_out is not None:
        measured = placed(held_out[0], placement, placement.dtype(dtype)), held_out[1]
        validation = Validation(*measured, held_out[2])
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
            before.clear()  # the weights that it was shown stay
            raise
        if stop:
            return
    course = Course(estimator, network, rng, n, validation, before)
    start = estimator._parameters(data[0])
    if incremental and estimator.early_stopping and estimator.t_:
        like = {"xp": placement.xp, "dtype": placement.dtype(dtype), "device": placement.device}
        with placement.activate():
            course.start_from(map_arrays(lambda p: arrays.asarray(p, copy=True, **like), start))
    epochs = 1 if incremental else int(estimator.max_iter)
    try:
        fit(
            network,
            data,
            measured,
            device=placement,
            dtype=dtype,
            sample_weight=weights,
            state=state,
            parameters=state.parameters or start,
            shuffle=course.order,
            rates=course.rates,
            on_epoch=course.epoch_end,
            epochs=state.epoch + epochs,
            **settings,
        )
    except DivergenceError as error:
        course.state = cast(TrainState, error.state)
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large "
            f"values and need to be preprocessed: {error}; {error.hint}"
        ) from error
    except TrainingInterrupted as interrupt:
        course.state = interrupt.state
        _warn("Training interrupted by user.")
    finally:
        if course.state is not None:
            before.clear()
        estimator._settle(course.state, incremental=incremental)
    if not incremental and not course.stopped and 0 < estimator.n_iter_ == estimator.max_iter:
        _warn(
            f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the "
            "optimization hasn't converged yet.",
            ConvergenceWarning,
        )


def _warn(text: str, kind: type[Warning] = UserWarning) -> None:
    warnings.warn(text, kind, stacklevel=6)  # as if the line that called fit() said it
