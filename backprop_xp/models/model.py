"""A trained model: a network with its weights, and how raw inputs become its inputs."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.backend.devices import Placement, select_device
from backprop_xp.data.device_data import inputs_to_device
from backprop_xp.data.labels import from_names
from backprop_xp.data.preprocessing import Preprocessing
from backprop_xp.data.readers.frames import is_frame
from backprop_xp.data.readers.source import separate_labels
from backprop_xp.data.scaling import Scaling
from backprop_xp.data.sources import Rows, load_rows
from backprop_xp.data.streaming import load_data, read_chunks
from backprop_xp.data.table_format import TableFormat
from backprop_xp.errors import ConfigurationError, DataError
from backprop_xp.formatting import listed
from backprop_xp.models.metrics import by_class, classification_metrics, regression_metrics
from backprop_xp.models.model_file import read_model, write_model
from backprop_xp.models.summary import as_html, describe, in_words
from backprop_xp.nn.losses import Loss, check_targets
from backprop_xp.nn.metrics import classes_of
from backprop_xp.nn.network import Network, Parameters, map_arrays
from backprop_xp.training import evaluation
from backprop_xp.version import __version__


@dataclass(frozen=True, repr=False)
class Model:
    """A trained network that takes raw inputs and returns classes or numbers.

    Attributes
    ----------
    network : Network
    parameters : list of Layer
        On the device where predictions are made.
    loss : Loss
        The loss that it was trained with.
    scaling : Scaling or None
        Applied to raw inputs before they enter the network.
    classes : tuple of str or None
        The name of the class of each output; None for a regression.
    features : tuple of str or None
        The names of the inputs, if they have names.
    image_shape : tuple of int or None
        Height and width, if the inputs are images.
    seed : int
        The seed of its training run.
    version : str
        The version of this package that trained it.
    placement : Placement
        The library and device of the parameters; by default NumPy on the CPU.
    label : tuple of str or None
        The names of the target columns, if they have names.
    label_type : {"text", "integer", "number", "boolean"}
        The type of the classes that `predict` returns.
    preprocessing : Preprocessing or None
        How the columns of a table become inputs.
    target_scaling : Scaling or None
        The network was trained on (target - offset) / divisor, and its outputs are converted back.
    history : sequence of dict
        The metrics after each epoch, if the model was just trained; a file does not contain them.
    """

    network: Network
    parameters: Parameters
    loss: Loss
    scaling: Scaling | None = None
    classes: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    image_shape: tuple[int, int] | None = None
    seed: int = 0
    version: str = __version__
    placement: Placement = field(default_factory=lambda: select_device("cpu", "numpy"))
    label: tuple[str, ...] | None = None
    label_type: str = "text"
    preprocessing: Preprocessing | None = None
    target_scaling: Scaling | None = None
    history: Sequence[dict[str, Any]] = ()

    def __repr__(self) -> str:
        sizes = "-".join(map(str, self.network.sizes))
        if self.classes is None:
            task = f"regression of {', '.join(self.label)}" if self.label else "regression"
        else:
            task = f"{len(self.classes)} classes"
        return f"<Model {sizes}: {task}, {self.network.n_parameters:,} parameters>"

    @property
    def dtype(self) -> str:
        """The data type of the weights, ``"float32"`` or ``"float64"``."""
        xp = self.placement.xp
        return "float64" if self.parameters[0].weights.dtype == xp.float64 else "float32"

    @property
    def task(self) -> str:
        """``"classification"`` or ``"regression"``."""
        return "regression" if self.classes is None else "classification"

    @property
    def target_names(self) -> tuple[str, ...]:
        """The name of each target of a regression."""
        n = self.network.sizes[-1]
        if self.label is not None and len(self.label) == n:
            return self.label
        return ("target",) if n == 1 else tuple(f"target {index + 1}" for index in range(n))

    @property
    def loss_unit(self) -> float:
        """The factor that converts losses to the units of the target; see `loss_unit`."""
        return loss_unit(self.loss, self.target_scaling)

    def to(self, placement: Placement) -> Model:
        """Return the model with its parameters on another device, or in another library."""
        with placement.activate():
            return replace(
                self,
                placement=placement,
                parameters=map_arrays(placement.with_dtype(self.dtype).asarray, self.parameters),
            )

    # --- rows as people have them -----------------------------------------------------------

    def predict(self, data: Any, *, table_format: TableFormat | None = None) -> Array:
        """Return the prediction for each row.

        Parameters
        ----------
        data : data frame, array, list of rows, or path
            Data frames need the columns of the training data, in any order; other columns are
            ignored. Arrays and lists have the training columns in their order. Raw values: they
            are scaled here.
        table_format : TableFormat, optional
            How a text file is written; by default this is detected.

        Returns
        -------
        numpy array, shape (n,) or (n, n_outputs)
            Classes as they were in the training data; for a regression numbers, in the units of
            the targets, float64 where these were standardized.

        Raises
        ------
        DataError
            If a column is missing, or the number of columns is another than in training, or a
            value is not finite.
        """
        outputs = self.outputs(self.read(data, table_format=table_format).inputs)
        if self.classes is None:
            return outputs[:, 0] if outputs.shape[1] == 1 else outputs
        return from_names(self.names(outputs), self.label_type)

    def predict_proba(self, data: Any, *, table_format: TableFormat | None = None) -> Array:
        """Return the probability of each class for each row, in the order of ``classes``.

        Parameters
        ----------
        data, table_format
            As for `predict`.

        Returns
        -------
        numpy array, shape (n, n_classes)

        Raises
        ------
        ConfigurationError
            For a regression, and if the outputs are not probabilities.
        DataError
            As for `predict`.
        """
        if self.classes is None or self.network.activations[-1].name not in ("softmax", "sigmoid"):
            raise ConfigurationError(
                "this model has no probabilities",
                "use predict; probabilities need a classification with a softmax or sigmoid output",
            )
        return by_class(self.outputs(self.read(data, table_format=table_format).inputs))

    def evaluate(
        self, data: Any, label: Any = None, *, table_format: TableFormat | None = None
    ) -> dict[str, Any]:
        """Return what the model gets right and wrong on labeled rows.

        Parameters
        ----------
        data : as for `predict`
        label : str, sequence of str, or array, optional
            The column or columns of the label, or the labels themselves. By default the column of
            the training data.
        table_format : TableFormat, optional
            How a text file is written; by default this is detected.

        Returns
        -------
        dict
            ``loss`` and ``count``; for a classification ``accuracy``, ``correct``, and the metrics
            of `backprop_xp.models.metrics.classification_metrics`; for a regression those of
            `backprop_xp.models.metrics.regression_metrics`.

        Raises
        ------
        DataError
            As for `predict`, and for missing or unknown labels.
        """
        inputs, targets, _ = self.read(data, label, labeled=True, table_format=table_format)
        return self.measure(inputs, targets, by_class=True)

    def read(self, data: Any, label: Any = None, *, labeled: bool = False, **options: Any) -> Rows:
        """Return the inputs and targets of data for this model; raw, on the host.

        Parameters
        ----------
        data, label
            As for `evaluate`.
        labeled : bool
            Whether targets are read. Otherwise missing and unknown labels do not matter.
        **options
            ``split``, ``table_format`` and ``data_dir`` of `backprop_xp.data.sources.load_rows`.

        Raises
        ------
        DataError
            As for `predict`, and if there are no targets although they are asked for.
        """
        columns = None if self.preprocessing is None else self.preprocessing.names
        if columns is None and self.features is not None:
            columns = self.features
        if not labeled and isinstance(data, tuple):
            data = list(data)  # two rows, and not a pair of inputs and labels
        data, label = separate_labels(data, label)
        if columns is not None and not isinstance(data, (str, os.PathLike)):
            data = _with_names(data, columns)
        rows = load_rows(
            data,
            label=label,
            default_label=self.label,
            task=self.task,
            classes=self.classes,
            features=self.features,
            preprocessing=self.preprocessing,
            n_inputs=self.network.sizes[0],
            labeled=labeled,
            **options,
        )
        if labeled and rows.targets is None:
            name = data if isinstance(data, (str, os.PathLike)) else "the data"
            looked_for = f": no column {' or '.join(map(repr, self.label))}" if self.label else ""
            raise DataError(
                f"{name} has no labels to compare with{looked_for}",
                "name the label column of a table (--label), or give the labels as an array y",
            )
        return rows

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one file; see `backprop_xp.save_model`."""
        write_model(path, self)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Model:
        """Read a model from a file; see `backprop_xp.load_model`."""
        return load_model(path)

    def summary(self) -> str:
        """Return the layers, inputs, classes and origin of the model as text."""
        return in_words(describe(self))

    def _repr_html_(self) -> str:
        return as_html(describe(self))

    # --- inputs and targets as stored -------------------------------------------------------

    def outputs(self, inputs: Any) -> Array:
        """Return the outputs of the network for raw inputs.

        Parameters
        ----------
        inputs : host array, shape (n, n_inputs)
            Not yet scaled; they are not changed.

        Returns
        -------
        host array, shape (n, n_outputs)
            Probabilities for a softmax output; for a regression in the units of the targets.

        Raises
        ------
        DataError
            If the number of columns differs from that of the network, or a value is not finite.
        """
        parts, n_inputs = [], self.network.sizes[0]
        placement = self.placement.with_dtype(self.dtype)
        with placement.activate():
            for first, part in read_chunks(self.scaled(inputs), self.dtype):
                x = inputs_to_device(part, n_inputs, placement, first=first)
                outputs = evaluation.predict(self.network, self.parameters, x)
                parts.append(arrays.to_numpy(outputs))
        outputs = parts[0] if len(parts) == 1 else arrays.namespace(parts[0]).concat(parts)
        return self._in_units(outputs)

    def names(self, outputs: Array) -> list[Any]:
        """Return the class name for each row of outputs, or the numbers of a regression."""
        if self.classes is None:
            return list(outputs.tolist())
        return [self.classes[index] for index in classes_of(outputs, xp=arrays.namespace(outputs))]

    def measure(
        self,
        inputs: Any,
        targets: Any,
        *,
        by_class: bool = False,
        on_outputs: Callable[[Array], object] | None = None,
    ) -> dict[str, Any]:
        """Return the metrics of the model on raw inputs and encoded targets.

        Parameters
        ----------
        inputs : host array, shape (n, n_inputs)
        targets : host array
            Class indices, shape (n,), or numbers in their own units, shape (n, n_outputs).
        by_class : bool
            Whether to measure each class.
        on_outputs : callable ``(outputs)``, optional
            Called with what `outputs` returns, for each chunk of rows in their order.

        Returns
        -------
        dict
            As for `evaluate`.

        Raises
        ------
        DataError
            If the inputs or targets do not fit the network, or the targets do not fit the loss.
        """
        parts = list[Array]()
        keep = by_class or self.classes is None

        def take(outputs: Array) -> None:
            outputs = self._in_units(arrays.to_numpy(outputs))
            if keep:
                parts.append(outputs)
            if on_outputs is not None:
                on_outputs(outputs)

        with self.placement.activate():
            data = load_data(
                (self.scaled(inputs), self.scaled_targets(targets)),
                self.network.sizes[0],
                self.network.sizes[-1],
                self.placement.with_dtype(self.dtype),
                check_targets=functools.partial(check_targets, loss=self.loss),
            )
            measured: dict[str, Any] = evaluation.evaluate_chunks(
                self.network,
                self.loss,
                self.parameters,
                data,
                xp=self.placement.xp,
                on_outputs=take if keep or on_outputs is not None else None,
            )
        measured["loss"] *= self.loss_unit
        if not keep:
            return measured
        outputs = np.concatenate(parts)
        if self.classes is None:
            numbers = np.asarray(targets).reshape(outputs.shape)
            metrics = regression_metrics(numbers, outputs, self.target_names)
            return {name: measured[name] for name in ("loss", "count")} | metrics
        predicted = np.asarray(classes_of(outputs, xp=np))
        return measured | classification_metrics(
            np.asarray(targets), predicted, outputs, self.classes
        )

    def scaled(self, inputs: Any) -> Any:
        """Return raw inputs scaled for the network."""
        return inputs if self.scaling is None else self.scaling.apply(inputs, self.dtype)

    def scaled_targets(self, targets: Any) -> Any:
        """Return targets of a regression as the network was trained on them."""
        return scaled_targets(self.target_scaling, targets)

    def _in_units(self, outputs: Array) -> Array:
        """Return outputs of the network in the units of the targets."""
        if self.target_scaling is None:
            return outputs
        offset, divisor = self.target_scaling
        # In float64: targets far from 0 (a year, a timestamp) would lose their digits in float32.
        return np.asarray(outputs, dtype=np.float64) * divisor + offset


