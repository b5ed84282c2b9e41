"""`MLPRegressor`: one or several numbers for each row."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_array

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.estimators.base import BaseMLP, partial_fit_where_stochastic
from backprop_xp.estimators.inputs import where_inputs_are
from backprop_xp.estimators.parameters import CONSTRAINTS
from backprop_xp.models.model import Model
from backprop_xp.nn.losses import LOSSES, Loss


class MLPRegressor(RegressorMixin, BaseMLP):
    """A multilayer perceptron for regression, with scikit-learn's parameters and more.

    The same ``random_state`` gives the same weights, batches and results as scikit-learn's.

    Parameters
    ----------
    loss : name or `Loss`
        ``"squared_error"`` and ``"poisson"`` are scikit-learn's (half of Σ(a - y)², and an
        exponential output); or any other loss of `backprop_xp.nn.losses`, such as ``"huber"``,
        ``"mean_absolute_error"`` and ``quantile(0.9)``.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, \
    power_t, max_iter, shuffle, random_state, tol, verbose, warm_start, momentum, \
    nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2, epsilon, \
    n_iter_no_change, max_fun
        As in scikit-learn. Besides its values, ``activation`` takes every activation of
        `backprop_xp.nn.activations`, a custom one, or one for each hidden layer; ``solver`` every
        optimizer of `backprop_xp.nn.optimizers`, as a name or record; ``learning_rate`` every
        schedule of `backprop_xp.nn.schedules`, over ``max_iter`` epochs; and ``max_iter`` 0, for a
        network with its initial weights.
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
    n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        As in scikit-learn.
    validation_loss_curve_ : list of float or None
        The loss on the validation rows after each epoch; None without validation rows.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(-1.0, 1.0, 50)[:, None]
    >>> model = MLPRegressor(solver="lbfgs", random_state=0).fit(x, x[:, 0] ** 2)
    >>> round(float(model.predict([[0.5]])[0]), 2)
    0.25
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CONSTRAINTS,
        "loss": [StrOptions(set(LOSSES)), Loss],
    }

    def __init__(
        self,
        loss: Any = "squared_error",
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
        self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None
    ) -> Self:
        """Train for one epoch on these rows, and keep the optimizer's state for the next call.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val
            As for `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit`.
        """
        with self._restored_on_error():
            return self._fit(X, y, sample_weight, X_val, y_val, incremental=True)

    @where_inputs_are
    def predict(self, X: Any) -> Array:
        """Return the prediction for each row, shape (n,) or (n, n_outputs).

        Parameters
        ----------
        X : array_like, data frame or sparse matrix, shape (n, n_features)
        """
        outputs = self._outputs(X, "predict")
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def _score_of(self, outputs: Array, targets: Array, weights: Any) -> float:
        return float(r2_score(targets, outputs, sample_weight=weights))

    def _check_targets(self, y: Any, *, first: bool, incremental: bool) -> Array:
        """Return targets as floating-point numbers, shape (n, n_outputs)."""
        y = check_array(y, ensure_2d=False, dtype=None, input_name="y", estimator=self)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        xp = arrays.namespace(y)
        y = y.astype(np.float64) if xp.__name__ == "numpy" else xp.astype(y, xp.float64)
        y = y[:, None] if y.ndim == 1 else y
        if first:
            self.n_outputs_ = int(y.shape[1])
            self.out_activation_ = "exp" if self.loss == "poisson" else "identity"
        elif y.shape[1] != self.n_outputs_:
            raise ValueError(
                f"y has {y.shape[1]} outputs, but there were {self.n_outputs_} before."
            )
        return y

    def _take_model(self, model: Model, output: str) -> None:
        """Check that a model file holds a regression model."""
        if model.classes is not None:
            raise ValueError("The file holds a classification model: use MLPClassifier.load.")

    def _class_names(self) -> None:
        return None

    def _label_type(self) -> str:
        return "text"
