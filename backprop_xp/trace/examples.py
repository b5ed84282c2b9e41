"""Where a trace comes from: a worked example, a TOML file, or a saved model with samples."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, NamedTuple

from backprop_xp.backend.devices import DTYPES, Placement
from backprop_xp.data.dataset import NAMED, Part
from backprop_xp.errors import ConfigurationError, DataError, unknown_name
from backprop_xp.models.model import Model
from backprop_xp.nn.losses import Loss, default_loss, get_loss
from backprop_xp.nn.network import Layer, Network, Parameters
from backprop_xp.nn.optimizers import Optimizer, get_optimizer
from backprop_xp.nn.regularizers import Penalty
from backprop_xp.runs.folder import CONFIG, read_settings, read_toml
from backprop_xp.runs.run import read_dataset, read_rows
from backprop_xp.trace.step_trace import Trace, trace_step
from backprop_xp.training.settings import HYPERPARAMETERS, RunSettings, check_number

EXAMPLES = ("note-000", "note-001", "xor")

_REQUIRED = ("sizes", "activations", "inputs", "targets", "weights")
_KEYS = (
    *("title", "sizes", "activations", "loss", "optimizer", "learning_rate", *HYPERPARAMETERS),
    *("l1", "l2", "dtype", "inputs", "targets", "weights", "biases"),
)

_LEFT_OUT = ("dropout", "augment", "max_norm", "clip_norm", "label_smoothing", "class_weight")
"""Settings that change a training's steps, and not the step that is traced."""


class Example(NamedTuple):
    """A training step as a file describes it.

    Attributes
    ----------
    title : str
    source : dict
    network : Network
    loss : Loss
    optimizer : Optimizer
    learning_rate : float
    penalty : Penalty
    dtype : str
    inputs, targets : list of list of float
    parameters : list of Layer
        Of nested lists.
    """

    title: str
    source: dict[str, Any]
    network: Network
    loss: Loss
    optimizer: Optimizer
    learning_rate: float
    penalty: Penalty
    dtype: str
    inputs: list[list[float]]
    targets: list[list[float]]
    parameters: Parameters

    def trace(self, placement: Placement | None = None) -> Trace:
        """Do the step and return its trace.

        Raises
        ------
        ConfigurationError, DataError
            As `backprop_xp.trace.step_trace.trace_step` does.
        """
        return trace_step(
            self.network,
            self.loss,
            self.parameters,
            self.inputs,
            self.targets,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            penalty=self.penalty,
            placement=placement,
            dtype=self.dtype,
            title=self.title,
            source=self.source,
        )


def read_example(source: str) -> Example:
    """Return the worked example of that name, or the training step that a TOML file describes.

    Parameters
    ----------
    source : str
        A name in `EXAMPLES`, or the path of a file that ends in ``.toml``; the format is that of
        the examples, of which ``note-000.toml`` explains it.

    Raises
    ------
    ConfigurationError
        If there is no such example or file, or the file does not describe a training step.

    Examples
    --------
    >>> read_example("note-001").trace().after.loss
    0.02543839712810468
    """
    if source in EXAMPLES:
        with as_file(files(__package__) / "examples" / f"{source}.toml") as path:
            return _example(read_toml(path, "file"), source, {"example": source})
    if not source.lower().endswith(".toml"):
        raise unknown_name("worked example", source, [*EXAMPLES, "a .toml file of your own"])
    return _example(read_toml(source, "file"), source, {"file": source})


def _example(values: dict[str, Any], where: str, source: dict[str, Any]) -> Example:
    try:
        return _described(values, source)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error.message}", error.hint) from error


