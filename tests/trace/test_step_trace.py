"""The trace of a training step: its numbers agree with the notes, with training and with each
other."""

import json
import math
import time

import numpy as np
import pytest
from command_line import strict_json
from helpers import TOLERANCE, bytes_of, error, errors, smooth_case, worked_examples
from pages import trace_network

from backprop_xp.backend import arrays
from backprop_xp.errors import ConfigurationError, DataError
from backprop_xp.nn.activations import ACTIVATIONS, elementwise
from backprop_xp.nn.losses import LOSSES, fused_form
from backprop_xp.nn.network import Layer, Network, initial_parameters
from backprop_xp.nn.optimizers import OPTIMIZERS, get_optimizer
from backprop_xp.nn.regularizers import Penalty
from backprop_xp.trace.examples import read_example
from backprop_xp.trace.formulas import put_in
from backprop_xp.trace.table import state_after, state_symbols
from backprop_xp.training.fit import fit

EXAMPLES = worked_examples()
NOTE_000, NOTE_001 = EXAMPLES["note_000"], EXAMPLES["note_001"]


def agree(got, wanted):
    """Return whether all numbers equal those of the notes to 1e-9."""
    return float(np.max(np.abs(np.asarray(got) - np.asarray(wanted)))) <= 1e-9


def as_json(trace):
    return strict_json(json.dumps(trace.as_data(), allow_nan=False))


# --- the notes -----------------------------------------------------------------------------


def test_note_000_has_every_number_of_the_note_set_right(library):
    data = as_json(read_example("note-000").trace(library.placement))
    (sample,) = data["samples"]
    for layer, z, a, incoming, delta in zip(
        sample["layers"],
        *(NOTE_000[key] for key in ("z", "a", "dA", "delta")),
        strict=True,
    ):
        assert agree(layer["z"], z)
        assert agree(layer["a"], a)
        assert agree(layer["incoming"], incoming)
        assert agree(layer["delta"], delta)
        assert agree(layer["slope"], np.asarray(a) * (1.0 - np.asarray(a)))
    for layer, old, gradient, new in zip(
        data["layers"], *(NOTE_000[key] for key in ("W", "grad", "W_new")), strict=True
    ):
        assert agree(layer["old"]["weights"], old)
        assert agree(layer["gradient"]["weights"], gradient)
        assert agree(layer["new"]["weights"], new)
        assert agree(layer["update"]["weights"], -np.asarray(gradient))
        assert layer["old"]["bias"] is None
        assert layer["slots"] == {}
    for layer, z, a in zip(
        sample["after"]["layers"], NOTE_000["z_after"], NOTE_000["a_after"], strict=True
    ):
        assert agree(layer["z"], z)
        assert agree(layer["a"], a)
    assert agree(data["loss_before"], NOTE_000["cost"])
    assert agree(data["loss_after"], NOTE_000["cost_after"])
    assert (sample["input"], sample["target"]) == (NOTE_000["x"], NOTE_000["y"])
    assert (data["network"]["parameters"], data["optimizer"]["learning_rate"]) == (55, 1.0)


def test_note_001_has_every_number_of_the_note_set_right(library):
    data = as_json(read_example("note-001").trace(library.placement))
    (sample,), (first, second) = data["samples"], data["layers"]
    found = {"J": data["loss_before"], "J_after": data["loss_after"], "eta": 0.1}
    for place, a in ((1, "a11"), (2, "y")):
        layer, after = (
            layers[place - 1] for layers in (sample["layers"], sample["after"]["layers"])
        )
        found |= {f"z{place}": layer["z"][0], a: layer["a"][0], f"delta{place}": layer["delta"][0]}
        found |= {f"z{place}_after": after["z"][0], f"{a}_after": after["a"][0]}
    for name, layer in (("1", first), ("2", second)):
        found |= {f"g_w{name}1": layer["gradient"]["weights"][0][0]}
        found |= {f"g_b{name}": layer["gradient"]["bias"][0]}
        found |= {f"w{name}1": layer["new"]["weights"][0][0], f"b{name}": layer["new"]["bias"][0]}
    assert set(found) == set(NOTE_001)
    for name, wanted in NOTE_001.items():
        assert agree(found[name], wanted), name


# --- the numbers of a trace fit each other ----------------------------------------------------

