"""A recorded function does the same as the function, to the last bit, or raises an error."""

import operator
import re
from typing import NamedTuple

import numpy as np
import pytest

from backprop_xp.backend.fast_numpy import fast_namespace
from backprop_xp.training.execution.recording import NotRecordable, record

rng = np.random.default_rng(3)
X, Y = rng.normal(size=(2, 5, 4)) + 0.1
WHOLE = rng.integers(1, 9, size=(5, 4))


class Pair(NamedTuple):
    one: object
    other: object


def in_place(sign):
    def change(xp):
        def function(x, y):
            x = xp.asarray(x, copy=True)
            sign(x, y)
            return x

        return function

    return change


ON_REALS = {
    "+": lambda xp: lambda x, y: (x + y, 2.0 + x, x + 2),
    "-": lambda xp: lambda x, y: (x - y, 2.0 - x, x - 0.1, -x, +x),
    "*": lambda xp: lambda x, y: (x * y, 0.1 * x, x * 3),
    "/": lambda xp: lambda x, y: (x / y, 0.1 / x, x / 3),
    "// and %": lambda xp: lambda x, y: (x // y, x % y, x // 0.3, 7.5 % y),
    "**": lambda xp: lambda x, y: (x**2, x**2.0, abs(x) ** 0.5, 2.0**x, x**3),
    "signs": lambda xp: lambda x, y: (x * (-1) ** 3, (-2) * x, x * 0.0, x * -0.0, x - (-3)),
    "@": lambda xp: lambda x, y: (x @ y.T, x.T @ y, xp.matmul(x, y.T)),
    "comparisons": lambda xp: lambda x, y: (x < y, x <= 0.5, x > y, x <= 0.5, x == y, x != 0.5),
    "+=": in_place(operator.iadd),
    "-=": in_place(operator.isub),
    "*=": in_place(operator.imul),
    "/=": in_place(operator.itruediv),
    "numbers in place": in_place(lambda x, y: operator.imul(x, 0.1)),
    "views": lambda xp: lambda x, y: (x.T, x[1:3, ...], x[:, None, :], x[0, ...], x.T.T),
    "sums": lambda xp: (
        lambda x, y: (xp.sum(x), xp.sum(x, axis=0), xp.sum(x, axis=1, keepdims=True))
    ),
    "largest": lambda xp: lambda x, y: (xp.max(x), xp.max(x, axis=-1, keepdims=True)),
    "two": lambda xp: lambda x, y: (xp.maximum(x, y), xp.minimum(x, 0.0), xp.maximum(x, -1.0)),
    "one": lambda xp: lambda x, y: (xp.exp(x), xp.tanh(x), xp.abs(x), xp.sign(x), xp.floor(x)),
    "shapes": lambda xp: lambda x, y: (xp.reshape(x, (-1,)), xp.concat((x, y), axis=0)),
    "choices": lambda xp: lambda x, y: (xp.where(x > 0.0, x, y), xp.clip(x, -0.5, 0.5)),
    "types": lambda xp: lambda x, y: (xp.astype(x > 0.0, x.dtype), xp.astype(x, xp.float32)),
    "rows": lambda xp: (
        lambda x, y: (
            xp.take(x, xp.asarray([2, 0]), axis=0),
            xp.take(y, xp.astype(xp.abs(x[:, 0]) * 0.0, xp.int64), axis=0),
        )
    ),
    "new arrays": lambda xp: (
        lambda x, y: (
            xp.zeros_like(x),
            xp.ones(3) * x[0, :3],
            xp.arange(4, dtype=x.dtype) + x,
            xp.eye(4) + x[:4, ...],
        )
    ),
    "an item": lambda xp: lambda x, y: x * y[0, 0].item() + abs(x),
    "shapes as numbers": lambda xp: lambda x, y: x * (1.0 / x.shape[0]) + x.ndim * x.size + len(x),
    "NumPy's own functions": lambda xp: lambda x, y: np.log1p(np.abs(x)) + np.linalg.norm(y),
    "a record": lambda xp: lambda x, y: [Pair(x + y, None), ((), Pair(1, [x * 2.0]))],
}


def flat(tree):
    if isinstance(tree, (list, tuple)):
        return [leaf for part in tree for leaf in flat(part)]
    return [tree]


def same(one, other):
    """Return whether two results have the same shape, types and bits."""
    assert type(one) is type(other)
    if isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        return all(same(*pair) for pair in zip(one, other, strict=True))
    if not isinstance(one, (np.ndarray, np.generic)):
        return one == other
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    return one.tobytes() == other.tobytes()


@pytest.mark.parametrize("xp", [np, fast_namespace(np)], ids=["numpy", "direct"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("what", ON_REALS)
def test_a_replay_does_what_the_function_does_to_the_last_bit(what, dtype, xp):
    x, y = X.astype(dtype), Y.astype(dtype)
    replay, first = record(ON_REALS[what], (x, y), xp)
    assert same(first, ON_REALS[what](xp)(x, y))
    for one, other in ((x, y), (y, x), (x * x, y * y + 0.1)):
        before = one.tobytes(), other.tobytes()
        assert same(replay(one, other), ON_REALS[what](xp)(one, other))
        assert (one.tobytes(), other.tobytes()) == before


def test_whole_numbers_too():
    def bits_on(xp):
        return lambda n, m: (n & 3, n | m, n ^ m, n << 2, m >> 1, ~n, 7 & n, 1 << n, n % m, n // m)

    replay, _ = record(bits_on, (WHOLE, WHOLE + 1), np)
    assert same(replay(WHOLE * 2, WHOLE), bits_on(np)(WHOLE * 2, WHOLE))


def test_a_negative_number_keeps_its_sign_in_a_power():
    replay, _ = record(lambda xp: lambda x, n: x * (-1) ** n, (X, 3), np)
    assert same(replay(X, 4), X)


def test_numbers_among_the_arguments_are_taken_anew():
    def function_on(xp):
        return lambda x, told: (x * (told[0] / 4) + told[1], told[0] - 1.0, 2.0 ** told[1])

    replay, _ = record(function_on, (X, (0.1, 3)), np)
    assert same(replay(Y, (0.7, 5)), function_on(np)(Y, (0.7, 5)))


@pytest.mark.parametrize("number", [np.float64, np.float32, np.int64])
def test_numbers_of_numpy_are_taken_anew_as_well(number):
    def function_on(xp):
        return lambda x, told: x * told + told * 0.1

    replay, _ = record(function_on, (X, number(3)), np)
    assert same(replay(Y, number(7)), function_on(np)(Y, number(7)))


def args(x):
    return np.tanh(x)


def a1(x):
    return x + 1.0


@pytest.mark.parametrize("function", [args, a1, lambda x: x * 2.0])
def test_a_function_may_have_any_name(function):
    class Odd:  # it dispatches on its argument, as NumPy's functions do
        __name__ = function.__name__

        def __call__(self, x):
            return x.__array_function__(function, (), (x,), {}) if hasattr(x, "lines") else x

    replay, _ = record(lambda xp: Odd(), (X,), np)
    assert same(replay(Y), function(Y))


def test_what_is_neither_array_nor_number_is_taken_as_it_is():
    def function_on(xp):
        return lambda x, weights, name: x if weights is None else x * weights

    replay, _ = record(function_on, (X, None, "rows"), np)
    assert replay(Y, None, "rows") is Y


def test_a_number_in_place_is_replaced_and_the_old_one_stays():
    def function_on(xp):
        def function(x):
            total = xp.sum(x)
            kept = total
            total *= 2.0
            total += kept
            return total, kept

        return function

    replay, _ = record(function_on, (X,), np)
    assert same(replay(Y), function_on(np)(Y))


def test_arrays_that_the_function_consumes_are_changed_by_a_replay_in_the_same_way():
    def descend_on(xp):
        def descend(p, g):
            p -= g
            view = p.T
            view += 1.0
            return p

        return descend

    replay, _ = record(descend_on, (X.copy(), Y), np)
    one, other = X.copy(), X.copy()
    assert replay(one, Y) is one
    assert same(one, descend_on(np)(other, Y))


def test_new_arrays_are_made_anew_in_every_replay():
    def count_on(xp):
        def count(x):
            places = xp.arange(4, dtype=xp.float64)
            places += x
            return places

        return count

    replay, first = record(count_on, (X[0],), np)
    one, other = replay(X[0]), replay(X[0])
    assert same(one, other)
    assert same(one, first)
    assert one is not other


def test_no_name_outlives_its_last_use():
    replay, _ = record(lambda xp: lambda x: xp.exp(xp.tanh(x * 0.5)) + 1.0, (X,), np)
    lines = replay.source.split("\n")
    made = re.findall(r"^    (a\d+) =", replay.source, re.M)
    let_go = re.findall(r"del (.*)", replay.source)
    assert ", ".join(let_go).split(", ") == made[:-1]
    assert lines[-1].strip() == f"return {made[-1]}"


REFUSED = {
    "a choice": lambda xp: lambda x: x if xp.sum(x) > 0.0 else -x,
    "a loop": lambda xp: lambda x: sum(row for row in x),
    "membership": lambda xp: lambda x: 1.0 in x,
    "a float": lambda xp: lambda x: x * float(xp.sum(x)),
    "an int": lambda xp: lambda x: x * int(xp.sum(x)),
    "an index": lambda xp: lambda x: x[operator.index(xp.argmax(x)), ...],
    "a list": lambda xp: lambda x: x * x[0].tolist()[0],
    "the memory": lambda xp: lambda x: x * len(x.data.tobytes()),
    "a copy by NumPy": lambda xp: lambda x: x * np.array(x).sum(),
    "another shape": lambda xp: lambda x: setattr(x, "shape", (-1,)),
    "a given entry": lambda xp: lambda x: operator.setitem(x, 0, 1.0),
    "text": lambda xp: lambda x: x * len(x.tobytes()),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_depends_on_the_numbers_in_an_array_is_refused(what):
    with pytest.raises((TypeError, AttributeError)):
        record(REFUSED[what], (X.copy(),), np)


def test_a_result_of_two_arrays_in_place_is_refused():
    with pytest.raises(NotRecordable, match="cannot be recorded"):
        record(lambda xp: lambda x, y, z: np.modf(x, out=(y, z)), (X, Y.copy(), Y.copy()), np)


@pytest.mark.parametrize("change", [operator.iadd, lambda kept, x: np.add(kept, x, out=kept)])
def test_a_change_of_an_array_from_outside_is_refused(change):
    kept = np.zeros(4)
    with pytest.raises(NotRecordable, match="cannot be recorded"):
        record(lambda xp: lambda x: change(kept, x[0, ...]), (X,), np)
    assert not kept.any()
