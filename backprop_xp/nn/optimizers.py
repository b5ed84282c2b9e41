"""Optimizers: the rules by which gradients change the parameters.

A rule updates one array of parameters at a time and consumes its arguments: NumPy, CuPy and
PyTorch change arrays in place, JAX makes new ones, so callers use the returned arrays. Numbers
that are the same for all arrays in a step (learning rate, bias corrections) are computed once a
step as Python floats and passed to the rule as its scalars.

A rule that is linear in the gradient g receives η g instead of g. Backpropagation is linear too,
so a training step multiplies the error δ of the outputs by η instead of every gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.errors import ConfigurationError, check_fraction, is_number, look_up
from backprop_xp.nn.network import Layer, Parameters

Slots = tuple[Array, ...]
Updated = tuple[Array, Slots]
Scalars = tuple[Any, ...]  # Python floats, or arrays of shape () where these are faster


class Optimizer(NamedTuple):
    """A rule that changes parameters, with the state that it keeps from step to step.

    Attributes
    ----------
    name : str
        Its key in `OPTIMIZERS`.
    learning_rate : float
        The default learning rate.
    slots : tuple of str
        Names of the arrays that the rule keeps for every parameter array, with its shape; all
        start at zero.
    scalars : callable ``(learning_rate, step) -> tuple of float``
        The numbers of one step; ``step`` counts from 1.
    rule : callable ``(p, g, slots, scalars, xp) -> (p, slots)``
        The update of one array ``p`` with the gradient ``g``, or with η g if
        ``linear_in_gradient``; all arrays are consumed.
    formula : str
        The rule in textbook notation: assignments separated by commas, with that of ``p`` last.
    hyperparameters : mapping of str to float
    linear_in_gradient : bool
        Whether the rule receives η g as its gradient; η is then the first of the scalars.
    symbols : callable ``step -> mapping of str to (str, float)``, optional
        The symbols of the formula, computed from the slots after a step: for each symbol, the name
        of a slot and the factor on its array. The state comes first, with one symbol for each
        slot, then values derived from it, such as m̂. By default the slots are the symbols.
    """

    name: str
    learning_rate: float
    slots: tuple[str, ...]
    scalars: Callable[[float, int], tuple[float, ...]]
    rule: Callable[[Array, Array, Slots, Scalars, Namespace], Updated]
    formula: str = ""
    hyperparameters: Mapping[str, float] = MappingProxyType({})
    linear_in_gradient: bool = False
    symbols: Callable[[int], Mapping[str, tuple[str, float]]] | None = None

    def textbook(self, step: int) -> dict[str, tuple[str, float]]:
        """Return the symbols of the formula, each as the name of a slot and a factor on it.

        Examples
        --------
        >>> rmsprop(decay=0.75).textbook(step=1)
        {'s': ('sum_of_squares', 0.25)}
        """
        symbols = self.symbols or (lambda step: {name: (name, 1.0) for name in self.slots})
        return dict(symbols(step))


def _only_learning_rate(learning_rate: float, step: int) -> tuple[float, ...]:
    return (learning_rate,)


def sgd() -> Optimizer:
    """Return stochastic gradient descent, ``p ← p - η g``.

    Examples
    --------
    >>> import numpy as np
    >>> p, _ = sgd().rule(np.asarray([1.0]), 0.1 * np.asarray([2.0]), (), (0.1,), np)
    >>> p
    array([0.8])
    """

    def rule(p: Array, eta_g: Array, slots: Slots, scalars: Scalars, xp: Namespace) -> Updated:
        p -= eta_g
        return p, ()

    return Optimizer(
        "sgd", 0.1, (), _only_learning_rate, rule, "p ← p - η g", linear_in_gradient=True
    )


def momentum(momentum: float = 0.9) -> Optimizer:
    """Return gradient descent with momentum, ``v ← μ v - η g``, ``p ← p + v``.

    The learning rate is part of the velocity, as in Polyak (1964) and Sutskever and others
    (2013). With a constant learning rate this equals PyTorch's form, ``p ← p - η v``.
    """
    check_fraction("momentum", momentum)

    def rule(p: Array, eta_g: Array, slots: Slots, scalars: Scalars, xp: Namespace) -> Updated:
        (v,) = slots
        v *= momentum
        v -= eta_g
        p += v
        return p, (v,)

    return Optimizer(
        "momentum",
        0.01,
        ("velocity",),
        _only_learning_rate,
        rule,
        "v ← μ v - η g, p ← p + v",
        {"momentum": momentum},
        linear_in_gradient=True,
        symbols=lambda step: {"v": ("velocity", 1.0)},
    )


def nesterov(momentum: float = 0.9) -> Optimizer:
    """Return Nesterov's momentum, ``v ← μ v - η g``, ``p ← p + μ v - η g``.

    Source: Sutskever and others (2013), "On the importance of initialization and momentum in
    deep learning", with the point at which the gradient is evaluated as ``p``.
    """
    check_fraction("momentum", momentum)
    # With μ = 0 the slot is always 0 and v cannot be computed from it, so μ v is shown.
    symbol, factor = ("v", 1.0 / momentum) if momentum else ("μ v", 1.0)

    def rule(p: Array, eta_g: Array, slots: Slots, scalars: Scalars, xp: Namespace) -> Updated:
        # The slot holds w = μ v, which saves a pass: w ← μ (w - η g), p ← p - η g + w
        (w,) = slots
        w -= eta_g
        w *= momentum
        p -= eta_g
        p += w
        return p, (w,)

    return Optimizer(
        "nesterov",
        0.01,
        ("momentum_term",),
        _only_learning_rate,
        rule,
        "v ← μ v - η g, p ← p + μ v - η g",
        {"momentum": momentum},
        linear_in_gradient=True,
        symbols=lambda step: {symbol: ("momentum_term", factor)},
    )


def rmsprop(decay: float = 0.99, epsilon: float = 1e-8) -> Optimizer:
    """Return RMSProp, ``s ← ρ s + (1 - ρ) g²``, ``p ← p - η g / (√s + ε)``.

    Source: Tieleman and Hinton (2012), lecture 6.5 of "Neural networks for machine learning".
    """
    check_fraction("decay", decay)
    _check_positive("epsilon", epsilon)
    # The slot holds s / (1 - ρ), which saves a product:
    # η g / (√s + ε) = [η / √(1 - ρ)] g / (√(s / (1 - ρ)) + ε / √(1 - ρ))
    scale = 1.0 / math.sqrt(1.0 - decay)

    def scalars(learning_rate: float, step: int) -> tuple[float, ...]:
        return decay, learning_rate * scale, epsilon * scale

    def rule(p: Array, g: Array, slots: Slots, scalars: Scalars, xp: Namespace) -> Updated:
        (s,), (rho, eta, epsilon_s) = slots, scalars
        s *= rho
        s += g * g
        root = xp.sqrt(s)
        root += epsilon_s
        g *= eta
        g /= root
        p -= g
        return p, (s,)

    return Optimizer(
        "rmsprop",
        0.001,
        ("sum_of_squares",),
        scalars,
        rule,
        "s ← ρ s + (1 - ρ) g², p ← p - η g / (√s + ε)",
        {"decay": decay, "epsilon": epsilon},
        symbols=lambda step: {"s": ("sum_of_squares", 1.0 - decay)},
    )


def adam(beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Return Adam (Kingma and Ba, 2015, algorithm 1).

    ``m ← β₁ m + (1 - β₁) g``, ``v ← β₂ v + (1 - β₂) g²``,
    ``p ← p - η m̂ / (√v̂ + ε)`` with ``m̂ = m / (1 - β₁ᵗ)`` and ``v̂ = v / (1 - β₂ᵗ)``.
    """
    return _adam("adam", beta1, beta2, epsilon, weight_decay=0.0)


