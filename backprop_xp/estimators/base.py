"""The base class of the classifier and the regressor: checking, training, predicting, saving."""

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
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.backend.devices import Placement
from backprop_xp.backend.fast_numpy import fast_namespace
from backprop_xp.data.scaling import Scaling
from backprop_xp.data.sparse import SparseRows
from backprop_xp.estimators import persistence
from backprop_xp.estimators.fitting import optimize, split
from backprop_xp.estimators.inputs import (
    check_inputs,
    check_weights,
    device_inputs,
    is_on_device,
    placement_for,
    precision_of,
    where_inputs_are,
    without_zeros,
)
from backprop_xp.estimators.parameters import (
    CONSTRAINTS,
    check_solver,
    hidden_of,
    initial_weights,
    network_of,
)
from backprop_xp.nn.backpropagation import forward
from backprop_xp.nn.network import Layer, Network, Parameters, map_arrays
from backprop_xp.training.evaluation import predict
from backprop_xp.training.state import TrainState

try:
    from sklearn.utils._array_api import check_same_namespace
except ImportError:  # scikit-learn before 1.9: arrays of another library than in fit are accepted

    def check_same_namespace(*_: Any, **__: Any) -> None:
        """Accept all inputs."""


def _is_stochastic(estimator: Any) -> bool:
    if estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True


