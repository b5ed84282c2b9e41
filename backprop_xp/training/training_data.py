"""The data of a training run: both sets checked and moved to the device."""

from __future__ import annotations

import functools
import warnings
from typing import Any, NamedTuple, Self

from backprop_xp.backend import arrays
from backprop_xp.backend.devices import Placement
from backprop_xp.data.device_data import DeviceData
from backprop_xp.data.fingerprint import fingerprint, sample, sha256
from backprop_xp.data.loader import DataLoader, Shuffle
from backprop_xp.data.streaming import StreamedData, load_data
from backprop_xp.errors import ConfigurationError
from backprop_xp.nn.losses import Loss, check_learnable, check_targets
from backprop_xp.nn.network import Network
from backprop_xp.training.data_scale import DataScale
from backprop_xp.training.settings import TrainingSettings


def has_classes(data: DeviceData | StreamedData, loss: Loss) -> bool:
    """Return whether the targets of a data set are classes, so that predictions can be correct."""
    return data.labeled or loss.needs_probabilities


class TrainingData(NamedTuple):
    """The training and validation data of a run.

    Attributes
    ----------
    loader : DataLoader
        The training set, in the order of each epoch.
    validation : DeviceData, StreamedData or None
    """

    loader: DataLoader
    validation: DeviceData | StreamedData | None

    @classmethod
    def of(
        cls,
        network: Network,
        settings: TrainingSettings,
        placement: Placement,
        train: tuple[Any, Any],
        validation: tuple[Any, Any] | None = None,
        *,
        shuffle: bool | Shuffle = True,
        sample_weight: Any = None,
    ) -> Self:
        """Check data and move it to the device; the parameters are those of `backprop_xp.fit`.

        With ``diagnostics``, warn the caller's caller of data that is far from unit scale.

        Raises
        ------
        ConfigurationError
            If the network cannot learn with the loss, early stopping has no validation set, or a
            regression has label smoothing.
        DataError
            For data that does not fit the network or the loss, or contains NaN or infinity.
        """
        output = network.activations[-1]
        loss = settings.resolve_loss(output)
        check_learnable(loss, output, network.sizes[-1])
        load = functools.partial(
            load_data,
            n_inputs=network.sizes[0],
            n_outputs=network.sizes[-1],
            placement=placement,
            check_targets=functools.partial(check_targets, loss=loss),
        )
        loaded = load(train, what="the training data")
        held_out = None if validation is None else load(validation, what="the validation data")
        if settings.patience is not None and held_out is None:
            raise ConfigurationError(
                "early stopping (patience) needs a validation set",
                "give validation data, or leave patience out",
            )
        if settings.label_smoothing and not has_classes(loaded, loss):
            raise ConfigurationError(
                "label smoothing needs classes, and these targets are numbers",
                "leave label_smoothing out of a regression",
            )
        loader = DataLoader(
            loaded,
            settings.resolve_batch_size(loaded.n),
            placement,
            shuffle=shuffle,
            sample_weight=sample_weight,
            class_weight=settings.class_weight,
            label_smoothing=settings.label_smoothing,
        )
        data = cls(loader, held_out)
        if settings.diagnostics and (advice := data.scale().advice(loss)):
            warnings.warn(advice, UserWarning, stacklevel=3)
        return data

    def scale(self) -> DataScale:
        """Return the scale of the training data, from a sample of its rows."""
        return DataScale.of(*sample(self.train))

    def fingerprint(self) -> dict[str, Any]:
        """Return a record that identifies the rows, their targets and their sample weights."""
        found = {f"training {key}": value for key, value in fingerprint(self.train).items()}
        if self.validation is not None:
            for key, value in fingerprint(self.validation).items():
                found[f"validation {key}"] = value
        if self.loader.sample_weight is not None:
            found["sample weights"] = sha256(arrays.to_numpy(self.loader.sample_weight))
        return found

    @property
    def train(self) -> DeviceData | StreamedData:
        """The training set in its original order."""
        return self.loader.data

    @property
    def n(self) -> int:
        """The number of training rows."""
        return self.loader.data.n

    @property
    def batch_size(self) -> int:
        """The number of rows in a step."""
        return self.loader.batch_size

    @property
    def steps(self) -> int:
        """The number of steps in an epoch."""
        return -(-self.n // self.batch_size)
