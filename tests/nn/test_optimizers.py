"""The optimizers against scalar formulas in plain Python, and on functions with known minima."""

import functools
import math
import re

import numpy as np
import pytest
from helpers import bytes_of, entry, error, errors

from backprop_xp.errors import ConfigurationError
from backprop_xp.nn.network import Layer, map_arrays
from backprop_xp.nn.optimizers import (
    LETTERS,
    OPTIMIZERS,
    adam,
    adamw,
    get_optimizer,
    gradient_scale,
    hyperparameters_of,
    initial_slots,
    momentum,
    nesterov,
    sgd,
    update,
)
from backprop_xp.training.execution.slices import SLICE_SIZE, update_in_slices

# --- each rule for one number, as the papers write it ------------------------------------------


def plain_sgd(p, gradients, eta):
    for g in gradients:
        p = p - eta * g
    return p, {}


def plain_momentum(p, gradients, eta, mu=0.9):
    v = 0.0
    for g in gradients:
        v = mu * v - eta * g
        p = p + v
    return p, {"v": v}


def plain_nesterov(p, gradients, eta, mu=0.9):
    v = 0.0
    for g in gradients:
        v = mu * v - eta * g
        p = p + mu * v - eta * g
    return p, {"v": v}


def plain_rmsprop(p, gradients, eta, rho=0.99, epsilon=1e-8):
    s = 0.0
    for g in gradients:
        s = rho * s + (1.0 - rho) * g**2
        p = p - eta * g / (math.sqrt(s) + epsilon)
    return p, {"s": s}


def plain_adam(p, gradients, eta, beta1=0.9, beta2=0.999, epsilon=1e-8, decay=0.0):
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1.0 - beta1) * g
        v = beta2 * v + (1.0 - beta2) * g**2
        m_hat, v_hat = m / (1.0 - beta1**t), v / (1.0 - beta2**t)
        p = p - eta * decay * p - eta * m_hat / (math.sqrt(v_hat) + epsilon)
    return p, {"m": m, "v": v, "m̂": m_hat, "v̂": v_hat}


PLAIN = {
    "sgd": (plain_sgd, {}),
    "momentum": (plain_momentum, {"momentum": 0.7}),
    "nesterov": (plain_nesterov, {"momentum": 0.7}),
    "rmsprop": (plain_rmsprop, {"decay": 0.8, "epsilon": 1e-3}),
    "adam": (plain_adam, {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}),
    "adamw": (
        plain_adam,
        {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1},
    ),
}
ETA, STEPS = 0.05, 7

every_rule = pytest.mark.parametrize("name", OPTIMIZERS)


def draw(shape, seed):
    return np.random.default_rng(seed).normal(size=shape)


def run(backend, optimizer, parameters, gradients, dtype="float64"):
    """Return the parameters after a step with each of the gradients."""
    layers = backend.layers(parameters, dtype)
    slots = initial_slots(optimizer, layers, xp=backend.xp)
    change = backend.jit(lambda p, g, s, c: update(optimizer, p, g, s, c, xp=backend.xp))
    for step, given in enumerate(gradients, start=1):
        scalars = optimizer.scalars(ETA, step)
        given = map_arrays(
            functools.partial(np.multiply, gradient_scale(optimizer, scalars)), given
        )
        layers, slots = change(layers, backend.layers(given, dtype), slots, scalars)
    return layers


@pytest.fixture
def writable(backend):
    """Return the backend with writable arrays, because a rule consumes its arguments."""
    return backend._replace(readonly=False)


