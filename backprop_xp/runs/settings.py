"""The settings of a run: those of the training, plus the data, the network and the device."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from backprop_xp.backend.devices import Placement
from backprop_xp.data.dataset import MISSING, NAMED, TASKS
from backprop_xp.data.table_format import TableFormat
from backprop_xp.errors import ConfigurationError, check_name
from backprop_xp.formatting import pluralize
from backprop_xp.nn.losses import LOSSES, check_learnable
from backprop_xp.nn.network import Network
from backprop_xp.nn.regularizers import Penalty
from backprop_xp.training.settings import TrainingSettings, check_number, parse_interval

IN_MEMORY = "(in memory)"
"""The data setting of a run on data frames or arrays."""

TARGET_SCALINGS = ("none", "standard")

# Chosen with scripts/benchmarks/small_tables.py: the mean accuracy or R² over 13 small tables, and
# over 13 others that were held out from the choice. Fewer steps, no penalty, no dropout, other
# rates, more neurons, tanh, and early stopping by the accuracy were worse on average.
MIN_STEPS, MAX_EPOCHS = 4000, 1000
"""A training run has at least so many steps, but not more epochs than that."""

DEFAULT_L2 = {"classification": 1.0, "regression": 2.0}
"""The default coefficient of the penalty on squared weights."""

DEFAULT_DROPOUT, WIDE_LAYER = 0.2, 32
"""The default dropout rate, and the smallest number of neurons of a layer that has it."""


@dataclass(frozen=True, kw_only=True)
class RunSettings(TrainingSettings):
    """The settings of a run: those of the training, the data, the network and the device.

    These are the options of ``backprop-xp train`` and the keys of its configuration file.

    Attributes
    ----------
    data : str
        ``"digits"``, ``"mnist"``, a folder of IDX files, a ``.csv`` or a ``.npz``.
    data_dir : str or None
        Where MNIST is kept.
    label : str or None
        The label column of a table, or several target columns separated by commas.
    task : {"classification", "regression"} or None
        None infers it from the labels.
    validation : str or None
        A file with the rows to validate on.
    validation_fraction, test_fraction : float
        The fractions of the rows to hold out for validation and for a test, where the data has no
        such rows.
    drop, categorical, numeric : tuple of str
        Columns of a table to leave out, to take as categories, or to take as numbers.
    missing : {"impute", "drop", "error"}
        What is done about missing inputs of a table.
    separator, decimal, encoding : str or None
    header : bool or None
        How a text file is written, as in `backprop_xp.data.table_format`; None detects it.
    scaling : str or None
        ``"none"``, ``"standard"``, or a number that divides the inputs; None takes the default of
        the data.
    target_scaling : {"none", "standard"} or None
        Whether the targets of a regression are standardized for the training. Predictions and
        metrics are in their own units in any case. None standardizes them where the loss and the
        output allow it.
    hidden : tuple of int
        Neurons of each hidden layer.
    activation : str
        That of the hidden layers, or one for each, separated by commas.
    output : str or None
        Activation of the output layer; None takes softmax, and identity for a regression.
    bias : bool
    device, backend, dtype
        As for `backprop_xp.select_device`.
    epochs : int or None
        None takes 50, or more for small data: as many as `MIN_STEPS` steps take, at most
        `MAX_EPOCHS`.
    patience : int or None
        As in `TrainingSettings`, but None stops early if there are validation rows, with the
        patience of `resolve_patience`; 0 never does.
    l2 : float or None
        None takes 1, and 2 for a regression, if there is no other penalty.
    checkpoint_every : str
        When a run with a folder writes its state to it, after the first epoch and before the end,
        as for `backprop_xp.Checkpoint`.
    dropout : tuple of float or None
        None takes 0.2 for each hidden layer of at least 32 neurons, and no dropout for smaller
        ones.
    """

    _MINIMUMS: ClassVar = {**TrainingSettings._MINIMUMS, "epochs": (0, True), "patience": (0, True)}

    data: str = "digits"
    data_dir: str | None = None
    label: str | None = None
    task: str | None = None
    validation: str | None = None
    validation_fraction: float = 0.15
    test_fraction: float = 0.0
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    missing: str = "impute"
    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    header: bool | None = None
    scaling: str | None = None
    target_scaling: str | None = None
    hidden: tuple[int, ...] = (128,)
    activation: str = "relu"
    output: str | None = None
    bias: bool = True
    device: str = "auto"
    backend: str | None = None
    dtype: str = "float32"
    checkpoint_every: str = "30s"
    epochs: int | None = None  # type: ignore[assignment]
    patience: int | None = None
    l2: float | None = None  # type: ignore[assignment]
    dropout: tuple[float, ...] | None = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        automatic = self.dropout is None
        super().__post_init__()
        if automatic:  # for `TrainingSettings`, None is no dropout
            object.__setattr__(self, "dropout", None)
        hidden = self.hidden if isinstance(self.hidden, Iterable) else (self.hidden,)
        object.__setattr__(self, "hidden", tuple(hidden))
        for name in ("drop", "categorical", "numeric"):
            names = getattr(self, name)
            names = names.split(",") if isinstance(names, str) else names
            object.__setattr__(self, name, tuple(str(one).strip() for one in names))
        if self.task is not None:
            check_name("task", self.task, TASKS)
        check_name("missing", self.missing, MISSING)
        parse_interval(self.checkpoint_every)
        if self.target_scaling is not None:
            check_name("target_scaling", self.target_scaling, TARGET_SCALINGS)
        for name in ("validation_fraction", "test_fraction"):
            check_number(name, getattr(self, name), lambda v: 0.0 <= v < 1.0, "from 0 to below 1")
        # What does not depend on the data is checked before any data is read.
        output = self.network(1, 1).activations[-1]
        if self.task is not None or self.output is not None:
            check_learnable(self.resolve_loss(output), output)

    def network(self, n_inputs: int, n_outputs: int) -> Network:
        """Return the network of these settings for a data set."""
        names = [name.strip() for name in self.activation.split(",")]
        hidden = names * len(self.hidden) if len(names) == 1 else names
        if len(hidden) != len(self.hidden):
            layers = pluralize(len(self.hidden), "hidden layer")
            raise ConfigurationError(
                f"{len(hidden)} activations were given for {layers}",
                "give one for each hidden layer, or a single one for all; output is the "
                "activation of the output layer",
            )
        output = self.output or ("identity" if self.task == "regression" else "softmax")
        return Network((n_inputs, *self.hidden, n_outputs), (*hidden, output), self.bias)

    @property
    def table_format(self) -> TableFormat:
        """How a text file is written."""
        return TableFormat(self.separator, self.decimal, self.encoding, self.header)

    def resolve_epochs(self, n_train: int) -> int:
        """Return the number of epochs for a number of training rows.

        Examples
        --------
        >>> RunSettings().resolve_epochs(100_000), RunSettings().resolve_epochs(640)
        (50, 400)
        """
        if self.epochs is not None:
            return self.epochs
        steps = -(-n_train // self.resolve_batch_size(n_train))
        return min(max(TrainingSettings.epochs, -(-MIN_STEPS // steps)), MAX_EPOCHS)

    def resolve_patience(self, epochs: int, *, validated: bool) -> int:
        """Return the patience of early stopping in epochs; 0 for none.

        Examples
        --------
        >>> RunSettings().resolve_patience(50, validated=True)
        10
        """
        if self.patience is not None:
            return self.patience
        return max(10, epochs // 5) if validated else 0

    def resolve_l2(self) -> float:
        """Return the coefficient of the penalty on squared weights.

        Examples
        --------
        >>> RunSettings().resolve_l2(), RunSettings(l1=0.5).resolve_l2()
        (1.0, 0.0)
        """
        if self.l2 is not None:
            return self.l2
        other = self.l1 or self.penalty != "per_sample" or self.resolve_optimizer().name == "adamw"
        return 0.0 if other else DEFAULT_L2[self.task or "classification"]

    def resolve_penalty(self, n: int) -> Penalty:
        """Return the penalty of a step, for ``n`` training samples."""
        return TrainingSettings.resolve_penalty(dataclasses.replace(self, l2=self.resolve_l2()), n)

    def default_dropout(self) -> tuple[float, ...]:
        """Return the dropout rates: those of the settings, or the default of each hidden layer.

        Examples
        --------
        >>> RunSettings(hidden=(128, 16)).default_dropout()
        (0.2, 0.0)
        """
        if self.dropout is not None:
            return self.dropout
        rates = tuple(DEFAULT_DROPOUT if size >= WIDE_LAYER else 0.0 for size in self.hidden)
        return rates if any(rates) else ()

    def resolved(
        self, placement: Placement, seed: int, n_train: int, *, task: str, validated: bool
    ) -> RunSettings:
        """Return the settings with every default filled in, so that they reproduce the run."""
        self = dataclasses.replace(self, task=task)
        epochs = self.resolve_epochs(n_train)
        output = self.network(1, 1).activations[-1]
        loss = self.resolve_loss(output)
        paths = (
            "data_dir",
            "validation",
            *(("data",) if self.data not in (*NAMED, IN_MEMORY) else ()),
        )
        located = {name: os.path.abspath(path) for name in paths if (path := getattr(self, name))}
        return dataclasses.replace(
            self,
            **located,
            seed=seed,
            epochs=epochs,
            patience=self.resolve_patience(epochs, validated=validated),
            l2=self.resolve_l2(),
            dropout=self.default_dropout(),
            batch_size=self.resolve_batch_size(n_train),
            backend=placement.backend,
            device=placement.name,
            output=output.name,
            # A record with a parameter, such as quantile(0.9), has no name that gives it again.
            loss=loss.name if LOSSES.get(loss.name) is loss else loss,
            learning_rate=self.resolve_learning_rate(),
        )
