"""Counter-based randomness and dropout masks: the same on every backend, and unbiased."""

import numpy as np
import pytest
from helpers import bytes_of, error, gradient

from backprop_xp.backend import random
from backprop_xp.errors import ConfigurationError
from backprop_xp.nn.backpropagation import forward, loss_and_gradients
from backprop_xp.nn.dropout import dropout_mask
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Network, initial_parameters
from backprop_xp.training.fit import fit

KEY = random.key_of(7, random.DROPOUT)


# Salmon and others (2011): the known answers of Threefry-2x32-20 in the authors' own test file.
@pytest.mark.parametrize(
    ("key", "counters", "words"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((-1, -1), (-1, -1), (0x1CB996FC, 0xBB002BE7)),
        (
            (0x13198A2E, 0x03707344),
            (0x243F6A88, 0x85A308D3 - (1 << 32)),
            (0xC4923A9C, 0x483DF7A0),
        ),
    ],
)
def test_threefry_gives_the_known_answers_of_its_authors(key, counters, words):
    a, b = (np.asarray([counter], dtype=np.int32) for counter in counters)
    got = random._threefry(key, a, b)
    assert [int(word[0]) & 0xFFFFFFFF for word in got] == list(words)


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_bits_are_the_same_on_every_backend(backend, n):
    xp, device = backend.xp, backend.placement.device
    got = backend.jit(lambda step: random.bits(KEY, n, step, xp=xp, device=device))(5)
    wanted = random.bits(KEY, n, 5, xp=np)
    assert backend.numpy(got).tobytes() == wanted.tobytes()
    assert wanted.shape == (n,)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.9])
def test_masks_are_the_same_on_every_backend(backend, dtype, rate):
    def mask(step):
        return dropout_mask(
            (13, 11),
            rate,
            KEY,
            step,
            xp=backend.xp,
            dtype=backend.dtype(dtype),
            device=backend.placement.device,
        )

    wanted = dropout_mask((13, 11), rate, KEY, 3, xp=np, dtype=np.dtype(dtype))
    assert backend.numpy(backend.jit(mask)(3)).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.75])
def test_a_mask_drops_its_share_and_keeps_the_expected_value(rate):
    mask = dropout_mask((1000, 500), rate, KEY, 1, xp=np, dtype=np.float64)
    spread = np.sqrt(rate * (1.0 - rate) / mask.size)
    assert abs(np.mean(mask == 0.0) - rate) < 4.0 * spread
    assert abs(mask.mean() - 1.0) < 4.0 * spread / (1.0 - rate)
    assert set(np.unique(mask)) == {0.0, 1.0 / (1.0 - rate)}


def test_masks_differ_between_steps_layers_and_seeds():
    def mask(seed=0, layer=1, step=0):
        key = random.key_of(seed, random.DROPOUT, layer)
        return dropout_mask((8, 8), 0.5, key, step, xp=np, dtype=np.float64).tobytes()

    assert len({mask(), mask(seed=1), mask(layer=2), mask(step=1)}) == 4
    assert mask() == mask()


def test_gradients_pass_only_through_the_units_that_were_kept():
    network = Network((3, 5, 4, 2), ("tanh", "sigmoid", "softmax"))
    parameters = initial_parameters(network, 0, "scaled_normal", xp=np, dtype=np.float64)
    x, y = np.random.default_rng(0).normal(size=(6, 3)), np.eye(2)[[0, 1, 1, 0, 1, 0]]
    masks = [
        None,
        *(dropout_mask((6, n), 0.5, KEY, n, xp=np, dtype=np.float64) for n in network.sizes[1:3]),
    ]
    loss = get_loss("cross_entropy")
    step = loss_and_gradients(network, loss, parameters, x, y, dropout_masks=masks)
    for place, layer in enumerate(step.gradients.layers):
        for kind in ("weights", "bias"):

            def value(p, place=place, kind=kind):
                changed = [*parameters]
                changed[place] = changed[place]._replace(**{kind: p})
                return float(
                    loss_and_gradients(network, loss, changed, x, y, dropout_masks=masks).loss
                )

            numeric = gradient(value, getattr(parameters[place], kind))
            assert error(getattr(layer, kind), numeric, size=1.0) < 1e-10


def test_a_mask_is_on_the_tape_with_what_each_layer_was_fed():
    network = Network((2, 3, 1), ("tanh", "identity"))
    parameters = initial_parameters(network, 0, xp=np, dtype=np.float64)
    mask = np.asarray([[0.0, 2.0, 2.0]])
    tape = forward(network, parameters, np.ones((1, 2)), dropout_masks=[None, mask])
    assert tape.inputs[0] is tape.a[0]
    assert np.array_equal(tape.inputs[1], tape.a[1] * mask)
    assert np.array_equal(tape.z[1], tape.inputs[1] @ parameters[1].weights.T + parameters[1].bias)


X = np.random.default_rng(1).normal(size=(40, 4))
LABELS = (X[:, 0] > 0).astype(int)


def run(**settings):
    network = Network((4, 8, 6, 2), ("relu", "relu", "softmax"))
    return fit(network, (X, LABELS), epochs=3, batch_size=8, seed=0, **settings)


def test_dropout_of_rate_0_is_the_identity():
    assert bytes_of(run(dropout=0.0).parameters) == bytes_of(run().parameters)
    assert bytes_of(run(dropout=0.5).parameters) != bytes_of(run().parameters)


def test_training_with_dropout_is_the_same_everywhere(library):
    wanted = run(dropout=(0.5, 0.25), dtype="float64")
    got = run(dropout=(0.5, 0.25), dtype="float64", device=library.placement)
    for one, other in zip(got.parameters, wanted.parameters, strict=True):
        assert error(one.weights, other.weights) < 1e-12


def test_a_training_with_dropout_goes_on_as_if_it_had_never_stopped():
    network = Network((4, 8, 2), ("relu", "softmax"))
    told = {"seed": 0, "batch_size": 8, "dropout": 0.5}
    whole = fit(network, (X, LABELS), epochs=4, **told)
    half = fit(network, (X, LABELS), epochs=2, **told)
    assert bytes_of(fit(network, (X, LABELS), state=half, epochs=4, **told).parameters) == (
        bytes_of(whole.parameters)
    )


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan"), "a", True])
def test_a_rate_that_is_no_probability_is_refused(rate):
    with pytest.raises(ConfigurationError, match="dropout rate"):
        run(dropout=(rate,))


def test_a_wrong_number_of_rates_is_refused():
    with pytest.raises(ConfigurationError, match="3 dropout rates were given for 2 hidden layers"):
        run(dropout=(0.1, 0.2, 0.3))
