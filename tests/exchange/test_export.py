"""The export: NumPy arrays, the command, and its mistakes."""

import importlib.util
import json

import numpy as np
import pytest
from command_line import done, refused, refused_alike, small_model, written

from backprop_xp import ConfigurationError, export_model, load_model, save_model, to_numpy_arrays
from backprop_xp.data.scaling import Scaling
from backprop_xp.exchange.export import FORMATS


@pytest.fixture
def saved(tmp_path):
    """The path of a model file."""
    path = tmp_path / "model.safetensors"
    save_model(small_model((2, 3, 2), ("tanh", "softmax"), classes=("ähre", "ox")), path)
    return path


def loaded(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_arrays_are_enough_to_predict_by_hand(bias, dtype, tmp_path):
    units = Scaling(np.asarray([100.0, -1.0]), np.asarray([3.0, 0.5]))
    model = small_model((3, 4, 2), "tanh", bias=bias, dtype=dtype, target_scaling=units)
    export_model(model, tmp_path / "m.npz", "numpy")
    file = loaded(tmp_path / "m.npz")
    assert file["activations"].tolist() == ["tanh", "tanh"]
    assert file["layers.1.weights"].dtype == dtype
    assert ("layers.0.bias" in file) is bias
    assert not {"classes", "features", "preprocessing"} & set(file)
    x = np.random.default_rng(0).normal(size=(20, 3))
    a = (x - file["scaling.offset"]) / file["scaling.divisor"]
    for layer in range(2):
        a = np.tanh(a @ file[f"layers.{layer}.weights"].T + file.get(f"layers.{layer}.bias", 0.0))
    found = a * file["target_scaling.divisor"] + file["target_scaling.offset"]
    np.testing.assert_allclose(found, model.outputs(x), rtol=1e-5 if dtype == "float32" else 1e-12)


def test_the_arrays_contain_classes_names_and_preprocessing(tmp_path):
    lines = ["a,kind,t", *(f"{row % 7},{'xy'[row % 2]},{row % 3}" for row in range(60))]
    table = written(tmp_path / "t.csv", "\n".join(lines))
    done("train", table, "--label", "t", "--epochs", 1, "--seed", 0, "--out", tmp_path / "run")
    out = tmp_path / "m.npz"
    told = done("export", tmp_path / "run", "--format", "numpy", "-o", out, "--json").json
    file, model = loaded(out), load_model(tmp_path / "run")
    assert told["arrays"] == list(file) == list(to_numpy_arrays(model))
    assert file["classes"].tolist() == ["0", "1", "2"]
    assert file["features"].tolist() == ["a", "kind=x", "kind=y"]
    columns = json.loads(file["preprocessing"].item())["columns"]
    assert [column["categories"] for column in columns] == [None, ["x", "y"]]


# --- the command ---


@pytest.mark.parametrize(
    ("file_format", "shown"),
    [("torch", "0.weight, 0.bias, 2.weight, 2.bias"), ("numpy", "layers.0.weights")],
)
def test_the_command_says_what_it_has_written(file_format, shown, saved, tmp_path):
    out = tmp_path / f"m{FORMATS[file_format]}"
    asked = ("export", saved, "--format", file_format, "-o", out)
    told = done(*asked, "--json").json
    assert (told["command"], told["format"], told["out"]) == ("export", file_format, str(out))
    result = done(*asked)
    assert f"{out}: {shown}" in result.out
    for note in told["notes"]:
        assert f"note: {note}" in result.err
    before = out.read_bytes()
    assert done(*asked, "--quiet").err == ""
    assert out.read_bytes() == before  # the same model gives the same bytes


def test_the_preprocessing_that_torch_lacks_is_said(saved, tmp_path):
    result = done("export", saved, "--format", "torch", "-o", tmp_path / "m.safetensors")
    assert "not in the file: the scaling of the inputs" in result.err
    assert "nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2), nn.Softmax" in result.out


def test_the_model_itself_is_not_replaced(saved):
    before = saved.read_bytes()
    for model in (saved, saved.parent):
        message, _ = refused(2, "usage", "export", model, "--format", "torch", "-o", saved)
        assert "would replace the model" in message
    assert saved.read_bytes() == before


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_file_with_the_ending_of_another_format(file_format, saved, tmp_path):
    model = load_model(saved)
    for other in {*FORMATS.values(), ""} - {FORMATS[file_format]}:
        out = tmp_path / f"m{other}"
        text = refused_alike(
            ConfigurationError,
            lambda out=out: export_model(model, out, file_format),
            *("export", saved, "--format", file_format, "-o", out),
        )
        assert f"ends in {FORMATS[file_format]}" in text
        assert not out.exists()


def test_an_unknown_format(saved, tmp_path):
    with pytest.raises(ConfigurationError, match="unknown format 'onxx'") as failure:
        export_model(load_model(saved), tmp_path / "m.onnx", "onxx")
    assert "did you mean 'onnx'" in failure.value.hint
    message, _ = refused(2, "usage", "export", saved, "--format", "onxx", "-o", "m.onnx")
    assert "onnx" in message


def test_a_missing_onnx_is_one_error(saved, tmp_path, monkeypatch):
    if importlib.util.find_spec("onnx") is not None:
        monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    model, out = load_model(saved), tmp_path / "m.onnx"
    text = refused_alike(
        ConfigurationError,
        lambda: export_model(model, out, "onnx"),
        *("export", saved, "--format", "onnx", "-o", out),
    )
    assert text.endswith("onnx, which is not installed | pip install 'backprop-xp[onnx]'")
    assert not out.exists()


def test_a_file_that_cannot_be_written(saved, tmp_path):
    for file_format in ("torch", "numpy"):
        out = tmp_path / "missing" / f"m{FORMATS[file_format]}"
        refused(2, "configuration", "export", saved, "--format", file_format, "-o", out)
