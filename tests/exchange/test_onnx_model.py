"""ONNX: ONNX Runtime predicts what the model predicts, from the same raw rows."""

import dataclasses
import json

import numpy as np
import onnx
import onnxruntime
import pytest
from command_line import done, refused_alike, small_model, written
from helpers import error

from backprop_xp import ConfigurationError, export_model, load_model, save_model, to_onnx, train
from backprop_xp.data.labels import from_names
from backprop_xp.data.scaling import Scaling
from backprop_xp.exchange import onnx_model
from backprop_xp.models.metrics import by_class
from backprop_xp.nn.activations import ACTIVATIONS, OUTPUTS, elementwise

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
"""Largest admissible error of an output of the network, relative to the largest one or to 1."""

ROWS = (1, 3, 1000)


def session(model):
    """Return the model in ONNX Runtime, after ONNX's own checks."""
    proto = to_onnx(model)
    onnx.checker.check_model(proto, full_check=True)
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def predicted(runtime, x):
    """Return the outputs by name for an array, or for a dict of columns."""
    types = {
        "tensor(float)": np.float32,
        "tensor(double)": np.float64,
        "tensor(string)": object,
    }
    if not isinstance(x, dict):
        feed = {"X": x}
    else:
        feed = {name: np.asarray(column, dtype=object)[:, None] for name, column in x.items()}
    given = {one.name: feed[one.name].astype(types[one.type]) for one in runtime.get_inputs()}
    return dict(zip([o.name for o in runtime.get_outputs()], runtime.run(None, given), strict=True))


def normal(n, width, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width))


def difference(found, wanted, scaling=None):
    """Return the largest difference of outputs, in the units that the network has."""
    offset, divisor = (0.0, 1.0) if scaling is None else scaling
    found, wanted = (found - offset) / divisor, (wanted - offset) / divisor
    return error(found, wanted, max(1.0, float(np.max(np.abs(wanted)))))


def compare(model, x, frame=None):
    """Check all outputs of ONNX Runtime against those of the model, and return them."""
    found = predicted(session(model), x)
    given = x if frame is None else frame
    tolerance = TOLERANCE[model.dtype]
    outputs = model.outputs(model.read(given).inputs)
    if model.classes is None:
        assert list(found) == ["variable"]
        assert found["variable"].dtype == outputs.dtype
        assert difference(found["variable"], outputs, model.target_scaling) < tolerance
        return found
    scores = by_class(outputs)
    texts = [str(label) for label in from_names(model.classes, model.label_type).tolist()]
    chosen = [texts.index(str(label)) for label in found["label"].tolist()]
    # Rounding decides between outputs that are as good as equal.
    chosen = np.take_along_axis(scores, np.asarray(chosen)[:, None], axis=1)[:, 0]
    assert np.all(chosen >= np.max(scores, axis=1) - 2.0 * tolerance)
    if model.network.activations[-1].name in ("softmax", "sigmoid"):
        assert difference(found["probabilities"], model.predict_proba(given)) < tolerance
    else:
        assert difference(found["scores"], scores) < tolerance
    assert len(found) == 2
    return found


def known(name):
    """Return whether an activation is written; if not, the error must say where to add it."""
    if name in onnx_model._ACTIVATIONS:
        return True
    with pytest.raises(ConfigurationError, match=f"{name!r} cannot be written as ONNX") as failure:
        to_onnx(small_model((2, 1), name))
    assert "exchange/onnx_model.py" in failure.value.hint
    return False


