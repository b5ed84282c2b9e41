"""The worked examples of the study notes, number by number.

Note 000 trains a 4-5-5-2 network of sigmoids without biases for one step on one sample. Its own
program backpropagates through weights that it has already updated; those numbers, kept as
``matlab_sequential``, must not come out. Note 001 works out a sigmoid neuron followed by a ReLU.
"""

import numpy as np
import pytest
from helpers import DIFFERENCE_TOLERANCE, difference, error, worked_examples

from backprop_xp.backend import arrays
from backprop_xp.nn.activations import elementwise
from backprop_xp.nn.backpropagation import forward, loss_and_gradients
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Layer, Network
from backprop_xp.nn.optimizers import sgd, update
from backprop_xp.training.fit import fit

EXAMPLES = worked_examples()
NOTE_000, NOTE_001 = EXAMPLES["note_000"], EXAMPLES["note_001"]
SEQUENTIAL = NOTE_000["matlab_sequential"]
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}

HALF = get_loss("half_squared_error")
NETWORK_000 = Network(NOTE_000["arch"], "sigmoid", bias=False)
NETWORK_001 = Network((1, 1, 1), ("sigmoid", "relu"))


@pytest.fixture
def tolerance(dtype):
    return TOLERANCE[dtype]


def weights_000(backend, dtype):
    return [Layer(backend.array(W, dtype), None) for W in NOTE_000["W"]]


def data_000(backend, dtype):
    return backend.array([NOTE_000["x"]], dtype), backend.array([NOTE_000["y"]], dtype)


def step_000(backend, dtype, parameters):
    compute = backend.jit(
        lambda p, x, y: loss_and_gradients(NETWORK_000, HALF, p, x, y, xp=backend.xp)
    )
    return compute(parameters, *data_000(backend, dtype))


def stepped(backend, dtype, parameters, gradients, learning_rate):
    """Return the parameters after one step of gradient descent; those given are left alone."""
    slots = [() for layer in parameters for p in layer if p is not None]
    change = backend.jit(lambda p, g: update(sgd(), p, g, slots, (learning_rate,), xp=backend.xp))
    own = [
        [
            Layer(*(None if p is None else backend.xp.asarray(p, copy=True) * k for p in layer))
            for layer in layers
        ]
        for layers, k in ((parameters, 1.0), (gradients, learning_rate))
    ]
    return change(*own)[0]


# --- note 000 ------------------------------------------------------------------------------


def test_note_000_forward(backend, dtype, tolerance):
    tape = step_000(backend, dtype, weights_000(backend, dtype)).tape
    for got, wanted in zip(tape.z, NOTE_000["z"], strict=True):
        assert error(got, [wanted]) <= tolerance
    for got, wanted in zip(tape.a[1:], NOTE_000["a"], strict=True):
        assert error(got, [wanted]) <= tolerance


def test_note_000_backward(backend, dtype, tolerance):
    step = step_000(backend, dtype, weights_000(backend, dtype))
    assert error(step.loss, NOTE_000["cost"]) <= tolerance
    for got, wanted in zip(step.gradients.deltas, NOTE_000["delta"], strict=True):
        assert error(got, [wanted]) <= tolerance
    for got, wanted in zip(step.gradients.layers, NOTE_000["grad"], strict=True):
        assert error(got.weights, wanted) <= tolerance
        assert got.bias is None


def test_note_000_errors_of_the_activations(backend, dtype, tolerance):
    parameters = weights_000(backend, dtype)
    step = step_000(backend, dtype, parameters)
    from_behind = [
        backend.xp.matmul(delta, layer.weights)
        for delta, layer in zip(step.gradients.deltas[1:], parameters[1:], strict=True)
    ]
    at_the_output = step.tape.a[-1] - data_000(backend, dtype)[1]
    for got, wanted in zip([*from_behind, at_the_output], NOTE_000["dA"], strict=True):
        assert error(got, [wanted]) <= tolerance


