"""The losses against independent formulas, central differences and extreme inputs."""

import math

import numpy as np
import pytest
from helpers import DIFFERENCE_TOLERANCE, away_from_kinks, entry, error, gradient
from hypothesis import given
from hypothesis import strategies as st

from backprop_xp.data.targets import one_hot
from backprop_xp.errors import ConfigurationError
from backprop_xp.nn.activations import ACTIVATIONS, IDENTITY, SIGMOID, SOFTMAX, STEP, elementwise
from backprop_xp.nn.losses import (
    LOSSES,
    check_learnable,
    check_pair,
    default_loss,
    get_loss,
    huber,
    loss_and_delta,
    quantile,
)


def smallest_and_largest(activation):
    """Return the smallest and the largest output of an activation on a grid of logits."""
    z = np.linspace(-20.0, 20.0, 401)
    a = activation.forward(np.stack((z, -z), axis=1), np)
    return a.min(), a.max()


BOUNDS = {name: smallest_and_largest(f) for name, f in ACTIVATIONS.items()}
PROBABILITIES = [name for name, (low, high) in BOUNDS.items() if low >= 0.0 and high <= 1.0]
RATES = [name for name, (low, _) in BOUNDS.items() if low > 0.0]
CROSS_ENTROPIES = [name for name, loss in LOSSES.items() if loss.needs_probabilities]
OF_RATES = [name for name, loss in LOSSES.items() if loss.needs_positive]
OUTPUTS = {**dict.fromkeys(CROSS_ENTROPIES, PROBABILITIES), **dict.fromkeys(OF_RATES, RATES)}
PAIRS = [(loss, output) for loss in LOSSES for output in OUTPUTS.get(loss, ACTIVATIONS)]
FUSED = [(name, output) for name, loss in LOSSES.items() for output in loss.fused]
OF_PROBABILITIES = [("binary_cross_entropy", "sigmoid"), ("cross_entropy", "softmax")]
LEARNED_WITH = dict(OF_PROBABILITIES)
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
    if loss == "poisson":
        return math.fsum(p - t * math.log(p) for p, t in zip(a, y, strict=True))
    away = [abs(p - t) for p, t in zip(a, y, strict=True)]
    values = {
        "mean_absolute_error": math.fsum(away) / len(a),
        "huber": math.fsum(0.5 * d**2 if d <= 1.0 else d - 0.5 for d in away) / len(a),
        "half_squared_error": 0.5 * math.fsum(squares),
        "mean_half_squared_error": 0.5 * math.fsum(squares) / len(a),
        "squared_error": math.fsum(squares),
        "mean_squared_error": math.fsum(squares) / len(a),
    }
    return entry(values, loss, "plain_loss in tests/nn/test_losses.py")


def accepts(loss, activation):
    try:
        check_pair(LOSSES[loss], ACTIVATIONS[activation])
    except ConfigurationError:
        return False
    return True


def can_learn(loss, activation):
    try:
        check_learnable(LOSSES[loss], ACTIVATIONS[activation])
    except ConfigurationError:
        return False
    return True


def error_at(loss, activation, z, y, xp=np):
    """Return the loss and dL/dz from the logits."""
    loss, activation = get_loss(loss), ACTIVATIONS[activation]
    return loss_and_delta(loss, activation, z, activation.forward(z, xp), y, xp=xp)


@every_pair
def test_the_error_at_the_output_is_the_derivative_of_the_loss(loss, activation):
    def value(z):
        return float(error_at(loss, activation, z, Y)[0])

    z = away_from_kinks(value, (Z + 0.01 * shift for shift in range(100)))
    _, delta = error_at(loss, activation, z, Y)
    numeric = gradient(value, z)
    assert error(delta, numeric, size=1.0) <= DIFFERENCE_TOLERANCE


