"""The settings of a training run: their names, defaults and bounds."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from numbers import Integral
from typing import Any, ClassVar, Self, TypedDict, TypeVar

from backprop_xp.data.augmentation import Augmentation, get_augmentation
from backprop_xp.errors import ConfigurationError, check_fraction, check_name, is_number
from backprop_xp.nn.activations import Activation
from backprop_xp.nn.initializers import get_initializer
from backprop_xp.nn.losses import Loss, default_loss, get_loss
from backprop_xp.nn.optimizers import Optimizer, get_optimizer
from backprop_xp.nn.regularizers import Penalty
from backprop_xp.nn.schedules import Schedule, get_schedule

PENALTIES = ("per_sample", "plain", "per_batch")
MONITORS = ("loss", "accuracy")
DEFAULT_BATCH_SIZE = 64
HYPERPARAMETERS = ("momentum", "decay", "beta1", "beta2", "epsilon", "weight_decay")

LEARNING_RATE_AND_STOPPING = (
    "learning_rate",
    "schedule",
    "warm_up",
    "plateau_patience",
    "epochs",
    "target_loss",
    "patience",
    "min_improvement",
    "monitor",
    "evaluate_training",
    "diagnostics",
    "cuda_graph",
)
"""Settings of how the learning rate changes, what is measured, and when training ends."""


class TrainingOptions(TypedDict, total=False):
    """The keyword arguments that set `TrainingSettings`, for editors and type checkers."""

    loss: str | Loss | None
    initializer: str
    optimizer: str | Optimizer
    learning_rate: float | None
    momentum: float | None
    decay: float | None
    beta1: float | None
    beta2: float | None
    epsilon: float | None
    weight_decay: float | None
    batch_size: int | None
    epochs: int
    seed: int | None
    l1: float
    l2: float
    penalty: str
    penalize_biases: bool
    dropout: float | Sequence[float]
    augment: str | Augmentation | None
    max_norm: float | None
    clip_norm: float | None
    label_smoothing: float
    class_weight: str | Mapping[int, float] | None
    schedule: str | Schedule
    warm_up: int
    plateau_patience: int | None
    patience: int | None
    min_improvement: float
    monitor: str
    target_loss: float | None
    evaluate_training: bool
    diagnostics: bool
    cuda_graph: bool


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The settings of a training run, checked when they are made.

    Attributes
    ----------
    loss : name, `Loss` or None
        None selects the loss that belongs to the output activation.
    initializer : name
        ``"auto"`` selects He's for ReLU and its relatives, and Glorot's for the others.
    optimizer : name or `Optimizer`
    learning_rate : float or None
        None selects the default of the optimizer.
    momentum, decay, beta1, beta2, epsilon, weight_decay : float or None
        Hyperparameters of the optimizers that have them; None selects the default.
    batch_size : int or None
        Samples in a step. 0 selects the complete training set (full-batch gradient descent), and
        None 64 samples, or all if there are fewer.
    epochs : int
    seed : int or None
        All random draws follow from it. None draws one, which the training state records.
    l1, l2 : float
        Coefficients λ of the penalties λ Σ|w| and ½ λ Σw² on the weights.
    penalty : {"per_sample", "plain", "per_batch"}
        What λ is divided by: the number of training samples, as in Nielsen's book; nothing; or the
        size of each batch, as in scikit-learn, where the reported loss includes the penalty.
    penalize_biases : bool
    dropout : tuple of float
        Dropout rate of the hidden layers: one for all of them, or one for each; empty for none.
    augment : name, `Augmentation` or None
        How images are changed at random in every step; see `backprop_xp.data.augmentation`.
    max_norm : float or None
        Bound on the norm of the incoming weights of each neuron.
    clip_norm : float or None
        Bound on the norm of all gradients of a step together.
    label_smoothing : float
        The fraction ε of every target that is spread evenly over all classes.
    class_weight : "balanced", mapping or None
        Weights of classes: inverse to their frequencies, or from class index to weight.
    schedule : name or callable
        How the learning rate changes over the training run; see `backprop_xp.nn.schedules`.
    warm_up : int
        Steps over which the learning rate rises from 0 at the start.
    plateau_patience : int or None
        Epochs without a lower loss (on the validation set, if there is one) after which the
        learning rate is halved.
    patience : int or None
        Epochs without improvement on the validation set after which training stops and the
        best weights are restored.
    min_improvement : float
        The smallest change that counts as an improvement.
    monitor : {"loss", "accuracy"}
        The quantity to monitor on the validation set.
    target_loss : float or None
        Training stops at the first step whose batch has this loss or less.
    evaluate_training : bool
        Whether loss and accuracy on the complete training set are measured after each epoch. By
        default those of an epoch come from its steps.
    diagnostics : bool
        Whether a step is measured layer by layer from time to time; see
        `backprop_xp.training.layer_statistics`.
    cuda_graph : bool
        Whether each step is a single launch on CuPy, which takes the host less time. The results
        are the same.

    Raises
    ------
    ConfigurationError
        If a value is out of range or a name is unknown.

    Examples
    --------
    >>> TrainingSettings(optimizer="nesterov", momentum=0.8).resolve_learning_rate()
    0.01
    """

    # The smallest value of each whole number, and whether it can be None.
    _MINIMUMS: ClassVar[dict[str, tuple[int, bool]]] = {
        "epochs": (0, False),
        "warm_up": (0, False),
        "batch_size": (0, True),
        "seed": (0, True),
        "plateau_patience": (1, True),
        "patience": (1, True),
    }

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
    evaluate_training: bool = False
    diagnostics: bool = True
    cuda_graph: bool = False

    def __post_init__(self) -> None:
        if self.loss is not None:
            get_loss(self.loss)
        if self.initializer != "auto":
            get_initializer(self.initializer)
        self.resolve_optimizer()
        check_number("learning_rate", self.learning_rate, lambda v: 0.0 < v < math.inf, "above 0")
        for name in ("l1", "l2", "min_improvement"):
            check_number(name, getattr(self, name), lambda v: 0.0 <= v < math.inf, "from 0 up")
        for name in ("max_norm", "clip_norm"):
            check_number(name, getattr(self, name), lambda v: 0.0 < v < math.inf, "above 0")
        check_number(
            "label_smoothing", self.label_smoothing, lambda v: 0.0 <= v < 1.0, "from 0 to below 1"
        )
        rates = () if self.dropout is None else self.dropout
        rates = rates if isinstance(rates, Iterable) else (rates,)
        object.__setattr__(self, "dropout", tuple(rates))
        for rate in self.dropout:
            check_fraction("a dropout rate", rate)
        get_schedule(self.schedule)
        if self.augment is not None:
            get_augmentation(self.augment)
        for name, known in (("penalty", PENALTIES), ("monitor", MONITORS)):
            check_name(name, getattr(self, name), known)
        if isinstance(self.class_weight, str):
            check_name("class_weight", self.class_weight, ["balanced"])
        for name, (minimum, optional) in self._MINIMUMS.items():
            if not (optional and getattr(self, name) is None):
                check_integer(name, getattr(self, name), minimum)
        check_number("target_loss", self.target_loss, lambda v: v >= 0.0, "from 0 up")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return settings from a dictionary; an unknown key raises an error with a suggestion."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            check_name("setting", name, known)
        return cls(**values)

    @staticmethod
    def fields_of(settings: TrainingSettings) -> dict[str, Any]:
        """Return the settings of training, from settings that may have more."""
        fields = dataclasses.fields(TrainingSettings)
        return {field.name: getattr(settings, field.name) for field in fields}

    def resolve_batch_size(self, n: int) -> int:
        """Return the number of samples in a step for a training set of ``n`` rows.

        Raises
        ------
        ConfigurationError
            If the batch is larger than the training set.
        """
        if self.batch_size is None:
            return min(DEFAULT_BATCH_SIZE, n)
        if self.batch_size > n:
            raise ConfigurationError(
                f"batch_size is {self.batch_size}, and the training data has {n} rows",
                f"give at most {n}, or 0 to use all rows in every step",
            )
        return self.batch_size or n

    def resolve_loss(self, output: Activation) -> Loss:
        """Return the loss, by default the one that belongs to the output activation."""
        return default_loss(output) if self.loss is None else get_loss(self.loss)

    def resolve_learning_rate(self) -> float:
        """Return the learning rate, by default that of the optimizer."""
        if self.learning_rate is not None:
            return self.learning_rate
        return self.resolve_optimizer().learning_rate

    def resolve_optimizer(self) -> Optimizer:
        """Return the optimizer with the hyperparameters that were given."""
        values = {name: getattr(self, name) for name in HYPERPARAMETERS}
        return get_optimizer(
            self.optimizer, **{name: value for name, value in values.items() if value is not None}
        )

    def resolve_dropout(self, n_hidden: int) -> tuple[float, ...]:
        """Return the dropout rate of each hidden layer; empty for no dropout.

        Raises
        ------
        ConfigurationError
            If there is neither one rate for all hidden layers nor one for each.
        """
        rates = self.dropout
        if len(rates) == 1:
            rates = rates * n_hidden
        if len(rates) not in (0, n_hidden):
            raise ConfigurationError(
                f"{len(rates)} dropout rates were given for {n_hidden} hidden layers",
                "give one for each hidden layer, or a single one for all",
            )
        return rates

    def resolve_penalty(self, n: int) -> Penalty:
        """Return the penalty of a step, for ``n`` training samples."""
        factor = 1.0 / n if self.penalty == "per_sample" else 1.0
        return Penalty(
            self.l1 * factor, self.l2 * factor, self.penalize_biases, self.penalty == "per_batch"
        )