# --- every activation and output ---


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_every_activation_with_every_output(hidden, output, dtype):
    if not (known(hidden) and known(output)):
        return
    sizes, scaling = (5, 7, 6, 3), Scaling(normal(1, 5)[0], np.arange(1.0, 6.0))
    functions = (hidden, hidden, output)
    regression = small_model(sizes, functions, dtype=dtype, scaling=scaling)
    units = Scaling(np.asarray([1e3, 0.0, -3.0]), np.asarray([2.0, 1e3, 1.0]))
    for model in (
        regression,
        dataclasses.replace(regression, scaling=None),
        dataclasses.replace(regression, target_scaling=units),
        dataclasses.replace(regression, classes=("a", "b", "c")),
        small_model((5, 4, 1), (hidden, output), dtype=dtype, classes=("no", "yes")),
    ):
        for n in ROWS:
            compare(model, normal(n, 5, seed=n))


def test_the_activations_of_the_package_are_written():
    names = ["step", "identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu"]
    assert {*names, "softplus", "softmax", "exp"} <= set(onnx_model._ACTIVATIONS)


def test_a_network_without_biases_and_a_single_layer():
    compare(small_model((3, 4, 2), "tanh", bias=False), normal(4, 3))
    compare(small_model((3, 1), "identity"), normal(4, 3))


def test_large_inputs_do_not_overflow():
    for name in filter(known, ACTIVATIONS):
        for dtype in TOLERANCE:
            compare(small_model((2, 3, 2), (name, "softmax"), dtype=dtype), 1e4 * normal(20, 2))


# --- labels and their types ---


@pytest.mark.parametrize(
    ("classes", "label_type", "kind"),
    [
        (("ähre", "ox\n", "*"), "text", "tensor(string)"),
        (("-3", "7", "2000000000000"), "integer", "tensor(int64)"),
        (("1", "2", str(10**30)), "integer", "tensor(string)"),
        (("0.5", "1", "1e20"), "number", "tensor(double)"),
        (("False", "True"), "boolean", "tensor(bool)"),
    ],
)
def test_labels_have_the_type_of_the_training_data(classes, label_type, kind):
    fields = {"classes": classes, "label_type": label_type, "scaling": None}
    model = small_model((4, len(classes)), "softmax", **fields)
    runtime, x = session(model), normal(50, 4)
    label, probabilities = runtime.get_outputs()
    assert (label.name, label.type, label.shape) == ("label", kind, ["N"])
    assert (probabilities.name, probabilities.shape) == ("probabilities", ["N", len(classes)])
    found = predicted(runtime, x)["label"].tolist()
    wanted = model.predict(x).tolist()
    assert found == ([str(one) for one in wanted] if classes[-1] == str(10**30) else wanted)
    assert len(set(found)) == len(classes)


def test_ties_are_decided_as_in_the_package():
    tied = small_model((2, 3), "identity", classes=("a", "b", "c"), scaling=None)
    tied = dataclasses.replace(
        tied, parameters=[layer._replace(weights=0 * layer.weights) for layer in tied.parameters]
    )
    assert predicted(session(tied), normal(2, 2))["label"].tolist() == ["a", "a"]
    half = small_model((2, 1), "sigmoid", classes=("a", "b"), scaling=None)
    found = predicted(session(half), np.zeros((1, 2)))  # σ(0) is one half
    assert found["label"].tolist() == half.predict(np.zeros((1, 2))).tolist() == ["b"]


# --- raw rows ---


def test_columns_far_from_zero_keep_their_digits():
    offset = np.asarray([1.7e9, 2000.0])
    model = small_model((2, 3), "tanh", scaling=Scaling(offset, np.asarray([10.0, 1.0])))
    x = offset + normal(100, 2)
    assert [one.type for one in session(model).get_inputs()] == ["tensor(double)"]
    compare(model, x)


