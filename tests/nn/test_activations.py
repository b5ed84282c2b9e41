"""The activations against independent formulas, central differences and extreme inputs."""

import math

import numpy as np
import pytest
from helpers import DIFFERENCE_TOLERANCE, away_from_kinks, difference, entry, error, kink_near
from hypothesis import assume, given
from hypothesis import strategies as st

from backprop_xp.errors import ConfigurationError
from backprop_xp.nn.activations import (
    ACTIVATIONS,
    IDENTITY,
    SOFTMAX,
    Activation,
    elementwise,
    elu,
    get_activation,
    leaky_relu,
    softmax_jacobian,
)


def logistic(z):
    return 1.0 / (1.0 + math.exp(-z))


def hyperbolic(z):
    """Return the tanh of the approximation of GELU, as its paper writes it."""
    return math.tanh(math.sqrt(2.0 / math.pi) * (z + 0.044715 * z**3))


# f and f' of one number, written independently of the package.
REFERENCE = {
    "step": (lambda z: float(z > 0), lambda z: 0.0),
    "identity": (lambda z: z, lambda z: 1.0),
    "sigmoid": (logistic, lambda z: math.exp(-z) * logistic(z) ** 2),
    "tanh": (
        lambda z: (math.exp(z) - math.exp(-z)) / (math.exp(z) + math.exp(-z)),
        lambda z: 1.0 / math.cosh(z) ** 2,
    ),
    "relu": (lambda z: z if z > 0 else 0.0, lambda z: float(z > 0)),
    "leaky_relu": (lambda z: z if z > 0 else 0.01 * z, lambda z: 1.0 if z > 0 else 0.01),
    "elu": (
        lambda z: z if z > 0 else math.exp(z) - 1.0,
        lambda z: 1.0 if z > 0 else math.exp(z),
    ),
    "gelu": (
        lambda z: 0.5 * z * (1.0 + hyperbolic(z)),
        lambda z: (
            0.5 * (1.0 + hyperbolic(z))
            + 0.5
            * z
            * (1.0 - hyperbolic(z) ** 2)
            * math.sqrt(2.0 / math.pi)
            * (1.0 + 3.0 * 0.044715 * z**2)
        ),
    ),
    "silu": (
        lambda z: z / (1.0 + math.exp(-z)),
        lambda z: (1.0 + math.exp(-z) + z * math.exp(-z)) / (1.0 + math.exp(-z)) ** 2,
    ),
    "softplus": (lambda z: math.log(1.0 + math.exp(z)), logistic),
}
ELEMENTWISE = [f for f in ACTIVATIONS.values() if f.derivative is not None]
Z = np.linspace(-4.0, 4.0, 24).reshape(4, 6)

elementwise_ones = pytest.mark.parametrize("activation", ELEMENTWISE, ids=lambda f: f.name)
every_one = pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=lambda f: f.name)


def jacobian(activation, z):
    """Return ``J[i, j] = da_i/dz_j`` of one row of inputs by central differences."""
    columns = [
        difference(lambda t, unit=unit: activation.forward((z + t * unit)[None, :], np)[0])
        for unit in np.eye(z.size)
    ]
    return np.stack(columns, axis=1)


def test_the_registry_holds_the_elementwise_activations_and_softmax():
    assert {f.name for f in ELEMENTWISE} >= set(REFERENCE)
    assert SOFTMAX.derivative is None
    assert all(name == f.name for name, f in ACTIVATIONS.items())


@elementwise_ones
def test_values_and_slopes_equal_the_formulas(backend, dtype, tolerance, activation):
    function, derivative = entry(
        REFERENCE, activation.name, "REFERENCE in tests/nn/test_activations.py"
    )

    def both(z):
        a = activation.forward(z, backend.xp)
        return a, activation.derivative(z, a, backend.xp)

    a, slope = backend.jit(both)(backend.array(Z, dtype))
    assert a.dtype == slope.dtype == backend.dtype(dtype)
    assert error(a, np.vectorize(function)(Z)) <= tolerance
    assert error(slope, np.vectorize(derivative)(Z)) <= tolerance


def test_softmax_equals_the_formula(backend, dtype, tolerance):
    a = backend.jit(lambda z: SOFTMAX.forward(z, backend.xp))(backend.array(Z, dtype))
    powers = [[math.exp(z) for z in row] for row in Z.tolist()]
    assert error(a, [[p / math.fsum(row) for p in row] for row in powers]) <= tolerance


@elementwise_ones
@given(size=st.floats(0.01, 15.0), sign=st.sampled_from([-1.0, 1.0]))
def test_a_slope_is_the_derivative(activation, size, sign):
    z = np.asarray([[sign * size]])
    assume(not kink_near(lambda t: activation.forward(z + t, np)))
    slope = activation.derivative(z, activation.forward(z, np), np)
    numeric = difference(lambda t: activation.forward(z + t, np))
    # 1e-3 divides the rounding of a value as large as z, not of order 1.
    assert abs(float((slope - numeric)[0, 0])) <= DIFFERENCE_TOLERANCE * max(1.0, size)


