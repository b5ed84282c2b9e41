"""The network: its description, and the checks of its parameters."""

import numpy as np
import pytest

from backprop_xp.errors import ConfigurationError
from backprop_xp.nn.activations import TANH
from backprop_xp.nn.network import Layer, Network, check_parameters, initial_parameters

# --- the description -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "count"), [((784, 30, 10), 23_860), ((784, 15, 10), 11_935), ((3, 2), 8)]
)
def test_weights_and_biases_are_counted(sizes, count):
    network = Network(sizes, "sigmoid")
    drawn = initial_parameters(network, 0, xp=np, dtype=np.float32)
    assert network.n_parameters == count == sum(p.size for layer in drawn for p in layer)


def test_without_biases_only_the_weights_are_counted():
    assert Network((4, 5, 5, 2), "sigmoid", bias=False).n_parameters == 20 + 25 + 10


def test_one_activation_stands_for_all_layers_and_several_for_one_each():
    assert Network((2, 3, 4), "tanh").activations == (TANH, TANH)
    names = [f.name for f in Network((2, 3, 4), ["sigmoid", "relu"]).activations]
    assert names == ["sigmoid", "relu"]


def test_equal_descriptions_are_equal_and_may_be_keys():
    assert {Network([2, 3], "tanh"): 1}[Network((2, 3), ("tanh",))] == 1
    assert Network((2, 3), "tanh") != Network((2, 3), "tanh", bias=False)


@pytest.mark.parametrize("sizes", [(), (3,)])
def test_a_network_needs_a_layer_of_weights(sizes):
    with pytest.raises(ConfigurationError, match="no layer of weights"):
        Network(sizes, "tanh")


@pytest.mark.parametrize("size", [0, -1, 2.0, "2", True, None])
def test_a_size_that_is_no_positive_integer_is_named(size):
    with pytest.raises(ConfigurationError, match=f"layer 1 has the size {size!r}"):
        Network((2, size, 3), "tanh")


@pytest.mark.parametrize("activations", [(), ("tanh",), ("tanh",) * 3])
def test_the_number_of_activations_must_be_that_of_the_layers(activations):
    with pytest.raises(ConfigurationError, match=f"{len(activations)} activations .* 2 layers"):
        Network((2, 3, 1), activations)


def test_an_unknown_activation_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match="unknown activation 'tahn'") as failure:
        Network((2, 3, 1), ("tahn", "relu"))
    assert "did you mean 'tanh'?" in failure.value.hint


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([], "0 layers of weights for a network of 2"),
        ([((3, 2), (3,))], "1 layers of weights for a network of 2"),
        (
            [((2, 3), (3,)), ((1, 3), (1,))],
            r"weights of layer 1 have the shape \(2, 3\), not \(3, 2\)",
        ),
        (
            [((3, 2), (3,)), ((1, 3), (2,))],
            r"bias of layer 2 has the shape \(2,\), not \(1,\)",
        ),
        ([((3, 2), (3,)), ((1, 3), None)], r"bias of layer 2 has the shape None, not \(1,\)"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_by_their_layer(parameters, message):
    layers = [
        Layer(np.zeros(weights), None if bias is None else np.zeros(bias))
        for weights, bias in parameters
    ]
    with pytest.raises(ConfigurationError, match=message):
        check_parameters(Network((2, 3, 1), "tanh"), layers)


def test_a_bias_where_the_network_has_none_is_refused():
    with pytest.raises(ConfigurationError, match=r"has the shape \(1,\), not None"):
        check_parameters(
            Network((2, 1), "tanh", bias=False), [Layer(np.zeros((1, 2)), np.zeros(1))]
        )


def test_it_is_shown_by_its_sizes_and_activations():
    assert repr(Network((784, 30, 10), ("sigmoid", "softmax"))) == (
        "Network(784-30-10, sigmoid, softmax)"
    )
    assert repr(Network((2, 1), "tanh", bias=False)) == "Network(2-1, tanh, without biases)"