def test_pixels_are_floats():
    data = train("digits", epochs=2, seed=0, device="cpu")
    runtime = session(data)
    assert [(i.name, i.type, i.shape) for i in runtime.get_inputs()] == [
        ("X", "tensor(float)", ["N", 64])
    ]
    x = np.random.default_rng(0).integers(0, 17, (1000, 64))
    found = compare(data, x)
    assert found["label"].dtype == np.int64


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A folder with a table of numbers with gaps, one of numbers and text, and their models."""
    folder, rng = tmp_path_factory.mktemp("tables"), np.random.default_rng(0)
    lines = {"numbers": ["a,b,c,t"], "mixed": ["size,kind,label,level,old,t"]}
    for row in range(200):
        a, b, c = rng.normal(size=3)
        gap = "" if row % 7 == 0 else f"{b:.4f}"
        lines["numbers"].append(f"{1e5 + a:.4f},{gap},{c:.4f},{1e4 + 30 * (a + c):.3f}")
        kind = ("cat", "dog", "NA", "bird, big")[row % 4]
        text = f'"{kind}"' if "," in kind else kind
        level = (1, 2, 5)[row % 3]
        size = "" if row % 11 == 0 else f"{a:.4f}"
        # A column named like an output, and numbers and booleans as categories.
        lines["mixed"].append(f"{size},{text},{b:.4f},{level},{row % 2 == 0},{'xyz'[row % 3]}")
    for name, options in (
        ("numbers", ()),
        ("mixed", ("--categorical", "level")),
    ):
        table = written(folder / f"{name}.csv", "\n".join(lines[name]))
        common = ("--epochs", 2, "--seed", 0, "--device", "cpu", "--out", folder / name)
        done("train", table, "--label", "t", *options, *common)
    return folder


def test_missing_numbers_are_filled_in_and_marked(tables):
    model = load_model(tables / "numbers")
    assert model.preprocessing.inputs == ("a", "b", "b missing", "c")
    x = np.asarray([[1e5, 0.5, 1.0], [1e5 + 1, np.nan, 2.0], [np.nan, 0.5, np.nan]])
    with pytest.warns(UserWarning, match="have no value|has no value"):
        found = compare(model, x)
    assert found["variable"].dtype == np.float64
    assert json.loads(dict_of(to_onnx(model))["columns"]) == ["a", "b", "c"]
    assert json.loads(dict_of(to_onnx(model))["targets"]) == ["t"]


def dict_of(proto):
    return {one.key: one.value for one in proto.metadata_props}


def test_text_numbers_and_booleans_as_categories(tables):
    model = load_model(tables / "mixed")
    runtime = session(model)
    assert [(one.name, one.type, one.shape) for one in runtime.get_inputs()] == [
        ("size", "tensor(double)", ["N", 1]),
        ("kind", "tensor(string)", ["N", 1]),
        ("label_1", "tensor(double)", ["N", 1]),
        ("level", "tensor(string)", ["N", 1]),
        ("old", "tensor(string)", ["N", 1]),
    ]
    rows = {
        "size": [0.5, np.nan, -1.0, 0.0, 2.0, 1.0],
        "kind": ["cat", "bird, big", "", "NA", "unicorn", "dog"],
        "label": [0.5, 1.0, -1.0, 0.0, np.nan, 0.25],
        "level": ["1", "2.0", "5", "", "7", "1.0"],
        "old": ["True", "False", "true", "FALSE", "", "TRUE"],
    }
    given = {name if name != "label" else "label_1": column for name, column in rows.items()}
    with pytest.warns(UserWarning, match="did not occur in training"):
        found = compare(model, given, rows)
    assert set(found["label"]) <= set("xyz")
    one_by_one = [
        predicted(runtime, {name: column[row : row + 1] for name, column in given.items()})
        for row in range(6)
    ]
    together = np.concatenate([one["probabilities"] for one in one_by_one])
    assert error(together, found["probabilities"]) < TOLERANCE["float32"]


def test_a_table_of_text_alone(tmp_path):
    lines = ["a,b,t", *(f"{'xy'[row % 2]},{'uvw'[row % 3]},{row % 2}" for row in range(60))]
    table = written(tmp_path / "t.csv", "\n".join(lines))
    done("train", table, "--label", "t", "--epochs", 1, "--seed", 0, "--out", tmp_path / "run")
    model = load_model(tmp_path / "run")
    compare(model, {"a": ["x", "y", "x"], "b": ["w", "u", "v"]})


def test_a_boolean_column_accepts_numbers(tmp_path):
    lines = ["a,b,t", *(f"{row % 2 == 0},{row % 5},{row % 2}" for row in range(60))]
    table = written(tmp_path / "t.csv", "\n".join(lines))
    done("train", table, "--label", "t", "--epochs", 1, "--seed", 0, "--out", tmp_path / "run")
    model = load_model(tmp_path / "run")
    compare(model, {"a": ["0", "1"], "b": [1.0, 2.0]}, {"a": [0, 1], "b": [1.0, 2.0]})


# --- the file, and what cannot be written ---


def test_the_command_writes_what_onnx_runtime_reads(tables, tmp_path):
    file, run = tmp_path / "m.onnx", tables / "mixed"
    told = done("export", run, "--format", "onnx", "-o", file, "--json").json
    runtime = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert [one["name"] for one in told["inputs"]] == [one.name for one in runtime.get_inputs()]
    assert told["outputs"] == [
        {"name": "label", "type": "string", "shape": [None]},
        {"name": "probabilities", "type": "float", "shape": [None, 3]},
    ]
    proto = onnx.load(file)
    assert (told["opset"], told["ml_opset"], told["ir_version"]) == (17, 3, 8)
    assert {one.domain: one.version for one in proto.opset_import} == {"": 17, "ai.onnx.ml": 3}
    assert proto.ir_version == 8
    assert json.loads(dict_of(proto)["classes"]) == ["x", "y", "z"]
    result = done("export", run, "--format", "onnx", "-o", file)
    assert "text must be spelled as in training" in result.err
    assert "probabilities" in result.out
    before = file.read_bytes()
    done("export", run, "--format", "onnx", "-o", file, "--quiet")
    assert file.read_bytes() == before


def test_names_that_a_terminal_would_obey(tmp_path):
    lines = ['"\x1b[31ma","\u202eb",t', *(f"{n % 7},\x9b{n % 3},\x07{n % 2}" for n in range(60))]
    table = written(tmp_path / "t.csv", "\n".join(lines))
    done("train", table, "--label", "t", "--epochs", 1, "--seed", 0, "--out", tmp_path / "run")
    asked = ("export", tmp_path / "run", "--format", "onnx", "-o", tmp_path / "m.onnx")
    result, told = done(*asked), done(*asked, "--json").json
    assert not {"\x1b", "\u202e", "\x9b", "\x07"} & set(result.out + result.err)
    assert [one["name"] for one in told["inputs"]] == ["\x1b[31ma", "\u202eb"]
    model = load_model(tmp_path / "run")
    rows = {"\x1b[31ma": [1.0, 2.0], "\u202eb": ["\x9b0", "\x9b2"]}
    assert set(compare(model, rows)["label"]) <= {"\x070", "\x071"}


def test_a_model_that_cannot_be_written_is_one_error(tmp_path, monkeypatch):
    square = elementwise("square", lambda z, xp: z * z, lambda z, a, xp: 2.0 * z)
    with pytest.raises(ConfigurationError, match="'square' is a custom one"):
        to_onnx(small_model((2, 1), square))
    save_model(small_model(), tmp_path / "m.safetensors")
    model = load_model(tmp_path / "m.safetensors")
    asked = ("export", tmp_path / "m.safetensors", "--format", "onnx", "-o", tmp_path / "m.onnx")

    def call():
        export_model(model, tmp_path / "m.onnx", "onnx")

    monkeypatch.setattr(onnx_model, "_LARGEST", 4)
    assert "at most 2 GiB" in refused_alike(ConfigurationError, call, *asked)
    monkeypatch.delitem(onnx_model._ACTIVATIONS, "identity")
    assert not known("identity")
    assert "cannot be written as ONNX" in refused_alike(ConfigurationError, call, *asked)
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]