def _described(values: dict[str, Any], source: dict[str, Any]) -> Example:
    for key in values:
        if key not in _KEYS:
            raise unknown_name("key", key, _KEYS)
    for key in _REQUIRED:
        if key not in values:
            raise ConfigurationError(f"there is no {key}", f"give at least {', '.join(_REQUIRED)}")
    for key in ("title", "loss", "optimizer", "dtype"):
        if key in values and not isinstance(values[key], str):
            raise ConfigurationError(f"{key} is {values[key]!r}", "give a text")
    check_number(
        "learning_rate", values.get("learning_rate"), lambda v: 0.0 < v < math.inf, "above 0"
    )
    if values.get("dtype", "float64") not in DTYPES:
        raise unknown_name("dtype", values["dtype"], DTYPES)
    for key in ("l1", "l2"):
        check_number(key, values.get(key), lambda v: 0.0 <= v < math.inf, "from 0 up")
    if not isinstance(values["sizes"], list):
        raise ConfigurationError(
            f"sizes is {values['sizes']!r}", "give a list: [2, 3, 1] for 2 inputs and 1 output"
        )
    if not isinstance(values["activations"], (list, str)):
        raise ConfigurationError(
            f"activations is {values['activations']!r}", 'give a list: ["tanh", "sigmoid"]'
        )
    network = Network(values["sizes"], values["activations"], "biases" in values)
    output = network.activations[-1]
    optimizer = get_optimizer(
        values.get("optimizer", "sgd"),
        **{name: values[name] for name in HYPERPARAMETERS if name in values},
    )
    inputs = _table(values["inputs"], None, network.sizes[0], "inputs")
    targets = _table(values["targets"], None, network.sizes[-1], "targets")
    if len(inputs) != len(targets):
        raise ConfigurationError(
            f"there are {len(inputs)} rows of inputs and {len(targets)} of targets",
            "give a row of each for every sample",
        )
    return Example(
        title=values.get("title", ""),
        source=source,
        network=network,
        loss=get_loss(values["loss"]) if "loss" in values else default_loss(output),
        optimizer=optimizer,
        learning_rate=values.get("learning_rate", optimizer.learning_rate),
        penalty=Penalty(values.get("l1", 0.0), values.get("l2", 0.0)),
        dtype=values.get("dtype", "float64"),
        inputs=inputs,
        targets=targets,
        parameters=_parameters(network, values["weights"], values.get("biases")),
    )


def _parameters(network: Network, weights: Any, biases: Any) -> Parameters:
    n_layers = len(network.sizes) - 1
    for name, given in (("weights", weights), ("biases", biases)):
        if given is not None and (not isinstance(given, list) or len(given) != n_layers):
            count = len(given) if isinstance(given, list) else "none"
            raise ConfigurationError(
                f"{name}: {count} for {n_layers} layers", "give a list with one entry per layer"
            )
    layers = []
    for place in range(n_layers):
        n_in, n_out = network.sizes[place : place + 2]
        bias = None
        if biases is not None:
            (bias,) = _table([biases[place]], 1, n_out, f"biases of layer {place + 1}")
        matrix = _table(weights[place], n_out, n_in, f"weights of layer {place + 1}")
        layers.append(Layer(matrix, bias))
    return layers


def _table(value: Any, n_rows: int | None, n_columns: int, what: str) -> list[list[float]]:
    """Return rows of numbers; as many as there are, where ``n_rows`` is None."""
    hint = "write rows of numbers, a list for each: [[1.0, 2.0], [3.0, 4.0]]"
    if not isinstance(value, list) or not value or not all(isinstance(row, list) for row in value):
        raise ConfigurationError(f"the {what} are no rows of numbers", hint)
    for number, row in enumerate(value, start=1):
        if len(row) != len(value[0]):
            raise ConfigurationError(
                f"row {number} of the {what} has {len(row)} numbers, and row 1 has {len(value[0])}",
                hint,
            )
        for entry in row:
            check_number(f"a number in the {what}", entry, _is_finite, "that is finite")
    shape, wanted = (len(value), len(value[0])), (n_rows or len(value), n_columns)
    if shape != wanted:
        raise ConfigurationError(
            f"the {what} have the shape {shape}, not {wanted}",
            "a matrix has a row for each neuron of its layer, a column for each of its inputs"
            if n_rows
            else "give a row for each sample, as wide as the network",
        )
    return [[float(entry) for entry in row] for row in value]


def _is_finite(x: float) -> bool:
    return abs(x) <= sys.float_info.max  # a whole number may be too large for a float


