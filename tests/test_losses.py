"""The losses against independent formulas, central differences and extreme inputs."""

import math

import numpy as np
import pytest
from helpers import DIFFERENCE_TOLERANCE, error, gradient
from hypothesis import given
from hypothesis import strategies as st

from backprop_xp.activations import ACTIVATIONS, IDENTITY, SIGMOID, SOFTMAX, STEP
from backprop_xp.errors import ConfigurationError
from backprop_xp.losses import (
    LOSSES,
    check_pair,
    default_loss,
    get_loss,
    one_hot,
    output_error,
)

CROSS_ENTROPIES = ("binary_cross_entropy", "cross_entropy")
SQUARED = tuple(name for name in LOSSES if name not in CROSS_ENTROPIES)
PAIRS = [
    (loss, activation)
    for loss in LOSSES
    for activation in ACTIVATIONS
    if loss in SQUARED or activation in ("step", "sigmoid", "softmax")
]
FUSED = [("binary_cross_entropy", "sigmoid"), ("cross_entropy", "softmax")]
Z = np.linspace(-2.9, 2.7, 12)[[7, 2, 9, 0, 11, 4, 1, 8, 3, 10, 5, 6]].reshape(3, 4)
Y = np.asarray([[0.1, 0.2, 0.3, 0.4], [0.0, 1.0, 0.0, 0.0], [0.7, 0.1, 0.1, 0.1]])

every_pair = pytest.mark.parametrize(("loss", "activation"), PAIRS)


def plain_loss(loss, a, y):
    """Return the loss of one sample in plain Python, as the textbooks write it."""
    squares = [(p - t) ** 2 for p, t in zip(a, y, strict=True)]
    if loss == "binary_cross_entropy":
        pairs = zip(a, y, strict=True)
        return -math.fsum(t * math.log(p) + (1.0 - t) * math.log(1.0 - p) for p, t in pairs)
    if loss == "cross_entropy":
        return -math.fsum(t * math.log(p) for p, t in zip(a, y, strict=True))
    return {
        "half_squared_error": 0.5 * math.fsum(squares),
        "mean_half_squared_error": 0.5 * math.fsum(squares) / len(a),
        "squared_error": math.fsum(squares),
        "mean_squared_error": math.fsum(squares) / len(a),
    }[loss]


def error_at(loss, activation, z, y, xp=np):
    """Return the loss and dL/dz from the logits."""
    loss, activation = get_loss(loss), ACTIVATIONS[activation]
    return output_error(loss, activation, z, activation.function(z, xp), y, xp=xp)


@every_pair
def test_the_error_at_the_output_is_the_derivative_of_the_loss(loss, activation):
    _, delta = error_at(loss, activation, Z, Y)
    numeric = gradient(lambda z: float(error_at(loss, activation, z, Y)[0]), Z)
    assert error(delta, numeric, size=1.0) <= DIFFERENCE_TOLERANCE


@pytest.mark.parametrize(("loss", "activation"), [pair for pair in PAIRS if pair[1] != "step"])
def test_the_value_is_the_mean_of_the_textbook_formula(backend, dtype, tolerance, loss, activation):
    compute = backend.jit(lambda z, y: error_at(loss, activation, z, y, backend.xp))
    value, delta = compute(backend.array(Z, dtype), backend.array(Y, dtype))
    outputs = ACTIVATIONS[activation].function(Z, np).tolist()
    if loss in CROSS_ENTROPIES:
        assert np.all((np.asarray(outputs) > 0.0) & (np.asarray(outputs) < 1.0))
    samples = [plain_loss(loss, a, y) for a, y in zip(outputs, Y.tolist(), strict=True)]
    assert value.shape == ()
    assert value.dtype == delta.dtype == backend.dtype(dtype)
    assert error(value, math.fsum(samples) / 3) <= tolerance
    assert error(delta, error_at(loss, activation, Z, Y)[1]) <= tolerance


@pytest.mark.parametrize(("loss", "activation"), FUSED)
def test_the_fused_form_equals_the_product_of_derivatives(
    backend, dtype, tolerance, loss, activation
):
    activation, fused = ACTIVATIONS[activation], LOSSES[loss]
    apart = fused._replace(fused={})
    z, y = backend.array(Z, dtype), backend.array(Y, dtype)
    a = activation.function(z, backend.xp)
    one = output_error(fused, activation, z, a, y, xp=backend.xp)
    other = output_error(apart, activation, z, a, y, xp=backend.xp)
    assert activation.name in fused.fused
    assert error(one[0], other[0]) <= tolerance
    assert error(one[1], other[1]) <= tolerance


