"""The worked examples of notes 000 and 001: one training step by hand, and the chain rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from backprop_xp.activations import elementwise
from backprop_xp.experiments.experiment import Experiment, Outcome
from backprop_xp.experiments.published import same
from backprop_xp.gradient_check import check_gradients
from backprop_xp.losses import get_loss
from backprop_xp.network import (
    Layer,
    Network,
    Parameters,
    backward,
    forward,
    loss_and_gradients,
)
from backprop_xp.state import TrainState
from backprop_xp.training import fit

_HALF = get_loss("half_squared_error")


def _one_step(
    network: Network, parameters: Parameters, x: Any, y: Any, learning_rate: float
) -> TrainState:
    return fit(
        network,
        (x, y),
        parameters=parameters,
        loss="half_squared_error",
        optimizer="sgd",
        learning_rate=learning_rate,
        batch_size=0,
        epochs=1,
        seed=0,
    )


# --- note 000: 4-5-5-2, no biases, η = 1 -----------------------------------------------------

_NOTE_000: dict[str, Any] = {
    "z_1": [0.6, 0.7, 0.8, 0.9, 1.0],
    "z_2": [0.794675790131, 0.622384458092, 0.450093126054, 0.277801794015, 0.105510461976],
    "z_3": [0.544143875611, 0.696424718716],
    "a_1": [0.645656306226, 0.668187772168, 0.689974481128, 0.710949502625, 0.73105857863],
    "a_2": [0.688834430583, 0.650760661904, 0.610661375275, 0.569007222272, 0.526353172065],
    "a_3": [0.632775861191, 0.667394610184],
    "delta_1": [0.0012052708868, 0.00128323641938, 0.00134923643675, 0.00140298750457]
    + [0.00144447924468],
    "delta_2": [0.00851610835853, 0.00952680639879, 0.0104861348327, 0.0113524858413]
    + [0.012085944213],
    "delta_3": [0.123801430912, 0.0948726471851],
    "new_weights_1": [
        [0.00517891645281, 0.0563841873396, 0.107589458226, 0.158794729113],
        [0.0148670543225, 0.0661502907419, 0.117433527161, 0.168716763581],
        [0.024603054253, 0.0759522906897, 0.127301527126, 0.178650763563],
        [0.0343880499817, 0.0857910374863, 0.137194024991, 0.188597012495],
        [0.0442220830213, 0.095666562266, 0.147111041511, 0.198555520755],
    ],
    "new_weights_2": [
        [0.204501520934, 0.214309640528, 0.224124102554, 0.233945476998, 0.243774225928],
        [0.15384895737, 0.163634304457, 0.173426746698, 0.183226921729, 0.193035346455],
        [0.103229560917, 0.112993292927, 0.12276483456, 0.132544887656, 0.142334021174],
        [0.0526701959252, 0.0624144077771, 0.0721670744721, 0.0819289558375, 0.0917006678369],
        [0.00219663390221, 0.0119243198618, 0.0216610069127, 0.031407503973, 0.0411644668023],
    ],
    "new_weights_3": [
        [0.0747213118322, 0.089434898875, 0.104399247938, 0.119556091683, 0.134836724133],
        [0.144648454098, 0.158260613321, 0.172064938794, 0.186016778556, 0.200063481212],
    ],
    "loss_before": 0.23325813554094965,
    "loss_after": 0.18784188512707584,
    # What the note's own program gives: the last layer alike, the two behind it not.
    "delta_1_in_the_note's_order": [0.0007212453326, 0.000774545225439, 0.000820256986458]
    + [0.000858155242952, 0.000888191519163],
    "delta_2_in_the_note's_order": [0.00492423731104, 0.0059287725231, 0.00695407623146]
    + [0.00795775725631, 0.00889360796434],
    "gradient_error_of_the_note's_order": [0.401591, 0.421774],
}


def _in_the_notes_order(
    network: Network, old: Parameters, new_last: Layer, step: Any
) -> tuple[list[Any], list[Any]]:
    """Return δ and ∂L/∂W of layers 1 and 2 as the note's program does: each through the weights
    of the layer above after their update."""
    tape, delta = step.tape, step.gradients.deltas[-1]
    second = backward(network, [*old[:2], new_last], tape, delta)
    new_second = Layer(old[1].weights - second.layers[1].weights, None)  # η = 1
    first = backward(network, [old[0], new_second, new_last], tape, delta)
    # The error that reaches layer 1 starts at layer 2, and is the same there as in `second`.
    return (
        [first.deltas[0], second.deltas[1]],
        [first.layers[0].weights, second.layers[1].weights],
    )


def _note_000(data_dir: str | None) -> Outcome:
    network = Network((4, 5, 5, 2), "sigmoid", bias=False)
    rows, columns = np.arange(5.0)[:, None], np.arange(5.0)
    old = [
        Layer(0.01 + 0.01 * rows + 0.05 * columns[:4], None),
        Layer(0.21 - 0.05 * rows + 0.01 * columns, None),
        Layer(0.16 + 0.05 * rows[:2] + 0.01 * columns, None),
    ]
    x, y = np.asarray([[4.0, 3.0, 2.0, 1.0]]), np.asarray([[0.10, 0.24]])
    step = loss_and_gradients(network, _HALF, old, x, y)
    state = _one_step(network, old, x, y, 1.0)
    measured: dict[str, Any] = {}
    for layer in range(3):
        measured[f"z_{layer + 1}"] = step.tape.z[layer][0].tolist()
        measured[f"a_{layer + 1}"] = step.tape.a[layer + 1][0].tolist()
        measured[f"delta_{layer + 1}"] = step.gradients.deltas[layer][0].tolist()
        measured[f"new_weights_{layer + 1}"] = state.parameters[layer].weights.tolist()
    measured["loss_before"] = state.history[0]["loss"]
    measured["loss_after"] = state.history[0]["train_loss"]

    deltas, gradients = _in_the_notes_order(network, old, state.parameters[2], step)
    for layer, delta in enumerate(deltas):
        measured[f"delta_{layer + 1}_in_the_note's_order"] = delta[0].tolist()
    errors = [
        float(np.max(np.abs(theirs / ours.weights - 1.0)))
        for theirs, ours in zip(gradients, step.gradients.layers[:2], strict=True)
    ]
    measured["gradient_error_of_the_note's_order"] = [round(error, 6) for error in errors]
    check = check_gradients(network, _HALF, old, x, y)
    passed = same(_NOTE_000, measured) and check.error < 1e-8 and min(errors) > 0.1
    verdict = (
        f"every number to 1e-9, and central differences agree to {check.error:.0e}; passing back "
        "through weights already updated, as the note's program does, makes the gradients behind "
        f"the last layer wrong by up to {max(errors):.0%}"
        if passed
        else "differs from the worked example"
    )
    history = {"simultaneous": list(state.history), "gradient_check": check._asdict()}
    return Outcome(_NOTE_000, measured, passed, verdict, history)


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
    network = Network((1, 1, 1), ("sigmoid", "relu"))
    old = [Layer(np.asarray([[w]]), np.asarray([w])) for w in (0.5, 1.0)]
    x, y = np.asarray([[1.0]]), np.asarray([[2.0]])
    step = loss_and_gradients(network, _HALF, old, x, y)
    state = _one_step(network, old, x, y, 0.1)
    after = forward(network, state.parameters, x)
    (g_w11, g_b1), (g_w21, g_b2) = step.gradients.layers
    (w11, b1), (w21, b2) = state.parameters
    numbers = (
        *(step.tape.a[1], step.tape.a[2], g_w21, g_b2, g_w11, g_b1),
        *(w11, w21, b1, b2, after.a[1], after.a[2]),
    )
    measured = {name: n.item() for name, n in zip(_NOTE_001, numbers, strict=True)}
    wrong = [name for name in _NOTE_001 if abs(measured[name] - _NOTE_001[name]) > _ROUNDING]
    check = check_gradients(network, _HALF, old, x, y)
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
    return Outcome(dict(_NOTE_001), measured, passed, verdict, history)


# --- note 001: the chain rule ---------------------------------------------------------------

_SQUARE = elementwise("square", lambda z, xp: z * z, lambda z, a, xp: 2.0 * z)
_CUBE = elementwise("cube", lambda z, xp: z * z * z, lambda z, a, xp: 3.0 * z * z)
_POINTS = (-1.5, 0.0, 0.25, 1.0, 3.0)
_STEP = 1e-5
_DIFFERENCE_ERROR = 1e-7
"""Of central differences: h²/6 times a third derivative of 384, and the rounding of z over h."""


def _branch(power: Any, slope: float, shift: float, x: float) -> tuple[float, float]:
    """Return ``power(slope · 4x + shift)`` and its derivative by x, by backpropagation.

    The x stands as the first weight, with 1 as the input, so that its gradient is dz/dx. With
    the target z - 1 the half squared error has the derivative 1 by z.
    """
    network = Network((1, 1, 1, 1), ("identity", "identity", power))
    parameters = [
        Layer(np.asarray([[w]]), np.asarray([b])) for w, b in ((x, 0.0), (4.0, 0.0), (slope, shift))
    ]
    one = np.asarray([[1.0]])
    z = forward(network, parameters, one).a[-1]
    gradients = loss_and_gradients(network, _HALF, parameters, one, z - 1.0).gradients
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
        "note-000",
        "One training step number by number; every error comes from the weights before the update.",
        "4-5-5-2 sigmoid without biases, one sample, half squared error, SGD, η 1",
        "note 000, its worked example; its numbers computed anew",
        _note_000,
    ),
    Experiment(
        "note-001",
        "A sigmoid neuron followed by a ReLU, one step; y after it is 1.774441 and not 0.1775.",
        "1-1-1 sigmoid then ReLU, one sample, half squared error, SGD, η 0.1",
        "note 001, forward pass and backpropagation",
        _note_001,
    ),
    Experiment(
        "chain-rule",
        "Backpropagation is the chain rule: where a variable branches, the branches add up.",
        "y = 4x, u = 2 − y, v = 4 + y; z = u², and z = u² + v³",
        "note 001, chain rule",
        _chain_rule,
    ),
)