@every_rule
@pytest.mark.parametrize("given", [False, True], ids=["defaults", "given"])
def test_each_rule_equals_its_formula(writable, dtype, tolerance, name, given):
    plain, hyperparameters = entry(PLAIN, name, "PLAIN in tests/nn/test_optimizers.py")
    hyperparameters = hyperparameters if given else {}
    numbers = hyperparameters.values()
    if name == "adamw" and not given:
        numbers = hyperparameters_of("adamw").values()
    shapes = (2, 3), (2,)
    start = Layer(*(draw(shape, seed) for seed, shape in enumerate(shapes)))
    gradients = [Layer(*(draw(s, 10 * t + i) for i, s in enumerate(shapes))) for t in range(STEPS)]
    found = run(
        writable,
        get_optimizer(name, **hyperparameters),
        [start],
        [[g] for g in gradients],
        dtype,
    )
    for kind in (0, 1):
        wanted = [
            plain(p, [float(g[kind].reshape(-1)[i]) for g in gradients], ETA, *numbers)[0]
            for i, p in enumerate(start[kind].reshape(-1).tolist())
        ]
        assert error(found[0][kind], np.reshape(wanted, shapes[kind])) <= tolerance


def state_after(optimizer, p, gradients):
    """Return a number and the textbook's state of an optimizer after a step with each gradient."""
    p, slots = np.asarray([p]), tuple(np.zeros(1) for _ in optimizer.slots)
    for step, g in enumerate(gradients, start=1):
        scalars = optimizer.scalars(ETA, step)
        g = np.asarray([g * gradient_scale(optimizer, scalars)])
        p, slots = optimizer.rule(p, g, slots, scalars, np)
    stored = dict(zip(optimizer.slots, slots, strict=True))
    symbols = optimizer.textbook(len(gradients))
    state = {symbol: float(factor * stored[slot][0]) for symbol, (slot, factor) in symbols.items()}
    return float(p[0]), state


@every_rule
@pytest.mark.parametrize("n_steps", [1, 2, STEPS])
def test_the_state_that_is_shown_is_that_of_the_textbook(name, n_steps):
    plain, hyperparameters = entry(PLAIN, name, "PLAIN in tests/nn/test_optimizers.py")
    gradients = draw(n_steps, 3).tolist()
    _, state = state_after(get_optimizer(name, **hyperparameters), 0.5, gradients)
    _, wanted = plain(0.5, gradients, ETA, *hyperparameters.values())
    assert state == pytest.approx(wanted, rel=1e-12)


def value(expression, known):
    """Return the value of an expression in a formula, where factors are side by side."""
    for symbol in sorted(known, key=len, reverse=True):
        expression = expression.replace(symbol, f"({known[symbol]!r})")
    for sign, python in (("²", "**2"), ("ᵗ", f"**{known['step']}"), ("√", "sqrt")):
        expression = expression.replace(sign, python)
    expression = re.sub(r"(?<=[\d)]) (?=\(|sqrt)", " * ", expression)
    return eval(expression, {"sqrt": math.sqrt, "max": max, "min": min})


@every_rule
def test_the_formula_as_text_is_the_rule(name):
    _, given = PLAIN.get(name, (None, {}))
    optimizer = get_optimizer(name, **given)
    known = {"p": 0.5, "η": ETA, **dict.fromkeys(optimizer.textbook(1), 0.0)}
    known |= {LETTERS.get(key, key): x for key, x in optimizer.hyperparameters.items()}
    gradients = draw(STEPS, 4).tolist()
    for step, g in enumerate(gradients, start=1):
        known |= {"g": g, "step": step}
        for assignment in optimizer.formula.split(", "):
            symbol, expression = re.split(" [←=] ", assignment)
            known[symbol] = value(expression, known)
        p, state = state_after(optimizer, 0.5, gradients[:step])
        assert {symbol: known[symbol] for symbol in state} == pytest.approx(state, rel=1e-12)
        assert known["p"] == pytest.approx(p, rel=1e-12)


def test_nesterov_without_momentum_shows_the_product_that_it_stores():
    assert nesterov(momentum=0.0).textbook(1) == {"μ v": ("momentum_term", 1.0)}


def test_every_optimizer_has_a_formula_here():
    assert set(PLAIN) <= set(OPTIMIZERS)
    assert all(name == make().name for name, make in OPTIMIZERS.items())


