"""A trained model: a network with its weights, the scaling of its inputs and its class names."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import Any

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.backend.devices import Placement, select_device
from backprop_xp.data.device_data import inputs_to_device
from backprop_xp.data.scaling import Scaling
from backprop_xp.data.streaming import load_data, read_chunks
from backprop_xp.nn.losses import Loss, check_targets
from backprop_xp.nn.metrics import classes_of
from backprop_xp.nn.network import Network, Parameters, map_arrays
from backprop_xp.training import evaluation
from backprop_xp.version import __version__


@dataclass(frozen=True)
class Model:
    """A trained network that takes raw inputs and returns class names or numbers.

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
        The class of each output; None for a regression.
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

    @property
    def dtype(self) -> str:
        """The data type of the weights, ``"float32"`` or ``"float64"``."""
        xp = self.placement.xp
        return "float64" if self.parameters[0].weights.dtype == xp.float64 else "float32"

    def to(self, placement: Placement) -> Model:
        """Return the model with its parameters on another device, or in another library."""
        with placement.activate():
            return replace(
                self,
                placement=placement,
                parameters=map_arrays(placement.with_dtype(self.dtype).asarray, self.parameters),
            )

    def outputs(self, inputs: Any) -> Array:
        """Return the outputs of the network for raw inputs.

        Parameters
        ----------
        inputs : host array, shape (n, n_inputs)
            Not yet scaled; they are not changed.

        Returns
        -------
        host array, shape (n, n_outputs)
            Probabilities for a softmax output.

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
        return parts[0] if len(parts) == 1 else arrays.namespace(parts[0]).concat(parts)

    def predict(self, inputs: Any) -> list[Any]:
        """Return the class name for each row of raw inputs, or the numbers of a regression.

        Raises
        ------
        DataError
            As for `outputs`.
        """
        return self.names(self.outputs(inputs))

    def names(self, outputs: Array) -> list[Any]:
        """Return the class name for each row of outputs, or the numbers of a regression."""
        if self.classes is None:
            return list(outputs.tolist())
        return [self.classes[index] for index in classes_of(outputs, xp=arrays.namespace(outputs))]

    def evaluate(self, inputs: Any, targets: Any) -> dict[str, float]:
        """Return the mean loss on raw inputs, and for a classification the accuracy.

        Parameters
        ----------
        inputs : host array, shape (n, n_inputs)
        targets : host array
            Class indices, shape (n,), or numbers, shape (n, n_outputs).

        Returns
        -------
        dict
            ``loss`` and ``count``, and for a classification ``accuracy`` and ``correct``.

        Raises
        ------
        DataError
            If the inputs or targets do not fit the network, or the targets do not fit the loss.
        """
        xp = self.placement.xp
        with self.placement.activate():
            data = load_data(
                (self.scaled(inputs), targets),
                self.network.sizes[0],
                self.network.sizes[-1],
                self.placement.with_dtype(self.dtype),
                check_targets=functools.partial(check_targets, loss=self.loss),
            )
            measured = evaluation.evaluate_chunks(
                self.network, self.loss, self.parameters, data, xp=xp
            )
        names = ("loss", "count") if self.classes is None else tuple(measured)
        return {name: measured[name] for name in names}

    def scaled(self, inputs: Any) -> Any:
        """Return raw inputs scaled for the network."""
        return inputs if self.scaling is None else self.scaling.apply(inputs, self.dtype)
