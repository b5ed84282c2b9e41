"""The gradient check accepts correct gradients and finds the entry where one is wrong."""

import numpy as np
import pytest
from helpers import smooth_case

from backprop_xp import ConfigurationError, Layer, Network, check_gradients
from backprop_xp.nn import gradient_check
from backprop_xp.nn.activations import elementwise, get_activation
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.regularizers import Penalty, add_penalty

RIGHT, WRONG = 1e-8, 1e-4


def case(network, loss):
    """Return the arguments of a check, with targets that every loss takes: probabilities."""
    parameters, x = smooth_case(network)
    y = np.random.default_rng(0).dirichlet(np.ones(network.sizes[-1]), len(x))
    return network, get_loss(loss), parameters, x, y


@pytest.mark.parametrize(
    ("sizes", "activations", "loss", "bias"),
    [
        ((3, 2), "identity", "squared_error", True),
        ((3, 2), "softmax", "cross_entropy", False),
        ((4, 3, 2), ("relu", "sigmoid"), "binary_cross_entropy", True),
        ((4, 5, 3, 2), ("tanh", "leaky_relu", "softmax"), "cross_entropy", True),
        ((2, 3, 3), ("softmax", "softmax"), "mean_squared_error", True),
        ((1, 1, 1, 1, 1), "tanh", "half_squared_error", False),
        ((2, 3, 2), ("step", "identity"), "mean_half_squared_error", True),
    ],
)
def test_right_gradients_are_found_right(sizes, activations, loss, bias):
    found = check_gradients(*case(Network(sizes, activations, bias), loss))
    assert 0 < found.error < RIGHT
    assert found.analytic == pytest.approx(found.numeric, abs=RIGHT)


def swish(slope_is_right):
    """Return a custom activation, z σ(z), with a correct or a wrong derivative."""

    def derivative(z, a, xp):
        s = 1 / (1 + xp.exp(-z))
        return s + a * (1 - s) if slope_is_right else s

    return elementwise("swish", lambda z, xp: z / (1 + xp.exp(-z)), derivative)


def test_an_activation_of_ones_own_is_checked_like_any_other():
    network = Network((3, 4, 2), (swish(True), "softmax"))
    assert check_gradients(*case(network, "cross_entropy")).error < RIGHT


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_wrong_derivative_is_found_in_the_layer_that_has_it_or_before(place):
    functions = [get_activation("tanh")] * 3
    functions[place] = swish(False)
    found = check_gradients(*case(Network((3, 4, 3, 2), functions), "squared_error"))
    assert found.error > WRONG
    assert found.analytic != pytest.approx(found.numeric, abs=WRONG)
    layer = int(found.where.split()[1])
    assert layer <= place + 1, "behind the wrong derivative the gradients are right"


def planted(kind, entry):
    """Return arguments of a check whose loss hides one parameter from backpropagation's view.

    The network has a single layer; the output's activation says that it ignores one neuron.
    """

    def derivative(z, a, xp):
        slope = xp.ones_like(z)
        slope[:, entry[0]] = 0.0
        return slope

    network = Network((2, 3), elementwise("blind", lambda z, xp: z * 1.0, derivative))
    parameters = [Layer(np.asarray([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]), np.zeros(3))]
    x = np.zeros((1, 2))
    if kind == "weights":
        x[0, entry[1]] = 2.0  # the gradient of this weight is twice that of the bias
    return network, get_loss("half_squared_error"), parameters, x, np.full((1, 3), -1.0)


@pytest.mark.parametrize(
    ("kind", "entry"), [("weights", [0, 1]), ("weights", [2, 0]), ("bias", [1]), ("bias", [2])]
)
def test_the_entry_that_differs_most_is_named(kind, entry):
    found = check_gradients(*planted(kind, entry))
    assert found.where == f"layer 1 {kind}{entry}"
    assert found.analytic == 0.0
    assert found.numeric > 0.9


REGULARIZERS = {
    "l1": {"penalty": Penalty(l1=0.3)},
    "l2": {"penalty": Penalty(l2=0.3)},
    "penalised biases": {"penalty": Penalty(0.2, 0.3, biases=True)},
    "weights": {"sample_weight": np.asarray([0.5, 2.0, 1.0])},
    "dropout": {
        "dropout_masks": [None, np.asarray([[0.0, 2.0, 2.0, 2.0], [2.0] * 4, [2.0, 0.0] * 2])]
    },
}


@pytest.mark.parametrize("told", REGULARIZERS.values(), ids=REGULARIZERS)
def test_right_gradients_are_found_right_under_every_regularizer(told):
    arguments = case(Network((3, 4, 2), ("tanh", "softmax")), "cross_entropy")
    plain, found = check_gradients(*arguments), check_gradients(*arguments, **told)
    assert 0 < found.error < RIGHT
    assert found.numeric != plain.numeric


def test_a_penalty_with_a_wrong_gradient_is_found(monkeypatch):
    def doubled(penalty, gradients, parameters, *, xp):
        return add_penalty(penalty._replace(l2=2 * penalty.l2), gradients, parameters, xp=xp)

    monkeypatch.setattr(gradient_check, "add_penalty", doubled)
    arguments = case(Network((3, 4, 2), ("tanh", "softmax")), "cross_entropy")
    found = check_gradients(*arguments, penalty=Penalty(l2=0.3))
    assert found.error > WRONG
    assert "weights" in found.where


def test_a_gradient_that_is_not_a_number_is_the_worst():
    nan = elementwise("nan", lambda z, xp: z * 1.0, lambda z, a, xp: z * np.nan)
    found = check_gradients(*case(Network((2, 2), nan), "squared_error"))
    assert np.isnan(found.error)
    assert found.where.startswith("layer 1 ")


def test_nothing_that_was_handed_in_is_changed():
    network, loss, parameters, x, y = case(Network((3, 4, 2), ("relu", "softmax")), "cross_entropy")
    before = [p.copy() for layer in parameters for p in layer], x.copy(), y.copy()
    for array in (x, y, *(p for layer in parameters for p in layer)):
        array.flags.writeable = False
    assert check_gradients(network, loss, parameters, x, y).error < RIGHT
    after = [p for layer in parameters for p in layer], x, y
    assert np.array_equal(
        np.concatenate([p.ravel() for p in before[0]]),
        np.concatenate([p.ravel() for p in after[0]]),
    )
    assert np.array_equal(before[1], after[1])
    assert np.array_equal(before[2], after[2])


def test_every_library_finds_the_same(library):
    network = Network((3, 4, 2), ("tanh", "softmax"))
    _, loss, parameters, x, y = case(network, "cross_entropy")
    found = check_gradients(
        network, loss, library.layers(parameters), library.array(x), library.array(y)
    )
    assert found.error < RIGHT


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((3, 4, 2), "1 layers of weights for a network of 2"),
        ((2, 2), r"weights of layer 1 have the shape \(2, 3\), not \(2, 2\)"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(sizes, message):
    parameters, x, y = [Layer(np.ones((2, 3)), np.zeros(2))], np.ones((1, 3)), np.ones((1, 2))
    with pytest.raises(ConfigurationError, match=message):
        check_gradients(Network(sizes, "tanh"), get_loss("squared_error"), parameters, x, y)
