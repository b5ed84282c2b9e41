"""What scikit-learn's parameters are called here: the optimizer, the loss, the network, the rates.

scikit-learn's conventions are bridged in this file, and nowhere else.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.backend.devices import DTYPES
from backprop_xp.nn.activations import ACTIVATIONS, Activation, get_activation
from backprop_xp.nn.losses import LOSSES, Loss, Terms, get_loss
from backprop_xp.nn.network import Network
from backprop_xp.nn.optimizers import OPTIMIZERS, Optimizer, adam, get_optimizer, sgd
from backprop_xp.nn.schedules import SCHEDULES, get_schedule

OURS = {"logistic": "sigmoid"}
"""scikit-learn's name of an activation, and ours, where they differ."""

THEIRS = {name: theirs for theirs, name in OURS.items()}

RATES = ("constant", "invscaling", "adaptive")
"""scikit-learn's own schedules, which go by the epoch and by the loss."""

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
    "device": [str],
    "backend": [str, None],
    "dtype": [StrOptions(set(DTYPES)), None],
}


def optimizer_of(estimator: Any) -> Optimizer:
    """Return the optimizer that an estimator's solver names.

    scikit-learn's Adam adds epsilon to √v itself, and not to √v̂, whose bias is corrected.
    """
    solver = estimator.solver
    if isinstance(solver, str) and solver == "sgd":
        if not estimator.momentum:
            return sgd()
        name = "nesterov" if estimator.nesterovs_momentum else "momentum"
        return get_optimizer(name, momentum=float(estimator.momentum))
    if not isinstance(solver, str) or solver != "adam":
        return get_optimizer("sgd" if isinstance(solver, str) and solver == "lbfgs" else solver)
    epsilon = float(estimator.epsilon)
    beta_2 = float(estimator.beta_2)
    ours = adam(float(estimator.beta_1), beta_2, epsilon)
    theirs = epsilon / math.sqrt(1.0 - beta_2)  # ours is added to √(v / (1 - β₂))

    def scalars(learning_rate: float, step: int) -> tuple[float, ...]:
        beta1, beta2, eta, _, keep = ours.scalars(learning_rate, step)
        return beta1, beta2, eta, theirs, keep

    return ours._replace(scalars=scalars)


def loss_of(estimator: Any, n_outputs: int) -> Loss:
    """Return the loss that an estimator trains with.

    scikit-learn's squared error is half of it. Its gradient is that of the sum over the outputs,
    and what is reported is their mean.
    """
    loss = estimator.loss
    if isinstance(loss, Loss):
        return LOSSES[loss.name] if LOSSES.get(loss.name) == loss else loss  # a clone has copies
    if loss == "log_loss":
        softmax = estimator.out_activation_ == "softmax"
        return get_loss("cross_entropy" if softmax else "binary_cross_entropy")
    if loss == "poisson":
        return _deviance(get_loss(loss))
    if loss != "squared_error":
        return get_loss(loss)
    half = get_loss("half_squared_error")
    if n_outputs == 1:
        return half

    def from_outputs(a: Array, y: Array, xp: Namespace) -> Terms:
        terms, da = half.from_outputs(a, y, xp)
        terms *= 1.0 / n_outputs
        return terms, da

    return half._replace(name="squared_error", from_outputs=from_outputs)


def _deviance(poisson: Loss) -> Loss:
    """Return Poisson's loss as scikit-learn reports it: 0 where the output is the target."""

    def from_outputs(a: Array, y: Array, xp: Namespace) -> Terms:
        terms, da = poisson.from_outputs(a, y, xp)
        terms += y * xp.log(xp.maximum(y, 1e-30)) - y
        return terms, da

    return poisson._replace(from_outputs=from_outputs, fused={})


def loss_in_a_file(estimator: Any) -> Loss:
    """Return the loss as a model file can name it: without scikit-learn's way of reporting."""
    theirs = {"squared_error": "half_squared_error", "poisson": "poisson"}
    named = theirs.get(estimator.loss) if isinstance(estimator.loss, str) else None
    return get_loss(named) if named else loss_of(estimator, 1)


