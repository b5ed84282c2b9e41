"""What a training is told: the one place of the names, the defaults and the bounds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from backprop_xp.errors import ConfigurationError, unknown_name
from backprop_xp.initializers import get_initializer
from backprop_xp.losses import Loss, get_loss
from backprop_xp.optimizers import Optimizer, get_optimizer


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The settings of a training, checked when they are made.

    Attributes
    ----------
    loss : name, `Loss` or None
        None takes the one that belongs to the output activation.
    initializer : name
        ``"auto"`` takes He's for ReLU layers and Glorot's for the others.
    optimizer : name or `Optimizer`
    learning_rate : float or None
        None takes the optimizer's usual one.
    momentum, decay, beta1, beta2, epsilon, weight_decay : float or None
        Hyperparameters of the optimizers that have them; None takes the usual value.
    batch_size : int
        Samples in a step; 0 takes the whole training set (full-batch gradient descent).
    epochs : int
    seed : int or None
        All random draws follow from it. None draws one, and the state of the training says which.
    target_loss : float or None
        Training stops at the first step whose batch has this loss or less.
    evaluate_training : bool
        Whether loss and accuracy on the whole training set are measured after each epoch.

    Raises
    ------
    ConfigurationError
        If a value is out of range or a name is unknown.

    Examples
    --------
    >>> TrainingSettings(optimizer="nesterov", momentum=0.8).optimizer_record().slots
    ('velocity',)
    """

    loss: str | Loss | None = None
    initializer: str = "auto"
    optimizer: str | Optimizer = "adam"
    learning_rate: float | None = None
    momentum: float | None = None
    decay: float | None = None
    beta1: float | None = None
    beta2: float | None = None
    epsilon: float | None = None
    weight_decay: float | None = None
    batch_size: int = 32
    epochs: int = 30
    seed: int | None = None
    target_loss: float | None = None
    evaluate_training: bool = True

    def __post_init__(self) -> None:
        if self.loss is not None:
            get_loss(self.loss)
        if self.initializer != "auto":
            get_initializer(self.initializer)
        self.optimizer_record()
        check_number("learning_rate", self.learning_rate, lambda v: 0.0 < v < math.inf, "above 0")
        check_whole("batch_size", self.batch_size, 0)
        check_whole("epochs", self.epochs, 0)
        check_whole("seed", self.seed, 0)
        check_number("target_loss", self.target_loss, lambda v: v >= 0.0, "from 0 up")

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """Make settings of a dictionary; an unknown key is an error with a suggestion."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise unknown_name("setting", name, known)
        return cls(**values)

    def optimizer_record(self) -> Optimizer:
        """Return the optimizer with the hyperparameters that were given."""
        names = ("momentum", "decay", "beta1", "beta2", "epsilon", "weight_decay")
        given = {name: getattr(self, name) for name in names}
        return get_optimizer(
            self.optimizer, **{name: value for name, value in given.items() if value is not None}
        )


def check_number(name: str, value: Any, holds: Callable[[Any], bool], wanted: str) -> None:
    """Refuse a value that is no number or out of range; None passes."""
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not holds(value):
        raise ConfigurationError(f"{name} is {value!r}", f"give a number {wanted}")


def check_whole(name: str, value: Any, least: int) -> None:
    """Refuse a value that is no whole number of at least ``least``; None passes."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigurationError(f"{name} is {value!r}", f"give a whole number from {least} up")
