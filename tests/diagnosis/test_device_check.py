"""The device check: every backend passes it, and a planted fault fails it."""

import math

import numpy as np
import pytest

from backprop_xp import select_device
from backprop_xp.backend.arrays import backend_name
from backprop_xp.diagnosis import device_check
from backprop_xp.diagnosis.device_check import (
    LIMITS,
    Row,
    allowed_pairs,
    backend_rows,
    gradient_rows,
)
from backprop_xp.nn.activations import ACTIVATIONS, OUTPUTS, elementwise
from backprop_xp.nn.losses import LOSSES
from backprop_xp.nn.optimizers import OPTIMIZERS

STRICT = select_device("cpu", "array_api_strict")

QUANTITIES = ("loss", "z", "a", "δ", "∂L/∂W", "∂L/∂b")


def failed(rows):
    return {(row.group, row.name) for row in rows if not row.passed}


def only_strict(function, otherwise):
    """Return a function that is replaced on array_api_strict alone, as a faulty library would."""

    def chosen(*args):
        faulty = backend_name(args[-1]) == "array_api_strict"
        return (otherwise if faulty else function)(*args)

    return chosen


# --- what is right passes ---


def test_all_gradients_are_right_for_every_output_and_loss():
    rows = list(gradient_rows())
    assert not failed(rows)
    assert {row.name for row in rows} == {f"{f.name} + {loss.name}" for f, loss in allowed_pairs()}
    assert all(row.where or row.error == 0 for row in rows)


def test_every_backend_computes_what_numpy_does(library):
    rows = list(backend_rows(library.placement))
    assert not failed(rows)
    assert {row.group for row in rows} == {"float32", "float64"}
    names = {*QUANTITIES, *(f"one step of {name}" for name in OPTIMIZERS), "ten steps of training"}
    for dtype in LIMITS:
        assert {row.name for row in rows if row.group == dtype} == names


def test_numpy_in_float64_is_the_reference_itself():
    rows = [row for row in backend_rows(select_device("cpu", "numpy")) if row.group == "float64"]
    assert {row.error for row in rows} == {0.0}


def test_every_activation_and_loss_is_compared_somewhere():
    pairs = list(allowed_pairs())
    assert {f.name for f, _ in pairs} == set(OUTPUTS)
    assert {loss.name for _, loss in pairs} == set(LOSSES)


# --- what is wrong does not ---


def test_a_wrong_derivative_fails_the_gradients(monkeypatch):
    wrong = elementwise("tanh", lambda z, xp: xp.tanh(z), lambda z, a, xp: 1.001 - a * a)
    monkeypatch.setitem(ACTIVATIONS, "tanh", wrong)
    rows = list(gradient_rows())
    # As an activation of hidden layers it stands behind every output.
    assert {name for _, name in failed(rows)} == {row.name for row in rows} - {
        *(row.name for row in rows if row.name.startswith("step + "))
    }
    assert all("tanh" in f"{row.name} {row.where}" for row in rows if not row.passed)


def test_a_function_that_is_wrong_on_one_backend_fails_its_activations(monkeypatch):
    right = ACTIVATIONS["sigmoid"]
    value = only_strict(right.forward, lambda z, xp: right.forward(z, xp) * (1 + 1e-4))
    monkeypatch.setitem(ACTIVATIONS, "sigmoid", right._replace(forward=value))
    found = failed(backend_rows(STRICT))
    assert {("float32", "a"), ("float64", "a")} <= found
    assert not any(name.startswith("one step") for _, name in found)
    assert not failed(backend_rows(select_device("cpu", "numpy")))


def with_a_wrong_rule(make):
    def faulty(**given):
        right = make(**given)

        def wrong(p, g, slots, scalars, xp):
            p, slots = right.rule(p, g, slots, scalars, xp)
            return p * (1 + 1e-4), slots

        return right._replace(rule=only_strict(right.rule, wrong))

    return faulty


@pytest.mark.parametrize("wrong", [["momentum"], sorted(set(OPTIMIZERS) - {"momentum"})])
def test_a_wrong_rule_fails_the_row_of_its_optimizer(wrong, monkeypatch):
    for name in wrong:
        monkeypatch.setitem(OPTIMIZERS, name, with_a_wrong_rule(OPTIMIZERS[name]))
    wanted = {f"one step of {name}" for name in wrong}
    if "momentum" in wrong:  # the ten steps are done with it
        wanted.add("ten steps of training")
    assert failed(backend_rows(STRICT)) == {(t, row) for t in LIMITS for row in wanted}


@pytest.mark.parametrize(
    ("got", "error"),
    [
        ([1.0, 2.0], 0.0),
        ([1.0, 2.5], 0.25),
        ([-1.0, 2.0], 1.0),
        ([1.0, math.nan], math.nan),
        ([math.inf, 2.0], math.inf),
    ],
)
def test_an_error_is_relative_to_the_largest_entry(got, error):
    found = device_check._error([np.asarray([1.0, 2.0])], [np.asarray(got)])
    assert found == pytest.approx(error, nan_ok=True)


def test_a_number_that_is_none_does_not_pass():
    assert Row("g", "n", 1e-5, 1e-5, "").passed
    assert not Row("g", "n", 1.1e-5, 1e-5, "").passed
    assert not Row("g", "n", math.nan, 1e-5, "").passed
    one, other = [np.ones(2), np.ones(2)], [np.asarray([1.0, math.nan]), np.zeros(2)]
    assert math.isnan(device_check._error(one, other))


@pytest.mark.parametrize("errors", [[math.nan, 1.0, 0.0], [0.0, math.nan, 1.0], [1.0, math.nan]])
def test_an_error_that_is_not_a_number_is_the_largest_wherever_it_comes(errors):
    row = device_check._worst_row("g", "n", [(error, str(error)) for error in errors], 1e-5)
    assert math.isnan(row.error)
    assert row.where == "nan"
    assert not row.passed
