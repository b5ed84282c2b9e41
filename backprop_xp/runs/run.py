"""A training run, from its settings to its model."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from backprop_xp.backend import random
from backprop_xp.backend.devices import Placement, select_device
from backprop_xp.data.dataset import Dataset
from backprop_xp.data.scaling import Scaling, scaling_for
from backprop_xp.data.sources import load_dataset
from backprop_xp.diagnosis.doctor import Finding, diagnose
from backprop_xp.diagnosis.learning_rate_finder import RateFinding, find_learning_rate
from backprop_xp.errors import ConfigurationError
from backprop_xp.models.model import Model, loss_unit, scaled_targets
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Network
from backprop_xp.runs.settings import RunSettings
from backprop_xp.training.checkpoint import Checkpoint
from backprop_xp.training.fit import fit
from backprop_xp.training.settings import LEARNING_RATE_AND_STOPPING, TrainingSettings
from backprop_xp.training.state import TrainState
from backprop_xp.version import __version__


class Run(NamedTuple):
    """A run that is ready to train: its data is read and split, and its device selected.

    Attributes
    ----------
    settings : RunSettings
        With every default filled in.
    placement : Placement
    dataset : Dataset
        As it was read.
    scaling : Scaling
        Computed from the training rows.
    network : Network
    target_scaling : Scaling or None
        The same for the targets of a regression, if they are standardized for the training.
    """

    settings: RunSettings
    placement: Placement
    dataset: Dataset
    scaling: Scaling
    network: Network
    target_scaling: Scaling | None = None

    @property
    def loss_unit(self) -> float:
        """The factor that converts losses to the units of the target."""
        return loss_unit(get_loss(self.settings.loss or ""), self.target_scaling)

    def train(
        self,
        on_epoch: Callable[[TrainState], object] | None = None,
        checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
        *,
        resume: bool = False,
        on_steps: Callable[[int, int], object] | None = None,
    ) -> TrainState:
        """Train, and return the state after the last epoch; the parameters are those of `fit`.

        Raises
        ------
        DataError, ConfigurationError, ModelFileError, DivergenceError, TrainingInterrupted
            As `backprop_xp.fit` does.
        """
        return fit(
            self.network,
            *self._scaled(),
            device=self.placement,
            on_epoch=on_epoch,
            on_steps=on_steps,
            image_shape=self.dataset.image_shape,
            loss_unit=self.loss_unit,
            checkpoint=checkpoint,
            resume=resume,
            **self._training_settings(),
        )

    def diagnose(self, state: TrainState, *, diverged: bool = False) -> list[Finding]:
        """Look for common faults in the training run; see `backprop_xp.diagnose`."""
        # The doctor compares losses with those of the standardized targets.
        losses = ("loss", "penalty", "train_loss", "validation_loss")
        history = tuple(
            record | {name: record[name] / self.loss_unit for name in losses if name in record}
            for record in state.history
        )
        return diagnose(
            self.network,
            state._replace(history=history),
            *self._scaled(),
            loss=self.settings.loss,
            diverged=diverged,
            classes=self.dataset.classes,
            features=self.dataset.features,
        )

    def find_learning_rate(self, **range_test: Any) -> RateFinding:
        """Find a learning rate for this run; its own learning rate and stopping do not matter.

        Parameters
        ----------
        **range_test
            ``low``, ``high`` and ``steps`` of `backprop_xp.find_learning_rate`.

        Raises
        ------
        DataError, ConfigurationError
            As that function does.
        """
        settings = self._training_settings()
        for name in LEARNING_RATE_AND_STOPPING:
            del settings[name]
        finding = find_learning_rate(
            self.network,
            self._scaled()[0],
            device=self.placement,
            image_shape=self.dataset.image_shape,
            **range_test,
            **settings,
        )
        return finding._replace(
            losses=[loss * self.loss_unit for loss in finding.losses],
            smoothed=[loss * self.loss_unit for loss in finding.smoothed],
        )

    def _training_settings(self) -> dict[str, Any]:
        settings = TrainingSettings.fields_of(self.settings)
        settings["patience"] = settings["patience"] or None  # 0 switches early stopping off
        return settings

    def _scaled(self) -> list[Any]:
        """Return the training data and the validation data as `fit` takes them."""
        return [
            part
            and (
                self.scaling.apply(part.inputs, self.settings.dtype),
                scaled_targets(self.target_scaling, part.targets),
            )
            for part in (self.dataset.train, self.dataset.validation)
        ]

    def model(self, state: TrainState) -> Model:
        """Return the model of a state of the training run."""
        return Model(
            network=self.network,
            parameters=state.parameters,
            loss=get_loss(self.settings.loss or ""),
            scaling=self.scaling,
            classes=self.dataset.classes,
            features=self.dataset.features,
            image_shape=self.dataset.image_shape,
            seed=state.seed,
            version=__version__,
            placement=self.placement,
            label=self.dataset.label,
            label_type=self.dataset.label_type,
            preprocessing=self.dataset.preprocessing,
            target_scaling=self.target_scaling,
            history=state.history,
        )


def prepare_run(
    settings: RunSettings, data: Any = None, label: Any = None, validation: Any = None
) -> Run:
    """Read the data and select the device of a run.

    Parameters
    ----------
    settings : RunSettings
    data, label, validation : optional
        Data in memory, as for `backprop_xp.load_dataset`; by default that of the settings.

    Raises
    ------
    DataError
        If the data is missing or damaged.
    DeviceError
        If the device cannot be used.
    ConfigurationError
        If settings contradict each other or the data.

    Examples
    --------
    >>> run = prepare_run(RunSettings(hidden=(20,), epochs=2, seed=0, device="cpu"))
    >>> state = run.train()
    >>> state.epoch, run.model(state).network.sizes
    (2, (64, 20, 10))
    """
    # The device first: it fails quickly, and the data may be large.
    placement = select_device(settings.device, settings.backend, dtype=settings.dtype)
    seed = random.draw_seed() if settings.seed is None else settings.seed
    dataset = read_dataset(settings, seed, data, label, validation)
    settings = settings.resolved(
        placement,
        seed,
        dataset.train.size,
        task=dataset.task,
        validated=dataset.validation is not None,
    )
    preprocessing = dataset.preprocessing
    return Run(
        settings=settings,
        placement=placement,
        dataset=dataset,
        scaling=scaling_for(
            settings.scaling or dataset.default_scaling,
            dataset.train.inputs,
            None if preprocessing is None else preprocessing.is_number,
        ),
        network=settings.network(dataset.n_inputs, dataset.n_outputs),
        target_scaling=_target_scaling(settings, dataset),
    )


def read_dataset(
    settings: RunSettings, seed: int, data: Any = None, label: Any = None, validation: Any = None
) -> Dataset:
    """Read the data set of some settings; the seed draws the validation and test rows.

    The parameters are those of `prepare_run`.

    Raises
    ------
    DataError
        If the data is missing or damaged.
    """
    return load_dataset(
        settings.data if data is None else data,
        label=settings.label if label is None else label,
        task=settings.task,
        validation=settings.validation if validation is None else validation,
        validation_fraction=settings.validation_fraction,
        test_fraction=settings.test_fraction,
        seed=seed,
        drop=settings.drop,
        categorical=settings.categorical,
        numeric=settings.numeric,
        missing=settings.missing,
        table_format=settings.table_format,
        data_dir=settings.data_dir,
    )


def _target_scaling(settings: RunSettings, dataset: Dataset) -> Scaling | None:
    """Return the scaling of the targets; None if they are trained on as they are."""
    output = settings.network(1, 1).activations[-1]
    loss = settings.resolve_loss(output)
    possible = output.name == "identity" and loss.scale_power is not None
    if dataset.task == "classification" or settings.target_scaling == "none":
        return None
    if not possible and settings.target_scaling == "standard":
        raise ConfigurationError(
            f"the targets cannot be standardized for the loss {loss.name} and the output "
            f"{output.name}",
            "use --target-scaling none, or a squared or absolute error and --output identity",
        )
    return scaling_for("standard", dataset.train.targets) if possible else None
