"""The forward pass, its tape, and the gradients of backpropagation."""

import math

import numpy as np
import pytest
from helpers import DIFFERENCE_TOLERANCE, bytes_of, error, errors, gradient, smooth_case

from backprop_xp.nn.activations import ACTIVATIONS, TANH
from backprop_xp.nn.backpropagation import backward, forward, loss_and_gradients
from backprop_xp.nn.losses import get_loss, loss_and_delta
from backprop_xp.nn.network import Layer, Network, map_arrays

HALF = get_loss("half_squared_error")


# --- the forward pass ----------------------------------------------------------------------


def test_the_tape_holds_every_z_and_one_more_a(backend, dtype):
    network = Network((4, 5, 3), ("tanh", "softmax"))
    parameters, x = smooth_case(network, 7)
    x = backend.array(x, dtype)
    tape = forward(network, backend.layers(parameters, dtype), x)
    assert tape.a[0] is x
    assert [tuple(z.shape) for z in tape.z] == [(7, 5), (7, 3)]
    assert [tuple(a.shape) for a in tape.a] == [(7, 4), (7, 5), (7, 3)]
    assert all(array.dtype == backend.dtype(dtype) for array in (*tape.z, *tape.a))


def test_the_forward_pass_by_hand(backend, dtype, tolerance):
    network = Network((2, 2, 1), ("relu", "sigmoid"))
    parameters = backend.layers(
        [
            Layer(np.asarray([[1.0, -2.0], [0.5, 3.0]]), np.asarray([0.5, -1.0])),
            Layer(np.asarray([[2.0, -1.0]]), np.asarray([0.25])),
        ],
        dtype,
    )
    x = backend.array([[1.0, 2.0], [4.0, -1.0]], dtype)
    tape = backend.jit(lambda p, x: forward(network, p, x, xp=backend.xp))(parameters, x)
    # First row: 1 - 4 + 0.5, 0.5 + 6 - 1; second: 4 + 2 + 0.5, 2 - 3 - 1.
    assert backend.numpy(tape.z[0]).tolist() == [[-2.5, 5.5], [6.5, -2.0]]
    assert backend.numpy(tape.a[1]).tolist() == [[0.0, 5.5], [6.5, 0.0]]
    assert backend.numpy(tape.z[1]).tolist() == [[-5.25], [13.25]]
    outputs = [[1.0 / (1.0 + math.exp(5.25))], [1.0 / (1.0 + math.exp(-13.25))]]
    assert error(tape.a[2], outputs) <= tolerance


def test_rows_of_a_batch_do_not_touch_each_other():
    network = Network((4, 5, 3), ("tanh", "softmax"))
    parameters, x = smooth_case(network, 7)
    together = forward(network, parameters, x).a[-1]
    alone = np.concatenate([forward(network, parameters, row[None, :]).a[-1] for row in x])
    assert error(together, alone) <= 1e-15


# --- the backward pass ---------------------------------------------------------------------


def numeric_gradients(network, loss, parameters, x, y):
    """Return the gradients of the loss by central differences."""

    def value(place, kind, p):
        changed = list(parameters)
        changed[place] = changed[place]._replace(**{kind: p})
        tape = forward(network, changed, x)
        return float(
            loss_and_delta(loss, network.activations[-1], tape.z[-1], tape.a[-1], y, xp=np)[0]
        )

    return [
        Layer(
            *(
                None if p is None else gradient(lambda q, at=(place, kind): value(*at, q), p)
                for kind, p in zip(Layer._fields, layer, strict=True)
            )
        )
        for place, layer in enumerate(parameters)
    ]


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)], ids=["1 layer", "2 layers", "3 layers"])
@pytest.mark.parametrize("activation", [f for f in ACTIVATIONS if f != "step"])
def test_gradients_are_the_derivatives_of_the_loss(activation, hidden, bias):
    network = Network((3, *hidden, 2), activation, bias)
    parameters, x = smooth_case(network)
    y = np.asarray([[0.0, 1.0], [1.0, 0.0], [0.25, 0.75]])
    found = loss_and_gradients(network, HALF, parameters, x, y).gradients.layers
    wanted = numeric_gradients(network, HALF, parameters, x, y)
    assert errors(found, wanted, size=1.0) <= DIFFERENCE_TOLERANCE
    assert [layer.bias is None for layer in found] == [not bias] * len(parameters)


@pytest.mark.parametrize(
    ("activations", "loss"),
    [
        (("sigmoid", "relu", "softmax"), "cross_entropy"),
        (("leaky_relu", "tanh", "sigmoid"), "binary_cross_entropy"),
        (("softmax", "identity", "relu"), "mean_squared_error"),
    ],
)
def test_each_layer_may_have_its_own_activation(activations, loss):
    network = Network((3, 4, 4, 2), activations)
    parameters, x = smooth_case(network)
    y = np.asarray([[0.0, 1.0], [1.0, 0.0], [0.25, 0.75]])
    found = loss_and_gradients(network, get_loss(loss), parameters, x, y).gradients.layers
    wanted = numeric_gradients(network, get_loss(loss), parameters, x, y)
    assert errors(found, wanted, size=1.0) <= DIFFERENCE_TOLERANCE


def test_no_error_passes_a_step():
    network = Network((3, 4, 2), ("step", "sigmoid"))
    parameters, x = smooth_case(network)
    y = np.zeros((3, 2))
    first, last = loss_and_gradients(network, HALF, parameters, x, y).gradients.layers
    assert not np.any(first.weights)
    assert not np.any(first.bias)
    assert np.any(last.weights)