@pytest.mark.parametrize("kind", ["", "mean_"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_without_the_half_loss_and_gradient_are_exactly_twice_as_large(backend, kind, activation):
    z, y = backend.array(Z), backend.array(Y)
    whole, whole_delta = error_at(f"{kind}squared_error", activation, z, y, backend.xp)
    half, half_delta = error_at(f"{kind}half_squared_error", activation, z, y, backend.xp)
    assert backend.numpy(whole).tobytes() == (2.0 * backend.numpy(half)).tobytes()
    assert backend.numpy(whole_delta).tobytes() == (2.0 * backend.numpy(half_delta)).tobytes()


@pytest.mark.parametrize(
    ("loss", "value", "delta"),
    [  # two samples with Σ_j (a_j - y_j)² = 5 and 25
        ("half_squared_error", (2.5 + 12.5) / 2, [[0.5, 1.0], [1.5, 2.0]]),
        ("mean_half_squared_error", (1.25 + 6.25) / 2, [[0.25, 0.5], [0.75, 1.0]]),
        ("squared_error", (5.0 + 25.0) / 2, [[1.0, 2.0], [3.0, 4.0]]),
        ("mean_squared_error", (2.5 + 12.5) / 2, [[0.5, 1.0], [1.5, 2.0]]),
    ],
)
def test_squared_errors_by_hand(backend, dtype, loss, value, delta):
    a = backend.array([[1.0, 2.0], [3.0, 4.0]], dtype)
    y = backend.array(np.zeros((2, 2)), dtype)
    found = output_error(get_loss(loss), IDENTITY, a, a, y, xp=backend.xp)
    assert float(found[0]) == value
    assert backend.numpy(found[1]).tolist() == delta


@pytest.mark.parametrize("loss", SQUARED)
def test_only_the_mean_conventions_divide_by_the_number_of_outputs(loss):
    once = error_at(loss, "identity", Z, Y)
    twice = error_at(loss, "identity", np.tile(Z, (1, 2)), np.tile(Y, (1, 2)))
    factor = 1.0 if loss.startswith("mean_") else 2.0
    assert error(twice[0], factor * once[0]) <= 1e-15
    assert error(twice[1], np.tile(once[1], (1, 2)) * factor / 2.0) <= 1e-15


def test_cross_entropies_by_hand(backend, dtype, tolerance):
    logits = backend.array([[math.log(3.0), -math.log(3.0)]], dtype)  # outputs 3/4 and 1/4
    y = backend.array([[1.0, 0.0]], dtype)
    value, delta = error_at("binary_cross_entropy", "sigmoid", logits, y, backend.xp)
    assert error(value, 2.0 * math.log(4.0 / 3.0)) <= tolerance
    assert error(delta, [[-0.25, 0.25]]) <= tolerance
    logits = backend.array([[0.0, math.log(3.0)]], dtype)  # outputs 1/4 and 3/4
    value, delta = error_at("cross_entropy", "softmax", logits, y, backend.xp)
    assert error(value, math.log(4.0)) <= tolerance
    assert error(delta, [[-0.75, 0.75]]) <= tolerance


@pytest.mark.parametrize("size", [1e3, 1e4])
def test_confident_logits_give_finite_losses_that_grow_with_them(backend, dtype, tolerance, size):
    z = backend.array([[size, -size]], dtype)
    right, wrong = backend.array([[1.0, 0.0]], dtype), backend.array([[0.0, 1.0]], dtype)
    for loss, activation in FUSED:
        compute = backend.jit(
            lambda z, y, pair=(loss, activation): error_at(*pair, z, y, backend.xp)
        )
        value, delta = compute(z, right)
        assert (float(value), backend.numpy(delta).tolist()) == (0.0, [[0.0, 0.0]])
        value, delta = compute(z, wrong)
        assert error(value, 2.0 * size) <= tolerance
        assert error(delta, [[1.0, -1.0]]) <= tolerance


@every_pair
def test_confident_logits_are_finite_for_every_pair(backend, dtype, loss, activation):
    z = backend.array([[1e3, -1e3], [-1e3, 1e3]], dtype)
    for y in ([[1.0, 0.0]] * 2, [[0.0, 1.0]] * 2, [[0.5, 0.5]] * 2):
        value, delta = error_at(loss, activation, z, backend.array(y, dtype), backend.xp)
        assert math.isfinite(float(value))
        assert np.all(np.isfinite(backend.numpy(delta)))


@pytest.mark.parametrize("loss", CROSS_ENTROPIES)
def test_outputs_of_exactly_0_and_1_give_finite_losses(backend, dtype, tolerance, loss):
    a = backend.array([[0.0, 1.0, 0.0, 1.0]], dtype)
    y = backend.array([[0.0, 1.0, 1.0, 0.0]], dtype)
    terms, da = (
        backend.numpy(x)
        for x in backend.jit(lambda a, y: LOSSES[loss].from_outputs(a, y, backend.xp))(a, y)
    )
    assert np.all(np.isfinite(da))
    assert np.all(np.abs(terms[:, :2]) <= tolerance)  # right answers cost nothing
    assert error(terms[:, 2], [-math.log(1e-12)]) <= tolerance
    assert da[0, 2] < -1e11  # and a wrong 0 is pulled up
    if loss == "binary_cross_entropy":
        assert error(terms[:, 3], [-math.log(1e-12)]) <= tolerance
        assert da[0, 3] > 1e11


@pytest.mark.parametrize("activation", ["identity", "tanh", "relu", "leaky_relu"])
@pytest.mark.parametrize("loss", CROSS_ENTROPIES)
def test_losses_of_probabilities_refuse_outputs_that_are_none(loss, activation):
    with pytest.raises(ConfigurationError, match="needs outputs between 0 and 1") as failure:
        check_pair(LOSSES[loss], ACTIVATIONS[activation])
    assert loss in failure.value.message
    assert activation in failure.value.message
    assert "'sigmoid' or 'softmax'" in failure.value.hint


@every_pair
def test_all_other_pairs_are_allowed(loss, activation):
    assert check_pair(LOSSES[loss], ACTIVATIONS[activation]) is None


@every_pair
@given(n=st.integers(1, 40))
def test_the_mean_does_not_depend_on_the_size_of_the_batch(loss, activation, n):
    value, delta = error_at(loss, activation, Z[:1], Y[:1])
    many, deltas = error_at(loss, activation, np.repeat(Z[:1], n, 0), np.repeat(Y[:1], n, 0))
    assert error(many, value) <= 1e-14
    assert error(deltas * n, np.repeat(delta, n, 0)) <= 1e-14


@every_pair
def test_inputs_are_not_changed(backend, loss, activation):
    z, y = backend.array(Z), backend.array(Y)
    a = ACTIVATIONS[activation].function(z, backend.xp)
    if backend.readonly:
        a.flags.writeable = False
    before = backend.numpy(a).copy()
    output_error(LOSSES[loss], ACTIVATIONS[activation], z, a, y, xp=backend.xp)
    LOSSES[loss].from_outputs(a, y, backend.xp)
    assert backend.numpy(z).tobytes() == Z.tobytes()
    assert backend.numpy(y).tobytes() == Y.tobytes()
    assert backend.numpy(a).tobytes() == before.tobytes()


def test_one_hot_puts_a_1_at_each_label(backend, dtype):
    labels = backend.array([2, 0, 1, 2], "index")
    rows = one_hot(labels, 3, dtype=backend.dtype(dtype), xp=backend.xp)
    assert rows.dtype == backend.dtype(dtype)
    assert backend.numpy(rows).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_one_hot_never_wraps_a_label_out_of_range(backend):
    labels = backend.array([3, -1], "index")
    rows = one_hot(labels, 3, dtype=backend.dtype("float64"), xp=backend.xp)
    assert backend.numpy(rows).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_each_output_activation_has_its_loss():
    assert {name: default_loss(f).name for name, f in ACTIVATIONS.items()} == {
        **dict.fromkeys(ACTIVATIONS, "half_squared_error"),
        "sigmoid": "binary_cross_entropy",
        "softmax": "cross_entropy",
    }
    for activation in (STEP, SIGMOID, SOFTMAX, IDENTITY):
        check_pair(default_loss(activation), activation)


def test_a_loss_is_found_by_name_and_a_record_is_taken_as_it_is():
    own = LOSSES["squared_error"]._replace(name="mine")
    assert get_loss(own) is own
    assert get_loss("squared_error") is LOSSES["squared_error"]


def test_an_unknown_loss_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match="unknown loss 'cross_entrpy'") as failure:
        get_loss("cross_entrpy")
    assert "did you mean 'cross_entropy'?" in failure.value.hint
