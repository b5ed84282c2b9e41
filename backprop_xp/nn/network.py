"""The network: its description, the forward pass with its tape, and backpropagation.

Everything is a pure function of plain data. Parameters are a list of `Layer`, the forward
pass leaves a `Tape` of all it computed, and the backward pass reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, NamedTuple

from backprop_xp.backend import arrays, random
from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.errors import ConfigurationError
from backprop_xp.nn.activations import Activation, get_activation
from backprop_xp.nn.initializers import Initializer, get_initializer, initializer_for
from backprop_xp.nn.losses import Loss, output_error


class Layer(NamedTuple):
    """The parameters of one layer, or their gradients.

    Attributes
    ----------
    weights : array, shape (n_out, n_in)
        ``weights[j, k]`` leads from neuron k of the layer before to neuron j of this one.
    bias : array, shape (n_out,), or None
    """

    weights: Array
    bias: Array | None


Parameters = list[Layer]


class Tape(NamedTuple):
    """All that a forward pass computed.

    Attributes
    ----------
    z : list of arrays, each (batch, n_out)
        Weighted inputs; ``z[l]`` belongs to ``parameters[l]``.
    a : list of arrays
        Activations, one more than layers: ``a[0]`` is the input, ``a[l + 1]`` comes from
        ``z[l]``, and ``a[-1]`` is the output. The input layer has no z.
    masks : list of arrays or None
        ``masks[l]`` multiplied what layer l was fed: the mask of dropout, None without it.
    fed : list of arrays, each (batch, n_in)
        What each layer was fed: ``a[l]`` itself, or its product with the mask.
    """

    z: list[Array]
    a: list[Array]
    masks: list[Array | None]
    fed: list[Array]


class Gradients(NamedTuple):
    """All that a backward pass computed.

    Attributes
    ----------
    layers : list of Layer
        dL/dW and dL/db of each layer, shaped like the parameters.
    deltas : list of arrays, each (batch, n_out)
        dL/dz of each layer, for the mean loss of the batch.
    """

    layers: Parameters
    deltas: list[Array]


@dataclass(frozen=True)
class Network:
    """The description of a fully connected feed-forward network; it holds no weights.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of neurons from the input to the output layer, for example (784, 30, 10).
    activations : name, `Activation`, or a sequence of them
        One for each layer after the input, or a single one for all of them.
    bias : bool
        Whether the neurons have biases.

    Raises
    ------
    ConfigurationError
        If a size is not a positive integer, an activation is unknown, or their number is
        not that of the layers.

    Examples
    --------
    >>> network = Network((784, 30, 10), ("sigmoid", "softmax"))
    >>> network.n_parameters
    23860
    """

    sizes: tuple[int, ...]
    activations: tuple[Activation, ...] = field(default=())
    bias: bool = True

    def __init__(
        self,
        sizes: Iterable[int],
        activations: str | Activation | Sequence[str | Activation],
        bias: bool = True,
    ) -> None:
        sizes = tuple(sizes)
        if len(sizes) < 2:
            raise ConfigurationError(
                f"a network of the sizes {sizes} has no layer of weights",
                "give at least the numbers of inputs and outputs",
            )
        for place, size in enumerate(sizes):
            if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
                raise ConfigurationError(
                    f"layer {place} has the size {size!r}",
                    "every layer needs at least one neuron",
                )
        if isinstance(activations, (str, Activation)):
            activations = [activations] * (len(sizes) - 1)
        if len(activations) != len(sizes) - 1:
            raise ConfigurationError(
                f"{len(activations)} activations were given for {len(sizes) - 1} layers",
                "give one for each layer after the input, or a single one for all",
            )
        object.__setattr__(self, "sizes", tuple(map(int, sizes)))
        object.__setattr__(self, "activations", tuple(get_activation(f) for f in activations))
        object.__setattr__(self, "bias", bool(bias))

    @property
    def n_parameters(self) -> int:
        """The number of weights and biases."""
        pairs = zip(self.sizes[:-1], self.sizes[1:], strict=True)
        return sum(n_out * (n_in + self.bias) for n_in, n_out in pairs)


def initial_parameters(
    network: Network,
    seed: int,
    initializer: str | Initializer = "auto",
    *,
    xp: Namespace,
    dtype: Any,
    device: Any = None,
) -> Parameters:
    """Draw the parameters of a network: the same numbers on every backend for the same seed.

    Parameters
    ----------
    network : Network
    seed : int
    initializer : name or `Initializer`
        ``"auto"`` takes He's for ReLU and its relatives, and Glorot's for the others.
    xp, dtype, device
        The library, its data type and the device on which the parameters shall live.

    Raises
    ------
    ConfigurationError
        If the initializer is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> layers = initial_parameters(Network((2, 3, 1), "tanh"), 0, xp=np, dtype=np.float32)
    >>> [layer.weights.shape for layer in layers]
    [(3, 2), (1, 3)]
    """
    rng = random.generator(seed, random.INITIAL_WEIGHTS)
    drawn = []
    for place, activation in enumerate(network.activations):
        n_in, n_out = network.sizes[place], network.sizes[place + 1]
        chosen = (
            initializer_for(activation) if initializer == "auto" else get_initializer(initializer)
        )
        weights = chosen.weights(rng, n_out, n_in)
        drawn.append(Layer(weights, chosen.bias(rng, n_out) if network.bias else None))
    # Rounded to the wanted type on the host: one way of rounding for every backend.
    precision = "float64" if dtype == xp.float64 else "float32"
    return map_arrays(
        lambda p: xp.asarray(p.astype(precision), dtype=dtype, device=device, copy=True), drawn
    )


def map_arrays(function: Callable[[Array], Array], parameters: Parameters) -> Parameters:
    """Apply a function to every weight matrix and bias."""
    return [
        Layer(function(layer.weights), None if layer.bias is None else function(layer.bias))
        for layer in parameters
    ]


def check_parameters(network: Network, parameters: Parameters) -> None:
    """Refuse parameters whose number or shapes are not those of the network.

    Raises
    ------
    ConfigurationError
        Names the first layer that does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> check_parameters(Network((2, 1), "relu"), [Layer(np.ones((1, 3)), np.ones(1))])
    Traceback (most recent call last):
    backprop_xp.errors.ConfigurationError: the weights of layer 1 have the shape (1, 3), not (1, 2)
    """
    n_layers = len(network.sizes) - 1
    if len(parameters) != n_layers:
        raise ConfigurationError(f"{len(parameters)} layers of weights for a network of {n_layers}")
    for place, (weights, bias) in enumerate(parameters):
        shape = network.sizes[place + 1], network.sizes[place]
        if tuple(weights.shape) != shape:
            raise ConfigurationError(
                f"the weights of layer {place + 1} have the shape {tuple(weights.shape)}, "
                f"not {shape}"
            )
        wanted = shape[:1] if network.bias else None
        given = None if bias is None else tuple(bias.shape)
        if given != wanted:
            raise ConfigurationError(
                f"the bias of layer {place + 1} has the shape {given}, not {wanted}"
            )


def forward(
    network: Network,
    parameters: Parameters,
    x: Array,
    *,
    masks: Sequence[Array | None] | None = None,
    xp: Namespace | None = None,
) -> Tape:
    """Pass inputs through the network and keep all that is computed.

    ``z = W a + b`` and ``a = f(z)``, layer by layer, a row for each sample.

    Parameters
    ----------
    network : Network
    parameters : list of Layer
    x : array, shape (batch, n_inputs)
        Not changed.
    masks : sequence of array or None, optional
        One for each layer, multiplied with what it is fed; see `backprop_xp.nn.dropout`.
    xp : namespace, optional
        That of the arrays, where the caller knows it already.

    Returns
    -------
    Tape
        Its last activation, ``tape.a[-1]``, is the output, shape (batch, n_outputs).

    Examples
    --------
    >>> import numpy as np
    >>> parameters = [Layer(np.asarray([[2.0]]), np.asarray([1.0]))]
    >>> tape = forward(Network((1, 1), "relu"), parameters, np.asarray([[3.0]]))
    >>> tape.a[-1]
    array([[7.]])
    """
    xp = arrays.namespace(x) if xp is None else xp
    masks = [None] * len(parameters) if masks is None else list(masks)
    tape = Tape(z=[], a=[x], masks=masks, fed=[])
    for layer, activation, mask in zip(parameters, network.activations, masks, strict=True):
        fed = tape.a[-1] if mask is None else tape.a[-1] * mask  # (batch, n_in)
        # W aᵀ seen from the other side: the same product, and faster than a Wᵀ in OpenBLAS.
        z = xp.matmul(layer.weights, fed.T).T  # (batch, n_out)
        if layer.bias is not None:
            z += layer.bias
        tape.fed.append(fed)
        tape.z.append(z)
        tape.a.append(activation.function(z, xp))
    return tape


def backward(
    network: Network,
    parameters: Parameters,
    tape: Tape,
    delta: Array,
    *,
    xp: Namespace | None = None,
) -> Gradients:
    """Pass the error back through the network: the equations of backpropagation.

    ======  =============================  ==========================
    (BP1)   δ_L = ∇_a L ⊙ f'(z_L)          given, from the loss
    (BP2)   δ_l = (W_{l+1}ᵀ δ_{l+1}) ⊙ f'(z_l)
    (BP3)   ∂L/∂b = δ                      summed over the batch
    (BP4)   ∂L/∂W_jk = a_k δ_j             summed over the batch
    ======  =============================  ==========================

    Source: Nielsen (2015), "Neural networks and deep learning", chapter 2. All errors are those
    of the weights of the forward pass, before any of them is updated.

    Parameters
    ----------
    network : Network
    parameters : list of Layer
        Those of the forward pass. Not changed.
    tape : Tape
        What the forward pass left. Not changed.
    delta : array, shape (batch, n_outputs)
        The error at the output, from `backprop_xp.nn.losses.output_error`. Not changed.
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
    xp = arrays.namespace(delta) if xp is None else xp
    layers: Parameters = []
    deltas: list[Array] = []
    for place in reversed(range(len(parameters))):
        deltas.append(delta)
        bias = None
        if parameters[place].bias is not None:
            bias = xp.sum(delta, axis=0)  # (BP3)
        layers.append(Layer(xp.matmul(delta.T, tape.fed[place]), bias))  # (BP4)
        if place > 0:
            da = xp.matmul(parameters[place].weights.T, delta.T).T  # (batch, n_in)
            if tape.masks[place] is not None:  # a unit that was dropped has no part in the error
                da *= tape.masks[place]
            activation = network.activations[place - 1]
            delta = activation.pull_back(da, tape.z[place - 1], tape.a[place], xp)  # (BP2)
    return Gradients(layers[::-1], deltas[::-1])


class Step(NamedTuple):
    """The value of the loss on a batch, with everything that was computed on the way."""

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
    weights: Array | None = None,
    masks: Sequence[Array | None] | None = None,
    scale: Any = 1.0,
    xp: Namespace | None = None,
) -> Step:
    """Return the mean loss of a batch, its gradients, and all numbers between.

    Parameters
    ----------
    network : Network
    loss : Loss
    parameters : list of Layer
    x : array, shape (batch, n_inputs)
    y : array, shape (batch, n_outputs)
        Targets; classes as one-hot rows.
    weights : array, shape (batch,), optional
        How much each sample counts in the mean.
    masks, xp
        As for `forward`.
    scale : float, or array of shape ()
        A factor on every δ and gradient, at no cost: they are linear in the error of the outputs.

    Returns
    -------
    Step

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
    xp = arrays.namespace(x) if xp is None else xp
    tape = forward(network, parameters, x, masks=masks, xp=xp)
    value, delta = output_error(
        loss, network.activations[-1], tape.z[-1], tape.a[-1], y, weights, scale, xp=xp
    )
    return Step(value, tape, backward(network, parameters, tape, delta, xp=xp))