@pytest.mark.parametrize(("loss", "activation"), [pair for pair in PAIRS if pair[1] != "step"])
def test_the_value_is_the_mean_of_the_textbook_formula(backend, dtype, tolerance, loss, activation):
    compute = backend.jit(lambda z, y: error_at(loss, activation, z, y, backend.xp))
    value, delta = compute(backend.array(Z, dtype), backend.array(Y, dtype))
    outputs = ACTIVATIONS[activation].forward(Z, np).tolist()
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
    a = activation.forward(z, backend.xp)
    one = loss_and_delta(fused, activation, z, a, y, xp=backend.xp)
    other = loss_and_delta(apart, activation, z, a, y, xp=backend.xp)
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
        ("mean_absolute_error", (1.5 + 3.5) / 2, [[0.25, 0.25], [0.25, 0.25]]),
        ("huber", (1.0 + 3.0) / 2, [[0.25, 0.25], [0.25, 0.25]]),
    ],
)
def test_squared_and_absolute_errors_by_hand(backend, dtype, loss, value, delta):
    a = backend.array([[1.0, 2.0], [3.0, 4.0]], dtype)
    y = backend.array(np.zeros((2, 2)), dtype)
    found = loss_and_delta(get_loss(loss), IDENTITY, a, a, y, xp=backend.xp)
    assert float(found[0]) == value
    assert backend.numpy(found[1]).tolist() == delta


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "cross_entropy"])
def test_only_the_mean_conventions_divide_by_the_number_of_outputs(loss):
    once = error_at(loss, "sigmoid", Z, Y)
    twice = error_at(loss, "sigmoid", np.tile(Z, (1, 2)), np.tile(Y, (1, 2)))
    factor = 1.0 if LOSSES[loss].formula.startswith("1/") else 2.0
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


def test_poissons_loss_by_hand(backend, dtype, tolerance):
    # a = 2 and 1, with σ(z) = 1 - exp(-a)
    logits = backend.array([[math.log(math.expm1(2.0)), math.log(math.expm1(1.0))]], dtype)
    value, delta = error_at(
        "poisson", "softplus", logits, backend.array([[3.0, 0.0]], dtype), backend.xp
    )
    assert error(value, 2.0 - 3.0 * math.log(2.0) + 1.0) <= tolerance
    slopes = 1.0 - math.exp(-2.0), 1.0 - math.exp(-1.0)
    assert error(delta, [[(1.0 - 3.0 / 2.0) * slopes[0], slopes[1]]]) <= tolerance


@pytest.mark.parametrize("z", [-1e4, -1e3, -200.0, -100.0, -80.0, -60.0, -40.0, -20.0, 30.0, 1e4])
def test_poissons_loss_is_exact_where_the_rate_underflows_or_is_large(backend, dtype, tolerance, z):
    compute = backend.jit(lambda z, y: error_at("poisson", "softplus", z, y, backend.xp))
    value, delta = compute(backend.array([[z]], dtype), backend.array([[3.0]], dtype))
    rate = max(z, 0.0) + math.log1p(math.exp(-abs(z)))
    # For z << 0: log log(1 + exp(z)) = z - exp(z) / 2, and the slope over the rate is 1.
    log = math.log(rate) if z > 0.0 else z - 0.5 * math.exp(z)
    slope = 1.0 / (1.0 + math.exp(-z)) if z > -700.0 else 0.0
    quotient = slope / rate if z > 0.0 else 1.0 - 0.5 * math.exp(z)
    assert error(value, rate - 3.0 * log) <= tolerance
    assert error(delta, [[slope - 3.0 * quotient]]) <= tolerance


DISTANCES = np.asarray([[-3.1, -0.7, 0.0, 0.02, 0.9, 4.0]])


@pytest.mark.parametrize("delta", [0.05, 1.0, 2.5])
def test_hubers_loss_takes_its_width(backend, dtype, tolerance, delta):
    a, y = backend.array(DISTANCES, dtype), backend.array(np.zeros_like(DISTANCES), dtype)
    value, slope = loss_and_delta(huber(delta), IDENTITY, a, a, y, xp=backend.xp)
    wanted = [
        0.5 * d**2 if abs(d) <= delta else delta * (abs(d) - 0.5 * delta) for d in DISTANCES[0]
    ]
    assert error(value, math.fsum(wanted) / 6) <= tolerance
    assert error(slope, np.clip(DISTANCES, -delta, delta) / 6) <= tolerance
    assert f"{delta:g}" in huber(delta).formula


def test_a_wide_hubers_loss_is_the_squared_one_and_a_narrow_one_the_absolute_one():
    a, y = DISTANCES, np.zeros_like(DISTANCES)
    wide, narrow = (
        loss_and_delta(huber(d), IDENTITY, a, a, y, xp=np)[0] / scale
        for d, scale in ((1e3, 1.0), (1e-9, 1e-9))
    )
    assert error(wide, error_at("mean_half_squared_error", "identity", a, y)[0]) <= 1e-15
    assert error(narrow, error_at("mean_absolute_error", "identity", a, y)[0]) <= 1e-9


@pytest.mark.parametrize("delta", [0.0, -1.0, math.inf, math.nan])
def test_hubers_loss_refuses_a_width_that_is_not_above_0(delta):
    with pytest.raises(ConfigurationError, match="delta is"):
        huber(delta)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.75])
