"""The trace: every number of one training step, recorded as training computes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.backend.host import ignore_overflow, limit_threads
from backprop_xp.data.device_data import to_device
from backprop_xp.formatting import to_json
from backprop_xp.models.model import Model
from backprop_xp.nn.activations import Activation
from backprop_xp.nn.backpropagation import Tape
from backprop_xp.nn.losses import check_pair, check_targets, fused_form, loss_and_delta
from backprop_xp.nn.network import Layer, Network, Parameters, check_parameters, map_arrays
from backprop_xp.nn.optimizers import LETTERS, Optimizer, get_optimizer, initial_slots
from backprop_xp.nn.regularizers import Penalty
from backprop_xp.trace.table import html
from backprop_xp.training.settings import check_number
from backprop_xp.training.step import TrainingStep

_ROUNDING = 1e-5
"""The relative difference from δ up to which two numbers are shown as its factors: a fused form
stays exact where the slope of a saturated output has lost its digits."""


class Pass(NamedTuple):
    """A forward pass with its loss, on the host.

    Attributes
    ----------
    z, a : list of arrays, each (batch, n_out)
        As in `backprop_xp.nn.backpropagation.Tape`, but without the inputs.
    losses : list of float
        The loss of each sample.
    loss : float
        The loss of the batch: the mean, and the penalty if it is per batch.
    """

    z: list[Array]
    a: list[Array]
    losses: list[float]
    loss: float


class Trace(NamedTuple):
    """Every number of one training step, on the host.

    Attributes
    ----------
    title, source : str, mapping
        The origin of the network and the samples.
    model, optimizer, learning_rate, penalty
        As for `trace_step`.
    inputs, targets : array, shape (batch, n)
        As the network receives them, and as the loss compares with them.
    before, after : Pass
        With the old and with the new parameters.
    incoming, slopes : list of (array or None), each (batch, n_out)
        The two factors of δ, dL/da and f'(z). None for a layer that is not elementwise.
    deltas : list of arrays, each (batch, n_out)
        dL/dz for the mean loss of the batch.
    old, gradients, new : list of Layer
    slots : list of dict
        For each layer and the name of each slot, its values before and after the step, as they
        are stored; the optimizer's `textbook` factors turn them into m and v.

    Examples
    --------
    >>> import numpy as np
    >>> from backprop_xp.nn.losses import get_loss
    >>> neuron = [Layer(np.asarray([[2.0]]), np.asarray([1.0]))]
    >>> model = Model(Network((1, 1), "identity"), neuron, get_loss("half_squared_error"))
    >>> trace = trace_step(model, [[3.0]], [[5.0]], learning_rate=0.1)
    >>> trace.before.z[0], trace.gradients[0].weights, trace.new[0].weights
    (array([[7.]]), array([[6.]]), array([[1.4]]))
    """

    title: str
    source: Mapping[str, Any]
    model: Model
    optimizer: Optimizer
    learning_rate: float
    penalty: Penalty
    inputs: Array
    targets: Array
    before: Pass
    after: Pass
    incoming: list[Array | None]
    slopes: list[Array | None]
    deltas: list[Array]
    old: Parameters
    gradients: Parameters
    new: Parameters
    slots: list[dict[str, tuple[Layer, Layer]]]

    def as_data(self) -> dict[str, Any]:
        """Return the trace as lists, numbers and text for JSON; numbers not finite are None."""
        return {**self.summary(), "layers": [self._layer(index) for index in range(len(self.old))]}

    def summary(self) -> dict[str, Any]:
        """Return the same data without the parameters and gradients of the layers."""
        model, penalty = self.model, self.penalty
        network, loss = model.network, model.loss
        share = 1.0 / len(self.inputs)
        divided = share if penalty.per_batch else 1.0
        output = network.activations[-1]
        return {
            "title": self.title,
            "source": dict(self.source),
            "network": {
                "sizes": list(network.sizes),
                "activations": [activation.name for activation in network.activations],
                "bias": network.bias,
                "parameters": network.n_parameters,
                "image_shape": model.image_shape and list(model.image_shape),
                "features": model.features and list(model.features),
                "classes": model.classes and list(model.classes),
            },
            "dtype": model.dtype,
            "loss": {
                "name": loss.name,
                "formula": loss.formula,
                "derivative": loss.derivative_formula,
            },
            "optimizer": {
                "name": self.optimizer.name,
                "learning_rate": self.learning_rate,
                "hyperparameters": dict(self.optimizer.hyperparameters),
                "letters": LETTERS,
                "step": 1,
                "formula": self.optimizer.formula,
                "symbols": {
                    symbol: {"slot": slot, "factor": factor}
                    for symbol, (slot, factor) in self.optimizer.textbook(step=1).items()
                },
            },
            "penalty": {
                "l1": penalty.l1 * divided,
                "l2": penalty.l2 * divided,
                "biases": penalty.biases,
            }
            if penalty
            else None,
            "samples": [self._sample(row, share) for row in range(len(self.inputs))],
            "fused": fused_form(loss, output) and loss.fused_formulas.get(output.name),
            "loss_before": to_json(self.before.loss),
            "loss_after": to_json(self.after.loss),
        }

    def _repr_html_(self) -> str:
        return html(self.as_data())

    def _sample(self, row: int, share: float) -> dict[str, Any]:
        layers = range(len(self.old))
        return {
            "target": to_json(self.targets[row]),
            "label": self._class(self.targets, row),
            "predicted": self._class(self.before.a[-1], row),
            "loss_before": to_json(self.before.losses[row]),
            "loss_after": to_json(self.after.losses[row]),
            "share": share,
            "input": to_json(self.inputs[row]),
            "layers": [
                {
                    "z": to_json(self.before.z[index][row]),
                    "a": to_json(self.before.a[index][row]),
                    **self._factors(index, row),
                    "delta": to_json(self.deltas[index][row]),
                }
                for index in layers
            ],
            "after": {
                "layers": [
                    {"z": to_json(self.after.z[index][row]), "a": to_json(self.after.a[index][row])}
                    for index in layers
                ]
            },
        }

    def _class(self, outputs: Array, row: int) -> str | None:
        return None if self.model.classes is None else self.model.names(outputs[row : row + 1])[0]

    def _factors(self, index: int, row: int) -> dict[str, Any]:
        """Return the factors of δ if their product is δ."""
        incoming, slope, delta = self.incoming[index], self.slopes[index], self.deltas[index][row]
        if incoming is not None and slope is not None:
            with ignore_overflow(arrays.namespace(delta)):
                off = abs(incoming[row] * slope[row] - delta)
            if (off <= _ROUNDING * abs(delta)).all():
                return {"incoming": to_json(incoming[row]), "slope": to_json(slope[row])}
        return {"incoming": None, "slope": None}

    def _layer(self, index: int) -> dict[str, Any]:
        old, new = self.old[index], self.new[index]
        with ignore_overflow(arrays.namespace(new.weights)):
            bias = None if old.bias is None or new.bias is None else new.bias - old.bias
            update = Layer(new.weights - old.weights, bias)
        return {
            "activation": self.model.network.activations[index].name,
            "old": _layer_to_json(old),
            "gradient": _layer_to_json(self.gradients[index]),
            "update": _layer_to_json(update),
            "new": _layer_to_json(new),
            "slots": {
                name: {"before": _layer_to_json(before), "after": _layer_to_json(after)}
                for name, (before, after) in self.slots[index].items()
            },
        }


def trace_step(
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
    """Compute the first step of a training run that starts from a model; record all its numbers.

    Parameters
    ----------
    model : Model
        Not changed.
    inputs : array_like, shape (batch, n_inputs)
        Not yet scaled.
    targets : array_like
        Class indices, shape (batch,), or numbers in their own units, shape (batch, n_outputs). If
        the model was trained on standardized targets, the trace shows these.
    optimizer : name or Optimizer
    learning_rate : float, optional
        By default the usual one of the optimizer.
    penalty : Penalty, optional
    title, source
        Stored in the trace for display.

    Raises
    ------
    ConfigurationError
        If the parts of the model, the optimizer or the learning rate do not fit.
    DataError
        If inputs or targets do not fit the network, or targets the loss.
    """
    network, loss, optimizer = model.network, model.loss, get_optimizer(optimizer)
    check_number("learning_rate", learning_rate, lambda v: 0.0 < v < float("inf"), "above 0")
    eta = optimizer.learning_rate if learning_rate is None else float(learning_rate)
    output = network.activations[-1]
    check_pair(loss, output)
    placement, xp = model.placement.with_dtype(model.dtype), model.placement.xp
    with placement.activate(), ignore_overflow(xp):
        rows = model.scaled(inputs), model.scaled_targets(targets)
        data = to_device(rows, network.sizes[0], network.sizes[-1], placement)
        check_targets(data.y, loss, xp=xp)
        parameters = map_arrays(lambda p: placement.asarray(p, copy=True), model.parameters)
        check_parameters(network, parameters)
        arriving: list[Array] = []
        rule = TrainingStep(
            network=_recording(network, arriving),
            loss=loss,
            optimizer=optimizer,
            xp=xp,
            device=placement.device,
            penalty=penalty or Penalty(),
        )
        batch = (data.x, data.y, None)
        with limit_threads(data.n * network.largest_layer, xp=xp):
            step = rule.gradients(parameters, batch, 0)
            tape = step.tape
            da = loss.value_and_gradient(tape.a[-1], data.y, xp)[1] * (1.0 / data.n)
            incoming = [*reversed(arriving), _host(da)]
            slots = initial_slots(optimizer, parameters, xp=xp)
            # The update consumes its arrays, so they are copied to the host before.
            old, gradients = map_arrays(_host, parameters), map_arrays(_host, step.gradients.layers)
            slots_before = [tuple(map(_host, of_array)) for of_array in slots]
            scalars = optimizer.scalars(eta, 1)  # bit for bit as in training
            scaled = rule._replace(network=network).gradients(parameters, batch, 0, scalars)
            parameters, slots = rule.update(parameters, scaled.gradients.layers, slots, scalars)
            after = rule.gradients(parameters, batch, 1)
        slopes = [
            None if f.derivative is None else _host(f.derivative(z, a, xp))
            for f, z, a in zip(network.activations, tape.z, tape.a[1:], strict=True)
        ]

        def passed(tape: Tape, value: Array) -> Pass:
            z, a = tape.z[-1], tape.a[-1]
            rows = [slice(row, row + 1) for row in range(data.n)]
            losses = [
                loss_and_delta(loss, output, z[r, ...], a[r, ...], data.y[r, ...], xp=xp)[0]
                for r in rows
            ]
            return Pass(
                list(map(_host, tape.z)),
                list(map(_host, tape.a[1:])),
                list(map(float, losses)),
                float(value),
            )

        return Trace(
            title=title,
            source=source or {},
            model=model,
            optimizer=optimizer,
            learning_rate=eta,
            penalty=rule.penalty,
            inputs=_host(data.x),
            targets=_host(data.y),
            before=passed(tape, step.loss),
            after=passed(after.tape, after.loss),
            incoming=incoming,
            slopes=slopes,
            deltas=list(map(_host, step.gradients.deltas)),
            old=old,
            gradients=gradients,
            new=map_arrays(_host, parameters),
            slots=_by_layer(optimizer, old, slots_before, slots),
        )


def _recording(network: Network, errors: list[Array]) -> Network:
    """Return the network with hidden activations that record the error dL/da they receive.

    The output activation is not wrapped, since the loss recognizes its fused form by it.
    """

    def record(activation: Activation) -> Activation:
        def backward(da: Array, z: Array, a: Array, xp: Any) -> Array:
            errors.append(_host(da))
            return activation.backward(da, z, a, xp)

        return activation._replace(backward=backward)

    hidden = [record(activation) for activation in network.activations[:-1]]
    return Network(network.sizes, [*hidden, network.activations[-1]], network.bias)


def _layer_to_json(layer: Layer) -> dict[str, Any]:
    return {name: None if p is None else to_json(p) for name, p in layer._asdict().items()}


def _by_layer(
    optimizer: Optimizer, parameters: Parameters, before: list[Any], after: list[Any]
) -> list[dict[str, tuple[Layer, Layer]]]:
    """Return the slots of each layer before and after the step, by name."""
    pairs = iter(zip(before, after, strict=True))  # one for each parameter array
    by_layer = []
    for layer in parameters:
        slots = [None if p is None else next(pairs) for p in layer]
        named = {}
        for number, name in enumerate(optimizer.slots):
            old, new = (
                Layer(*(pair and _host(pair[when][number]) for pair in slots)) for when in (0, 1)
            )
            named[name] = (old, new)
        by_layer.append(named)
    return by_layer


def _host(x: Array) -> Array:
    """Return a copy on the host, since a CPU array may be changed in place later."""
    return arrays.to_numpy(x).copy()