def test_note_000_update(backend, dtype, tolerance):
    parameters = weights_000(backend, dtype)
    gradients = step_000(backend, dtype, parameters).gradients.layers
    updated = stepped(backend, dtype, parameters, gradients, NOTE_000["eta"])
    for got, wanted in zip(updated, NOTE_000["W_new"], strict=True):
        assert error(got.weights, wanted) <= tolerance
    after = step_000(backend, dtype, updated)
    for got, wanted in zip(after.tape.z, NOTE_000["z_after"], strict=True):
        assert error(got, [wanted]) <= tolerance
    for got, wanted in zip(after.tape.a[1:], NOTE_000["a_after"], strict=True):
        assert error(got, [wanted]) <= tolerance
    assert error(after.loss, NOTE_000["cost_after"]) <= tolerance


def test_note_000_by_fit(library, dtype, tolerance):
    state = fit(
        NETWORK_000,
        data_000(library, dtype),
        parameters=weights_000(library, dtype),
        loss="half_squared_error",
        optimizer="sgd",
        learning_rate=NOTE_000["eta"],
        batch_size=0,
        epochs=1,
        seed=0,
        evaluate_training=True,
    )
    for got, wanted in zip(state.parameters, NOTE_000["W_new"], strict=True):
        assert error(got.weights, wanted) <= tolerance
    assert error(state.history[0]["loss"], NOTE_000["cost"]) <= tolerance
    assert error(state.history[0]["train_loss"], NOTE_000["cost_after"]) <= tolerance


def test_all_errors_come_from_the_weights_before_the_update(backend, dtype):
    parameters = weights_000(backend, dtype)
    step = step_000(backend, dtype, parameters)
    first, second, last = step.gradients.layers
    # The last layer is correct in the note's program, because nothing was updated before it.
    assert error(last.weights, SEQUENTIAL["grad"][2]) <= TOLERANCE[dtype]
    # The two layers behind are then wrong by more than half of their largest entry.
    assert error(second.weights, SEQUENTIAL["grad"][1]) > 0.4
    assert error(first.weights, SEQUENTIAL["grad"][0]) > 0.4
    updated = stepped(backend, dtype, parameters, step.gradients.layers, NOTE_000["eta"])
    assert error(updated[1].weights, SEQUENTIAL["W_new"][1]) > 1e-3
    assert error(updated[0].weights, SEQUENTIAL["W_new"][0]) > 1e-3


def test_the_loss_alone_would_not_tell_the_wrong_program_from_the_right_one():
    assert SEQUENTIAL["cost_after"] < NOTE_000["cost"]
    assert NOTE_000["cost_after"] < SEQUENTIAL["cost_after"]


# --- note 001 ------------------------------------------------------------------------------


def parameters_001(backend, dtype):
    neurons = ((0.5, 0.5), (1.0, 1.0))
    return [Layer(backend.array([[w]], dtype), backend.array([b], dtype)) for w, b in neurons]


def step_001(backend, dtype, parameters):
    compute = backend.jit(
        lambda p, x, y: loss_and_gradients(NETWORK_001, HALF, p, x, y, xp=backend.xp)
    )
    return compute(parameters, backend.array([[1.0]], dtype), backend.array([[2.0]], dtype))


def error_001(name, number):
    """Return the error at the size of the note's inputs, 1: its small numbers, such as J, come
    from differences of larger ones."""
    return error(arrays.to_numpy(number).item(), NOTE_001[name], size=1.0)


def numbers_001(step, suffix=""):
    (z1, z2), (_, a11, y) = step.tape.z, step.tape.a
    names = {"z1": z1, "a11": a11, "z2": z2, "y": y, "J": step.loss}
    return {name + suffix: number for name, number in names.items()}


def test_note_001_forward_and_backward(backend, dtype, tolerance):
    step = step_001(backend, dtype, parameters_001(backend, dtype))
    (w11, b1), (w21, b2) = step.gradients.layers
    delta1, delta2 = step.gradients.deltas
    gradients = {"g_w11": w11, "g_b1": b1, "g_w21": w21, "g_b2": b2}
    found = {**numbers_001(step), "delta1": delta1, "delta2": delta2, **gradients}
    for name, number in found.items():
        assert error_001(name, number) <= tolerance, name


