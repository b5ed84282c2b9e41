"""What a run is told: the one place of the names, the defaults and the bounds of all settings."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Self

from backprop_xp.backend.devices import Placement
from backprop_xp.data.augmentation import Augmentation, get_augmentation
from backprop_xp.data.dataset import NAMED, TASKS
from backprop_xp.errors import ConfigurationError, unknown_name
from backprop_xp.nn.activations import Activation
from backprop_xp.nn.dropout import check_rate
from backprop_xp.nn.initializers import get_initializer
from backprop_xp.nn.losses import Loss, check_pair, default_loss, get_loss
from backprop_xp.nn.network import Network
from backprop_xp.nn.optimizers import Optimizer, get_optimizer
from backprop_xp.nn.regularizers import Penalty
from backprop_xp.nn.schedules import Schedule, get_schedule

PENALTIES = ("per_sample", "plain", "per_batch")
MONITORS = ("loss", "accuracy")
USUAL_BATCH = 64
HYPERPARAMETERS = ("momentum", "decay", "beta1", "beta2", "epsilon", "weight_decay")

PACE = (
    *("learning_rate", "schedule", "warm_up", "plateau_patience", "epochs", "target_loss"),
    *("patience", "min_improvement", "monitor", "evaluate_training", "diagnostics"),
)
"""Settings of how the learning rate changes, what is measured, and when a training ends."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The settings of a training, checked when they are made.

    Attributes
    ----------
    loss : name, `Loss` or None
        None takes the one that belongs to the output activation.
    initializer : name
        ``"auto"`` takes He's for ReLU and its relatives, and Glorot's for the others.
    optimizer : name or `Optimizer`
    learning_rate : float or None
        None takes the optimizer's usual one.
    momentum, decay, beta1, beta2, epsilon, weight_decay : float or None
        Hyperparameters of the optimizers that have them; None takes the usual value.
    batch_size : int or None
        Samples in a step; 0 takes the whole training set (full-batch gradient descent), and None
        64 of them, or all where there are fewer.
    epochs : int
    seed : int or None
        All random draws follow from it. None draws one, and the state of the training says which.
    l1, l2 : float
        Coefficients λ of the penalties λ Σ|w| and ½ λ Σw² on the weights.
    penalty : {"per_sample", "plain", "per_batch"}
        What divides λ: the number of training samples, as in Nielsen's book; nothing; or the size
        of each batch, as in scikit-learn, where the reported loss includes the penalty.
    penalize_biases : bool
    dropout : tuple of float
        Dropout rate of the hidden layers: one for all of them, or one for each; empty for none.
    augment : name, `Augmentation` or None
        How images are changed anew in every step; see `backprop_xp.data.augmentation`.
    max_norm : float or None
        Bound on the norm of the incoming weights of each neuron.
    clip_norm : float or None
        Bound on the norm of all gradients of a step together.
    label_smoothing : float
        The share ε of every target that is spread evenly over all classes.
    class_weight : "balanced", mapping or None
        Weights of classes: inverse to their frequencies, or from class index to weight.
    schedule : name or callable
        How the learning rate changes over the training; see `backprop_xp.nn.schedules`.
    warm_up : int
        Steps over which the learning rate rises from 0 at the start.
    plateau_patience : int or None
        Epochs without a lower loss (on the validation set, if there is one) after which the
        learning rate is halved.
    patience : int or None
        Epochs without improvement on the validation set after which the training stops; the
        best weights are then restored.
    min_improvement : float
        What counts as an improvement.
    monitor : {"loss", "accuracy"}
        What is watched on the validation set.
    target_loss : float or None
        Training stops at the first step whose batch has this loss or less.
    evaluate_training : bool
        Whether loss and accuracy on the whole training set are measured after each epoch.
    diagnostics : bool
        Whether a step is measured layer by layer now and then; see
        `backprop_xp.training.layer_statistics`.

    Raises
    ------
    ConfigurationError
        If a value is out of range or a name is unknown.

    Examples
    --------
    >>> TrainingSettings(optimizer="nesterov", momentum=0.8).optimizer_record().slots
    ('momentum_term',)
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
    batch_size: int | None = None
    epochs: int = 50
    seed: int | None = None
    l1: float = 0.0
    l2: float = 0.0
    penalty: str = "per_sample"
    penalize_biases: bool = False
    dropout: tuple[float, ...] = ()
    augment: str | Augmentation | None = None
    max_norm: float | None = None
    clip_norm: float | None = None
    label_smoothing: float = 0.0
    class_weight: str | Mapping[int, float] | None = None
    schedule: str | Schedule = "constant"
    warm_up: int = 0
    plateau_patience: int | None = None
    patience: int | None = None
    min_improvement: float = 0.0
    monitor: str = "loss"
    target_loss: float | None = None
    evaluate_training: bool = True
    diagnostics: bool = True

    def __post_init__(self) -> None:
        if self.loss is not None:
            get_loss(self.loss)
        if self.initializer != "auto":
            get_initializer(self.initializer)
        self.optimizer_record()
        check_number("learning_rate", self.learning_rate, lambda v: 0.0 < v < math.inf, "above 0")
        check_whole("epochs", self.epochs, 0)
        for name in ("l1", "l2", "min_improvement"):
            check_number(name, getattr(self, name), lambda v: 0.0 <= v < math.inf, "from 0 up")
        for name in ("max_norm", "clip_norm"):
            check_number(name, getattr(self, name), lambda v: 0.0 < v < math.inf, "above 0")
        check_number(
            "label_smoothing", self.label_smoothing, lambda v: 0.0 <= v < 1.0, "from 0 to below 1"
        )
        rates = self.dropout if isinstance(self.dropout, Iterable) else (self.dropout,)
        object.__setattr__(self, "dropout", tuple(rates))
        for rate in self.dropout:
            check_rate(rate)
        get_schedule(self.schedule)
        if self.augment is not None:
            get_augmentation(self.augment)
        for name, known in (("penalty", PENALTIES), ("monitor", MONITORS)):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        if isinstance(self.class_weight, str) and self.class_weight != "balanced":
            raise unknown_name("class_weight", self.class_weight, ["balanced"])
        check_whole("warm_up", self.warm_up, 0)
        least_values = {"batch_size": 0, "seed": 0, "plateau_patience": 1, "patience": 1}
        for name, least in least_values.items():
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), least)
        check_number("target_loss", self.target_loss, lambda v: v >= 0.0, "from 0 up")

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """Make settings of a dictionary; an unknown key is an error with a suggestion."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise unknown_name("setting", name, known)
        return cls(**values)

    @staticmethod
    def fields_of(settings: TrainingSettings) -> dict[str, Any]:
        """Return the fields of a training alone, from settings that may hold more."""
        fields = dataclasses.fields(TrainingSettings)
        return {field.name: getattr(settings, field.name) for field in fields}

    def batch_size_for(self, n: int) -> int:
        """Return the number of samples in a step for a training set of ``n`` rows.

        Raises
        ------
        ConfigurationError
            If a batch was asked for that is larger than the training set.
        """
        if self.batch_size is None:
            return min(USUAL_BATCH, n)
        if self.batch_size > n:
            raise ConfigurationError(
                f"batch_size is {self.batch_size}, and the training data has {n} rows",
                f"give at most {n}, or 0 to take them all in every step",
            )
        return self.batch_size or n

    def loss_record(self, output: Activation) -> Loss:
        """Return the loss, by default the one that belongs to the output activation."""
        return default_loss(output) if self.loss is None else get_loss(self.loss)

    def eta(self) -> float:
        """Return the learning rate, by default the optimizer's usual one."""
        return (
            self.optimizer_record().learning_rate
            if self.learning_rate is None
            else self.learning_rate
        )

    def optimizer_record(self) -> Optimizer:
        """Return the optimizer with the hyperparameters that were given."""
        given = {name: getattr(self, name) for name in HYPERPARAMETERS}
        return get_optimizer(
            self.optimizer, **{name: value for name, value in given.items() if value is not None}
        )

    def penalty_record(self, n: int) -> Penalty:
        """Return the penalty as it enters a step of a training on ``n`` samples."""
        share = 1.0 / n if self.penalty == "per_sample" else 1.0
        return Penalty(
            self.l1 * share, self.l2 * share, self.penalize_biases, self.penalty == "per_batch"
        )


