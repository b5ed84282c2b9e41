"""The sources of a trace: the bundled worked examples, and TOML files in the same format."""

from __future__ import annotations

import math
import os
import sys
from importlib.resources import as_file, files
from typing import Any, NamedTuple

from backprop_xp.backend.devices import DTYPES, Placement, select_device
from backprop_xp.errors import ConfigurationError, check_name, unknown_name
from backprop_xp.models.model import Model
from backprop_xp.nn.losses import Loss, default_loss, get_loss
from backprop_xp.nn.network import Layer, Network, Parameters, map_arrays
from backprop_xp.nn.optimizers import Optimizer, get_optimizer
from backprop_xp.nn.regularizers import Penalty
from backprop_xp.runs.config_file import read_toml
from backprop_xp.trace.step_trace import Trace, trace_step
from backprop_xp.training.settings import HYPERPARAMETERS, check_number

EXAMPLES = ("note-000", "note-001", "xor")

_REQUIRED = ("sizes", "activations", "inputs", "targets", "weights")
_KEYS = (
    *("title", "sizes", "activations", "loss", "optimizer", "learning_rate", *HYPERPARAMETERS),
    *("l1", "l2", "dtype", "inputs", "targets", "weights", "biases"),
)


class Example(NamedTuple):
    """A training step described by a file; its parameters are nested lists."""

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
        """Compute the step, by default with NumPy on the CPU, and return its trace."""
        placement = (placement or select_device("cpu", "numpy")).with_dtype(self.dtype)
        with placement.activate():
            parameters = map_arrays(placement.asarray, self.parameters)
        return trace_step(
            Model(self.network, parameters, self.loss, placement=placement),
            self.inputs,
            self.targets,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            penalty=self.penalty,
            title=self.title,
            source=self.source,
        )


def read_example(source: str) -> Example:
    """Read a bundled worked example, or a training step from a TOML file.

    Parameters
    ----------
    source : str
        A name in `EXAMPLES`, or the path of a ``.toml`` file in the format of the examples, which
        ``note-000.toml`` explains.

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
            values, origin = read_toml(path, "file"), {"example": source}
    elif source.lower().endswith(".toml"):
        if not os.path.exists(source):
            raise ConfigurationError(
                f"there is no file {source}",
                f"check the path, name a worked example ({', '.join(EXAMPLES)}), or start from a "
                f"copy of {files(__package__) / 'examples' / 'note-000.toml'}, which explains the "
                "format",
            )
        values, origin = read_toml(source, "file"), {"file": source}
    else:
        raise unknown_name("worked example", source, [*EXAMPLES, "a custom .toml file"])
    try:
        return _from_values(values, origin)
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error.message}", error.hint) from error


def _from_values(values: dict[str, Any], source: dict[str, Any]) -> Example:
    for key in values:
        check_name("key", key, _KEYS)
    for key in _REQUIRED:
        if key not in values:
            raise ConfigurationError(f"{key} is missing", f"give at least {', '.join(_REQUIRED)}")
    for key in ("title", "loss", "optimizer", "dtype"):
        if key in values and not isinstance(values[key], str):
            raise ConfigurationError(f"{key} is {values[key]!r}", "give a string")
    check_number(
        "learning_rate", values.get("learning_rate"), lambda v: 0.0 < v < math.inf, "above 0"
    )
    check_name("dtype", values.get("dtype", "float64"), DTYPES)
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
            "give one row of each for every sample",
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
    for name, value in (("weights", weights), ("biases", biases)):
        if value is not None and (not isinstance(value, list) or len(value) != n_layers):
            count = len(value) if isinstance(value, list) else "none"
            raise ConfigurationError(
                f"{name}: {count} for {n_layers} layers",
                "give a list with one entry per layer",
            )
    layers = []
    for index in range(n_layers):
        n_in, n_out = network.sizes[index : index + 2]
        bias = None
        if biases is not None:
            (bias,) = _table([biases[index]], 1, n_out, f"biases of layer {index + 1}")
        matrix = _table(weights[index], n_out, n_in, f"weights of layer {index + 1}")
        layers.append(Layer(matrix, bias))
    return layers


def _table(value: Any, n_rows: int | None, n_columns: int, what: str) -> list[list[float]]:
    """Return rows of numbers; any number of them if ``n_rows`` is None."""
    hint = "write each row of numbers as a list: [[1.0, 2.0], [3.0, 4.0]]"
    if not isinstance(value, list) or not value or not all(isinstance(row, list) for row in value):
        raise ConfigurationError(f"the {what} are not rows of numbers", hint)
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
            "give a row for each neuron of the layer and a column for each of its inputs"
            if n_rows
            else "give a row for each sample, as wide as the layer",
        )
    return [[float(entry) for entry in row] for row in value]


def _is_finite(x: float) -> bool:
    return abs(x) <= sys.float_info.max  # an integer may be too large for a float