def test_the_pinball_loss_weighs_what_lies_above_and_below(backend, dtype, tolerance, q):
    a, y = backend.array(DISTANCES, dtype), backend.array(np.zeros_like(DISTANCES), dtype)
    value, slope = loss_and_delta(quantile(q), IDENTITY, a, a, y, xp=backend.xp)
    wanted = [max(-q * d, (1.0 - q) * d) for d in DISTANCES[0]]
    assert error(value, math.fsum(wanted) / 6) <= tolerance
    slopes = [(1.0 - q) * (d > 0.0) - q * (d < 0.0) for d in DISTANCES[0]]  # 0 where it is met
    assert error(slope, [[s / 6 for s in slopes]]) <= tolerance
    assert f"{q:g}" in quantile(q).formula


def test_the_pinball_loss_of_the_median_is_half_the_absolute_error():
    half, half_delta = loss_and_delta(quantile(0.5), IDENTITY, Z, Z, Y, xp=np)
    whole, whole_delta = error_at("mean_absolute_error", "identity", Z, Y)
    assert error(2.0 * half, whole) <= 1e-15
    assert np.array_equal(2.0 * half_delta, whole_delta)


@pytest.mark.parametrize("q", [0.0, 1.0, -0.5, math.nan])
def test_the_pinball_loss_refuses_what_is_no_quantile(q):
    with pytest.raises(ConfigurationError, match="the quantile is"):
        quantile(q)


@pytest.mark.parametrize("loss", [quantile(0.1), quantile(0.75), huber(0.3)], ids=lambda f: f.name)
def test_losses_made_with_a_number_have_their_derivative_too(loss):
    def value(a):
        return float(loss_and_delta(loss, IDENTITY, a, a, Y, xp=np)[0])

    _, delta = loss_and_delta(loss, IDENTITY, Z, Z, Y, xp=np)
    assert error(delta, gradient(value, Z), size=1.0) <= DIFFERENCE_TOLERANCE


@pytest.mark.parametrize(
    ("loss", "best"),
    [
        (LOSSES["half_squared_error"], np.mean),
        (LOSSES["poisson"], np.mean),
        (LOSSES["mean_absolute_error"], np.median),
        (quantile(0.2), lambda y: np.quantile(y, 0.2, method="inverted_cdf")),
        (quantile(0.9), lambda y: np.quantile(y, 0.9, method="inverted_cdf")),
    ],
    ids=lambda f: getattr(f, "name", ""),
)
def test_each_loss_is_least_at_the_number_it_stands_for(loss, best):
    y = np.random.default_rng(0).gamma(2.0, 3.0, (41, 1))
    grid = np.linspace(0.1, y.max(), 20_001)
    values = [loss.value_and_gradient(np.full_like(y, a), y, np)[0].sum() for a in grid]
    assert abs(grid[np.argmin(values)] - best(y)) <= 2.0 * (grid[1] - grid[0])


@pytest.mark.parametrize("size", [1e3, 1e4])
def test_confident_logits_give_finite_losses_that_grow_with_them(backend, dtype, tolerance, size):
    z = backend.array([[size, -size]], dtype)
    right, wrong = backend.array([[1.0, 0.0]], dtype), backend.array([[0.0, 1.0]], dtype)
    for loss, activation in OF_PROBABILITIES:
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


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "cross_entropy", "poisson"])
def test_outputs_of_exactly_0_and_1_give_finite_losses(backend, dtype, tolerance, loss):
    a = backend.array([[0.0, 1.0, 0.0, 1.0]], dtype)
    y = backend.array([[0.0, 1.0, 1.0, 0.0]], dtype)
    terms, da = (
        backend.numpy(x)
        for x in backend.jit(lambda a, y: LOSSES[loss].value_and_gradient(a, y, backend.xp))(a, y)
    )
    assert np.all(np.isfinite(da))
    if loss == "poisson":
        terms = terms - backend.numpy(a)  # what is left is the logarithm
    assert np.all(np.abs(terms[:, :2]) <= tolerance)  # right answers cost nothing
    assert error(terms[:, 2], [-math.log(1e-12)]) <= tolerance
    assert da[0, 2] < -1e11  # and a wrong 0 is pulled up
    if loss == "binary_cross_entropy":
        assert error(terms[:, 3], [-math.log(1e-12)]) <= tolerance
        assert da[0, 3] > 1e11


