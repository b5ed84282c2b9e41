"""Backpropagation: the gradients of the loss for every weight and bias, in two passes.

The forward pass computes the outputs and keeps all intermediate values in a `Tape`. The backward
pass reads this tape from the last layer to the first and computes the error δ of every layer and
from it the gradients, by the four equations (BP1) to (BP4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.nn.losses import Loss, loss_and_delta
from backprop_xp.nn.network import Layer, Network, Parameters


class Tape(NamedTuple):
    """The values that a forward pass computed.

    Attributes
    ----------
    z : list of arrays, each (batch, n_out)
        Weighted inputs; ``z[l]`` belongs to ``parameters[l]``.
    a : list of arrays
        Activations, one more than layers: ``a[0]`` is the input, ``a[l + 1]`` belongs to
        ``z[l]``, and ``a[-1]`` is the output. The input layer has no z.
    dropout_masks : list of arrays or None
        The factor on the inputs of each layer; None without dropout.
    inputs : list of arrays, each (batch, n_in)
        The inputs of each layer: ``a[l]``, or its product with the mask.
    """

    z: list[Array]
    a: list[Array]
    dropout_masks: list[Array | None]
    inputs: list[Array]


class Gradients(NamedTuple):
    """The values that a backward pass computed, for the mean loss of the batch.

    Attributes
    ----------
    layers : list of Layer
        dL/dW and dL/db of each layer, with the shapes of the parameters.
    deltas : list of arrays, each (batch, n_out)
        The error δ = dL/dz of each layer.
    """

    layers: Parameters
    deltas: list[Array]


def forward(
    network: Network,
    parameters: Parameters,
    x: Array,
    *,
    dropout_masks: Sequence[Array | None] | None = None,
    xp: Namespace | None = None,
) -> Tape:
    """Pass inputs through the network and keep all intermediate values.

    ``z = W a + b`` and ``a = f(z)``, layer by layer, with one row for each sample.

    Parameters
    ----------
    network : Network
    parameters : list of Layer
    x : array, shape (batch, n_inputs)
        Not changed.
    dropout_masks : sequence of array or None, optional
        One for each layer, a factor on its inputs; see `backprop_xp.nn.dropout`.
    xp : namespace, optional
        The namespace of the arrays, if the caller knows it.

    Returns
    -------
    Tape
        ``tape.a[-1]`` is the output, shape (batch, n_outputs).

    Examples
    --------
    >>> import numpy as np
    >>> parameters = [Layer(np.asarray([[2.0]]), np.asarray([1.0]))]
    >>> tape = forward(Network((1, 1), "relu"), parameters, np.asarray([[3.0]]))
    >>> tape.a[-1]
    array([[7.]])
    """
    if xp is None:
        with arrays.on_device_of(x):
            xp = _namespace(parameters, x)
            return forward(network, parameters, x, dropout_masks=dropout_masks, xp=xp)
    masks = [None] * len(parameters) if dropout_masks is None else list(dropout_masks)
    tape = Tape(z=[], a=[x], dropout_masks=masks, inputs=[])
    for layer, activation, mask in zip(parameters, network.activations, masks, strict=True):
        inputs = tape.a[-1] if mask is None else tape.a[-1] * mask  # (batch, n_in)
        # (W aᵀ)ᵀ is the same product as a Wᵀ, and faster in OpenBLAS.
        z = xp.matmul(layer.weights, inputs.T).T  # (batch, n_out)
        if layer.bias is not None:
            z += layer.bias
        tape.inputs.append(inputs)
        tape.z.append(z)
        tape.a.append(activation.forward(z, xp))
    return tape


def backward(
    network: Network,
    parameters: Parameters,
    tape: Tape,
    delta: Array,
    *,
    xp: Namespace | None = None,
) -> Gradients:
    """Pass the error back through the network: the four equations of backpropagation.

    ======  ==================================  ============================
    (BP1)   δ_L = ∇_a L ⊙ f'(z_L)               from the loss: ``delta``
    (BP2)   δ_l = (W_{l+1}ᵀ δ_{l+1}) ⊙ f'(z_l)  from the last layer backward
    (BP3)   ∂L/∂b = δ                           summed over the batch
    (BP4)   ∂L/∂W_jk = a_k δ_j                  summed over the batch
    ======  ==================================  ============================

    All δ are computed with the weights of the forward pass, before any update.

    Source: Nielsen (2015), "Neural networks and deep learning", chapter 2.

    Parameters
    ----------
    network : Network
    parameters : list of Layer
        The parameters of the forward pass. Not changed.
    tape : Tape
        From the forward pass. Not changed.
    delta : array, shape (batch, n_outputs)
        The error at the output, from `backprop_xp.nn.losses.loss_and_delta`. Not changed.
    xp : namespace, optional

    Returns
    -------
    Gradients

    Examples
    --------
    >>> import numpy as np
    >>> network = Network((1, 1), "identity")
    >>> parameters = [Layer(np.asarray([[2.0]]), np.asarray([1.0]))]
    >>> tape = forward(network, parameters, np.asarray([[3.0]]))
    >>> backward(network, parameters, tape, np.asarray([[0.5]])).layers
    [Layer(weights=array([[1.5]]), bias=array([0.5]))]
    """
    if xp is None:
        with arrays.on_device_of(delta):
            return backward(network, parameters, tape, delta, xp=_namespace(parameters, delta))
    layers: Parameters = []
    deltas: list[Array] = []
    for index in reversed(range(len(parameters))):
        deltas.append(delta)
        bias = None
        if parameters[index].bias is not None:
            bias = xp.sum(delta, axis=0)  # (BP3)
        layers.append(Layer(xp.matmul(delta.T, tape.inputs[index]), bias))  # (BP4)
        if index > 0:
            da = xp.matmul(parameters[index].weights.T, delta.T).T  # (batch, n_in)
            if tape.dropout_masks[index] is not None:
                da *= tape.dropout_masks[index]  # a dropped unit has no effect on the loss
            activation = network.activations[index - 1]
            delta = activation.backward(da, tape.z[index - 1], tape.a[index], xp)  # (BP2)
    return Gradients(layers[::-1], deltas[::-1])


class StepResult(NamedTuple):
    """The loss of a batch with its gradients and all intermediate values."""

    loss: Array
    tape: Tape
    gradients: Gradients


def loss_and_gradients(
    network: Network,
    loss: Loss,
    parameters: Parameters,
    x: Array,
    y: Array,
    *,
    sample_weight: Array | None = None,
    dropout_masks: Sequence[Array | None] | None = None,
    loss_scale: Any = 1.0,
    xp: Namespace | None = None,
) -> StepResult:
    """Return the mean loss of a batch, its gradients, and all intermediate values.

    Parameters
    ----------
    network : Network
    loss : Loss
    parameters : list of Layer
    x : array, shape (batch, n_inputs)
    y : array, shape (batch, n_outputs)
        Targets; classes as one-hot rows.
    sample_weight : array, shape (batch,), optional
        How much each sample counts in the mean.
    dropout_masks, xp
        As for `forward`.
    loss_scale : float, or array of shape ()
        A factor on every δ and gradient, but not on the returned loss. It costs nothing, because
        all of them are linear in the error at the output.

    Returns
    -------
    StepResult

    Examples
    --------
    >>> import numpy as np
    >>> from backprop_xp.nn.losses import get_loss
    >>> network, parameters = Network((1, 1), "identity"), [Layer(np.asarray([[2.0]]), None)]
    >>> x, y = np.asarray([[3.0]]), np.asarray([[5.0]])
    >>> step = loss_and_gradients(network, get_loss("half_squared_error"), parameters, x, y)
    >>> step.loss, step.gradients.layers[0].weights
    (np.float64(0.5), array([[3.]]))
    """
    if xp is None:
        with arrays.on_device_of(x):
            return loss_and_gradients(
                network,
                loss,
                parameters,
                x,
                y,
                sample_weight=sample_weight,
                dropout_masks=dropout_masks,
                loss_scale=loss_scale,
                xp=_namespace(parameters, x, y, sample_weight),
            )
    tape = forward(network, parameters, x, dropout_masks=dropout_masks, xp=xp)
    value, delta = loss_and_delta(
        loss,
        network.activations[-1],
        tape.z[-1],
        tape.a[-1],
        y,
        sample_weight,
        loss_scale,
        xp=xp,
    )
    return StepResult(value, tape, backward(network, parameters, tape, delta, xp=xp))


def _namespace(parameters: Parameters, *others: Array | None) -> Namespace:
    """Return the common namespace of parameters and other arrays."""
    return arrays.namespace(*(p for layer in parameters for p in layer), *others)
