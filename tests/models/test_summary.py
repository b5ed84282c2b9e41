"""A summary counts every parameter of a model, and says what belongs to it."""

import numpy as np
import pytest
from command_line import done, refused, small_model, written

from backprop_xp import Network, load_model, save_model
from backprop_xp.data.scaling import Scaling
from backprop_xp.models.summary import describe, summary


def saved(tmp_path, **fields):
    path = tmp_path / "model.safetensors"
    save_model(small_model(**fields), path)
    return path


@pytest.mark.parametrize(("hidden", "total"), [(30, 23_860), (15, 11_935)])
def test_the_networks_of_the_notes_have_as_many_parameters_as_by_hand(hidden, total, tmp_path):
    path = saved(tmp_path, sizes=(784, hidden, 10), activations=("sigmoid", "softmax"))
    told = done("summary", path, "--json").json
    assert (told["parameters"], told["bytes"]) == (total, 4 * total)
    assert [row["parameters"] for row in told["layers"]] == [785 * hidden, 10 * (hidden + 1)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_rows_add_up_to_what_the_arrays_hold(bias, dtype):
    model = small_model((3, 4, 2), ("relu", "tanh"), bias=bias, dtype=dtype)
    rows = summary(model.network, dtype)
    for row, layer in zip(rows, model.parameters, strict=True):
        held = [p for p in layer if p is not None]
        assert row.shape == layer.weights.shape
        assert row.biases == (layer.weights.shape[0] if bias else 0)
        assert (row.parameters, row.bytes) == tuple(
            sum(getattr(p, what) for p in held) for what in ("size", "nbytes")
        )
    assert sum(row.parameters for row in rows) == model.network.n_parameters


def test_layers_are_named_by_their_place():
    names = [row.name for row in summary(Network((2, 3, 4, 1), "tanh"))]
    assert names == ["hidden 1", "hidden 2", "output"]
    assert [row.name for row in summary(Network((2, 1), "tanh"))] == ["output"]


def test_the_table_shows_the_layers_and_what_belongs_to_the_model(tmp_path):
    path = saved(
        tmp_path,
        **{"sizes": (4, 3, 2), "activations": ("relu", "softmax"), "image_shape": (2, 2)},
        **{"classes": ("ant", "bee"), "scaling": Scaling(np.zeros(4), np.full(4, 255.0))},
    )
    assert [line.split() for line in done("summary", path).out.splitlines()] == [
        ["layer", "activation", "weights", "biases", "parameters", "bytes"],
        ["hidden", "1", "relu", "3", "x", "4", "3", "15", "60"],
        ["output", "softmax", "2", "x", "3", "2", "8", "32"],
        ["total", "23", "92"],
        [],
        ["inputs", "4:", "images", "of", "2", "x", "2", "pixels"],
        ["scaling", "divided", "by", "255"],
        ["label", "without", "a", "name"],
        ["classes", "2:", "ant,", "bee"],
        ["loss", "cross_entropy:", "-Σ_j", "y_j", "log", "a_j"],
        ["data", "type", "float32"],
        ["seed", "0"],
        ["version", "0.1.0"],
    ]


def test_json_is_the_description_of_the_model(tmp_path):
    path = saved(tmp_path, features=("height", "width"))
    told = done("summary", path, "--json").json
    assert told.pop("inputs") == {
        **{"number": 2, "features": ["height", "width"], "image_shape": None},
    }
    (row,) = told.pop("layers")
    assert row["shape"] == [1, 2]
    described = describe(load_model(path))
    del described["inputs"], described["layers"]
    assert told == {"schema_version": 1, "command": "summary", "model": str(path), **described}


@pytest.mark.parametrize(
    ("scaling", "words"),
    [
        (None, "none"),
        (Scaling(np.zeros(2), np.ones(2)), "none"),
        (Scaling(np.zeros(2), np.full(2, 16.0)), "divided by 16"),
        (Scaling(np.zeros(2), np.asarray([1.0, 2.0])), "a shift and a divisor for each input"),
        (Scaling(np.ones(2), np.ones(2)), "a shift and a divisor for each input"),
    ],
)
def test_the_scaling_is_told_in_words(scaling, words):
    assert describe(small_model(scaling=scaling))["scaling"] == words


def test_many_names_are_cut_and_none_of_them_commands_the_terminal(tmp_path):
    names = ("\x1b[2Jred", "naïve 类", *(f"class {k}" for k in range(2, 30)))
    path = saved(tmp_path, sizes=(2, 30), activations="softmax", classes=names)
    text = done("summary", path).out
    assert "\x1b" not in text
    assert r"30: \x1b[2Jred, naïve 类, class 2," in text
    assert "class 11 and 18 more\n" in text
    assert done("summary", path, "--json").json["classes"] == list(names)


def test_a_regression_has_no_classes(tmp_path):
    assert "classes    none: a regression\n" in done("summary", saved(tmp_path)).out


def test_a_file_that_is_no_model_is_refused(tmp_path):
    message, _ = refused(4, "model", "summary", tmp_path / "missing.safetensors")
    assert "missing.safetensors cannot be read" in message
    message, _ = refused(4, "model", "summary", written(tmp_path / "text", "hello"))
    assert "is not a model file of this package" in message


def test_class_names_with_commas_and_quotes_are_told_apart(tmp_path):
    names = ("plain", "red, dark", 'so "called"')
    path = saved(tmp_path, sizes=(2, 3), activations="softmax", classes=names)
    assert """3: plain, 'red, dark', 'so "called"'\n""" in done("summary", path).out