class BaseMLP(BaseEstimator):
    """A multilayer perceptron with scikit-learn's parameters, trained by `backprop_xp.fit`."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    def _store_params(self, parameters: Mapping[str, Any]) -> None:
        """Store the constructor's parameters unchanged."""
        for name in self._get_param_names():
            setattr(self, name, parameters[name])

    # --- training ---------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    @where_inputs_are
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array_like, data frame or sparse matrix, shape (n, n_features)
        y : array_like, shape (n,) or (n, n_outputs)
        sample_weight : array_like, shape (n,), optional
            A row of weight 2 counts twice, one of weight 0 not at all.
        X_val, y_val : array_like, optional
            Measured after each epoch, never trained on; with ``early_stopping`` they are used
            instead of a part of the training data.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For invalid data or parameters, and if training diverges; the model is then that of
            the last complete epoch.
        """
        with self._restored_on_error():
            return self._fit(X, y, sample_weight, X_val, y_val)

    @contextmanager
    def _restored_on_error(self) -> Iterator[None]:
        """Restore all attributes after an error, unless `_accept_changes` was called before it."""
        self._before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            if hasattr(self, "_before"):
                self.__dict__ = self._before
            raise
        finally:
            self._accept_changes()

    def _accept_changes(self) -> None:
        """Release the previous attributes: there is a new model, and it needs the memory."""
        self.__dict__.pop("_before", None)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        X_val: Any,
        y_val: Any,
        *,
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
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, "
                "but the target y is None."
            )
        X = check_inputs(self, X, reset=first)
        targets = self._check_targets(y, first=first, incremental=incremental)
        check_consistent_length(X, targets)
        weights = check_weights(sample_weight, X)
        rng = check_random_state(self.random_state)
        dtype = None if first else self.dtype or precision_of(self._first_weights)
        placement = placement_for(self, X, dtype)
        sizes = [int(X.shape[1]), *hidden, self.n_outputs_]
        network = network_of(self, sizes)
        if first:
            self._initialize(sizes, rng, placement, on_device=is_on_device(X))
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
            without_zeros(train),
            held_out,
            rng,
            placement=placement,
            incremental=incremental,
        )
        return self

    def _initialize(
        self, sizes: list[int], rng: Any, placement: Placement, *, on_device: bool
    ) -> None:
        """Draw the initial weights and reset the training state."""
        # A copy of the generator, so that the draws that scikit-learn makes stay the same.
        seed = copy.deepcopy(rng).randint(np.iinfo(np.int32).max)
        self._reset(len(sizes), int(seed), on_device=on_device)
        if on_device:
            self._move_classes(placement)
        with placement.activate():
            self._set_coefs(_layers(*initial_weights(self, sizes, rng), placement))

    def _reset(self, n_layers: int, seed: int, *, on_device: bool = False) -> None:
        """Set the training state to that before the first epoch."""
        self._on_device = on_device
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

    def _store_state(self, state: TrainState, *, incremental: bool) -> None:
        """Store the result of training: the weights to predict with, and the state to resume from.

        The next training run starts from the weights in ``coefs_``, with the optimizer's state;
        after a ``fit`` with early stopping, where they may be those of an earlier epoch, the
        optimizer starts anew. Only ``partial_fit`` resumes from the last weights where ``coefs_``
        are those of a better epoch.
        """
        self._accept_changes()
        last = state.parameters
        shown = (self._best if self.early_stopping else None) or last
        self._best = None
        self._set_coefs(shown)
        resumed = [] if shown is last else last
        self._state = state._replace(parameters=resumed, history=(), stopped="")
        if self.early_stopping and not incremental:
            self._state = self._state._replace(parameters=[], slots=[], step=0)
        self._shown = self._fingerprint() if self._state.parameters else b""

    def _fingerprint(self) -> bytes:
        """Return a hash of the weights, by which a change made by the user is noticed."""
        weights = (*self.coefs_, *self.intercepts_)
        return hashlib.sha256(b"".join(arrays.to_numpy(p).tobytes() for p in weights)).digest()

    def _set_coefs(self, parameters: Parameters) -> None:
        """Set ``coefs_``, of scikit-learn's shape (n_in, n_out), and ``intercepts_``."""
        if not self._on_device:
            # Arrays of JAX are read-only on the host.
            parameters = map_arrays(
                lambda p: np.require(arrays.to_numpy(p), requirements="W"), parameters
            )
        self.coefs_ = [layer.weights.T for layer in parameters]
        self.intercepts_ = [layer.bias for layer in parameters]

    def _parameters(self, X: Any) -> Parameters:
        """Return the initial parameters of a training run, with weights in row-major order.

        Mixed with row-major arrays, a transposed one is several times slower. Only the product
        with sparse rows takes the first weights, and leaves their gradient, transposed.
        """
        layers = []
        for index, (w, b) in enumerate(zip(self.coefs_, self.intercepts_, strict=True)):
            xp = arrays.namespace(w)
            if index == 0 and isinstance(X, SparseRows) and not X.made_dense:
                layers.append(Layer(np.ascontiguousarray(arrays.to_numpy(w)).T, b))
                continue
            flat = xp.reshape(w.T, (-1,))
            layers.append(Layer(xp.reshape(flat, (w.shape[1], w.shape[0])), b))
        return layers

    def _move_classes(self, placement: Placement) -> None:
        """Move the classes, if there are any, to the device of the inputs."""

    def _own_settings(self) -> dict[str, Any]:
        """Return the settings of `backprop_xp.fit` that only one kind of estimator has."""
        return {}

    def _stratified_by(self, targets: Any) -> Any:
        """Return the classes by which validation rows are stratified, or None."""
        return None

    # --- prediction -------------------------------------------------------------------------

    @property
    def _first_weights(self) -> Array:
        return self.coefs_[0]  # scikit-learn compares the device of an attribute, not of a list

    def _ready(
        self, X: Any, method: str, output: str | None = None
    ) -> tuple[Network, Parameters, Any, Placement]:
        """Return the network, its parameters, the checked inputs and their placement."""
        check_is_fitted(self)
        check_same_namespace(X, self, attribute="_first_weights", method=method)
        X = check_inputs(self, X, reset=False)
        placement = placement_for(self, X, precision_of(self._first_weights))
        with placement.activate():
            parameters = _layers(self.coefs_, self.intercepts_, placement)
            X = device_inputs(X, placement)
        sizes = [parameters[0].weights.shape[1], *(p.weights.shape[0] for p in parameters)]
        return network_of(self, sizes, output), parameters, X, placement

    def _outputs(self, X: Any, method: str, output: str | None = None) -> Array:
        """Return the outputs of the network, shape (n, n_outputs), on the device of the inputs.

        ``output`` names another output activation than the network's own.
        """
        network, parameters, X, placement = self._ready(X, method, output)
        with placement.activate():
            outputs = predict(network, parameters, X)
        return outputs if is_on_device(X) and self._on_device else arrays.to_numpy(outputs)

    @where_inputs_are
    def activations(self, X: Any) -> list[Array]:
        """Return the activations of each hidden layer: arrays of the shape (n, n_hidden).

        Parameters
        ----------
        X : array_like, data frame or sparse matrix, shape (n, n_features)
        """
        network, parameters, X, placement = self._ready(X, "activations")
        with placement.activate():
            X = X.take(slice(None)) if isinstance(X, SparseRows) else X
            hidden = forward(network, parameters, X, xp=fast_namespace(placement.xp)).a[1:-1]
        return list(hidden) if self._on_device else [arrays.to_numpy(a) for a in hidden]

    # --- files ------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trained network to a model file, which the command line can read too.

        Parameters
        ----------
        path : path
            Usually ends in ``.safetensors``.

        Raises
        ------
        ConfigurationError
            If an activation or the loss is a custom one, which a file cannot hold.
        """
        check_is_fitted(self)
        persistence.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], **parameters: Any) -> Self:
        """Read a model file of an estimator or of the command line; nothing in it is executed.

        Parameters
        ----------
        path : path
        **parameters
            Constructor parameters that are not in the file, such as ``solver`` or ``device``.

        Raises
        ------
        ModelFileError
            If the file is missing, damaged, or not a model of this package.
        ValueError
            If it holds a regression model and this is a classifier, or the reverse.
        """
        loaded: Self = persistence.load(cls, path, parameters)
        return loaded

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


partial_fit_where_stochastic = available_if(_is_stochastic)
"""A decorator that hides ``partial_fit`` if the solver has no steps."""


def _layers(coefs: list[Any], intercepts: list[Any], placement: Placement) -> Parameters:
    """Return weights of scikit-learn's shape (n_in, n_out), and biases, as layers on a device."""
    pairs = zip(coefs, intercepts, strict=True)
    return [Layer(placement.asarray(w.T), placement.asarray(b)) for w, b in pairs]
