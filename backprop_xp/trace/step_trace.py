"""The trace: every number of one training step, taken from the step as training does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.backend.devices import Placement, select
from backprop_xp.backend.host import few_threads, quiet
from backprop_xp.data.device_data import check_targets, place
from backprop_xp.nn.activations import Activation
from backprop_xp.nn.losses import Loss, check_pair, fused_form, get_loss, output_error
from backprop_xp.nn.metrics import classes_of
from backprop_xp.nn.network import (
    Layer,
    Network,
    Parameters,
    Tape,
    check_parameters,
    map_arrays,
)
from backprop_xp.nn.optimizers import Optimizer, get_optimizer
from backprop_xp.nn.regularizers import Penalty
from backprop_xp.trace.derivatives import FUSED, LETTERS, derivative
from backprop_xp.trace.plain import plain, plain_layer
from backprop_xp.trace.table import html
from backprop_xp.training.execution.eager import initial_slots
from backprop_xp.training.settings import check_number
from backprop_xp.training.step import StepRule

_ROUNDING = 1e-5
"""How far the product of two factors may lie from δ, relative to it, to be shown as its factors:
a fused form stays exact where the slope of a saturated output has lost its digits."""


class Pass(NamedTuple):
    """A forward pass with the loss it led to, on the host.

    Attributes
    ----------
    z, a : list of arrays, each (batch, n_out)
        As in `backprop_xp.nn.network.Tape`, but without the inputs.
    losses : list of float
        That of each sample.
    loss : float
        That of the batch: their mean, and a penalty that is per batch.
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
        Where the network and the samples come from.
    network, loss, optimizer, learning_rate, penalty, dtype
        As `trace_step` was given them.
    classes, features : tuple of str or None
        Names of the outputs and of the inputs.
    image_shape : (int, int) or None
    inputs, targets : array, shape (batch, n)
        As the network is fed, and as the loss compares with.
    before, after : Pass
        With the old parameters and with the new.
    incoming, slopes : list of (array or None), each (batch, n_out)
        The two factors of δ: dL/da and f'(z). None for a layer that is not elementwise.
    deltas : list of arrays, each (batch, n_out)
        dL/dz for the mean loss of the batch.
    old, gradients, new : list of Layer
    slots : list of dict
        For each layer by the name of the slot: its values before and after the step.

    Examples
    --------
    >>> network = Network((1, 1), "identity")
    >>> trace = trace_step(
    ...     network, "half_squared_error", [Layer([[2.0]], [1.0])], [[3.0]], [[5.0]],
    ...     learning_rate=0.1,
    ... )
    >>> trace.before.z[0], trace.gradients[0].weights, trace.new[0].weights
    (array([[7.]]), array([[6.]]), array([[1.4]]))
    """

    title: str
    source: Mapping[str, Any]
    network: Network
    loss: Loss
    optimizer: Optimizer
    learning_rate: float
    penalty: Penalty
    dtype: str
    classes: tuple[str, ...] | None
    features: tuple[str, ...] | None
    image_shape: tuple[int, int] | None
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
        """Return all of it as lists, numbers and text, which JSON can hold.

        A number that is not finite is None.
        """
        network, penalty = self.network, self.penalty
        share = 1.0 / len(self.inputs)
        divided = share if penalty.per_batch else 1.0
        fused = fused_form(self.loss, network.activations[-1]) is not None
        return {
            "title": self.title,
            "source": dict(self.source),
            "network": {
                "sizes": list(network.sizes),
                "activations": [activation.name for activation in network.activations],
                "bias": network.bias,
                "parameters": network.n_parameters,
                "image_shape": self.image_shape and list(self.image_shape),
                "features": self.features and list(self.features),
                "classes": self.classes and list(self.classes),
            },
            "dtype": self.dtype,
            "loss": {
                "name": self.loss.name,
                "formula": self.loss.formula,
                "derivative": derivative(self.loss),
            },
            "optimizer": {
                "name": self.optimizer.name,
                "learning_rate": self.learning_rate,
                "hyperparameters": dict(self.optimizer.hyperparameters),
                "letters": LETTERS,
                "step": 1,
                "formula": self.optimizer.formula,
            },
            "penalty": {
                "l1": penalty.l1 * divided,
                "l2": penalty.l2 * divided,
                "biases": penalty.biases,
            }
            if penalty
            else None,
            "samples": [self._sample(row, share) for row in range(len(self.inputs))],
            "fused": FUSED[self.loss.name] if fused else None,
            "loss_before": plain(self.before.loss),
            "loss_after": plain(self.after.loss),
            "layers": [self._layer(place) for place in range(len(self.old))],
        }

    def _repr_html_(self) -> str:
        return html(self.as_data())

    def _sample(self, row: int, share: float) -> dict[str, Any]:
        layers = range(len(self.old))
        return {
            "target": plain(self.targets[row]),
            "label": self._class(self.targets, row),
            "predicted": self._class(self.before.a[-1], row),
            "loss_before": plain(self.before.losses[row]),
            "loss_after": plain(self.after.losses[row]),
            "share": share,
            "input": plain(self.inputs[row]),
            "layers": [
                {
                    "z": plain(self.before.z[place][row]),
                    "a": plain(self.before.a[place][row]),
                    **self._factors(place, row),
                    "delta": plain(self.deltas[place][row]),
                }
                for place in layers
            ],
            "after": {
                "layers": [
                    {"z": plain(self.after.z[place][row]), "a": plain(self.after.a[place][row])}
                    for place in layers
                ]
            },
        }

    def _class(self, outputs: Array, row: int) -> str | None:
        if self.classes is None:
            return None
        index = classes_of(outputs, xp=arrays.namespace(outputs))[row]
        return self.classes[int(index)]

    def _factors(self, place: int, row: int) -> dict[str, Any]:
        """Return the factors of δ, where their product is δ."""
        incoming, slope, delta = self.incoming[place], self.slopes[place], self.deltas[place][row]
        if incoming is not None and slope is not None:
            with quiet(arrays.namespace(delta)):
                off = abs(incoming[row] * slope[row] - delta)
            if (off <= _ROUNDING * abs(delta)).all():
                return {"incoming": plain(incoming[row]), "slope": plain(slope[row])}
        return {"incoming": None, "slope": None}

    def _layer(self, place: int) -> dict[str, Any]:
        old, new = self.old[place], self.new[place]
        with quiet(arrays.namespace(new.weights)):
            bias = None if old.bias is None or new.bias is None else new.bias - old.bias
            update = Layer(new.weights - old.weights, bias)
        return {
            "activation": self.network.activations[place].name,
            "old": plain_layer(old),
            "gradient": plain_layer(self.gradients[place]),
            "update": plain_layer(update),
            "new": plain_layer(new),
            "slots": {
                name: {"before": plain_layer(before), "after": plain_layer(after)}
                for name, (before, after) in self.slots[place].items()
            },
        }


def trace_step(
    network: Network,
    loss: str | Loss,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    optimizer: str | Optimizer = "sgd",
    learning_rate: float | None = None,
    penalty: Penalty | None = None,
    placement: Placement | None = None,
    dtype: str = "float64",
    title: str = "",
    source: Mapping[str, Any] | None = None,
    classes: tuple[str, ...] | None = None,
    features: tuple[str, ...] | None = None,
    image_shape: tuple[int, int] | None = None,
) -> Trace:
    """Do the first training step of a network on a batch, and keep every number of it.

    Parameters
    ----------
    network : Network
    loss : name or Loss
    parameters : list of Layer
        Arrays of any library, or nested lists. Not changed.
    inputs : array_like, shape (batch, n_inputs)
        As the network is fed: scaled already.
    targets : array_like
        Class indices, shape (batch,), or numbers, shape (batch, n_outputs).
    optimizer : name or Optimizer
    learning_rate : float, optional
        By default the optimizer's usual one.
    penalty : Penalty, optional
    placement : Placement, optional
        Where the step is computed; by default NumPy on the CPU.
    dtype : {"float32", "float64"}
    title, source, classes, features, image_shape
        Kept for those who show the trace.

    Raises
    ------
    ConfigurationError
        If parameters, loss, optimizer or learning rate do not fit.
    DataError
        If inputs or targets do not fit the network, or targets the loss.
    """
    placement = select("cpu", "numpy", dtype=dtype) if placement is None else placement
    loss, optimizer = get_loss(loss), get_optimizer(optimizer)
    check_number("learning_rate", learning_rate, lambda v: 0.0 < v < float("inf"), "above 0")
    eta = optimizer.learning_rate if learning_rate is None else float(learning_rate)
    output = network.activations[-1]
    check_pair(loss, output)
    xp = placement.xp
    told = {"xp": xp, "dtype": placement.dtype(dtype), "device": placement.device}
    with placement.activate(), quiet(xp):
        data = place((inputs, targets), network.sizes[0], network.sizes[-1], **told)
        check_targets(data.y, loss, xp=xp)
        parameters = map_arrays(lambda p: arrays.asarray(p, copy=True, **told), parameters)
        check_parameters(network, parameters)
        arriving: list[Array] = []
        rule = StepRule(
            network=_listening(network, arriving),
            loss=loss,
            optimizer=optimizer,
            xp=xp,
            device=placement.device,
            penalty=Penalty() if penalty is None else penalty,
        )
        batch = (data.x, data.y, None)
        with few_threads(parameters, data.n, xp=xp):
            step = rule.compute(parameters, batch, 0)
            tape = step.tape
            da = loss.from_outputs(tape.a[-1], data.y, xp)[1] * (1.0 / data.n)
            incoming = [*reversed(arriving), _host(da)]
            slots = initial_slots(optimizer, parameters, xp=xp)
            # All that the update consumes is copied to the host before.
            old, gradients = map_arrays(_host, parameters), map_arrays(_host, step.gradients.layers)
            slots_before = [tuple(map(_host, kept)) for kept in slots]
            scalars = optimizer.scalars(eta, 1)  # as a training has it, to the last bit
            own = rule._replace(network=network).compute(parameters, batch, 0, scalars)
            parameters, slots = rule.apply(parameters, own.gradients.layers, slots, scalars)
            after = rule.compute(parameters, batch, 1)
        slopes = [
            None if f.slope is None else _host(f.slope(z, a, xp))
            for f, z, a in zip(network.activations, tape.z, tape.a[1:], strict=True)
        ]

        def passed(tape: Tape, value: Array) -> Pass:
            z, a = tape.z[-1], tape.a[-1]
            rows = [slice(row, row + 1) for row in range(data.n)]
            losses = [
                output_error(loss, output, z[r, ...], a[r, ...], data.y[r, ...], xp=xp)[0]
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
            source={} if source is None else source,
            network=network,
            loss=loss,
            optimizer=optimizer,
            learning_rate=eta,
            penalty=rule.penalty,
            dtype=dtype,
            classes=classes,
            features=features,
            image_shape=image_shape,
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


def _listening(network: Network, heard: list[Array]) -> Network:
    """Return the network with hidden activations that note the error that reaches each, dL/da.

    The output's is left as it is: a loss knows by it what it is fused with.
    """

    def listen(activation: Activation) -> Activation:
        def pull_back(da: Array, z: Array, a: Array, xp: Any) -> Array:
            heard.append(_host(da))
            return activation.pull_back(da, z, a, xp)

        return activation._replace(pull_back=pull_back)

    hidden = [listen(activation) for activation in network.activations[:-1]]
    return Network(network.sizes, [*hidden, network.activations[-1]], network.bias)


def _by_layer(
    optimizer: Optimizer, parameters: Parameters, before: list[Any], after: list[Any]
) -> list[dict[str, tuple[Layer, Layer]]]:
    """Return the optimizer's arrays, which come one for each array of parameters, by layer."""
    moments = [iter(kept) for kept in (before, after)]
    found = []
    for layer in parameters:
        # Then and now: of each array the values of all slots.
        held = [[None if p is None else next(kept) for p in layer] for kept in moments]
        named = {}
        for number, name in enumerate(optimizer.slots):
            then, now = (
                Layer(*(None if kept is None else _host(kept[number]) for kept in arrays_of))
                for arrays_of in held
            )
            named[name] = (then, now)
        found.append(named)
    return found


def _host(x: Array) -> Array:
    """Return a copy on the host: what comes from the CPU may be changed in place later."""
    return arrays.to_numpy(x).copy()