def test_the_deltas_are_the_derivatives_by_the_weighted_inputs():
    network = Network((3, 4, 2), ("tanh", "softmax"))
    parameters, x = smooth_case(network)
    y = np.asarray([[0.0, 1.0], [1.0, 0.0], [0.25, 0.75]])
    loss = get_loss("cross_entropy")
    step = loss_and_gradients(network, loss, parameters, x, y)

    def value(z):
        a = TANH.forward(z, np)
        z = a @ parameters[1].weights.T + parameters[1].bias
        a = network.activations[1].forward(z, np)
        return float(loss_and_delta(loss, network.activations[1], z, a, y, xp=np)[0])

    numeric = gradient(value, step.tape.z[0])
    assert error(step.gradients.deltas[0], numeric, size=1.0) <= DIFFERENCE_TOLERANCE
    assert [d.shape for d in step.gradients.deltas] == [(3, 4), (3, 2)]


CASES = [
    (("tanh", "softmax"), "cross_entropy", True),
    (("relu", "sigmoid"), "binary_cross_entropy", True),
    (("leaky_relu", "identity"), "squared_error", False),
    (("softmax", "tanh"), "mean_half_squared_error", False),
]
every_case = pytest.mark.parametrize(("activations", "loss", "bias"), CASES)


def case(activations, bias):
    network = Network((6, 5, 3), activations, bias)
    parameters, x = smooth_case(network, 8)
    return network, parameters, x, np.eye(3)[np.arange(8) % 3]


@every_case
def test_all_numbers_of_a_step_equal_numpy_in_float64(
    backend, dtype, tolerance, activations, loss, bias
):
    network, parameters, x, y = case(activations, bias)
    # Rounded once, so that both sides start from the same numbers.
    parameters = map_arrays(lambda p: p.astype(dtype).astype("float64"), parameters)
    x = x.astype(dtype).astype("float64")
    wanted = loss_and_gradients(network, get_loss(loss), parameters, x, y)
    compute = backend.jit(
        lambda p, x, y: loss_and_gradients(network, get_loss(loss), p, x, y, xp=backend.xp)
    )
    found = compute(
        backend.layers(parameters, dtype), backend.array(x, dtype), backend.array(y, dtype)
    )
    assert error(found.loss, wanted.loss) <= tolerance
    for got, want in (
        (found.tape.z, wanted.tape.z),
        (found.tape.a, wanted.tape.a),
        (found.gradients.deltas, wanted.gradients.deltas),
    ):
        assert all(error(*pair) <= tolerance for pair in zip(got, want, strict=True))
    assert errors(found.gradients.layers, wanted.gradients.layers) <= tolerance
    for layer in found.gradients.layers:
        assert all(g.dtype == backend.dtype(dtype) for g in layer if g is not None)


@every_case
def test_nothing_that_is_handed_in_is_changed(backend, activations, loss, bias):
    network, parameters, x, y = case(activations, bias)
    layers, inputs, targets = backend.layers(parameters), backend.array(x), backend.array(y)
    tape = forward(network, layers, inputs)
    value, delta = loss_and_delta(
        get_loss(loss), network.activations[-1], tape.z[-1], tape.a[-1], targets, xp=backend.xp
    )
    handed = [*tape.z, *tape.a, delta, value]
    if backend.readonly:
        for array in (*tape.z, *tape.a, delta):
            array.flags.writeable = False
    before = [backend.numpy(array).tobytes() for array in handed]
    backward(network, layers, tape, delta)
    loss_and_gradients(network, get_loss(loss), layers, inputs, targets)
    assert [backend.numpy(array).tobytes() for array in handed] == before
    assert bytes_of(layers) == bytes_of(parameters)
    assert backend.numpy(inputs).tobytes() == x.tobytes()
    assert backend.numpy(targets).tobytes() == y.tobytes()


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5]])
def test_a_scale_multiplies_every_error_and_gradient_and_leaves_the_loss(library, weights):
    network, loss = Network((4, 3, 2), ("gelu", "softmax")), get_loss("cross_entropy")
    start, x = smooth_case(network, 3)
    given = library.layers(start), library.array(x), library.array(np.eye(2)[[0, 1, 1]])
    told = {"sample_weight": weights and library.array(weights), "xp": library.xp}
    plain, scaled = (
        loss_and_gradients(network, loss, *given, loss_scale=scale, **told)
        for scale in (1.0, -0.25)
    )
    assert float(scaled.loss) == float(plain.loss)
    assert [bytes_of([Layer(z, None)]) for z in scaled.tape.z] == [
        bytes_of([Layer(z, None)]) for z in plain.tape.z
    ]
    quarter = [Layer(*(g * -0.25 for g in layer)) for layer in plain.gradients.layers]
    assert bytes_of(scaled.gradients.layers) == bytes_of(quarter)  # a power of 2 is exact
    for delta, wanted in zip(scaled.gradients.deltas, plain.gradients.deltas, strict=True):
        assert error(delta, library.numpy(wanted) * -0.25) == 0.0


def test_the_gradient_of_a_batch_is_the_mean_of_its_samples():
    network, parameters, x, y = case(("tanh", "softmax"), True)
    loss = get_loss("cross_entropy")
    whole = loss_and_gradients(network, loss, parameters, x, y)
    alone = [
        loss_and_gradients(network, loss, parameters, x[i : i + 1], y[i : i + 1]) for i in range(8)
    ]
    layers = [step.gradients.layers for step in alone]
    mean = [
        Layer(*(sum(arrays) / 8 for arrays in zip(*same, strict=True)))
        for same in zip(*layers, strict=True)
    ]
    assert error(whole.loss, sum(step.loss for step in alone) / 8) <= 1e-15
    assert errors(whole.gradients.layers, mean) <= 1e-14