def parse_interval(every: str) -> tuple[float, int | None]:
    """Return the seconds between two checkpoints, or the number of epochs.

    Raises
    ------
    ConfigurationError
        If it is neither a time, a number of epochs nor "never".

    Examples
    --------
    >>> parse_interval("5m"), parse_interval("10 epochs"), parse_interval("never")
    ((300.0, None), (inf, 10), (inf, None))
    """
    if every == "never":
        return float("inf"), None
    text = str(every).strip()
    if match := re.fullmatch(r"(\d+(?:\.\d+)?) ?([smh])", text):
        return float(match[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0}[match[2]], None
    if (match := re.fullmatch(r"(\d{1,9}) ?epochs?", text)) and int(match[1]):
        return float("inf"), int(match[1])
    raise ConfigurationError(
        f"checkpoint_every is {every!r}", "give a time such as 30s or 5m, '10 epochs', or never"
    )


def check_number(name: str, value: Any, holds: Callable[[Any], bool], wanted: str) -> None:
    """Raise an error for a value that is not a number or out of range; None passes."""
    if value is not None and not (is_number(value) and holds(value)):
        raise ConfigurationError(f"{name} is {value!r}", f"give a number {wanted}")


def check_integer(name: str, value: Any, minimum: int) -> None:
    """Raise an error for a value that is not an integer of at least ``minimum``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < minimum:
        raise ConfigurationError(f"{name} is {value!r}", f"give a whole number from {minimum} up")


Function = TypeVar("Function", bound=Callable[..., Any])


def list_settings(function: Function) -> Function:
    """Replace ``{settings}`` in a docstring by the list of all settings with their defaults."""
    described = TrainingSettings.__doc__
    if function.__doc__ and described:  # Python has no docstrings with -OO
        # Python removes the indentation itself from version 3.13 on.
        text = cleandoc(described).split("----------\n", 1)[1].split("\nRaises\n", 1)[0]
        lines = []
        for line in text.rstrip().splitlines():
            names, colon, rest = line.partition(" : ")
            if colon and not line.startswith(" "):
                default = getattr(TrainingSettings, names.split(", ")[0])
                line = f"{names} : {rest.removesuffix(' or None')}, default {default!r}"
            lines.append(f"    {line}")
        documented = cleandoc(function.__doc__)
        function.__doc__ = documented.replace("{settings}", "\n".join(lines).strip())
    return function
