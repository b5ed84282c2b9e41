"""What formulas need besides the core's own: derivatives of the losses, letters of the rules."""

from __future__ import annotations

from backprop_xp.nn.losses import LOSSES, Loss

_BY_OUTPUTS = {
    "half_squared_error": "a_j - y_j",
    "mean_half_squared_error": "(a_j - y_j) / n",
    "squared_error": "2 (a_j - y_j)",
    "mean_squared_error": "2 (a_j - y_j) / n",
    "mean_absolute_error": "sign(a_j - y_j) / n",
    "huber": "max(-1, min(a_j - y_j, 1)) / n",
    "binary_cross_entropy": "(a_j - y_j) / (a_j (1 - a_j))",
    "cross_entropy": "-y_j / a_j",
    "poisson": "1 - y_j / a_j",
}

FUSED = {
    "binary_cross_entropy": "δ = (a - y) / batch",
    "cross_entropy": "δ = (a Σ_j y_j - y) / batch",
    "poisson": "δ = σ(z) (1 - y / a) / batch",
}
"""The error at the output, for the losses that are fused with an output activation."""


LETTERS = {
    "learning_rate": "η",
    "momentum": "μ",
    "decay": "ρ",
    "beta1": "β₁",
    "beta2": "β₂",
    "epsilon": "ε",
    "weight_decay": "λ",
}
"""What the formulas of the optimizers call their numbers."""


def derivative(loss: Loss) -> str:
    """Return the derivative of one sample's loss by one output; nothing for a loss of one's own.

    Examples
    --------
    >>> derivative(LOSSES["mean_half_squared_error"])
    '(a_j - y_j) / n'
    """
    return _BY_OUTPUTS.get(loss.name, "") if LOSSES.get(loss.name) is loss else ""