@dataclass(frozen=True, kw_only=True)
class RunSettings(TrainingSettings):
    """The settings of a whole run: those of the training, the data, the network and the device.

    These are the options of ``backprop-xp train`` and the keys of its configuration file.

    Attributes
    ----------
    data : str
        ``"digits"``, ``"mnist"``, a folder of IDX files, a ``.csv`` or a ``.npz``.
    data_dir : str or None
        Where MNIST is kept.
    label : str or None
        The label column of a CSV.
    task : {"classification", "regression"}
    validation : str or None
        A file with the rows to validate on.
    validation_fraction : float
        The share of rows to split off where no such file is given.
    scaling : str or None
        ``"none"``, ``"standard"``, or a number that divides the inputs; None takes the usual one.
    hidden : tuple of int
        Neurons of each hidden layer.
    activation : str
        That of the hidden layers; or one for each, separated by commas.
    output : str or None
        Activation of the output layer; None takes softmax, and identity for a regression.
    bias : bool
    device, backend, dtype
        As for `backprop_xp.backend.devices.select`.
    """

    data: str = "digits"
    data_dir: str | None = None
    label: str | None = None
    task: str = "classification"
    validation: str | None = None
    validation_fraction: float = 0.15
    scaling: str | None = None
    hidden: tuple[int, ...] = (128,)
    activation: str = "relu"
    output: str | None = None
    bias: bool = True
    device: str = "auto"
    backend: str | None = None
    dtype: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        hidden = self.hidden if isinstance(self.hidden, Iterable) else (self.hidden,)
        object.__setattr__(self, "hidden", tuple(hidden))
        if self.task not in TASKS:
            raise unknown_name("task", self.task, TASKS)
        check_number(
            "validation_fraction", self.validation_fraction, lambda v: 0.0 <= v < 1.0, "from 0 to 1"
        )
        # What does not depend on the data is checked before any data is read.
        output = self.network(1, 1).activations[-1]
        check_pair(self.loss_record(output), output)

    def network(self, n_inputs: int, n_outputs: int) -> Network:
        """Return the network of these settings for a data set."""
        names = [name.strip() for name in self.activation.split(",")]
        hidden = names * len(self.hidden) if len(names) == 1 else names
        output = self.output or ("softmax" if self.task == "classification" else "identity")
        return Network((n_inputs, *self.hidden, n_outputs), (*hidden, output), self.bias)

    def resolved(self, placement: Placement, seed: int, n_train: int) -> RunSettings:
        """Return the settings with all that was left open filled in, so that they re-run."""
        output = self.network(1, 1).activations[-1]
        paths = ("data_dir", "validation", *(("data",) if self.data not in NAMED else ()))
        located = {name: os.path.abspath(path) for name in paths if (path := getattr(self, name))}
        return dataclasses.replace(
            self,
            **located,
            seed=seed,
            batch_size=self.batch_size_for(n_train),
            backend=placement.backend,
            device=placement.name,
            output=output.name,
            loss=self.loss_record(output).name,
            learning_rate=self.eta(),
        )


def check_number(name: str, value: Any, holds: Callable[[Any], bool], wanted: str) -> None:
    """Refuse a value that is no number or out of range; None passes."""
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not holds(value):
        raise ConfigurationError(f"{name} is {value!r}", f"give a number {wanted}")


def check_whole(name: str, value: Any, least: int) -> None:
    """Refuse a value that is no whole number of at least ``least``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ConfigurationError(f"{name} is {value!r}", f"give a whole number from {least} up")