@every_rule
def test_the_slots_start_at_zero_and_have_the_shapes_of_the_parameters(backend, dtype, name):
    optimizer = get_optimizer(name)
    layers = [Layer(np.ones((2, 3)), np.ones(2)), Layer(np.ones((1, 2)), None)]
    parameters = backend.layers(layers, dtype)
    slots = initial_slots(optimizer, parameters, xp=backend.xp)
    assert [len(kept) for kept in slots] == [len(optimizer.slots)] * 3
    for kept, shape in zip(slots, [(2, 3), (2,), (1, 2)], strict=True):
        for slot in kept:
            assert slot.dtype == backend.dtype(dtype)
            assert backend.numpy(slot).tolist() == np.zeros(shape).tolist()


@every_rule
def test_a_layer_without_bias_keeps_none(writable, name):
    layers = [Layer(draw((2, 3), 0), None), Layer(draw((4, 2), 1), draw(4, 2))]
    together = run(writable, get_optimizer(name), layers, [layers, layers])
    assert [layer.bias is None for layer in together] == [True, False]
    alone = run(writable, get_optimizer(name), layers[1:], [layers[1:], layers[1:]])
    assert bytes_of(together[1:]) == bytes_of(alone)


# --- relations between the rules ---------------------------------------------------------------


@pytest.mark.parametrize("with_momentum", [momentum, nesterov])
def test_without_momentum_the_rule_is_gradient_descent(writable, with_momentum):
    layers = [Layer(draw((3, 4), 0), draw(3, 1))]
    gradients = [[Layer(draw((3, 4), 2 * t), draw(3, 2 * t + 1))] for t in range(STEPS)]
    one = run(writable, with_momentum(momentum=0.0), layers, gradients)
    # A compiled step may fuse a product and a sum into one rounding, so equality is not in bits.
    assert errors(one, run(writable, sgd(), layers, gradients)) <= 1e-15


def test_without_decay_adamw_is_adam(writable):
    layers = [Layer(draw((3, 4), 0), draw(3, 1))]
    gradients = [[Layer(draw((3, 4), 2 * t), draw(3, 2 * t + 1))] for t in range(STEPS)]
    one = run(writable, adamw(weight_decay=0.0), layers, gradients)
    assert bytes_of(one) == bytes_of(run(writable, adam(), layers, gradients))


def test_adamw_shrinks_weights_that_have_no_gradient(writable):
    layers = [Layer(draw((3, 4), 0), draw(3, 1))]
    none = [Layer(np.zeros((3, 4)), np.zeros(3))]
    found = run(writable, adamw(weight_decay=0.3), layers, [none] * STEPS)
    shrunk = [Layer(*(p * (1.0 - ETA * 0.3) ** STEPS for p in layers[0]))]
    assert errors(found, shrunk) <= 1e-15
    assert bytes_of(run(writable, adam(), layers, [none] * STEPS)) == bytes_of(layers)


def test_the_first_step_of_adam_has_the_size_of_the_learning_rate(writable):
    gradients = [Layer(np.asarray([[1e-3, -5.0, 1e4]]), None)]
    (found,) = run(writable, adam(epsilon=1e-15), [Layer(np.zeros((1, 3)), None)], [gradients])
    assert error(found.weights, [[-ETA, ETA, -ETA]]) <= 1e-11  # ε is 1e-12 of the least gradient


# --- slices of large arrays --------------------------------------------------------------------


def unsliced(optimizer, p, gradients):
    slots = tuple(np.zeros_like(p) for _ in optimizer.slots)
    for step, g in enumerate(gradients, start=1):
        p, slots = optimizer.rule(p, g.copy(), slots, optimizer.scalars(ETA, step), np)
    return p, slots


