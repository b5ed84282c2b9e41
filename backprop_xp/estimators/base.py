"""What the classifier and the regressor share: checking, training, predicting, saving."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._array_api import check_same_namespace
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from backprop_xp import arrays
from backprop_xp.arrays import Array
from backprop_xp.data.scaling import Scaling
from backprop_xp.devices import Placement
from backprop_xp.errors import DivergenceError
from backprop_xp.estimators import files
from backprop_xp.estimators.course import Course, Validation
from backprop_xp.estimators.inputs import (
    check_inputs,
    check_weights,
    feed,
    lives_elsewhere,
    placement_of,
    rows_of,
)
from backprop_xp.estimators.lbfgs import minimise
from backprop_xp.estimators.parameters import (
    CONSTRAINTS,
    hidden_of,
    initial_weights,
    network_of,
    optimizer_of,
    settings_of,
)
from backprop_xp.evaluation import chunks, predict
from backprop_xp.network import Layer, Network, Parameters, forward
from backprop_xp.state import TrainingInterrupted, TrainState
from backprop_xp.training import fit


def _is_stochastic(estimator: Any) -> bool:
    if isinstance(estimator.solver, str) and estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True


class BaseMLP(BaseEstimator):
    """A multilayer perceptron with scikit-learn's parameters, trained by `backprop_xp.fit`."""

    _parameter_constraints = CONSTRAINTS

    def _keep(self, parameters: Mapping[str, Any]) -> None:
        """Keep the constructor's parameters as they were given."""
        for name in self._get_param_names():
            setattr(self, name, parameters[name])

    # --- training ---------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None
    ) -> Self:
        """Train on data.

        Parameters
        ----------
        X : array_like, data frame or sparse matrix, shape (n, n_features)
        y : array_like, shape (n,) or (n, n_outputs)
        sample_weight : array_like, shape (n,), optional
            Weight 2 counts as the row twice, weight 0 as no row.
        X_val, y_val : array_like, optional
            Measured after each epoch, never trained on; with ``early_stopping`` they take the
            place of a part of the training data.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data or parameters that are wrong, and for a training that diverges; the model
            is then that of the last good epoch.
        """
        return self._fit(X, y, sample_weight, X_val, y_val, incremental=False)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, *, incremental: bool
    ) -> Self:
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        hidden = hidden_of(self)
        if (X_val is None) is not (y_val is None):
            raise ValueError("X_val and y_val belong together: give both, or neither.")
        if incremental and self.early_stopping and X_val is None:
            raise ValueError(
                "partial_fit does not support early_stopping=True without X_val and y_val."
            )
        if first:
            self._scaling = None
        X = self._check_table(X, y, reset=first)
        targets = self._check_targets(y, first=first, incremental=incremental)
        if targets.shape[0] != X.shape[0]:
            raise ValueError(
                "Found input variables with inconsistent numbers of samples: "
                f"[{X.shape[0]}, {targets.shape[0]}]"
            )
        weights = check_weights(sample_weight, X)
        rng = check_random_state(self.random_state)
        placement, dtype = placement_of(self, X)
        sizes = [int(X.shape[1]), *hidden, self.n_outputs_]
        network = network_of(self, sizes)
        if first:
            self._begin(sizes, rng, placement, dtype, lives_elsewhere(X))
        train, held_out = (X, targets, weights), None
        if X_val is not None:
            X_val = check_inputs(self, X_val, reset=False)
            held_out = X_val, self._check_targets(y_val, first=False, incremental=True), None
        elif self.early_stopping and self.solver != "lbfgs":
            train, held_out = self._split(train, rng)
        X, targets, weights = _weighed(*train)
        self._optimize(
            network,
            (feed(X, placement, dtype), targets),
            weights,
            held_out,
            placement,
            dtype,
            rng,
            incremental=incremental,
        )
        return self

    def _check_table(self, X: Any, y: Any, *, reset: bool) -> Any:
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, "
                "but the target y is None."
            )
        return check_inputs(self, X, reset=reset)

    def _begin(
        self, sizes: list[int], rng: Any, placement: Placement, dtype: str, elsewhere: bool
    ) -> None:
        """Draw the initial weights and forget all that was learned."""
        # A copy of the generator, so that the draws that scikit-learn makes stay the same.
        seed = copy.deepcopy(rng).randint(np.iinfo(np.int32).max)
        self._forget(len(sizes), int(seed), elsewhere)
        with placement.activate():
            like = {"xp": placement.xp, "dtype": placement.dtype(dtype), "device": placement.device}
            self._expose(
                [
                    Layer(arrays.asarray(w.T, **like), arrays.asarray(b, **like))
                    for w, b in initial_weights(self, sizes, rng)
                ]
            )

    def _forget(self, n_layers: int, seed: int, elsewhere: bool) -> None:
        """Set all that a training keeps to what it is before the first epoch."""
        self._elsewhere = elsewhere
        self._scaling: Scaling | None = None
        self._state = TrainState([], [], epoch=0, step=0, seed=seed)
        self._best: Parameters | None = None
        self._slots: tuple[str, ...] = ()
        self.n_layers_ = n_layers
        self.n_iter_ = self.t_ = self._rounds = self._no_improvement_count = 0
        self._eta = float(self.learning_rate_init)
        self.loss_curve_: list[float] = []
        self.validation_loss_curve_: list[float] | None = None
        self.best_loss_ = None if self.early_stopping else np.inf
        self.validation_scores_: list[float] | None = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None

    def _split(self, train: tuple[Any, ...], rng: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Set rows aside for early stopping, as scikit-learn does."""
        X, targets, _ = train
        stratify = targets if self._stratifies() and self.n_outputs_ == 1 else None
        rows, kept = train_test_split(
            np.arange(X.shape[0]),
            test_size=self.validation_fraction,
            random_state=rng,
            stratify=stratify,
        )
        if len(kept) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        return tuple(rows_of(p, rows) for p in train), tuple(rows_of(p, kept) for p in train)

    def _optimize(
        self,
        network: Network,
        train: tuple[Any, Any],
        weights: Any,
        held_out: tuple[Any, ...] | None,
        placement: Placement,
        dtype: str,
        rng: Any,
        *,
        incremental: bool,
    ) -> None:
        n = int(train[0].shape[0])
        batch_size = self.batch_size
        if not isinstance(batch_size, str) and batch_size > n and not incremental:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. "
                "It is going to be clipped",
                stacklevel=4,
            )
        settings = {**settings_of(self, network, n), **self._own_settings(incremental)}
        where: dict[str, Any] = {"placement": placement, "dtype": dtype}
        if isinstance(self.solver, str) and self.solver == "lbfgs":
            found = minimise(
                self, network, train, self._parameters(), weights=weights, settings=settings, **where
            )
            self._expose(found)
            return
        validation, measured = None, None
        if held_out is not None:
            measured = _dense(held_out[0], placement, dtype), held_out[1]
            validation = Validation(*measured, held_out[2])
            if self.validation_loss_curve_ is None:
                self.validation_loss_curve_ = []
        optimizer = optimizer_of(self)
        if optimizer.slots != self._slots:  # another solver, which starts anew
            self._slots = optimizer.slots
            self._state = self._state._replace(slots=[], step=0)
        self.n_iter_ = 0
        if not incremental:
            self._eta, self._rounds = float(self.learning_rate_init), 0
        course = Course(self, network, rng, n, validation, incremental=incremental)
        epochs = 1 if incremental else self.max_iter
        if self.callback is not None and self.callback(self, {"epoch": 0}):
            return
        try:
            state = self._state
            fit(
                network,
                train,
                measured,
                device=placement,
                dtype=dtype,
                sample_weight=weights,
                state=state,
                parameters=state.parameters or self._parameters(),
                shuffle=course.order,
                rates=course.rates,
                on_epoch=course.epoch_end,
                epochs=state.epoch + int(epochs),
                **settings,
            )
        except DivergenceError as error:
            course.state = error.state  # type: ignore[assignment]
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                f"values and need to be preprocessed: {error}; {error.hint}"
            ) from error
        except TrainingInterrupted as interrupt:
            course.state = interrupt.state
            warnings.warn("Training interrupted by user.", stacklevel=4)
        finally:
            self._settle(course.state)
        if not incremental and not course.converged and 0 < self.n_iter_ == self.max_iter:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _settle(self, state: TrainState | None) -> None:
        """Keep what a training left: the weights to predict with, and the state to go on from."""
        if state is None:
            return
        restored = self.early_stopping and self._best is not None
        self._expose(self._best if restored else state.parameters)
        last = state.parameters if restored else []
        self._state = state._replace(parameters=last, history=(), stopped="")

    def _expose(self, parameters: Parameters) -> None:
        """Show parameters as scikit-learn does: weights of the shape (n_in, n_out)."""
        see = (lambda p: p) if self._elsewhere else arrays.to_numpy
        self.coefs_ = [see(layer.weights).T for layer in parameters]
        self.intercepts_ = [see(layer.bias) for layer in parameters]

    def _parameters(self) -> Parameters:
        return [Layer(w.T, b) for w, b in zip(self.coefs_, self.intercepts_, strict=True)]

    def _own_settings(self, incremental: bool) -> dict[str, Any]:
        """Return the settings that only one kind of estimator has."""
        return {}

    # --- prediction -------------------------------------------------------------------------

    @property
    def _first_weights(self) -> Array:
        return self.coefs_[0]  # scikit-learn compares where an attribute lives, not a list

    def _ready(self, X: Any, method: str) -> tuple[Network, Parameters, Any, Placement]:
        """Return what a forward pass over a user's inputs needs."""
        check_is_fitted(self)
        check_same_namespace(X, self, attribute="_first_weights", method=method)
        X = check_inputs(self, X, reset=False)
        placement, _ = placement_of(self, X)
        dtype = "float32" if "float32" in str(self.coefs_[0].dtype) else "float64"
        like = {"xp": placement.xp, "dtype": placement.dtype(dtype), "device": placement.device}
        with placement.activate():
            parameters = [
                Layer(*(arrays.asarray(p, **like) for p in layer)) for layer in self._parameters()
            ]
            if not sparse.issparse(X):
                X = arrays.asarray(X, **like)
        sizes = [parameters[0].weights.shape[1], *(p.weights.shape[0] for p in parameters)]
        return network_of(self, sizes), parameters, X, placement

    def _outputs(self, X: Any, method: str) -> Array:
        """Return what the network says, shape (n, n_outputs), where the inputs live."""
        network, parameters, X, placement = self._ready(X, method)
        with placement.activate():
            if sparse.issparse(X):
                parts = [
                    arrays.to_numpy(
                        predict(network, parameters, _dense(X[rows], placement, parameters))
                    )
                    for rows in chunks(network, X.shape[0])
                ]
                return np.concatenate(parts)
            outputs = predict(network, parameters, X)
        return outputs if lives_elsewhere(X) and self._elsewhere else arrays.to_numpy(outputs)

    def activations(self, X: Any) -> list[Array]:
        """Return what each hidden layer makes of inputs: arrays of the shape (n, n_hidden).

        Parameters
        ----------
        X : array_like, data frame or sparse matrix, shape (n, n_features)
        """
        network, parameters, X, placement = self._ready(X, "activations")
        with placement.activate():
            if sparse.issparse(X):
                X = _dense(X, placement, parameters)
            hidden = forward(network, parameters, X, xp=placement.xp).a[1:-1]
        return list(hidden) if self._elsewhere else [arrays.to_numpy(a) for a in hidden]

    # --- files ------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trained network to a model file, which the command line opens as well.

        Parameters
        ----------
        path : path
            Usually ends in ``.safetensors``.

        Raises
        ------
        ConfigurationError
            If an activation or the loss is one of your own, which no file can hold.
        """
        check_is_fitted(self)
        files.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], **parameters: Any) -> Self:
        """Read a model file, of an estimator or of the command line; nothing in it is executed.

        Parameters
        ----------
        path : path
        **parameters
            Constructor parameters that the file does not hold, such as ``solver`` or ``device``.

        Raises
        ------
        ModelFileError
            If the file is missing, damaged, or no model of this package.
        ValueError
            If it holds a regression for a classifier, or the other way round.
        """
        return files.load(cls, path, parameters)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


def _weighed(X: Any, targets: Any, weights: Any) -> tuple[Any, Any, Any]:
    """Leave out the rows of weight 0: a batch of nothing else would have no mean."""
    if weights is None or weights.all():
        return X, targets, weights
    rows = np.flatnonzero(weights)
    return rows_of(X, rows), rows_of(targets, rows), weights[rows]


def _dense(X: Any, placement: Placement, dtype: Any) -> Array:
    """Return inputs as an array on a device, in a data type given by name or by parameters."""
    if isinstance(dtype, str):
        dtype = placement.dtype(dtype)
    else:
        dtype = dtype[0].weights.dtype
    X = X.toarray() if sparse.issparse(X) else X
    return arrays.asarray(X, xp=placement.xp, dtype=dtype, device=placement.device)


partial_fit_where_stochastic = available_if(_is_stochastic)
"""Hides ``partial_fit`` from an estimator whose solver has no steps."""