PAIRS = [
    (loss, activation)
    for loss, activation in (
        *((name, "sigmoid") for name in LOSSES if name != "poisson"),
        *(("cross_entropy", "softmax"), ("half_squared_error", "softmax")),
        *(("poisson", "softplus"), ("half_squared_error", "identity")),
    )
]


def traced(loss="half_squared_error", output="sigmoid", *, n=3, hidden=("tanh", "gelu"), **given):
    network = Network((4, 5, 3, 2), (*hidden, output))
    parameters, x = smooth_case(network, n)
    y = np.random.default_rng(1).uniform(0.1, 0.9, (n, 2))
    return trace_network(network, loss, parameters, x, y, **given)


@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_each_error_is_the_product_of_its_two_factors(loss, output, library, dtype):
    trace = traced(loss, output, placement=library.placement, dtype=dtype)
    shown = 0
    for sample in as_json(trace)["samples"]:
        for layer in sample["layers"]:
            if layer["slope"] is not None:
                product = np.asarray(layer["incoming"]) * np.asarray(layer["slope"])
                assert error(product, np.asarray(layer["delta"])) <= TOLERANCE[dtype]
                shown += 1
    assert shown == 3 * (2 if output == "softmax" else 3)


@pytest.mark.parametrize("penalty", [None, Penalty(l1=0.1, l2=0.5), Penalty(0.1, 0.5, True, True)])
def test_each_gradient_is_the_sum_of_its_products_and_of_what_the_penalty_adds(penalty):
    data = as_json(traced(penalty=penalty))
    l1, l2 = (data["penalty"][name] if penalty else 0.0 for name in ("l1", "l2"))
    assert not penalty or l2 == (0.5 / 3 if penalty.per_batch else 0.5)
    for place, layer in enumerate(data["layers"]):
        for j, row in enumerate(layer["gradient"]["weights"]):
            deltas = [sample["layers"][place]["delta"][j] for sample in data["samples"]]
            for k, found in enumerate(row):
                fed = [
                    sample["layers"][place - 1]["a"][k] if place else sample["input"][k]
                    for sample in data["samples"]
                ]
                w = layer["old"]["weights"][j][k]
                wanted = sum(d * a for d, a in zip(deltas, fed, strict=True))
                wanted += l2 * w + math.copysign(l1, w)
                assert found == pytest.approx(wanted, rel=1e-12, abs=1e-15)
            b = layer["old"]["bias"][j]
            added = l2 * b + math.copysign(l1, b) if penalty and penalty.biases else 0.0
            wanted = sum(deltas) + added
            assert layer["gradient"]["bias"][j] == pytest.approx(wanted, rel=1e-12, abs=1e-15)


def test_the_loss_of_the_batch_is_the_mean_of_its_samples_and_a_penalty_per_batch():
    data = as_json(traced())
    for when in ("loss_before", "loss_after"):
        mean = sum(sample[when] * sample["share"] for sample in data["samples"])
        assert data[when] == pytest.approx(mean, rel=1e-14)
    penalized = as_json(traced(penalty=Penalty(l2=1.0, per_batch=True)))
    weights = [w for layer in data["layers"] for row in layer["old"]["weights"] for w in row]
    added = 0.5 * sum(w * w for w in weights) / 3
    assert penalized["loss_before"] - data["loss_before"] == pytest.approx(added, rel=1e-12)


# --- it is the step of training ----------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_trace_is_one_step_of_training(optimizer, library, dtype):
    network = Network((4, 5, 3, 2), ("tanh", "relu", "softmax"))
    parameters, x = smooth_case(network)
    labels, placement = [0, 1, 1], library.placement
    placed = library.layers(parameters, dtype)
    trace = trace_network(
        network,
        "cross_entropy",
        placed,
        library.array(x, dtype),
        labels,
        optimizer=get_optimizer(optimizer),
        penalty=Penalty(l2=0.3 / 3),
        placement=placement,
        dtype=dtype,
    )
    state = fit(
        network,
        (library.array(x, dtype), library.array(labels, "index")),
        parameters=placed,
        loss="cross_entropy",
        optimizer=optimizer,
        l2=0.3,
        batch_size=0,
        epochs=1,
        seed=0,
        shuffle=False,
    )
    slots = [arrays.to_numpy(array).tobytes() for of_array in state.slots for array in of_array]
    kept = [
        p.tobytes()
        for layer in trace.slots
        for kind in ("weights", "bias")
        for p in (getattr(after, kind) for _, after in layer.values())
    ]
    if placement.backend == "jax":  # compiled as a whole, it may fuse a product and a sum
        assert errors(trace.new, state.parameters) <= TOLERANCE[dtype]
        assert trace.before.loss == pytest.approx(state.history[0]["loss"], rel=TOLERANCE[dtype])
        return
    assert bytes_of(trace.new) == bytes_of(state.parameters)
    assert kept == slots
    assert trace.before.loss == state.history[0]["loss"]


