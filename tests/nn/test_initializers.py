"""The initial weights: their distributions, and that a seed gives the same bits everywhere."""

import math

import numpy as np
import pytest
from helpers import bytes_of, entry

from backprop_xp.backend import random
from backprop_xp.errors import ConfigurationError
from backprop_xp.nn.activations import ACTIVATIONS
from backprop_xp.nn.initializers import (
    INITIALIZERS,
    get_initializer,
    initializer_for,
)
from backprop_xp.nn.network import Layer, Network, initial_parameters
from backprop_xp.training.fit import fit

N_IN, N_OUT = 500, 400  # 200,000 weights: a sample variance is within 2 % at more than 4 sigma

VARIANCE = {
    "standard_normal": 1.0,
    "scaled_normal": 1.0 / N_IN,
    "glorot_normal": 2.0 / (N_IN + N_OUT),
    "glorot_uniform": 2.0 / (N_IN + N_OUT),
    "he_normal": 2.0 / N_IN,
    "he_uniform": 2.0 / N_IN,
    "lecun_normal": 1.0 / N_IN,
    "lecun_uniform": 1.0 / N_IN,
}
STANDARD_BIASES = ("standard_normal", "scaled_normal")

named = pytest.mark.parametrize("name", [name for name in INITIALIZERS if name != "zeros"])


def rng(seed):
    return random.generator(seed, random.INITIAL_WEIGHTS)


def variance(name):
    return entry(VARIANCE, name, "VARIANCE in tests/nn/test_initializers.py")


def test_the_registry_holds_the_distributions_and_zeros():
    assert set(INITIALIZERS) >= {"zeros", *VARIANCE}
    assert all(name == f.name for name, f in INITIALIZERS.items())


@named
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_variance_is_the_stated_one(name, seed):
    weights = INITIALIZERS[name].weights(rng(seed), N_OUT, N_IN)
    assert weights.shape == (N_OUT, N_IN)
    assert abs(weights.var() / variance(name) - 1.0) <= 0.02
    assert abs(weights.mean()) <= 5.0 * math.sqrt(variance(name) / weights.size)


@named
def test_uniform_draws_are_bounded_and_normal_ones_are_not(name):
    bound = math.sqrt(3.0 * variance(name))
    beyond = np.mean(np.abs(INITIALIZERS[name].weights(rng(0), N_OUT, N_IN)) > bound)
    if "uniform" in name:
        assert beyond == 0.0
    else:
        assert 0.07 < beyond < 0.1  # 8.3 % of a normal distribution lie beyond √3 sigma


@named
def test_biases_are_zeros_or_standard_normal(name):
    bias = INITIALIZERS[name].bias(rng(0), N_IN * N_OUT)
    assert bias.shape == (N_IN * N_OUT,)
    if name in STANDARD_BIASES:
        assert abs(bias.var() - 1.0) <= 0.02
    elif name in VARIANCE:
        assert np.all(bias == 0.0)


def test_zeros_are_zeros():
    zeros = INITIALIZERS["zeros"]
    assert zeros.weights(rng(0), 3, 2).tolist() == [[0.0, 0.0]] * 3
    assert zeros.bias(rng(0), 3).tolist() == [0.0] * 3


@pytest.mark.parametrize("name", ["auto", *INITIALIZERS])
def test_a_seed_gives_the_same_bits_on_every_backend(backend, dtype, name):
    network = Network((5, 4, 3), ("relu", "softmax"))
    wanted = initial_parameters(network, 7, name, xp=np, dtype=getattr(np, dtype))
    drawn = initial_parameters(
        network,
        7,
        name,
        xp=backend.xp,
        dtype=backend.dtype(dtype),
        device=backend.placement.device,
    )
    assert all(p.dtype == backend.dtype(dtype) for layer in drawn for p in layer)
    assert bytes_of(drawn) == bytes_of(wanted)


def test_float32_weights_are_the_float64_ones_rounded():
    network = Network((5, 4, 3), "tanh")
    single, double = (
        initial_parameters(network, 1, "standard_normal", xp=np, dtype=dtype)
        for dtype in (np.float32, np.float64)
    )
    rounded = [Layer(*(p.astype(np.float32) for p in layer)) for layer in double]
    assert bytes_of(single) == bytes_of(rounded)


def test_another_seed_gives_other_weights():
    network = Network((5, 4), "tanh")
    one, other = (initial_parameters(network, s, xp=np, dtype=np.float64) for s in (0, 1))
    assert np.all(one[0].weights != other[0].weights)


def test_a_network_without_biases_is_given_none():
    network = Network((5, 4, 3), "tanh", bias=False)
    layers = initial_parameters(network, 0, "standard_normal", xp=np, dtype=np.float64)
    assert [layer.bias for layer in layers] == [None, None]


def test_auto_takes_he_for_relu_and_its_relatives_and_glorot_for_all_others():
    taken = {name: initializer_for(f).name for name, f in ACTIVATIONS.items()}
    for name in ("relu", "leaky_relu", "elu", "gelu", "silu", "softplus"):
        assert taken[name] == "he_normal"
    for name in ("step", "identity", "sigmoid", "tanh", "softmax"):
        assert taken[name] == "glorot_uniform"


def test_auto_chooses_for_each_layer():
    network = Network((500, 400, 300), ("relu", "softmax"))
    first, second = initial_parameters(network, 0, xp=np, dtype=np.float64)
    assert abs(first.weights.var() / (2.0 / 500) - 1.0) <= 0.02
    assert abs(second.weights.var() / (2.0 / (400 + 300)) - 1.0) <= 0.02
    assert np.max(np.abs(second.weights)) <= math.sqrt(6.0 / (400 + 300))


def test_explicit_weights_are_used_and_copied(library):
    network = Network((2, 3), "softmax")
    given = [Layer(library.array(np.arange(6.0).reshape(3, 2)), library.array([7.0, 8.0, 9.0]))]
    before = bytes_of(given)
    data = library.array(np.eye(2)), library.array([0, 1], "index")
    untrained = fit(network, data, parameters=given, epochs=0, batch_size=2, seed=0)
    trained = fit(network, data, parameters=given, epochs=2, batch_size=2, seed=0)
    assert bytes_of(untrained.parameters) == before
    assert bytes_of(trained.parameters) != before
    assert bytes_of(given) == before


def test_an_initializer_is_found_by_name_and_a_record_is_taken_as_it_is():
    own = INITIALIZERS["he_normal"]._replace(name="mine")
    assert get_initializer(own) is own
    assert get_initializer("he_normal") is INITIALIZERS["he_normal"]


def test_an_unknown_initializer_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match="unknown initializer 'he_norm'") as failure:
        get_initializer("he_norm")
    assert "did you mean 'he_normal'?" in failure.value.hint
    assert "auto" in failure.value.hint