def test_note_001_after_the_update(backend, dtype, tolerance):
    parameters = parameters_001(backend, dtype)
    gradients = step_001(backend, dtype, parameters).gradients.layers
    updated = stepped(backend, dtype, parameters, gradients, NOTE_001["eta"])
    (w11, b1), (w21, b2) = updated
    after = step_001(backend, dtype, updated)
    found = {"w11": w11, "b1": b1, "w21": w21, "b2": b2, **numbers_001(after, "_after")}
    for name, number in found.items():
        assert error_001(name, number) <= tolerance, name
    # The note has a slip of the decimal point here: 0.1775.
    assert round(backend.numpy(after.tape.a[-1]).item(), 6) == 1.774441


def test_note_001_by_fit(library, dtype, tolerance):
    state = fit(
        NETWORK_001,
        (library.array([[1.0]], dtype), library.array([[2.0]], dtype)),
        parameters=parameters_001(library, dtype),
        loss="half_squared_error",
        optimizer="sgd",
        learning_rate=NOTE_001["eta"],
        batch_size=0,
        epochs=1,
        seed=0,
    )
    (w11, b1), (w21, b2) = state.parameters
    for name, number in {"w11": w11, "b1": b1, "w21": w21, "b2": b2}.items():
        assert error_001(name, number) <= tolerance, name


@pytest.mark.parametrize("x", [-1.5, 0.0, 0.25, 1.0, 3.0])
def test_the_chain_rule_of_one_variable(x):
    def z(x):
        u = 2.0 - 4.0 * x
        return u**2

    # The numbers are as large as 1e3, and the rounding of their difference with them.
    assert abs(difference(lambda t: z(x + t)) - (32.0 * x - 16.0)) <= 1e3 * DIFFERENCE_TOLERANCE


@pytest.mark.parametrize("x", [-1.5, 0.0, 0.25, 1.0, 3.0])
def test_the_chain_rule_of_two_variables(x):
    def z(x):
        u, v = 2.0 - 4.0 * x, 4.0 + 4.0 * x
        return u**2 + v**3

    derivative = 192.0 * x**2 + 416.0 * x + 176.0  # the note has 542 x
    assert abs(difference(lambda t: z(x + t)) - derivative) <= 1e3 * DIFFERENCE_TOLERANCE


def test_backpropagation_through_two_branches_adds_them_up(backend, dtype, tolerance):
    # The same example as a network: y = 4x branches into u = 2 - y and v = 4 + y, and z = u² + v³.
    square = elementwise("square", lambda z, xp: z * z, lambda z, a, xp: 2.0 * z)
    cube = elementwise("cube", lambda z, xp: z * z * z, lambda z, a, xp: 3.0 * z * z)
    x = backend.array([[1.0]], dtype)
    total = 0.0
    for activation, slope, shift in ((square, -1.0, 2.0), (cube, 1.0, 4.0)):
        branch = Network((1, 1, 1), ("identity", activation))
        parameters = [
            Layer(backend.array([[4.0]], dtype), backend.array([0.0], dtype)),
            Layer(backend.array([[slope]], dtype), backend.array([shift], dtype)),
        ]
        # With the target a - 1 the half squared error has dL/da = 1, so that its gradient
        # by the first weight, whose input is x = 1, is dz/dy · x, and dz/dx is 4 dz/dy.
        output = forward(branch, parameters, x).a[-1]
        step = loss_and_gradients(branch, HALF, parameters, x, output - 1.0)
        total += 4.0 * backend.numpy(step.gradients.layers[0].weights).item()
    assert abs(total - 784.0) <= tolerance * 784.0
    assert abs(total - 910.0) > 100.0
    assert np.polyval([192.0, 416.0, 176.0], 1.0) == 784.0