@pytest.mark.parametrize("activation", sorted(set(ACTIVATIONS) - set(PROBABILITIES)))
@pytest.mark.parametrize("loss", CROSS_ENTROPIES)
def test_losses_of_probabilities_refuse_outputs_that_are_none(loss, activation):
    with pytest.raises(ConfigurationError, match="needs outputs between 0 and 1") as failure:
        check_pair(LOSSES[loss], ACTIVATIONS[activation])
    assert loss in failure.value.message
    assert activation in failure.value.message
    assert f"use the output {LEARNED_WITH[loss]!r}," in failure.value.hint
    assert can_learn(loss, LEARNED_WITH[loss])


@pytest.mark.parametrize("activation", sorted(set(ACTIVATIONS) - set(RATES)))
def test_a_loss_of_rates_refuses_outputs_that_may_be_0_or_less(activation):
    why = f"{activation} can be 0: add it to check_pair in backprop_xp/nn/losses.py"
    assert not accepts("poisson", activation), why
    with pytest.raises(ConfigurationError, match="'poisson' needs outputs above 0") as failure:
        check_pair(LOSSES["poisson"], ACTIVATIONS[activation])
    assert activation in failure.value.message
    assert "'softplus'" in failure.value.hint


def test_a_loss_of_rates_takes_an_exponential_of_ones_own():
    exponential = elementwise(
        "exponential", lambda z, xp: xp.exp(z), lambda z, a, xp: a * 1.0, output_range=(0.0, 1e9)
    )
    check_pair(LOSSES["poisson"], exponential)
    a = exponential.forward(Z, np)
    value, delta = loss_and_delta(LOSSES["poisson"], exponential, Z, a, Y, xp=np)
    assert error(value, np.sum(np.exp(Z) - Y * Z) / 3) <= 1e-14
    assert error(delta, (np.exp(Z) - Y) / 3) <= 1e-14


@pytest.mark.parametrize(("loss", "activation"), OF_PROBABILITIES)
def test_a_loss_of_probabilities_learns_with_its_output(loss, activation):
    check_learnable(LOSSES[loss], ACTIVATIONS[activation], 3)
    check_learnable(LOSSES[loss], ACTIVATIONS[activation])


def test_cross_entropy_cannot_learn_with_independent_outputs():
    squash = elementwise(
        "squash", lambda z, xp: xp.exp(-z * z), lambda z, a, xp: -2.0 * z * a, output_range=(0, 1)
    )
    for activation in (SIGMOID, squash):
        check_pair(LOSSES["cross_entropy"], activation)  # the formulas are right
        with pytest.raises(ConfigurationError, match="only rewards the output of") as failure:
            check_learnable(LOSSES["cross_entropy"], activation, 3)
        assert f"{activation.name!r} all become 1" in failure.value.message
        assert "'softmax', or the loss 'binary_cross_entropy'" in failure.value.hint


def test_cross_entropy_learns_with_a_custom_activation_whose_outputs_depend_on_each_other():
    check_learnable(LOSSES["cross_entropy"], SOFTMAX._replace(name="sharp softmax"), 3)


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - set(OF_RATES)))
def test_one_softmax_output_cannot_learn(loss):
    check_learnable(LOSSES[loss], SOFTMAX, 2)
    with pytest.raises(ConfigurationError, match="softmax over one output is always 1") as failure:
        check_learnable(LOSSES[loss], SOFTMAX, 1)
    assert "two outputs" in failure.value.hint
    assert "'sigmoid'" in failure.value.hint
    assert "'identity'" in failure.value.hint


def test_cross_entropy_cannot_learn_with_one_output():
    for activation in (SIGMOID, IDENTITY):
        with pytest.raises(ConfigurationError, match="one output for each class") as failure:
            check_learnable(LOSSES["cross_entropy"], activation, 1)
        assert "'binary_cross_entropy'" in failure.value.hint
    check_learnable(LOSSES["binary_cross_entropy"], SIGMOID, 1)


def test_a_step_as_output_cannot_learn():
    with pytest.raises(ConfigurationError, match="derivative of the output 'step' is 0") as failure:
        check_learnable(LOSSES["half_squared_error"], STEP)
    assert "'sigmoid'" in failure.value.hint


@every_pair
def test_all_other_pairs_are_allowed(loss, activation):
    assert accepts(loss, activation)


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
    a = ACTIVATIONS[activation].forward(z, backend.xp)
    if backend.readonly:
        a.flags.writeable = False
    before = backend.numpy(a).copy()
    loss_and_delta(LOSSES[loss], ACTIVATIONS[activation], z, a, y, xp=backend.xp)
    LOSSES[loss].value_and_gradient(a, y, backend.xp)
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