def adamw(
    beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, weight_decay: float = 0.01
) -> Optimizer:
    """Return AdamW: Adam with ``p ← p - η λ p``, separate from the gradient.

    Source: Loshchilov and Hutter (2019), "Decoupled weight decay regularization". As in
    PyTorch, all parameters decay, biases included.
    """
    return _adam("adamw", beta1, beta2, epsilon, weight_decay)


def _adam(name: str, beta1: float, beta2: float, epsilon: float, weight_decay: float) -> Optimizer:
    check_fraction("beta1", beta1)
    check_fraction("beta2", beta2)
    _check_positive("epsilon", epsilon)
    _check_positive("weight_decay", weight_decay, zero=True)

    def scalars(learning_rate: float, step: int) -> tuple[float, ...]:
        # The slots hold M = m / (1 - β₁) and V = v / (1 - β₂), which saves a product each. With
        # all factors moved out of the arrays, η m̂ / (√v̂ + ε) is
        # [η r (1 - β₁) / (1 - β₁ᵗ)] M / (√V + ε r) with r = √((1 - β₂ᵗ) / (1 - β₂)).
        root = math.sqrt((1.0 - beta2**step) / (1.0 - beta2))
        eta = learning_rate * root * (1.0 - beta1) / (1.0 - beta1**step)
        return beta1, beta2, eta, epsilon * root, 1.0 - learning_rate * weight_decay

    def rule(p: Array, g: Array, slots: Slots, scalars: Scalars, xp: Namespace) -> Updated:
        (m, v), (b1, b2, eta, epsilon_t, keep) = slots, scalars
        m *= b1
        m += g
        g *= g
        v *= b2
        v += g
        root = xp.sqrt(v)
        root += epsilon_t
        update = m / root
        update *= eta
        if weight_decay:
            p *= keep
        p -= update
        return p, (m, v)

    def symbols(step: int) -> dict[str, tuple[str, float]]:
        return {
            "m": ("sum", 1.0 - beta1),
            "v": ("sum_of_squares", 1.0 - beta2),
            "m̂": ("sum", (1.0 - beta1) / (1.0 - beta1**step)),
            "v̂": ("sum_of_squares", (1.0 - beta2) / (1.0 - beta2**step)),
        }

    hyperparameters = {"beta1": beta1, "beta2": beta2, "epsilon": epsilon}
    decayed = "p"
    if name == "adamw":
        hyperparameters["weight_decay"] = weight_decay
        decayed = "(1 - η λ) p"
    return Optimizer(
        name,
        0.001,
        ("sum", "sum_of_squares"),
        scalars,
        rule,
        "m ← β₁ m + (1 - β₁) g, v ← β₂ v + (1 - β₂) g², "
        f"m̂ = m / (1 - β₁ᵗ), v̂ = v / (1 - β₂ᵗ), p ← {decayed} - η m̂ / (√v̂ + ε)",
        hyperparameters,
        symbols=symbols,
    )


