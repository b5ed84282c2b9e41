"""What the classifier and the regressor share: checking, training, predicting, saving."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._array_api import check_same_namespace
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.backend.devices import Placement
from backprop_xp.data.scaling import Scaling
from backprop_xp.data.sparse import SparseRows
from backprop_xp.estimators import persistence
from backprop_xp.estimators.fitting import optimize, split
from backprop_xp.estimators.inputs import (
    check_inputs,
    check_weights,
    lives_elsewhere,
    placed,
    placement_of,
    precision_of,
    without_zeros,
)
from backprop_xp.estimators.parameters import (
    CONSTRAINTS,
    check_solver,
    hidden_of,
    initial_weights,
    network_of,
)
from backprop_xp.nn.network import Layer, Network, Parameters, forward, map_arrays
from backprop_xp.training.evaluation import predict
from backprop_xp.training.state import TrainState


def _is_stochastic(estimator: Any) -> bool:
    if isinstance(estimator.solver, str) and estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True


class BaseMLP(BaseEstimator):
    """A multilayer perceptron with scikit-learn's parameters, trained by `backprop_xp.fit`."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

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
        with self._as_before_if_refused() as before:
            return self._fit(X, y, sample_weight, X_val, y_val, before=before)

    @contextmanager
    def _as_before_if_refused(self) -> Iterator[dict[str, Any]]:
        """Undo what checks have noted down, as the classes, where no training has come of them:
        what was before is yielded, and is to be cleared once something has been learned."""
        before = dict(self.__dict__)
        try:
            yield before
        except BaseException:
            if before:
                self.__dict__.clear()
                self.__dict__.update(before)
            raise

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        X_val: Any,
        y_val: Any,
        *,
        before: dict[str, Any],
        incremental: bool = False,
    ) -> Self:
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        hidden = hidden_of(self)
        if (X_val is None) is not (y_val is None):
            raise ValueError("X_val and y_val belong together: give both, or neither.")
        if incremental and self.early_stopping and X_val is None:
            raise ValueError(
                "partial_fit does not support early_stopping=True without X_val and y_val."
            )
        check_solver(self, X_val)
        if first:
            self._scaling: Scaling | None = None
        X = self._check_table(X, y, reset=first)
        targets = self._check_targets(y, first=first, incremental=incremental)
        check_consistent_length(X, targets)
        weights = check_weights(sample_weight, X)
        rng = check_random_state(self.random_state)
        dtype = None if first else self.dtype or precision_of(self._first_weights)
        placement, dtype = placement_of(self, X, dtype)
        sizes = [int(X.shape[1]), *hidden, self.n_outputs_]
        network = network_of(self, sizes)
        if first:
            self._begin(sizes, rng, placement, dtype, lives_elsewhere(X))
        train, held_out = (X, targets, weights), None
        if X_val is not None:
            X_val = check_inputs(self, X_val, reset=False)
            y_val = self._check_targets(y_val, first=False, incremental=True)
            check_consistent_length(X_val, y_val)
            held_out = X_val, y_val, None
        elif self.early_stopping and self.solver != "lbfgs":
            train, held_out = split(self, train, self._stratified_by(targets), rng)
        optimize(
            self,
            network,
            without_zeros(*train),
            held_out,
            rng,
            placement=placement,
            dtype=dtype,
            before=before,
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
        if elsewhere:
            self._move_classes(placement)
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
        self._scaling = None
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

    def _settle(self, state: TrainState | None, *, incremental: bool) -> None:
        """Keep what a training left: the weights to predict with, and the state to go on from.

        All go on from the weights that are shown, with the optimizer's state; after a ``fit`` with
        early stopping it starts anew, since those may be weights of an earlier epoch. Only the
        next ``partial_fit`` goes on from the last weights, where better ones are shown.
        """
        if state is None:
            return
        last = state.parameters
        shown = (self._best if self.early_stopping else None) or last
        self._best = None
        self._expose(shown)
        others = [] if shown is last else last
        self._state = state._replace(parameters=others, history=(), stopped="")
        if self.early_stopping and not incremental:
            self._state = self._state._replace(parameters=[], slots=[], step=0)
        self._shown = self._fingerprint() if self._state.parameters else b""

    def _fingerprint(self) -> bytes:
        """Return what tells whether the weights that are shown are still the same."""
        shown = (*self.coefs_, *self.intercepts_)
        return hashlib.sha256(b"".join(arrays.to_numpy(p).tobytes() for p in shown)).digest()

    def _expose(self, parameters: Parameters) -> None:
        """Show parameters as scikit-learn does: weights of the shape (n_in, n_out)."""
        if not self._elsewhere:
            # JAX lends its memory to be read alone.
            parameters = map_arrays(
                lambda p: np.require(arrays.to_numpy(p), requirements="W"), parameters
            )
        self.coefs_ = [layer.weights.T for layer in parameters]
        self.intercepts_ = [layer.bias for layer in parameters]

    def _parameters(self, X: Any) -> Parameters:
        """Return the parameters to train, each weight matrix row by row in memory: mixed with
        arrays that lie row by row, a transposed one is several times slower. Only the product of
        sparse rows takes the first weights, and leaves their gradient, transposed."""
        layers = []
        for place, (w, b) in enumerate(zip(self.coefs_, self.intercepts_, strict=True)):
            xp = arrays.namespace(w)
            if place == 0 and isinstance(X, SparseRows) and not X.made_dense:
                layers.append(Layer(np.ascontiguousarray(arrays.to_numpy(w)).T, b))
                continue
            flat = xp.reshape(w.T, (-1,))
            layers.append(Layer(xp.reshape(flat, (w.shape[1], w.shape[0])), b))
        return layers

    def _move_classes(self, placement: Placement) -> None:
        """Bring the classes, where there are any, to where the inputs live."""

    def _own_settings(self) -> dict[str, Any]:
        """Return the settings that only one kind of estimator has."""
        return {}

    def _stratified_by(self, targets: Any) -> Any:
        """Return by what rows are drawn for early stopping, so that both parts are alike."""
        return None

    # --- prediction -------------------------------------------------------------------------

    @property
    def _first_weights(self) -> Array:
        return self.coefs_[0]  # scikit-learn compares where an attribute lives, not a list

    def _ready(
        self, X: Any, method: str, output: str | None = None
    ) -> tuple[Network, Parameters, Any, Placement]:
        """Return what a forward pass over a user's inputs needs."""
        check_is_fitted(self)
        check_same_namespace(X, self, attribute="_first_weights", method=method)
        X = check_inputs(self, X, reset=False)
        placement, dtype = placement_of(self, X, precision_of(self._first_weights))
        real = placement.dtype(dtype)
        like = {"xp": placement.xp, "dtype": real, "device": placement.device}
        with placement.activate():
            parameters = [
                Layer(arrays.asarray(w.T, **like), arrays.asarray(b, **like))
                for w, b in zip(self.coefs_, self.intercepts_, strict=True)
            ]
            X = placed(X, placement, real)
        sizes = [parameters[0].weights.shape[1], *(p.weights.shape[0] for p in parameters)]
        return network_of(self, sizes, output), parameters, X, placement

    def _outputs(self, X: Any, method: str, output: str | None = None) -> Array:
        """Return what the network says, shape (n, n_outputs), where the inputs live; with another
        output activation than its own, if one is named."""
        network, parameters, X, placement = self._ready(X, method, output)
        with placement.activate():
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
            X = X.take(slice(None)) if isinstance(X, SparseRows) else X
            hidden = forward(network, parameters, X, xp=arrays.direct(placement.xp)).a[1:-1]
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
        persistence.save(self, path)

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
        loaded: Self = persistence.load(cls, path, parameters)
        return loaded

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


partial_fit_where_stochastic = available_if(_is_stochastic)
"""Hides ``partial_fit`` from an estimator whose solver has no steps."""
