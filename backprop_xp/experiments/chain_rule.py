"""The worked examples of note 001: the chain rule, and a step through a sigmoid and a ReLU."""

from __future__ import annotations

from typing import Any

import numpy as np

from backprop_xp.experiments.experiment import Experiment, Outcome, same
from backprop_xp.experiments.worked_examples import HALF, one_step, worked_example
from backprop_xp.nn.activations import elementwise
from backprop_xp.nn.backpropagation import forward, loss_and_gradients
from backprop_xp.nn.gradient_check import check_gradients
from backprop_xp.nn.network import Layer, Network

# --- note 001: a sigmoid neuron, then a ReLU, η = 0.1 ---------------------------------------

_NOTE_001 = {
    "a11": 0.731,
    "y": 1.731,
    "dJ/dw21": -0.196639,
    "dJ/db2": -0.269,
    "dJ/dw11": -0.052895,
    "dJ/db1": -0.052895,
    "new w11": 0.505,
    "new w21": 1.020,
    "new b1": 0.505,
    "new b2": 1.027,
    "a11 after": 0.733,
    "y after": 0.1775,
}
_ROUNDING = 1e-3
"""The note rounds every intermediate number to three decimals."""


def _note_001(data_dir: str | None) -> Outcome:
    network, old, x, y, learning_rate = worked_example("note-001")
    step = loss_and_gradients(network, HALF, old, x, y)
    state = one_step(network, old, x, y, learning_rate)
    after = forward(network, state.parameters, x)
    (g_w11, g_b1), (g_w21, g_b2) = step.gradients.layers
    (w11, b1), (w21, b2) = state.parameters
    numbers = (
        *(step.tape.a[1], step.tape.a[2], g_w21, g_b2, g_w11, g_b1),
        *(w11, w21, b1, b2, after.a[1], after.a[2]),
    )
    measured = {name: n.item() for name, n in zip(_NOTE_001, numbers, strict=True)}
    wrong = [name for name in _NOTE_001 if abs(measured[name] - _NOTE_001[name]) > _ROUNDING]
    check = check_gradients(network, HALF, old, x, y)
    slip = abs(measured["y after"] - 10.0 * _NOTE_001["y after"]) <= _ROUNDING
    passed = wrong == ["y after"] and slip and check.error < 1e-8
    verdict = (
        f"all but one as in the note, to its three decimals; y after the update is "
        f"{measured['y after']:.6f}, and the note's {_NOTE_001['y after']} is ten times too small; "
        f"∂J/∂w11 is {measured['dJ/dw11']:.6f} before rounding (central differences: "
        f"{check.error:.0e})"
        if passed
        else f"differs in {', '.join(wrong) or 'the gradient check'}"
    )
    history = {"step": list(state.history), "gradient_check": check._asdict()}
    return Outcome(_NOTE_001, measured, passed, verdict, history)


# --- note 001: the chain rule ---------------------------------------------------------------

_SQUARE = elementwise("square", lambda z, xp: z * z, lambda z, a, xp: 2.0 * z)
_CUBE = elementwise("cube", lambda z, xp: z * z * z, lambda z, a, xp: 3.0 * z * z)
_POINTS = (-1.5, 0.0, 0.25, 1.0, 3.0)
_STEP = 1e-5
_DIFFERENCE_ERROR = 1e-7
"""Of central differences: h²/6 times the third derivative of 384, plus the rounding of z over h."""


def _branch(power: Any, slope: float, shift: float, x: float) -> tuple[float, float]:
    """Return ``power(slope · 4x + shift)`` and its derivative with respect to x.

    The first weight is x and the input is 1, so that the gradient of the weight is dz/dx. With the
    target z - 1 the derivative of the half squared error with respect to z is 1.
    """
    network = Network((1, 1, 1, 1), ("identity", "identity", power))
    parameters = [
        Layer(np.asarray([[w]]), np.asarray([b])) for w, b in ((x, 0.0), (4.0, 0.0), (slope, shift))
    ]
    one = np.asarray([[1.0]])
    z = forward(network, parameters, one).a[-1]
    gradients = loss_and_gradients(network, HALF, parameters, one, z - 1.0).gradients
    return z.item(), gradients.layers[0].weights.item()


def _chain_rule(data_dir: str | None) -> Outcome:
    def one(x: float) -> tuple[float, float]:
        return _branch(_SQUARE, -1.0, 2.0, x)  # u = 2 - y

    def two(x: float) -> tuple[float, float]:
        (u2, du2), (v3, dv3) = one(x), _branch(_CUBE, 1.0, 4.0, x)  # v = 4 + y
        return u2 + v3, du2 + dv3

    derivatives = {"z = u²": one, "z = u² + v³": two, "z = u² + v³, set right": two}
    measured = {name: [f(x)[1] for x in _POINTS] for name, f in derivatives.items()}
    differences = {
        name: [(f(x + _STEP)[0] - f(x - _STEP)[0]) / (2.0 * _STEP) for x in _POINTS]
        for name, f in derivatives.items()
    }
    published = {
        "z = u²": [32.0 * x - 16.0 for x in _POINTS],
        "z = u² + v³": [192.0 * x**2 + 542.0 * x + 176.0 for x in _POINTS],
        "z = u² + v³, set right": [192.0 * x**2 + 416.0 * x + 176.0 for x in _POINTS],
    }
    agree = {
        name: same(values, measured[name])
        and bool(np.allclose(differences[name], values, rtol=_DIFFERENCE_ERROR, atol=1e-6))
        for name, values in published.items()
    }
    passed = list(agree.values()) == [True, False, True]
    at_1 = _POINTS.index(1.0)
    verdict = (
        "backpropagation and central differences give 32x − 16 and 192x² + 416x + 176; the note's "
        f"542x is wrong: at x = 1 {measured['z = u² + v³'][at_1]:g}, not "
        f"{published['z = u² + v³'][at_1]:g}"
        if passed
        else f"agreement: {agree}"
    )
    return Outcome(published, measured, passed, verdict, {"x": _POINTS, "differences": differences})


EXPERIMENTS = (
    Experiment(
        "note-001",
        "One step of a sigmoid neuron followed by a ReLU; afterwards y is 1.774441, not 0.1775.",
        "1-1-1 sigmoid then ReLU, one sample, half squared error, SGD, η 0.1",
        "note 001, forward pass and backpropagation",
        _note_001,
    ),
    Experiment(
        "chain-rule",
        "Backpropagation is the chain rule: where a variable branches, the derivatives add up.",
        "y = 4x, u = 2 − y, v = 4 + y; z = u², and z = u² + v³",
        "note 001, chain rule",
        _chain_rule,
    ),
)