def gradient_scale(optimizer: Optimizer, scalars: Scalars) -> Any:
    """Return the factor on the gradients that the optimizer's rule receives: η or 1.

    Examples
    --------
    >>> gradient_scale(sgd(), sgd().scalars(0.1, 1)), gradient_scale(adam(), adam().scalars(0.1, 1))
    (0.1, 1.0)
    """
    return scalars[0] if optimizer.linear_in_gradient else 1.0


LETTERS = {
    "learning_rate": "η",
    "momentum": "μ",
    "decay": "ρ",
    "beta1": "β₁",
    "beta2": "β₂",
    "epsilon": "ε",
    "weight_decay": "λ",
}
"""The letters of the learning rate and the hyperparameters in the formulas."""

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
}


def get_optimizer(optimizer: str | Optimizer, **hyperparameters: float) -> Optimizer:
    """Return the optimizer with the given name and hyperparameters.

    An `Optimizer` is returned unchanged.

    Raises
    ------
    ConfigurationError
        If the name or a hyperparameter is unknown, or a hyperparameter is out of range.

    Examples
    --------
    >>> get_optimizer("adam", beta1=0.8).slots
    ('sum', 'sum_of_squares')
    """
    if isinstance(optimizer, Optimizer):
        if hyperparameters:
            raise ConfigurationError(
                f"{', '.join(hyperparameters)} cannot be set for an existing optimizer",
                "set them when creating it, or give its name instead",
            )
        return optimizer
    make = look_up("optimizer", optimizer, OPTIMIZERS)
    known = hyperparameters_of(optimizer)
    for name in hyperparameters:
        if not known:
            raise ConfigurationError(
                f"the optimizer {optimizer!r} has no hyperparameter {name!r}",
                "it has only a learning rate",
            )
        look_up(f"hyperparameter of the optimizer {optimizer!r}", name, known)
    return make(**hyperparameters)


def hyperparameters_of(optimizer: str) -> dict[str, float]:
    """Return the hyperparameters of the optimizer with the given name, with their defaults.

    Examples
    --------
    >>> hyperparameters_of("nesterov")
    {'momentum': 0.9}
    """
    import inspect

    parameters = inspect.signature(OPTIMIZERS[optimizer]).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def _check_positive(name: str, value: float, *, zero: bool = False) -> None:
    if not is_number(value) or not (0.0 < value < math.inf or (zero and value == 0.0)):
        raise ConfigurationError(
            f"{name} is {value!r}", "give a positive number" + (" or 0" if zero else "")
        )


def initial_slots(optimizer: Optimizer, parameters: Parameters, *, xp: Namespace) -> list[Slots]:
    """Return the arrays that the optimizer keeps, before the first step: zeros for every slot."""
    return [
        tuple(xp.zeros_like(p) for _ in optimizer.slots)
        for layer in parameters
        for p in layer
        if p is not None
    ]


def update(
    optimizer: Optimizer,
    parameters: Parameters,
    gradients: Parameters,
    slots: list[Slots],
    scalars: Scalars,
    *,
    xp: Namespace,
) -> tuple[Parameters, list[Slots]]:
    """Apply an optimizer's rule to every parameter array; all arrays are consumed.

    The gradients are multiplied by their `gradient_scale`. The slots are those of `initial_slots`
    or of the previous step, the scalars those of ``optimizer.scalars(learning_rate, step)``.
    """
    remaining = iter(slots)
    new_layers, new_slots = [], []
    for layer, gradient in zip(parameters, gradients, strict=True):
        arrays = []
        for p, g in zip(layer, gradient, strict=True):
            if p is not None:
                p, slots_of_p = optimizer.rule(p, g, next(remaining), scalars, xp)
                new_slots.append(slots_of_p)
            arrays.append(p)
        new_layers.append(Layer(*arrays))
    return new_layers, new_slots
