"""A training run from its settings: data in, model out. The command line and scripts call this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from backprop_xp.backend import random
from backprop_xp.backend.devices import Placement, select
from backprop_xp.data.dataset import Dataset, Part
from backprop_xp.data.scaling import Scaling, scaling_for
from backprop_xp.data.sources import load_dataset, load_rows
from backprop_xp.diagnosis.doctor import Finding, examine
from backprop_xp.diagnosis.learning_rate_finder import RateFinding, find_learning_rate
from backprop_xp.errors import DataError
from backprop_xp.models.model import Model
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Network
from backprop_xp.training.fit import fit
from backprop_xp.training.settings import PACE, RunSettings, TrainingSettings
from backprop_xp.training.state import TrainState
from backprop_xp.version import __version__


class Run(NamedTuple):
    """A run that is ready to train: its data is read, scaled and split, its device chosen.

    Attributes
    ----------
    settings : RunSettings
        With everything that was left open filled in.
    placement : Placement
    dataset : Dataset
        As it was read.
    scaling : Scaling
        Found on the training rows.
    network : Network
    """

    settings: RunSettings
    placement: Placement
    dataset: Dataset
    scaling: Scaling
    network: Network

    def train(self, on_epoch: Callable[[TrainState], None] | None = None) -> TrainState:
        """Train, and return the state after the last epoch.

        Raises
        ------
        DataError, ConfigurationError, DivergenceError, TrainingInterrupted
            As `backprop_xp.fit` does.
        """
        options = TrainingSettings.fields_of(self.settings)
        return fit(
            self.network,
            self._scaled(self.dataset.train),
            None if self.dataset.validation is None else self._scaled(self.dataset.validation),
            device=self.placement,
            dtype=self.settings.dtype,
            on_epoch=on_epoch,
            image_shape=self.dataset.image_shape,
            **options,
        )

    def examine(self, state: TrainState, *, diverged: bool = False) -> list[Finding]:
        """Let the doctor look at a training; see `backprop_xp.diagnosis.doctor.examine`."""
        validation = self.dataset.validation
        return examine(
            self.network,
            state,
            self._scaled(self.dataset.train),
            None if validation is None else self._scaled(validation),
            loss=self.settings.loss,
            diverged=diverged,
            classes=self.dataset.classes,
            features=self.dataset.features,
        )

    def find_learning_rate(self, **of_the_test: Any) -> RateFinding:
        """Find a learning rate for this training, whose own pace does not matter.

        Parameters
        ----------
        **of_the_test
            ``low``, ``high`` and ``steps`` of `backprop_xp.find_learning_rate`.

        Raises
        ------
        DataError, ConfigurationError
            As that function does.
        """
        options = TrainingSettings.fields_of(self.settings)
        return find_learning_rate(
            self.network,
            self._scaled(self.dataset.train),
            device=self.placement,
            dtype=self.settings.dtype,
            image_shape=self.dataset.image_shape,
            **of_the_test,
            **{name: value for name, value in options.items() if name not in PACE},
        )

    def _scaled(self, part: Part) -> tuple[Any, Any]:
        return self.scaling.apply(part.inputs, self.settings.dtype), part.targets

    def model(self, state: TrainState) -> Model:
        """Return the model of a state of the training."""
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


def prepare(settings: RunSettings) -> Run:
    """Read the data and choose the device of a run.

    Raises
    ------
    DataError
        If the data is missing or damaged.
    DeviceError
        If a device that was named cannot be used.
    ConfigurationError
        If settings contradict each other or the data.

    Examples
    --------
    >>> run = prepare(RunSettings(hidden=(20,), epochs=2, seed=0, device="cpu"))
    >>> state = run.train()
    >>> state.epoch, run.model(state).network.sizes
    (2, (64, 20, 10))
    """
    # The device first: it is quick to refuse, and the data may be large.
    placement = select(settings.device, settings.backend, dtype=settings.dtype)
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
    """Read the data that settings name; the seed draws the validation rows.

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


def read_rows(
    model: Model,
    data: str,
    *,
    split: str,
    data_dir: str | None = None,
    label: str | None = None,
    labelled: bool = True,
) -> tuple[Any, Any]:
    """Read inputs and targets of a data set as a trained model wants them.

    Parameters
    ----------
    model : Model
    data, split, data_dir, label
        As for `backprop_xp.data.sources.load_rows`.
    labelled : bool
        Whether there must be targets; without, they may be None.

    Raises
    ------
    DataError
        If the data is missing, damaged or unfit for the model, or lacks targets.
    """
    inputs, targets = load_rows(
        data,
        split=split,
        data_dir=data_dir,
        label=label,
        classes=model.classes,
        features=model.features,
        task="regression" if model.classes is None else "classification",
    )
    if labelled and targets is None:
        raise DataError(
            f"{data} has no labels to compare with",
            "name the column of a .csv with --label, or add the array y to an .npz",
        )
    return inputs, targets