@every_rule
@pytest.mark.parametrize(
    ("shape", "size"), [((200, 500), SLICE_SIZE), ((3, 5), 4), ((3, 5), 14), ((3, 5), 15)]
)
def test_a_large_array_is_updated_as_in_one_piece_bit_for_bit(name, shape, size):
    optimizer = get_optimizer(name)
    start, gradients = draw(shape, 0), [draw(shape, seed) for seed in (1, 2, 3)]
    parameters = [Layer(start.copy(), None)]
    slots = initial_slots(optimizer, parameters, xp=np)
    for step, g in enumerate(gradients, start=1):
        parameters, slots = update_in_slices(
            optimizer,
            parameters,
            [Layer(g.copy(), None)],
            slots,
            optimizer.scalars(ETA, step),
            xp=np,
            size=size,
        )
    wanted, wanted_slots = unsliced(optimizer, start.copy(), gradients)
    assert parameters[0].weights.tobytes() == wanted.tobytes()
    assert [s.tobytes() for s in slots[0]] == [s.tobytes() for s in wanted_slots]


@pytest.mark.parametrize(
    ("optimizer", "sizes"), [(sgd(), [10, 4]), (momentum(), [4, 4, 2, 4])], ids=["sgd", "momentum"]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_array_is_worked_on_in_slices_where_the_rule_keeps_arrays(optimizer, sizes, order):
    seen = []

    def rule(p, g, slots, scalars, xp):
        seen.append(p.size)
        return p, slots

    spy = optimizer._replace(rule=rule)
    shape = (5, 2) if order == "C" else (2, 5)
    layers = [Layer(np.zeros(shape, order=order), np.zeros(4))]
    slots = initial_slots(spy, layers, xp=np)
    update_in_slices(spy, layers, layers, slots, (ETA,), xp=np, size=4)
    assert seen == sizes


def test_a_rule_that_makes_new_arrays_is_applied_to_large_arrays_too():
    def rule(p, g, slots, scalars, xp):
        return p - g, (slots[0] + 1.0,)

    optimizer = momentum()._replace(rule=rule)
    start, g = draw((5, 2), 0), draw((5, 2), 1)
    parameters = [Layer(start.copy(), None)]
    slots = initial_slots(optimizer, parameters, xp=np)
    parameters, slots = update_in_slices(
        optimizer, parameters, [Layer(g, None)], slots, (ETA,), xp=np, size=4
    )
    assert parameters[0].weights.tolist() == (start - g).tolist()
    assert slots[0][0].tolist() == np.ones((5, 2)).tolist()


@every_rule
@pytest.mark.parametrize("order", ["C", "F"])
def test_large_weights_in_fortran_order_are_updated_too(name, order):
    optimizer = get_optimizer(name)
    start, g = draw((3, 5), 0), draw((3, 5), 1)
    parameters = [Layer(np.asfortranarray(start), None)]
    slots = initial_slots(optimizer, parameters, xp=np)
    scalars = optimizer.scalars(ETA, 1)
    gradients = [Layer(g.copy(order), None)]  # of the same order in sparse products
    found, _ = update_in_slices(optimizer, parameters, gradients, slots, scalars, xp=np, size=4)
    wanted, _ = unsliced(optimizer, start.copy(), [g])
    assert found[0].weights.tolist() == wanted.tolist()


# --- descent -----------------------------------------------------------------------------------


def parabola(p):
    centre, curvature = np.asarray([3.0, -2.0]), np.asarray([1.0, 4.0])
    away = p - centre
    return float(np.sum(curvature * away**2)), 2.0 * curvature * away


def rosenbrock(p):
    x, y = p.tolist()
    value = (1.0 - x) ** 2 + 100.0 * (y - x**2) ** 2
    slope = [-2.0 * (1.0 - x) - 400.0 * x * (y - x**2), 200.0 * (y - x**2)]
    return value, np.asarray(slope)


def descend(function, optimizer, learning_rate, steps):
    p = np.asarray([-1.0, 1.0])
    slots = tuple(np.zeros_like(p) for _ in optimizer.slots)
    for step in range(1, steps + 1):
        scalars = optimizer.scalars(learning_rate, step)
        g = function(p)[1] * gradient_scale(optimizer, scalars)
        p, slots = optimizer.rule(p, g, slots, scalars, np)
    return p


@every_rule
def test_every_rule_descends_with_its_usual_learning_rate(name):
    optimizer = get_optimizer(name)
    values = [
        parabola(descend(parabola, optimizer, optimizer.learning_rate, steps))[0]
        for steps in (0, 10, 100)
    ]
    assert values[0] > values[1] > values[2]


@pytest.mark.parametrize(
    ("name", "learning_rate"),
    [("sgd", 0.1), ("momentum", 0.02), ("nesterov", 0.02), ("rmsprop", 0.01), ("adam", 0.1)],
)
def test_a_parabola_is_descended_to_its_minimum(name, learning_rate):
    found = descend(parabola, get_optimizer(name), learning_rate, 1000)
    # RMSProp's steps do not shrink with the gradient: it ends within a step of the minimum.
    assert error(found, [3.0, -2.0]) <= (learning_rate if name == "rmsprop" else 1e-6)


@pytest.mark.parametrize(
    ("name", "learning_rate", "steps"),
    [
        ("sgd", 2e-3, 20_000),
        ("momentum", 1e-3, 4000),
        ("nesterov", 1e-3, 4000),
        ("rmsprop", 1e-3, 8000),
        ("adam", 0.02, 8000),
    ],
)
def test_rosenbrocks_valley_is_followed_to_its_minimum(name, learning_rate, steps):
    found = descend(rosenbrock, get_optimizer(name), learning_rate, steps)
    assert error(found, [1.0, 1.0]) <= 0.01


def test_adamw_stops_where_descent_and_decay_balance():
    found = descend(parabola, adamw(weight_decay=0.1), 0.01, 4000)
    assert np.all(np.abs(found) < [3.0, 2.0])  # nearer to 0 than the minimum
    assert parabola(found)[0] < 0.1


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hyperparameter", "value"),
    [
        *(("momentum", "momentum", v) for v in (-0.1, 1.0, math.nan, "0.9", True)),
        ("nesterov", "momentum", 1.5),
        ("rmsprop", "decay", 1.0),
        *(("rmsprop", "epsilon", v) for v in (0.0, -1e-8, math.inf, math.nan)),
        ("adam", "beta1", 1.0),
        ("adam", "beta2", -0.5),
        ("adam", "epsilon", 0.0),
        ("adam", "epsilon", "1e-8"),
        *(("adamw", "weight_decay", v) for v in (-0.1, math.inf)),
    ],
)
def test_a_hyperparameter_out_of_range_is_named(name, hyperparameter, value):
    with pytest.raises(ConfigurationError, match=f"{hyperparameter} is {value!r}"):
        get_optimizer(name, **{hyperparameter: value})


def test_a_hyperparameter_of_another_optimizer_is_refused_with_those_there_are():
    with pytest.raises(ConfigurationError, match=r"of the optimizer 'adam' 'beta_1'") as failure:
        get_optimizer("adam", beta_1=0.9)
    assert "did you mean 'beta1'?" in failure.value.hint
    with pytest.raises(ConfigurationError, match="'sgd' has no hyperparameter 'momentum'"):
        get_optimizer("sgd", momentum=0.9)


def test_an_unknown_optimizer_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match="unknown optimizer 'adan'") as failure:
        get_optimizer("adan")
    assert "did you mean 'adam'?" in failure.value.hint


def test_the_hyperparameters_and_their_defaults_are_told():
    assert hyperparameters_of("sgd") == {}
    assert hyperparameters_of("adamw") == {
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "weight_decay": 0.01,
    }


def test_an_optimizer_of_ones_own_is_taken_as_it_is():
    own = sgd()._replace(name="mine")
    assert get_optimizer(own) is own


def test_an_optimizer_that_is_made_already_takes_no_hyperparameters():
    with pytest.raises(ConfigurationError, match="momentum cannot be set"):
        get_optimizer(momentum(momentum=0.5), momentum=0.9)