def test_what_an_optimizer_keeps_starts_at_zero():
    trace = traced(optimizer="adam")
    for layer in as_json(trace)["layers"]:
        assert list(layer["slots"]) == ["sum", "sum_of_squares"]
        for slot in layer["slots"].values():
            assert not np.any(slot["before"]["weights"])
            assert not np.any(slot["before"]["bias"])
        assert layer["slots"]["sum"]["after"] == layer["gradient"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_state_of_adam_is_shown_as_in_the_textbook(dtype):
    data = as_json(traced(optimizer=get_optimizer("adam", beta1=0.75, beta2=0.9), dtype=dtype))
    assert state_symbols(data) == ["m", "v"]
    for place, layer in enumerate(data["layers"], start=1):
        g = layer["gradient"]["weights"][0][1]
        wanted = {"m": 0.25 * g, "v": 0.1 * g * g, "m̂": g, "v̂": g * g}
        assert state_after(data, place, 0, 1) == pytest.approx(wanted, rel=TOLERANCE[dtype])


def test_the_arrays_that_are_given_are_left_as_they_were(library, dtype):
    network = Network((4, 5, 3, 2), ("identity", "relu", "identity"))
    parameters, x = smooth_case(network)
    placed, x = library.layers(parameters, dtype), library.array(x, dtype)
    before = bytes_of(placed)
    given = {"placement": library.placement, "dtype": dtype, "optimizer": "momentum"}
    first = trace_network(network, "half_squared_error", placed, x, np.zeros((3, 2)), **given)
    assert bytes_of(placed) == before == bytes_of(first.old)
    assert bytes_of(first.new) != before


def test_a_float32_trace_tells_its_numbers_exactly_in_few_digits():
    trace = traced(dtype="float32")
    data = as_json(trace)
    assert data["dtype"] == "float32"
    weights = data["layers"][0]["new"]["weights"]
    assert np.asarray(weights, dtype=np.float32).tobytes() == trace.new[0].weights.tobytes()
    assert max(len(repr(w)) for row in weights for w in row) <= 15


# --- where a number has no factors, or is none --------------------------------------------------


def test_a_saturated_output_has_its_exact_error_and_no_factors():
    network, far = Network((1, 1), "sigmoid"), [Layer([[1000.0]], [0.0])]
    (sample,) = as_json(trace_network(network, "binary_cross_entropy", far, [[1.0]], [[0.0]]))[
        "samples"
    ]
    assert sample["layers"] == [
        {"z": [1000.0], "a": [1.0], "incoming": None, "slope": None, "delta": [1.0]}
    ]


def test_numbers_that_are_not_finite_are_null():
    large = [Layer([[1e200]], None)] * 2
    network = Network((1, 1, 1), "identity", bias=False)
    data = as_json(trace_network(network, "squared_error", large, [[1e100]], [[0.0]]))
    assert data["samples"][0]["layers"][1]["z"] == [None]
    assert data["loss_after"] is None


def test_a_closed_form_is_named_where_training_uses_it():
    for loss, output in PAIRS:
        fused = fused_form(LOSSES[loss], ACTIVATIONS[output])
        text = LOSSES[loss].fused_formulas[output] if fused else None
        assert as_json(traced(loss, output))["fused"] == text
    own = elementwise("sigmoid", *ACTIVATIONS["sigmoid"][3:5], output_range=(0.0, 1.0))
    assert as_json(traced("binary_cross_entropy", own))["fused"] is None


def test_a_custom_loss_needs_no_texts():
    loss = LOSSES["binary_cross_entropy"]._replace(
        name="custom", derivative_formula="", fused_formulas={}
    )
    data = as_json(traced(loss, "sigmoid"))
    assert (data["loss"]["derivative"], data["fused"]) == ("", None)
    assert data["layers"] == as_json(traced("binary_cross_entropy", "sigmoid"))["layers"]


# --- the texts of derivatives are true ------------------------------------------------------------


def value(formula, **known):
    """Return the value of a formula given as text."""
    text = put_in(formula, known)
    for sign, python in (("·", "*"), ("½", "0.5"), ("²", "**2"), ("σ", "sigmoid")):
        text = text.replace(sign, python)
    known = {"sign": np.sign, "sigmoid": lambda z: 1.0 / (1.0 + math.exp(-z))}
    known |= {name: getattr(np, name) for name in ("exp", "log", "sqrt", "tanh")}
    return eval(text, known | {"max": max, "min": min})


@pytest.mark.parametrize("name", LOSSES)
def test_the_derivative_of_a_loss_stands_in_its_text(name):
    a, y = np.asarray([[0.25, 0.875]]), np.asarray([[0.5, 0.125]])
    wanted = LOSSES[name].value_and_gradient(a, y, np)[1]
    found = [
        value(LOSSES[name].derivative_formula, n=2, a_j=a[0, j], y_j=y[0, j]) for j in range(2)
    ]
    assert error(found, wanted[0]) <= 1e-5  # the text holds six digits


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.fused])
def test_the_closed_form_of_a_fused_loss_stands_in_its_text(name):
    ((output, form),) = LOSSES[name].fused.items()
    text = LOSSES[name].fused_formulas[output].removeprefix("δ = ")
    z, y = np.asarray([[0.25, -0.875]]), np.asarray([[0.5, 0.25]])
    a = ACTIVATIONS[output].forward(z, np)
    _, wanted = form(z, a, y, np)
    known = {"batch": 4, "Σ_j y_j": float(y.sum())}
    found = [value(text, a=a[0, j], y=y[0, j], z=z[0, j], **known) for j in range(2)]
    assert error(found, wanted[0] / 4) <= 1e-5


