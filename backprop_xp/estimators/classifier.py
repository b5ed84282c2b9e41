"""`MLPClassifier`: two classes, many classes, or several labels at once."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import (
    check_classification_targets,
    type_of_target,
    unique_labels,
)
from sklearn.utils.validation import check_array

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.backend.devices import Placement
from backprop_xp.data.labels import from_names
from backprop_xp.estimators.base import BaseMLP, partial_fit_where_stochastic
from backprop_xp.estimators.inputs import is_on_device, on_host, where_inputs_are
from backprop_xp.estimators.parameters import CONSTRAINTS, FRACTION, class_weights
from backprop_xp.estimators.persistence import label_type
from backprop_xp.models.model import Model
from backprop_xp.nn.losses import LOSSES, Loss


class MLPClassifier(ClassifierMixin, BaseMLP):
    """A multilayer perceptron for classification, with scikit-learn's parameters and more.

    The same ``random_state`` gives the same weights, batches and results as scikit-learn's.

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, \
    power_t, max_iter, shuffle, random_state, tol, verbose, warm_start, momentum, \
    nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2, epsilon, \
    n_iter_no_change, max_fun
        As in scikit-learn. Besides its values, ``activation`` takes every activation of
        `backprop_xp.nn.activations`, a custom one, or one for each hidden layer; ``solver`` every
        optimizer of `backprop_xp.nn.optimizers`, as a name or record; ``learning_rate`` every
        schedule of `backprop_xp.nn.schedules`, over ``max_iter`` epochs; and ``max_iter`` 0, for a
        network with its initial weights.
    loss : name or `Loss`
        ``"log_loss"`` is the cross-entropy; or any loss of `backprop_xp.nn.losses`.
    class_weight : dict, "balanced" or None
        The weight of each class; ``"balanced"`` for the inverse of their frequencies.
    label_smoothing : float
        The share of each target that is spread evenly over all classes.
    dropout : float or sequence of float
        The dropout rate of all hidden layers, or one for each.
    l1 : float
        Coefficient of Σ|w|, divided by the batch size like ``alpha``.
    max_norm : float or None
        Upper bound on the norm of the incoming weights of each neuron.
    callback : callable ``(estimator, metrics) -> stop``, optional
        Called before the first epoch with ``{"epoch": 0}``, and after each epoch with its number
        and metrics. Training stops if the result is true. An exception is passed on and leaves
        the model of the last epoch.
    checkpoint : path, optional
        A file to which ``fit`` writes its state after the first epoch, every 30 seconds, and at
        the end. If it exists, ``fit`` continues from it, and ends like a fit that was never
        interrupted; it must be of the same data and parameters, but for ``max_iter``.
    device, backend : str
        Where to compute with host arrays, as for `backprop_xp.select_device`. Arrays of other
        libraries, with scikit-learn's ``array_api_dispatch``, are computed on where they are.
    dtype : {"float32", "float64"} or None
        By default that of the inputs, float64 for integers.

    Attributes
    ----------
    coefs_, intercepts_ : list of arrays
        Weights, shape (n_in, n_out), and biases; with early stopping those of the best epoch.
    loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_, n_iter_, t_, \
    n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_, classes_
        As in scikit-learn.
    validation_loss_curve_ : list of float or None
        The loss on the validation rows after each epoch; None without validation rows.

    Examples
    --------
    >>> from backprop_xp import load_digits
    >>> digits = load_digits()
    >>> model = MLPClassifier((30,), learning_rate_init=0.01, tol=0.01, random_state=0)
    >>> model = model.fit(digits.train.inputs / 16.0, digits.train.targets)
    >>> model.score(digits.test.inputs / 16.0, digits.test.targets) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CONSTRAINTS,
        "loss": [StrOptions({"log_loss", *LOSSES}), Loss],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "label_smoothing": [FRACTION],
    }

    _sparse_labels = False

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: Any = 10,
        max_fun: int = 15000,
        loss: Any = "log_loss",
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        dropout: Any = 0.0,
        l1: float = 0.0,
        max_norm: float | None = None,
        callback: Any = None,
        checkpoint: Any = None,
        device: str = "cpu",
        backend: str | None = None,
        dtype: str | None = None,
    ) -> None:
        self._store_params(locals())

    @partial_fit_where_stochastic
    @_fit_context(prefer_skip_nested_validation=True)
    @where_inputs_are
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
        X_val: Any = None,
        y_val: Any = None,
    ) -> Self:
        """Train for one epoch on these rows, and keep the optimizer's state for the next call.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val
            As for `fit`.
        classes : array_like, optional
            All classes that will occur; required in the first call.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit`, and for a class that is not in ``classes``.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit, which does not see all "
                "classes at once. Pass the weights as a dict, or sample_weight."
            )
        with self._restored_on_error():
            labels = None if classes is None else np.unique(np.asarray(on_host(classes)))
            known = on_host(getattr(self, "classes_", None))
            if known is None and labels is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            if known is None:
                self._set_classes(on_host(y), labels)
            elif labels is not None and labels.tolist() != known.tolist():
                raise ValueError(
                    f"`classes={classes!r}` is not the same as on last call to partial_fit, "
                    f"was: {known!r}"
                )
            return self._fit(X, y, sample_weight, X_val, y_val, incremental=True)

    @where_inputs_are
    def predict(self, X: Any) -> Array:
        """Return the class of each row, shape (n,), or its labels as 0 and 1, (n, n_labels).

        Labels are a sparse matrix if those of `fit` were.

        Parameters
        ----------
        X : array_like, data frame or sparse matrix, shape (n, n_features)
        """
        outputs = self._outputs(X, "predict")
        xp = arrays.namespace(outputs)
        indices = self._indices(outputs, xp)
        if self._multilabel:
            return sparse.csr_matrix(arrays.to_numpy(indices)) if self._sparse_labels else indices
        if is_on_device(outputs) and is_on_device(self.classes_):
            return xp.take(self.classes_, indices, axis=0)
        return on_host(self.classes_)[arrays.to_numpy(indices)]

    @where_inputs_are
    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, in the order of ``classes_``.

        Parameters
        ----------
        X : array_like, data frame or sparse matrix, shape (n, n_features)
        """
        return self._probabilities(X, "predict_proba")

    @where_inputs_are
    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of `predict_proba`.

        Parameters
        ----------
        X : array_like, data frame or sparse matrix, shape (n, n_features)
        """
        outputs = self._probabilities(X, "predict_log_proba")
        if is_on_device(outputs):
            return arrays.namespace(outputs).log(outputs)
        with np.errstate(divide="ignore"):
            return np.log(outputs)

    def _probabilities(self, X: Any, method: str) -> Array:
        outputs = self._outputs(X, method)
        if outputs.shape[1] > 1 or self._multilabel:
            return outputs
        return arrays.namespace(outputs).concat((1.0 - outputs, outputs), axis=1)

    def _outputs(self, X: Any, method: str, output: str | None = None) -> Array:
        if getattr(self, "out_activation_", "") != "logistic":
            return super()._outputs(X, method, output)
        # The core's sigmoid is fast, but rounds probabilities below 1e-16 to 0, and users may take
        # their logarithm.
        z = super()._outputs(X, method, "identity")
        xp = arrays.namespace(z)
        small = xp.exp(-xp.abs(z))
        return xp.where(z < 0.0, small, xp.ones_like(small)) / (1.0 + small)

    def _indices(self, outputs: Array, xp: Any) -> Array:
        """Return the class indices predicted by outputs, or the labels as 0 and 1."""
        if self._multilabel:
            return xp.astype(outputs > 0.5, xp.int64)
        if outputs.shape[1] > 1:
            return xp.argmax(outputs, axis=1)
        above = xp.astype(outputs[:, 0] > 0.5, xp.int64)
        return above if self.classes_.shape[0] > 1 else above * 0

    def _score_of(self, outputs: Array, targets: Array, weights: Any) -> float:
        predicted = self._indices(outputs, np)
        return float(accuracy_score(targets, predicted, sample_weight=weights))

    # --- classes ----------------------------------------------------------------------------

    def _check_targets(self, y: Any, *, first: bool, incremental: bool) -> Array:
        """Return class indices, shape (n,), or labels as numbers 0 and 1, shape (n, n_labels)."""
        y = on_host(y)
        y = check_array(
            y,
            accept_sparse="csr",
            ensure_2d=False,
            dtype=None,
            input_name="y",
            estimator=self,
        )
        if first:
            self._sparse_labels = sparse.issparse(y)
        if sparse.issparse(y):
            y = y.toarray()
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if first and not incremental:
            self._set_classes(y, None)
        kinds = type_of_target(y)
        if self._multilabel is not kinds.startswith("multilabel"):
            raise ValueError(f"y is of type {kinds!r}, but it was of another type before.")
        known = on_host(self.classes_)
        if self._multilabel:
            if y.shape[1] != len(known):
                raise ValueError(f"y has {y.shape[1]} labels, but there were {len(known)} before.")
            return y.astype(np.float64)
        labels = unique_labels(y)
        if not first and not incremental and set(labels.tolist()) != set(known.tolist()):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {known}, `y` has {labels}"
            )
        index_of = {label: index for index, label in enumerate(known.tolist())}
        if any(label not in index_of for label in labels.tolist()):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {known}. "
                f"'y' has {labels}."
            )
        labels, codes = np.unique(y, return_inverse=True)
        return np.asarray([index_of[label] for label in labels.tolist()], dtype=np.int64)[codes]

    def _set_classes(self, y: Any, classes: Any) -> None:
        """Set the classes, and with them the outputs of the network."""
        self._multilabel = type_of_target(y).startswith("multilabel")
        if self._multilabel:
            if classes is not None and len(classes) != np.shape(y)[1]:
                raise ValueError(f"y has {np.shape(y)[1]} labels, but classes has {len(classes)}.")
            classes = np.arange(np.shape(y)[1])
        elif type_of_target(y) == "multiclass-multioutput":
            raise ValueError("Multioutput target data is not supported with label binarization")
        self.classes_ = np.unique(y) if classes is None else classes
        several = len(self.classes_) > 2
        self.n_outputs_ = len(self.classes_) if several or self._multilabel else 1
        self.out_activation_ = "softmax" if several and not self._multilabel else "logistic"

    def _move_classes(self, placement: Placement) -> None:
        """Move the classes to the device of the inputs, if they are numbers."""
        if self.classes_.dtype.kind in "biuf":
            self.classes_ = arrays.asarray(self.classes_, xp=placement.xp, device=placement.device)

    def _take_model(self, model: Model, output: str) -> None:
        """Set the classes from a model file."""
        self._multilabel = model.classes is None and output == "logistic"
        if model.classes is None and not self._multilabel:
            raise ValueError("The file holds a regression model: use MLPRegressor.load.")
        self.classes_ = (
            np.arange(model.network.sizes[-1])
            if model.classes is None
            else from_names(model.classes, model.label_type)
        )

    def _class_names(self) -> tuple[str, ...] | None:
        return None if self._multilabel else tuple(map(str, on_host(self.classes_).tolist()))

    def _label_type(self) -> str:
        return "text" if self._multilabel else label_type(on_host(self.classes_))

    def _stratified_by(self, targets: Any) -> Any:
        # The labels themselves, since an error names those that are too rare.
        binary = self.n_outputs_ == 1 and not self._multilabel
        return on_host(self.classes_)[targets] if binary else None

    def _own_settings(self) -> dict[str, Any]:
        return {
            "label_smoothing": float(self.label_smoothing),
            "class_weight": class_weights(self.class_weight, on_host(self.classes_).tolist()),
        }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
