"""The trace page as a file: self-contained, small, exact, and safe from names that are code."""

import json
import re
from importlib.resources import files

import numpy as np
import pytest
from helpers import TOLERANCE, error
from pages import HOSTILE, hostile_trace, image_trace, page_data, trace_of, unpacked

from backprop_xp.nn.activations import SIGMOID
from backprop_xp.trace.examples import EXAMPLES, read_example
from backprop_xp.trace.page import MAX_NEURONS, trace_page

FOLDER = files("backprop_xp.trace") / "assets"


def example_page(name):
    return trace_page(read_example(name).trace())


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_page_asks_for_nothing_and_names_no_address(name):
    page = example_page(name)
    assert "http:" not in page
    assert "https:" not in page
    for asking in (
        r"\bsrc\s*=",
        r"@import",
        r"url\(",
        r"fetch\(",
        r"<link(?! rel=\"icon\" href=\"data:)",
    ):
        assert not re.search(asking, page), asking
    assert page.count("<script") == page.count("</script>") == 3


def test_a_page_forbids_itself_all_that_it_does_not_need():
    (policy,) = re.findall(r'Security-Policy" content="([^"]*)"', example_page("xor"))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policy


def test_the_same_trace_gives_the_same_page():
    assert example_page("note-000") == example_page("note-000")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_page_of_784_30_10_with_adam_stays_under_two_megabytes(dtype):
    trace = trace_of((784, 30, 10), image_shape=(28, 28), optimizer="adam", dtype=dtype)
    assert len(trace_page(trace).encode()) <= 2_000_000


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_page_holds_every_number_exactly(dtype):
    trace = image_trace(optimizer="adam", dtype=dtype, samples=2)
    data = page_data(trace_page(trace))
    for row, sample in enumerate(data["samples"]):
        assert (unpacked(sample["input"], dtype) == trace.inputs[row]).all()
        assert (unpacked(sample["target"], dtype) == trace.targets[row]).all()
    for place, layer in enumerate(data["layers"]):
        for name, wanted in (("old", trace.old), ("gradient", trace.gradients), ("new", trace.new)):
            weights = unpacked(layer[name]["weights"], dtype)
            assert (weights == wanted[place].weights.ravel()).all()
            assert (unpacked(layer[name]["bias"], dtype) == wanted[place].bias).all()
        assert [slot["name"] for slot in layer["slots"]] == ["m", "v"]
        gradient = trace.gradients[place].weights.ravel()
        for slot, moment in zip(layer["slots"], (0.1 * gradient, 0.001 * gradient**2), strict=True):
            assert slot["before"]["weights"] is None  # nothing but zeros
            after = unpacked(slot["after"]["weights"], dtype)
            assert error(after, moment) <= TOLERANCE[dtype]
        for row, sample in enumerate(data["samples"]):
            tape = sample["layers"][place]
            assert (unpacked(tape["z"], dtype) == trace.before.z[place][row]).all()
            assert (unpacked(tape["delta"], dtype) == trace.deltas[place][row]).all()
            after = sample["after"]["layers"][place]
            assert (unpacked(after["a"], dtype) == trace.after.a[place][row]).all()


def test_a_wide_network_is_cut_to_the_neurons_with_the_largest_errors():
    trace = trace_of((100, 300, 50, 5))
    data = page_data(trace_page(trace))
    assert [len(places) for places in data["shown"]] == [MAX_NEURONS] * 3 + [5]
    for places, deltas in zip(data["shown"][1:], trace.deltas, strict=True):
        size = abs(deltas[0])
        left_out = np.delete(size, places)
        assert not left_out.size or size[places].min() >= left_out.max()
    first, second = data["shown"][1:3]
    weights = unpacked(data["layers"][1]["old"]["weights"])
    assert (weights == trace.old[1].weights[np.ix_(second, first)].ravel()).all()


def test_a_large_picture_is_kept_whole_and_leaves_room_for_fewer_neurons():
    trace = trace_of((64 * 64, 40, 3), image_shape=(64, 64), dtype="float32")
    page = trace_page(trace)
    assert [len(places) for places in page_data(page)["shown"]] == [4096, 6, 3]
    assert len(page) < 1_000_000


def test_the_curves_are_points_of_the_activation_and_its_slope():
    softmax, sigmoid = trace_of((3, 4, 2)), trace_of((3, 4, 1), ["softmax", "sigmoid"])
    curves = [layer["curve"] for layer in page_data(trace_page(sigmoid))["layers"]]
    assert curves[0] is None  # each of its outputs depends on every z
    assert page_data(trace_page(softmax))["layers"][1]["curve"] is None
    z = np.linspace(-curves[1]["reach"], curves[1]["reach"], 241)
    a = SIGMOID.forward(z, np)
    assert (unpacked(curves[1]["function"]) == a).all()
    slope = SIGMOID.derivative(z, a, np)
    assert (unpacked(curves[1]["slope"]) == slope).all()


def test_names_cannot_leave_the_data():
    page = trace_page(hostile_trace())
    assert page.count("<script") == page.count("</script>") == 3
    assert "<img" not in page
    assert "<!--<" not in page
    data = page_data(page)
    assert data["title"] == HOSTILE[0]
    assert data["network"]["classes"] == list(HOSTILE)


def test_both_languages_say_the_same_things():
    texts = json.loads((FOLDER / "texts.json").read_text("utf-8"))
    assert set(texts) == {"en", "zh"}
    assert list(texts["en"]) == list(texts["zh"])
    for key, text in texts["en"].items():
        assert text.strip()
        assert texts["zh"][key].strip()
        slots = [sorted(re.findall(r"{\w+}", said)) for said in (text, texts["zh"][key])]
        assert slots[0] == slots[1], key


def test_no_text_is_missing_and_none_is_left_over():
    source = "\n".join(
        part.read_text("utf-8") for part in FOLDER.iterdir() if part.name.endswith((".js", ".html"))
    )
    known = json.loads((FOLDER / "texts.json").read_text("utf-8"))["en"]
    asked = set(re.findall(r'\bt\(\s*"(\w+)"', source))
    asked |= set(re.findall(r'data-(?:text|label)="(\w+)"', source))
    assert asked <= set(known)
    quoted = set(re.findall(r'"(\w+)"', source))
    families = re.findall(r"`(\w+_)\${", source)
    for key in set(known) - quoted:
        assert key.startswith(tuple(families)), key