@pytest.mark.parametrize("at", [-2.5e-3, 0.0, 1e-3])
def test_a_kink_is_noticed_where_it_would_spoil_a_difference(at):
    assert kink_near(lambda t: abs(t - at))
    assert kink_near(lambda t: 0.01 * max(t - at, 0.0))
    assert kink_near(lambda t: float(t > at))
    assert not kink_near(lambda t: abs(t - at - 0.01))
    assert not kink_near(lambda t: np.exp(np.asarray([t + at, 2.0 * t])))


@every_one
def test_pull_back_is_the_product_with_the_jacobian(backend, dtype, tolerance, activation):
    da = np.cos(np.arange(Z.size)).reshape(Z.shape)
    inputs = away_from_kinks(
        lambda z: activation.forward(z, np), (Z + 0.01 * shift for shift in range(100))
    )

    def backward(da, z):
        return activation.backward(da, z, activation.forward(z, backend.xp), backend.xp)

    dz = backend.jit(backward)(backend.array(da, dtype), backend.array(inputs, dtype))
    wanted = [row @ jacobian(activation, z) for row, z in zip(da, inputs, strict=True)]
    assert error(dz, wanted) <= max(tolerance, DIFFERENCE_TOLERANCE)


def test_the_jacobian_of_softmax_has_products_off_its_diagonal(backend, dtype, tolerance):
    a = SOFTMAX.forward(backend.array(Z, dtype), backend.xp)
    full = backend.numpy(backend.jit(lambda a: softmax_jacobian(a, xp=backend.xp))(a))
    a = backend.numpy(a)
    assert full.shape == (4, 6, 6)
    for sample in range(4):
        for i in range(6):
            for j in range(6):
                y_i, y_j = float(a[sample, i]), float(a[sample, j])
                wanted = y_i * (1.0 - y_i) if i == j else -y_i * y_j
                assert abs(full[sample, i, j] - wanted) <= tolerance


def test_the_jacobian_of_softmax_is_its_derivative():
    for z in Z:
        a = SOFTMAX.forward(z[None, :], np)
        assert error(softmax_jacobian(a, xp=np)[0], jacobian(SOFTMAX, z)) <= DIFFERENCE_TOLERANCE


@given(st.lists(st.floats(-50.0, 50.0), min_size=1, max_size=8), st.floats(-1e3, 1e3))
def test_softmax_gives_probabilities_that_a_common_shift_does_not_change(logits, shift):
    z = np.asarray([logits])
    a = SOFTMAX.forward(z, np)
    assert np.all(a >= 0.0)
    assert abs(float(a.sum()) - 1.0) <= 1e-15 * len(logits)
    # The shifted logits are rounded at the size of the shift, 1e3: that is 1e-13 in each.
    assert error(SOFTMAX.forward(z + shift, np), a) <= 1e-12


# The values at very small and very large z.
LIMITS = {
    "step": (0.0, 1.0),
    "identity": (-1e4, 1e4),
    "sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "relu": (0.0, 1e4),
    "leaky_relu": (-100.0, 1e4),
    "elu": (-1.0, 1e4),
    **dict.fromkeys(("gelu", "silu", "softplus"), (0.0, 1e4)),
    "softmax": (0.0, 1.0),
}
SLOPES = {
    "identity": (1.0, 1.0),
    "leaky_relu": (0.01, 1.0),
    **dict.fromkeys(("relu", "elu", "gelu", "silu", "softplus"), (0.0, 1.0)),
}


@every_one
def test_huge_inputs_give_finite_values_and_errors(backend, dtype, tolerance, activation):
    z = backend.array([[-1e4, 1e4]], dtype)

    def both(z):
        a = activation.forward(z, backend.xp)
        return a, activation.backward(backend.xp.ones_like(z), z, a, backend.xp)

    a, dz = backend.jit(both)(z)
    assert np.all(np.isfinite(backend.numpy(a)))
    assert np.all(np.isfinite(backend.numpy(dz)))
    if activation.name in LIMITS:
        assert error(a, [LIMITS[activation.name]]) <= tolerance
        assert error(dz, [SLOPES.get(activation.name, (0.0, 0.0))]) <= tolerance


@pytest.mark.parametrize("logits", [(1e3, -1e3, 0.0), (-1e3, -1e3, -1e3), (1e3, 1e3, -1e3)])
def test_huge_logits_give_exact_probabilities(backend, dtype, tolerance, logits):
    a = backend.jit(lambda z: SOFTMAX.forward(z, backend.xp))(backend.array([logits], dtype))
    winners = [float(z == max(logits)) for z in logits]
    assert error(a, [[w / sum(winners) for w in winners]]) <= tolerance


@every_one
def test_inputs_are_not_changed(backend, activation):
    z, da = backend.array(Z), backend.array(np.ones_like(Z))
    a = activation.forward(z, backend.xp)
    if backend.readonly:
        a.flags.writeable = False
    before = backend.numpy(a).copy()
    activation.backward(da, z, a, backend.xp)
    assert backend.numpy(z).tobytes() == Z.tobytes()
    assert backend.numpy(da).tobytes() == np.ones_like(Z).tobytes()
    assert backend.numpy(a).tobytes() == before.tobytes()


