"""Regularizers: a penalty on large weights, and limits on the norms of weights and gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.nn.network import Layer, Parameters, map_arrays


class Penalty(NamedTuple):
    """A penalty on large weights, added to the loss: ``l1 Σ|w| + ½ l2 Σw²``.

    Attributes
    ----------
    l1, l2 : float
        The coefficients in this formula. In Nielsen's book they are λ divided by the number n of
        training samples; the training settings do this division.
    biases : bool
        Whether biases are penalized too; usually they are not.
    per_batch : bool
        Whether to follow scikit-learn: the penalty is divided by the size of each batch, or by
        the total weight of its samples, and is part of the reported loss.
    """

    l1: float = 0.0
    l2: float = 0.0
    biases: bool = False
    per_batch: bool = False

    def __bool__(self) -> bool:
        return bool(self.l1 or self.l2)


def penalty_value(penalty: Penalty, parameters: Parameters, *, xp: Namespace) -> Array | float:
    """Return the penalty for the parameters, shape (), on the device.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Layer(np.asarray([[3.0, -4.0]]), np.asarray([1.0]))
    >>> float(penalty_value(Penalty(l1=0.1, l2=2.0), [layer], xp=np))
    25.7
    """
    total: Array | float = 0.0
    for layer in parameters:
        for p in layer if penalty.biases else layer[:1]:
            if p is not None:
                if penalty.l2:
                    flat = xp.reshape(p, (-1,))
                    total = xp.vecdot(flat, flat) * (0.5 * penalty.l2) + total
                if penalty.l1:
                    total = xp.sum(xp.abs(p)) * penalty.l1 + total
    return total


def add_penalty(
    penalty: Penalty,
    gradients: Parameters,
    parameters: Parameters,
    factor: Any = 1.0,
    *,
    xp: Namespace,
) -> Parameters:
    """Add the gradient of the penalty, ``factor * (l2 w + l1 sign(w))``, to the gradients.

    At w = 0 the L1 term has the subgradient 0. ``factor`` is a number, or an array of shape ().
    The gradients are consumed.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Layer(np.asarray([[3.0, -4.0]]), None)
    >>> zero = Layer(np.zeros((1, 2)), None)
    >>> add_penalty(Penalty(l1=0.5, l2=2.0), [zero], [layer], xp=np)[0].weights
    array([[ 6.5, -8.5]])
    """

    def add(g: Array, p: Array) -> Array:
        if penalty.l2:
            g += p * (factor * penalty.l2)
        if penalty.l1:
            g += xp.sign(p) * (factor * penalty.l1)
        return g

    return [
        Layer(
            add(g.weights, p.weights),
            add(g.bias, p.bias) if penalty.biases and p.bias is not None else g.bias,
        )
        for g, p in zip(gradients, parameters, strict=True)
    ]


def clip_weight_norms(parameters: Parameters, limit: float, *, xp: Namespace) -> Parameters:
    """Shrink the incoming weights of every neuron to a norm of at most ``limit`` (max-norm).

    Source: Srebro and Shraibman (2005); used with dropout by Srivastava and others (2014).
    The weights are consumed.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Layer(np.asarray([[3.0, 4.0], [0.3, 0.4]]), None)
    >>> clip_weight_norms([layer], 1.0, xp=np)[0].weights
    array([[0.6, 0.8],
           [0.3, 0.4]])
    """

    def bound(w: Array) -> Array:
        norms = xp.sqrt(xp.sum(w * w, axis=1, keepdims=True))  # (n_out, 1)
        w *= limit / xp.maximum(norms, limit)
        return w

    return [layer._replace(weights=bound(layer.weights)) for layer in parameters]


def clip_by_norm(
    gradients: Parameters, limit: float, scale: Any = 1.0, *, xp: Namespace
) -> Parameters:
    """Shrink all gradients together to a norm of at most ``limit``; they are consumed.

    The result is multiplied by ``scale`` at no extra cost.

    Source: Pascanu, Mikolov and Bengio (2013), "On the difficulty of training recurrent neural
    networks".

    Examples
    --------
    >>> import numpy as np
    >>> clip_by_norm([Layer(np.asarray([[3.0]]), np.asarray([4.0]))], 1.0, xp=np)
    [Layer(weights=array([[0.6]]), bias=array([0.8]))]
    """
    norm = xp.sqrt(sum(xp.sum(g * g) for layer in gradients for g in layer if g is not None))
    factor = limit / xp.maximum(norm, limit) * scale

    def shrink(g: Array) -> Array:
        g *= factor
        return g

    return map_arrays(shrink, gradients)