def trace_model(
    model: Model,
    inputs: Any,
    targets: Any,
    *,
    optimizer: str | Optimizer = "sgd",
    learning_rate: float | None = None,
    penalty: Penalty | None = None,
    title: str = "",
    source: Mapping[str, Any] | None = None,
) -> Trace:
    """Do a training step of a model on raw samples, the first of a training that starts from it.

    Parameters
    ----------
    model : Model
    inputs : host array, shape (batch, n_inputs)
        As they were before scaling.
    targets : host array
        Class indices, shape (batch,), or numbers, shape (batch, n_outputs).
    optimizer, learning_rate, penalty, title, source
        As for `backprop_xp.trace.step_trace.trace_step`.

    Raises
    ------
    ConfigurationError, DataError
        As that function does.
    """
    return trace_step(
        model.network,
        model.loss,
        model.parameters,
        model.scaled(inputs),
        targets,
        optimizer=optimizer,
        learning_rate=learning_rate,
        penalty=penalty,
        placement=model.placement,
        dtype=model.dtype,
        title=title,
        source=source,
        classes=model.classes,
        features=model.features,
        image_shape=model.image_shape,
    )


def trace_samples(
    model: Model,
    path: str,
    data: str,
    samples: Sequence[int],
    *,
    part: str | None = None,
    data_dir: str | None = None,
    label: str | None = None,
    optimizer: str | None = None,
    learning_rate: float | None = None,
) -> Trace:
    """Do a training step of a saved model on samples of a data set.

    Optimizer, learning rate and penalty are those of the training, where its ``config.toml``
    lies beside the model; what else a training does in its steps (dropout, for one) is left out,
    and named in the trace's source. The optimizer starts anew: a model file keeps no slots.

    Parameters
    ----------
    model : Model
    path : str
        Its file.
    data, data_dir, label
        As for `backprop_xp.data.sources.load_rows`.
    samples : sequence of int
        Rows, counted from 0.
    part : {"train", "validation", "test"}, optional
        By default ``"test"``.
    optimizer, learning_rate
        By default those of the training, else of gradient descent.

    Raises
    ------
    ConfigurationError
        If an option or the file beside the model is wrong.
    DataError
        If the data are missing or unfit, or have no such sample.
    """
    inputs, targets = read_rows(model, data, split=part or "test", data_dir=data_dir, label=label)
    for sample in samples:
        if not 0 <= sample < len(targets):
            raise DataError(
                f"there is no sample {sample} in {data}: it has {len(targets)}",
                f"give numbers from 0 to {len(targets) - 1}",
            )
    rows = Part(inputs, targets).take(list(samples))
    part = part or ("test" if data in NAMED else None)
    config = Path(path).with_name(CONFIG)
    settings = RunSettings(**read_settings(config)) if config.is_file() else None
    rule: str | Optimizer = "sgd" if optimizer is None else optimizer
    if settings is not None and optimizer is None:
        rule = settings.optimizer_record()
        learning_rate = settings.eta() if learning_rate is None else learning_rate
    shown = samples[0] if len(samples) == 1 else list(samples)
    source: dict[str, Any] = {"model": path, "data": data, "part": part, "sample": shown}
    if settings is not None:
        source["left_out"] = [name for name in _LEFT_OUT if getattr(settings, name)]
    return trace_model(
        model,
        rows.inputs,
        rows.targets,
        optimizer=rule,
        learning_rate=learning_rate,
        penalty=None if settings is None else _penalty(settings),
        title=f"{Path(data).name}{f' ({part})' if part else ''}, "
        f"sample {', '.join(map(str, samples))}",
        source=source,
    )


def _penalty(settings: RunSettings) -> Penalty:
    """Return the penalty of a training as it entered its steps."""
    if settings.penalty != "per_sample" or not (settings.l1 or settings.l2):
        return settings.penalty_record(1)
    try:
        dataset = read_dataset(settings, settings.seed or 0)
    except DataError as error:
        raise DataError(
            "the penalty of the training is divided by the number of its samples, and they "
            f"cannot be counted: {error.message}",
            f"put the data back, or take {CONFIG} away from the model",
        ) from error
    return settings.penalty_record(dataset.train.size)
