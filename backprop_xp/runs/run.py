"""A training run, from its settings to its model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from backprop_xp.backend import random
from backprop_xp.backend.devices import Placement, select_device
from backprop_xp.data.dataset import Dataset
from backprop_xp.data.scaling import Scaling, scaling_for
from backprop_xp.data.sources import load_dataset, load_rows
from backprop_xp.diagnosis.doctor import Finding, diagnose
from backprop_xp.diagnosis.learning_rate_finder import RateFinding, find_learning_rate
from backprop_xp.errors import DataError
from backprop_xp.models.model import Model
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Network
from backprop_xp.runs.settings import RunSettings
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
    """

    settings: RunSettings
    placement: Placement
    dataset: Dataset
    scaling: Scaling
    network: Network

    def train(self, on_epoch: Callable[[TrainState], object] | None = None) -> TrainState:
        """Train, and return the state after the last epoch; `on_epoch` is as in `backprop_xp.fit`.

        Raises
        ------
        DataError, ConfigurationError, DivergenceError, TrainingInterrupted
            As `backprop_xp.fit` does.
        """
        return fit(
            self.network,
            *self._scaled(),
            device=self.placement,
            on_epoch=on_epoch,
            image_shape=self.dataset.image_shape,
            **TrainingSettings.fields_of(self.settings),
        )

    def diagnose(self, state: TrainState, *, diverged: bool = False) -> list[Finding]:
        """Look for common faults in the training run; see `backprop_xp.diagnose`."""
        return diagnose(
            self.network,
            state,
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
        settings = TrainingSettings.fields_of(self.settings)
        for name in LEARNING_RATE_AND_STOPPING:
            del settings[name]
        return find_learning_rate(
            self.network,
            self._scaled()[0],
            device=self.placement,
            image_shape=self.dataset.image_shape,
            **range_test,
            **settings,
        )

    def _scaled(self) -> list[Any]:
        """Return the training data and the validation data as `fit` takes them."""
        return [
            part and (self.scaling.apply(part.inputs, self.settings.dtype), part.targets)
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
        )


def prepare_run(settings: RunSettings) -> Run:
    """Read the data and select the device of a run.

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
    dataset = read_dataset(settings, seed)
    return Run(
        settings=settings.resolved(placement, seed, dataset.train.size),
        placement=placement,
        dataset=dataset,
        scaling=scaling_for(settings.scaling or dataset.default_scaling, dataset.train.inputs),
        network=settings.network(dataset.n_inputs, dataset.n_outputs),
    )


def read_dataset(settings: RunSettings, seed: int) -> Dataset:
    """Read the data set of some settings; the seed draws the validation rows.

    Raises
    ------
    DataError
        If the data is missing or damaged.
    """
    return load_dataset(
        settings.data,
        data_dir=settings.data_dir,
        label=settings.label,
        task=settings.task,
        validation=settings.validation,
        validation_fraction=settings.validation_fraction,
        seed=seed,
    )


def read_rows(model: Model, data: str, *, labeled: bool = True, **options: Any) -> tuple[Any, Any]:
    """Read the inputs and targets of a data set for a trained model.

    Parameters
    ----------
    model : Model
    data : str
    labeled : bool
        Whether targets are required; otherwise they may be None.
    **options
        ``split``, ``data_dir`` and ``label`` of `backprop_xp.data.sources.load_rows`.

    Raises
    ------
    DataError
        If the data is missing, damaged or does not fit the model, or required targets are missing.
    """
    inputs, targets = load_rows(
        data,
        classes=model.classes,
        features=model.features,
        task="regression" if model.classes is None else "classification",
        **options,
    )
    if labeled and targets is None:
        raise DataError(
            f"{data} has no labels to compare with",
            "name the column of a .csv with --label, or add the array y to an .npz",
        )
    return inputs, targets