def hidden_of(estimator: Any) -> list[int]:
    """Return the sizes of the hidden layers.

    Raises
    ------
    ValueError
        For a size that is not above 0.
    """
    sizes = estimator.hidden_layer_sizes
    sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    if any(size <= 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return sizes


def network_of(estimator: Any, sizes: list[int], output: str | None = None) -> Network:
    """Return the network of an estimator with layers of these sizes, inputs and outputs included.

    ``output`` takes the place of the estimator's own output activation.

    Raises
    ------
    ConfigurationError
        For an unknown activation, or another number of them than of hidden layers.
    """
    given = estimator.activation
    if isinstance(given, (str, Activation)):
        given = [given] * (len(sizes) - 2)
    output = output or estimator.out_activation_
    return Network(sizes, [*map(_activation, given), _activation(output)])


def _activation(given: str | Activation) -> Activation:
    if not isinstance(given, Activation):
        return get_activation(OURS.get(given, given))
    ours = ACTIVATIONS.get(given.name)
    return ours if ours is not None and ours == given else given  # a clone has copies


def rates_of(estimator: Any, eta: float, epoch: int, steps: int) -> list[float]:
    """Return the learning rate of each step of an epoch.

    Parameters
    ----------
    estimator
    eta : float
        What scikit-learn's own schedules have made of ``learning_rate_init``.
    epoch : int
        How many epochs, or calls of ``partial_fit``, have been done since the start.
    steps : int
    """
    schedule = estimator.learning_rate
    if isinstance(schedule, str) and schedule in RATES:
        return [eta] * steps
    factor, total = get_schedule(schedule), max(1, estimator.max_iter)
    return [eta * factor(min(1.0, (epoch + k / steps) / total)) for k in range(steps)]


def settings_of(estimator: Any, network: Network, n: int) -> dict[str, Any]:
    """Return the settings of `backprop_xp.fit` for ``n`` training rows."""
    usual = isinstance(estimator.batch_size, str)
    rates = estimator.dropout
    return {
        "loss": loss_of(estimator, network.sizes[-1]),
        "optimizer": optimizer_of(estimator),
        "learning_rate": float(estimator.learning_rate_init),
        "batch_size": min(200 if usual else int(estimator.batch_size), n),
        "l1": float(estimator.l1),
        "l2": float(estimator.alpha),
        "penalty": "per_batch",
        "dropout": tuple(rates) if np.ndim(rates) else ((float(rates),) if rates else ()),
        "max_norm": None if estimator.max_norm is None else float(estimator.max_norm),
        "evaluate_training": False,
        "diagnostics": False,
    }


def check_solver(estimator: Any, X_val: Any) -> None:
    """Refuse with L-BFGS what belongs to steps and epochs.

    Raises
    ------
    ValueError
    """
    if isinstance(estimator.solver, Optimizer) or estimator.solver != "lbfgs":
        return
    given = {
        "dropout": np.any(estimator.dropout),
        "max_norm": estimator.max_norm is not None,
        "callback": estimator.callback is not None,
        "X_val": X_val is not None,
    }
    found = [name for name, there in given.items() if there]
    if found:
        raise ValueError(
            f"The solver 'lbfgs' knows no steps and epochs, so {', '.join(found)} would have no "
            "effect: leave that out, or take another solver."
        )


def class_weights(
    given: str | Mapping[Any, float] | None, classes: list[Any]
) -> str | dict[int, float] | None:
    """Return class weights by class index.

    Raises
    ------
    ValueError
        If a class is named that there is not.
    """
    if given is None or isinstance(given, str):
        return given
    unknown = [name for name in given if name not in classes]
    if unknown:
        raise ValueError(f"The classes {unknown} in class_weight are none of {classes}.")
    return {classes.index(name): float(weight) for name, weight in given.items()}


def initial_weights(estimator: Any, sizes: list[int], rng: Any) -> list[tuple[Any, Any]]:
    """Return scikit-learn's initial weights, of its shape (n_in, n_out), and biases.

    Glorot's uniform distribution for both, narrower for the logistic function; drawn as
    scikit-learn draws them, so that the same ``random_state`` gives the same numbers.
    """
    narrow = isinstance(estimator.activation, str) and estimator.activation in (
        *("logistic", "sigmoid"),
    )
    factor = 2.0 if narrow else 6.0
    drawn = []
    for n_in, n_out in itertools.pairwise(sizes):
        bound = np.sqrt(factor / (n_in + n_out))
        weights = rng.uniform(-bound, bound, (n_in, n_out))
        drawn.append((weights, rng.uniform(-bound, bound, n_out)))
    return drawn