def save_model(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model to one file; the file appears complete or not at all.

    Parameters
    ----------
    model : Model
    path : path
        Usually ends in ``.safetensors``. An existing file is replaced.

    Raises
    ------
    ConfigurationError
        If an activation or the loss is a custom one, which a file cannot hold, or the file
        cannot be written.
    """
    write_model(path, model)


def load_model(path: str | os.PathLike[str], placement: Placement | None = None) -> Model:
    """Read a model file, check all of it, and put its weights on a device.

    Parameters
    ----------
    path : path
        A model file, or the folder of a run.
    placement : Placement, optional
        Where the weights are to be; by default NumPy on the CPU.

    Raises
    ------
    ModelFileError
        If the file is missing, truncated, changed in a single bit, or not a model of this package.
    """
    path = Path(path)
    model = Model(**read_model(path / "model.safetensors" if os.path.isdir(path) else path))
    return model if placement is None else model.to(placement)


def scaled_targets(scaling: Scaling | None, targets: Any) -> Any:
    """Return targets as a network is trained on them, (target - offset) / divisor in float64."""
    return targets if scaling is None else scaling.apply(np.asarray(targets), "float64")


def loss_unit(loss: Loss, target_scaling: Scaling | None) -> float:
    """Return the factor that converts a loss of standardized targets to the units of the target.

    A squared error is multiplied by the square of the divisor, an absolute error by the divisor.
    It is 1 for several targets: a sum over targets of different units has none, so the loss stays
    that of the standardized targets.

    Examples
    --------
    >>> from backprop_xp.nn.losses import LOSSES
    >>> loss_unit(LOSSES["half_squared_error"], Scaling(np.zeros(1), np.asarray([10.0])))
    100.0
    """
    if target_scaling is None or target_scaling.divisor.size != 1:
        return 1.0
    return float(target_scaling.divisor[0]) ** (loss.scale_power or 0)


def _with_names(data: Any, columns: tuple[str, ...]) -> Any:
    """Return an array or a list of rows as named columns; a data frame has its own names."""
    if is_frame(data):
        return data
    rows = arrays.to_numpy(data) if arrays.is_array(data) else data
    if isinstance(rows, np.ndarray):
        shape, found = rows.shape, list(rows.T) if rows.ndim == 2 else []
    else:
        rows = data if isinstance(data, Iterable) else [data]
        rows = [list(row) if isinstance(row, (Sequence, np.ndarray)) else row for row in rows]
        if not all(isinstance(row, list) for row in rows):
            raise DataError(
                "the inputs are not a list of rows",
                f"give a list with a list of {len(columns)} values for each row; for named values, "
                "give a data frame or a dict of columns",
            )
        width = len(rows[0]) if rows else 0
        if any(len(row) != width for row in rows):
            raise DataError(
                "the rows have different numbers of values",
                "give every row the same number of them",
            )
        shape, found = (len(rows), width), list(zip(*rows, strict=True))
    if not rows.size if isinstance(rows, np.ndarray) else not rows:
        raise DataError("there are no rows", "give at least one row")
    if len(found) != len(columns):
        raise DataError(
            f"the inputs have the shape {shape}, but (n, {len(columns)}) is expected",
            f"give these columns, in this order: {listed(columns, 20)}",
        )
    return dict(zip(columns, found, strict=True))