@every_one
@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=5))
def test_outputs_lie_in_the_stated_range(activation, z):
    low, high = activation.output_range
    a = activation.forward(np.asarray([z]), np)
    assert np.all((a >= low) & (a <= high))


@every_one
def test_the_stated_range_is_no_wider_than_the_outputs(activation):
    z = np.linspace(-1e4, 1e4, 2_000_001)
    a = activation.forward(np.stack((z, -z), axis=1), np)
    for bound, reached in zip(activation.output_range, (a.min(), a.max()), strict=True):
        assert abs(reached - bound) <= 1e-4 or (math.isinf(bound) and abs(reached) >= 100.0)


@pytest.mark.parametrize(
    ("name", "z", "a"),
    [
        ("step", 0.0, 0.0),
        ("sigmoid", 0.0, 0.5),
        ("sigmoid", math.log(3.0), 0.75),
        ("tanh", 0.0, 0.0),
        ("tanh", math.log(2.0), 0.6),
        ("relu", 0.0, 0.0),
        ("leaky_relu", -2.0, -0.02),
        ("identity", -7.5, -7.5),
        ("elu", -math.log(4.0), -0.75),
        ("gelu", 0.0, 0.0),
        ("silu", math.log(3.0), 0.75 * math.log(3.0)),
        ("softplus", 0.0, math.log(2.0)),
    ],
)
def test_known_points(name, z, a):
    assert abs(float(ACTIVATIONS[name].forward(np.asarray([[z]]), np)[0, 0]) - a) <= 1e-15


def test_softmax_of_known_logits():
    z = np.log(np.asarray([[1.0, 2.0, 5.0]]))
    assert error(SOFTMAX.forward(z, np), [[0.125, 0.25, 0.625]]) <= 1e-15


@pytest.mark.parametrize("alpha", [0.2, 0.5])
def test_a_leaky_relu_takes_its_factor(alpha):
    activation = leaky_relu(alpha)
    z = np.asarray([[-3.0, 2.0]])
    a = activation.forward(z, np)
    assert a.tolist() == [[-3.0 * alpha, 2.0]]
    assert error(activation.derivative(z, a, np), [[alpha, 1.0]]) <= 1e-15
    assert str(alpha) in activation.formula


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 2.0, math.nan])
def test_a_leaky_relu_refuses_a_factor_that_does_not_leak(alpha):
    with pytest.raises(ConfigurationError, match="alpha is"):
        leaky_relu(alpha)


@pytest.mark.parametrize("alpha", [0.3, 1.7])
def test_an_elu_takes_its_factor(backend, dtype, tolerance, alpha):
    activation = elu(alpha)
    z = backend.array([[-3.0, -0.5, 2.0]], dtype)
    a = activation.forward(z, backend.xp)
    powers = alpha * math.exp(-3.0), alpha * math.exp(-0.5)
    assert error(a, [[powers[0] - alpha, powers[1] - alpha, 2.0]]) <= tolerance
    assert error(activation.derivative(z, a, backend.xp), [[*powers, 1.0]]) <= tolerance
    assert str(alpha) in activation.formula
    assert activation.output_range == (-alpha, math.inf)


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.inf, math.nan])
def test_an_elu_refuses_a_factor_that_is_not_above_0(alpha):
    with pytest.raises(ConfigurationError, match="alpha is"):
        elu(alpha)


def test_the_form_of_gelu_with_tanh_is_near_the_one_with_the_error_function():
    z = np.linspace(-10.0, 10.0, 2001)
    exact = [0.5 * t * (1.0 + math.erf(t / math.sqrt(2.0))) for t in z.tolist()]
    apart = np.max(np.abs(ACTIVATIONS["gelu"].forward(z, np) - exact))
    assert 1e-4 < apart < 5e-4


def test_a_pair_of_ones_own_passes_errors_back(backend, dtype, tolerance):
    softplus = elementwise(
        "softplus",
        lambda z, xp: xp.log1p(xp.exp(z)),
        lambda z, a, xp: 1.0 - xp.exp(-a),
        formula="log(1 + exp(z))",
    )
    z, da = backend.array(Z, dtype), backend.array(Z * 2.0, dtype)
    a = softplus.forward(z, backend.xp)
    dz = backend.jit(lambda da, z, a: softplus.backward(da, z, a, backend.xp))(da, z, a)
    assert error(dz, Z * 2.0 * np.vectorize(logistic)(Z)) <= tolerance
    assert (softplus.name, softplus.output_range) == ("softplus", (-math.inf, math.inf))


def test_an_activation_is_found_by_name_and_a_record_is_taken_as_it_is():
    own = IDENTITY._replace(name="mine")
    assert get_activation("identity") is IDENTITY
    assert get_activation(own) is own
    assert isinstance(get_activation("softmax"), Activation)


def test_an_unknown_activation_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match="unknown activation 'sigmoind'") as failure:
        get_activation("sigmoind")
    assert "did you mean 'sigmoid'?" in failure.value.hint