# --- mistakes, notebooks, and time --------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({"inputs": [[1.0]]}, DataError, "the network takes 2 inputs"),
        ({"targets": [[2.0]]}, DataError, "needs targets between 0 and 1"),
        ({"targets": [[0.0], [0.0]]}, DataError, "1 rows of inputs and 2 of targets"),
        ({"parameters": [Layer([[1.0, 2.0, 3.0]], [0.0])]}, ConfigurationError, "layer 1"),
        ({"learning_rate": -1.0}, ConfigurationError, "learning_rate is -1.0"),
        ({"optimizer": "adm"}, ConfigurationError, "did you mean 'adam'"),
        ({"loss": "poisson"}, ConfigurationError, "needs outputs above 0"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(changed, kind, said):
    given = {"network": Network((2, 1), "tanh" if "loss" in changed else "sigmoid")}
    given |= {"loss": "binary_cross_entropy", "parameters": [Layer([[1.0, 2.0]], [0.0])]}
    given |= {"inputs": [[1.0, 2.0]], "targets": [[1.0]], **changed}
    with pytest.raises(kind) as failure:
        trace_network(**given)
    assert said in f"{failure.value.message} {failure.value.hint}"


def test_a_notebook_shows_a_trace_with_all_text_escaped():
    hostile = "<script>alert('a')</script>"
    network = Network((2, 2), "softmax")
    trace = trace_network(
        network,
        "cross_entropy",
        [Layer([[1.0, 2.0], [3.0, 4.0]], [0.0, 0.0])],
        [[1.0, 2.0]],
        [1],
        title=hostile,
        classes=(hostile, "b"),
        features=(hostile, "d"),
    )
    html = trace._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert html.count("<table>") == html.count("</table>") == 5


def test_a_step_of_784_30_10_is_traced_in_far_less_than_three_seconds():
    network = Network((784, 30, 10), ("sigmoid", "softmax"))
    parameters = initial_parameters(network, 0, xp=np, dtype=np.float32)
    x = np.random.default_rng(0).uniform(size=(1, 784))
    started = time.process_time()
    trace = trace_network(network, "cross_entropy", parameters, x, [3], dtype="float32")
    json.dumps(trace.as_data())
    assert time.process_time() - started < 1.5
