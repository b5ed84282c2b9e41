"""The settings of a run: those of the training, plus the data, the network and the device."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass

from backprop_xp.backend.devices import Placement
from backprop_xp.data.dataset import NAMED, TASKS
from backprop_xp.errors import check_name
from backprop_xp.nn.losses import check_learnable
from backprop_xp.nn.network import Network
from backprop_xp.training.settings import TrainingSettings, check_number


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
        The label column of a CSV.
    task : {"classification", "regression"}
    validation : str or None
        A file with the rows to validate on.
    validation_fraction : float
        The fraction of the rows to hold out for validation if no such file is given.
    scaling : str or None
        ``"none"``, ``"standard"``, or a number that divides the inputs; None takes the default of
        the data.
    hidden : tuple of int
        Neurons of each hidden layer.
    activation : str
        That of the hidden layers, or one for each, separated by commas.
    output : str or None
        Activation of the output layer; None takes softmax, and identity for a regression.
    bias : bool
    device, backend, dtype
        As for `backprop_xp.select_device`.
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
        check_name("task", self.task, TASKS)
        check_number(
            "validation_fraction", self.validation_fraction, lambda v: 0.0 <= v < 1.0, "from 0 to 1"
        )
        # What does not depend on the data is checked before any data is read.
        output = self.network(1, 1).activations[-1]
        check_learnable(self.resolve_loss(output), output)

    def network(self, n_inputs: int, n_outputs: int) -> Network:
        """Return the network of these settings for a data set."""
        names = [name.strip() for name in self.activation.split(",")]
        hidden = names * len(self.hidden) if len(names) == 1 else names
        output = self.output or ("softmax" if self.task == "classification" else "identity")
        return Network((n_inputs, *self.hidden, n_outputs), (*hidden, output), self.bias)

    def resolved(self, placement: Placement, seed: int, n_train: int) -> RunSettings:
        """Return the settings with every default filled in, so that they reproduce the run."""
        output = self.network(1, 1).activations[-1]
        paths = ("data_dir", "validation", *(("data",) if self.data not in NAMED else ()))
        located = {name: os.path.abspath(path) for name in paths if (path := getattr(self, name))}
        return dataclasses.replace(
            self,
            **located,
            seed=seed,
            batch_size=self.resolve_batch_size(n_train),
            backend=placement.backend,
            device=placement.name,
            output=output.name,
            loss=self.resolve_loss(output).name,
            learning_rate=self.resolve_learning_rate(),
        )
