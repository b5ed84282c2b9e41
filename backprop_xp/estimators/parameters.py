"""The translation of scikit-learn's parameters: optimizer, loss, network and learning rates.

Only this file knows both conventions.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.backend.devices import DTYPES
from backprop_xp.nn.activations import ACTIVATIONS, Activation, get_activation
from backprop_xp.nn.losses import LOSSES, Loss, LossTerms, get_loss
from backprop_xp.nn.network import Network
from backprop_xp.nn.optimizers import OPTIMIZERS, Optimizer, adam, get_optimizer, sgd
from backprop_xp.nn.schedules import SCHEDULES

TO_CORE = {"logistic": "sigmoid"}
"""From scikit-learn's name of an activation to that of the core, where they differ."""

TO_SKLEARN = {core: sklearn for sklearn, core in TO_CORE.items()}

RATES = ("constant", "invscaling", "adaptive")
"""scikit-learn's own schedules, which depend on the epoch and the loss."""

NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
FRACTION = Interval(Real, 0, 1, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
COUNT = Interval(Integral, 1, None, closed="left")

CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", COUNT],
    "activation": [StrOptions({"logistic", *ACTIVATIONS}), "array-like"],
    "solver": [StrOptions({"lbfgs", *OPTIMIZERS}), Optimizer],
    "alpha": [NOT_NEGATIVE],
    "batch_size": [StrOptions({"auto"}), COUNT],
    "learning_rate": [StrOptions({*RATES, *SCHEDULES}), callable],
    "learning_rate_init": [POSITIVE],
    "power_t": [NOT_NEGATIVE],
    "max_iter": [Interval(Integral, 0, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [NOT_NEGATIVE],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [FRACTION],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [FRACTION],
    "beta_1": [FRACTION],
    "beta_2": [FRACTION],
    "epsilon": [POSITIVE],
    "n_iter_no_change": [COUNT, Options(Real, {np.inf})],
    "max_fun": [COUNT],
    "l1": [NOT_NEGATIVE],
    "max_norm": [POSITIVE, None],
    "dropout": [FRACTION, "array-like"],
    "callback": [callable, None],
    "checkpoint": [str, os.PathLike, None],
    "device": [str],
    "backend": [str, None],
    "dtype": [StrOptions(set(DTYPES)), None],
}


def optimizer_of(estimator: Any) -> Optimizer:
    """Return the optimizer for an estimator's solver.

    scikit-learn's Adam adds epsilon to √v, and not to the bias-corrected √v̂.
    """
    solver = estimator.solver
    if solver == "sgd":
        if not estimator.momentum:
            return sgd()
        name = "nesterov" if estimator.nesterovs_momentum else "momentum"
        return get_optimizer(name, momentum=float(estimator.momentum))
    if solver != "adam":
        return get_optimizer("sgd" if solver == "lbfgs" else solver)
    epsilon = float(estimator.epsilon)
    beta_2 = float(estimator.beta_2)
    core = adam(float(estimator.beta_1), beta_2, epsilon)
    scaled = epsilon / math.sqrt(1.0 - beta_2)  # the core adds it to √(v / (1 - β₂))

    def scalars(learning_rate: float, step: int) -> tuple[float, ...]:
        beta1, beta2, eta, _, keep = core.scalars(learning_rate, step)
        return beta1, beta2, eta, scaled, keep

    return core._replace(scalars=scalars)


def loss_of(estimator: Any, n_outputs: int) -> Loss:
    """Return the loss of an estimator.

    scikit-learn halves the squared error. Its gradient is that of the sum over the outputs, while
    the reported loss is their mean.
    """
    loss = estimator.loss
    if isinstance(loss, Loss):
        return LOSSES[loss.name] if LOSSES.get(loss.name) == loss else loss  # a clone has copies
    if loss == "log_loss":
        softmax = estimator.out_activation_ == "softmax"
        return get_loss("cross_entropy" if softmax else "binary_cross_entropy")
    if loss == "poisson":  # scikit-learn's is 0 where the output is the target
        return _reporting(
            get_loss(loss),
            lambda terms, y, xp: terms + (y * xp.log(xp.maximum(y, 1e-30)) - y),
            fused={},
        )
    if loss != "squared_error":
        return get_loss(loss)
    half = get_loss("half_squared_error")
    if n_outputs == 1:
        return half
    return _reporting(half, lambda terms, y, xp: terms * (1.0 / n_outputs), name="squared_error")


def _reporting(loss: Loss, report: Callable[..., Array], **fields: Any) -> Loss:
    """Return a loss with the same gradient that reports ``report(terms, y, xp)``."""

    def value_and_gradient(a: Array, y: Array, xp: Namespace) -> LossTerms:
        terms, da = loss.value_and_gradient(a, y, xp)
        return report(terms, y, xp), da

    return loss._replace(value_and_gradient=value_and_gradient, **fields)


def loss_in_a_file(estimator: Any) -> Loss:
    """Return the loss for a model file: one of the core, without scikit-learn's changes to it."""
    names = {"squared_error": "half_squared_error", "poisson": "poisson"}
    name = names.get(estimator.loss) if isinstance(estimator.loss, str) else None
    return get_loss(name) if name else loss_of(estimator, 1)


def hidden_of(estimator: Any) -> list[int]:
    """Return the sizes of the hidden layers."""
    sizes = estimator.hidden_layer_sizes
    sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    if any(size <= 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return sizes


def network_of(estimator: Any, sizes: list[int], output: str | None = None) -> Network:
    """Return the network of an estimator, with layer sizes from the inputs to the outputs.

    ``output`` replaces the estimator's own output activation.
    """
    hidden = estimator.activation
    if isinstance(hidden, (str, Activation)):
        hidden = [hidden] * (len(sizes) - 2)
    output = output or estimator.out_activation_
    return Network(sizes, [*map(_activation, hidden), _activation(output)])


def _activation(activation: str | Activation) -> Activation:
    if not isinstance(activation, Activation):
        return get_activation(TO_CORE.get(activation, activation))
    registered = ACTIVATIONS.get(activation.name)  # a clone has copies of the records
    return registered if registered is not None and registered == activation else activation


def settings_of(estimator: Any, network: Network, n: int) -> dict[str, Any]:
    """Return the settings of `backprop_xp.fit` for ``n`` training rows."""
    batch_size = 200 if isinstance(estimator.batch_size, str) else int(estimator.batch_size)
    rates = estimator.dropout
    return {
        "loss": loss_of(estimator, network.sizes[-1]),
        "optimizer": optimizer_of(estimator),
        "learning_rate": float(estimator.learning_rate_init),
        "batch_size": min(batch_size, n),
        "l1": float(estimator.l1),
        "l2": float(estimator.alpha),
        "penalty": "per_batch",
        "dropout": tuple(rates) if np.ndim(rates) else ((float(rates),) if rates else ()),
        "max_norm": None if estimator.max_norm is None else float(estimator.max_norm),
        "diagnostics": False,
    }


def check_solver(estimator: Any, X_val: Any) -> None:
    """Raise an error for parameters that have no effect with L-BFGS."""
    if estimator.solver != "lbfgs":
        return
    used = {
        "dropout": np.any(estimator.dropout),
        "max_norm": estimator.max_norm is not None,
        "callback": estimator.callback is not None,
        "checkpoint": estimator.checkpoint is not None,
        "X_val": X_val is not None,
    }
    if names := [name for name, is_used in used.items() if is_used]:
        raise ValueError(
            f"The solver 'lbfgs' has no steps and epochs, so {', '.join(names)} would have no "
            "effect: leave that out, or use another solver."
        )


def class_weights(
    class_weight: str | Mapping[Any, float] | None, classes: list[Any]
) -> str | dict[int, float] | None:
    """Return class weights with class indices as keys, instead of those in ``classes``."""
    if class_weight is None or isinstance(class_weight, str):
        return class_weight
    if unknown := [name for name in class_weight if name not in classes]:
        raise ValueError(f"The classes {unknown} in class_weight are not in {classes}.")
    return {classes.index(name): float(weight) for name, weight in class_weight.items()}


def initial_weights(estimator: Any, sizes: list[int], rng: Any) -> tuple[list[Any], list[Any]]:
    """Return scikit-learn's initial weights, of its shape (n_in, n_out), and biases.

    Both have Glorot's uniform distribution, narrower for the logistic function, and are drawn in
    scikit-learn's order, so that the same ``random_state`` gives the same numbers.
    """
    logistic = isinstance(estimator.activation, str) and estimator.activation in (
        "logistic",
        "sigmoid",
    )
    weights, biases = [], []
    for n_in, n_out in itertools.pairwise(sizes):
        bound = np.sqrt((2.0 if logistic else 6.0) / (n_in + n_out))
        weights.append(rng.uniform(-bound, bound, (n_in, n_out)))
        biases.append(rng.uniform(-bound, bound, n_out))
    return weights, biases
