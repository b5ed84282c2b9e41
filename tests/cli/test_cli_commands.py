"""The commands beside ``train``, the help and the completion, as their users meet them."""

import subprocess
import sys

import numpy as np
import pytest
from command_line import animals, done, image_folder, plane, run, written

from backprop_xp import __version__, load_model
from backprop_xp.backend.arrays import BACKENDS
from backprop_xp.backend.devices import list_devices
from backprop_xp.diagnosis.device_check import gradient_rows
from backprop_xp.nn.optimizers import OPTIMIZERS

COMMANDS = (
    *("train", "find-lr", "evaluate", "predict", "export", "summary", "trace", "report"),
    *("devices", "reproduce", "plot"),
    *("check", "guide", "completion"),
)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A folder with a table of animals and the model trained on it."""
    folder = tmp_path_factory.mktemp("zoo")
    table = written(folder / "animals.csv", "\n".join(animals()))
    options = ("--label", "kind", "--batch-size", 8, "--seed", 0, "--device", "cpu")
    done("train", table, *options, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """A folder with a table of a plane and the regression trained on it."""
    folder = tmp_path_factory.mktemp("flat")
    table = written(folder / "plane.csv", "\n".join(plane()))
    options = ("--label", "t", "--task", "regression", "--batch-size", 8, "--seed", 0)
    done("train", table, *options, "--device", "cpu", "--out", folder)
    return folder


# --- evaluate ---


def test_a_model_is_measured_on_a_table(zoo):
    asked = ("evaluate", zoo / "model.safetensors", zoo / "animals.csv", "--label", "kind")
    told = done(*asked, "--json").json
    assert (told["command"], told["count"]) == ("evaluate", 60)
    assert told["accuracy"] == told["correct"] / 60 >= 0.95
    result = done(*asked, "--quiet")
    assert result.out.splitlines()[0] == (
        f"accuracy {told['accuracy']:.2%} ({told['correct']} of 60), loss {told['loss']:.6g}"
    )
    assert result.err == ""


def test_what_training_tells_of_the_test_rows_is_what_evaluate_finds(tmp_path):
    trained = done("train", "--epochs", 3, "--device", "cpu", "--json", "--out", tmp_path).json
    model = tmp_path / "model.safetensors"
    for split in ("test", "validation", "train"):
        found = done(
            "evaluate", model, "digits", "--split", split, "--device", "cpu", "--json"
        ).json
        for name in ("accuracy", "count"):
            assert found[name] == trained[split][name]
        assert found["loss"] == pytest.approx(trained[split]["loss"], rel=1e-5)


def test_a_regression_is_measured_by_its_errors(flat):
    asked = ("evaluate", flat / "model.safetensors", flat / "plane.csv", "--label", "t")
    told = done(*asked, "--json").json
    assert "accuracy" not in told
    assert told["loss"] < 0.1
    predicted = np.asarray(done("predict", *asked[1:], "--json").json["predictions"])[:, 0]
    targets = np.asarray([float(line.split(",")[2]) for line in plane()[1:]])
    errors = predicted - targets
    assert told["rmse"] == pytest.approx(np.mean(errors**2) ** 0.5, rel=1e-5)
    assert told["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-5)
    assert told["r2"] == pytest.approx(1 - np.mean(errors**2) / targets.var(), rel=1e-5)
    assert told["loss"] == pytest.approx(told["rmse"] ** 2 / 2, rel=1e-5)
    figures = f"R² {told['r2']:.4f}, MAE {told['mae']:.6g}, RMSE {told['rmse']:.6g}"
    assert done(*asked).out == f"{figures}, loss {told['loss']:.6g}\n"


def test_rows_without_labels_cannot_be_measured(zoo, tmp_path):
    rows = "\n".join(line.rpartition(",")[0] for line in animals())
    result = run("evaluate", zoo, written(tmp_path / "rows.csv", rows))
    assert result.code == 3
    assert "no labels to compare with" in result.err
    assert "--label" in result.err


def test_every_backend_that_is_installed_finds_the_same(zoo):
    asked = ("evaluate", zoo / "model.safetensors", zoo / "animals.csv", "--label", "kind")
    usable = {row.backend for row in list_devices() if row.usable and row.device == "cpu"}
    assert {"numpy", "array_api_strict"} <= usable
    found = [
        done(*asked, "--json", "--device", "cpu", "--backend", backend).json for backend in usable
    ]
    assert {told["backend"] for told in found} == usable
    assert {told["correct"] for told in found} == {found[0]["correct"]}
    for told in found:
        assert told["loss"] == pytest.approx(found[0]["loss"], rel=1e-5)


# --- predict ---


def test_predictions_are_class_names_a_line_a_row(zoo):
    model, table = zoo / "model.safetensors", zoo / "animals.csv"
    predicted = done("predict", model, table).out.splitlines()
    kinds = [line.split(",")[2] for line in table.read_text().splitlines()[1:]]
    assert set(predicted) == {"ant", "bee", "cat"}
    right = done("evaluate", model, table, "--label", "kind", "--json").json["correct"]
    assert sum(map(str.__eq__, predicted, kinds)) == right


def test_columns_are_found_by_name_in_any_order_and_company(zoo, tmp_path):
    rows = [line.split(",") for line in (zoo / "animals.csv").read_text().splitlines()]
    turned = written(
        tmp_path / "turned.csv",
        "\n".join(
            f"{width},{'note' if height == 'height' else 'x'},{height}" for height, width, _ in rows
        ),
    )
    model = zoo / "model.safetensors"
    straight = done("predict", model, zoo / "animals.csv", "--outputs", "--quiet")
    assert done("predict", model, turned, "--outputs", "--quiet") == straight


def test_outputs_are_probabilities_beside_the_predictions(zoo):
    asked = ("predict", zoo / "model.safetensors", zoo / "animals.csv", "--outputs")
    told = done(*asked, "--json").json
    outputs = np.asarray(told["outputs"])
    assert outputs.shape == (60, 3)
    assert np.allclose(outputs.sum(axis=1), 1, atol=1e-6)
    assert told["predictions"] == [told["classes"][k] for k in outputs.argmax(axis=1)]
    for line, name, row in zip(
        done(*asked).out.splitlines(), told["predictions"], outputs, strict=True
    ):
        assert line == "\t".join([name, *(f"{value:.6g}" for value in row)])


def test_a_regression_predicts_numbers(flat, tmp_path):
    points = written(tmp_path / "points.csv", "b,a\n0,0\n1,0\n0,1\n")
    asked = ("predict", flat / "model.safetensors", points)
    numbers = [float(line) for line in done(*asked).out.splitlines()]
    assert np.allclose(numbers, [1, 0, 3], atol=0.4)
    told = done(*asked, "--json").json
    assert np.allclose(told["predictions"], np.reshape(numbers, (3, 1)), atol=1e-5)
    assert told["classes"] is None


def test_an_archive_without_targets_is_predicted(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 3))
    np.savez(tmp_path / "all.npz", x=x, y=np.where(x[:, 0] > 0, "up", "down"))
    np.savez(tmp_path / "x.npz", x=x[:5])
    options = ("--batch-size", 4, "--seed", 0, "--epochs", 100)
    done("train", tmp_path / "all.npz", *options, "--out", tmp_path)
    told = done("predict", tmp_path / "model.safetensors", tmp_path / "x.npz", "--json").json
    assert told["predictions"] == ["up" if value > 0 else "down" for value in x[:5, 0]]


def test_a_folder_of_pictures_is_measured_and_predicted(tmp_path):
    folder = image_folder(tmp_path / "rows")
    done("train", folder, "--seed", 0, "--out", tmp_path / "run")
    model = tmp_path / "run" / "model.safetensors"
    assert load_model(model).image_shape == (3, 3)
    assert done("evaluate", model, folder, "--json").json["accuracy"] == 1.0
    assert done("predict", model, folder).out.splitlines() == ["0", "1", "2"] * 10


# --- devices and check ---


def test_every_backend_is_listed_usable_or_with_a_reason_and_a_mend():
    rows = done("devices", "--json").json["devices"]
    assert {row["backend"] for row in rows} == set(BACKENDS)
    for row in rows:
        assert row["usable"] is not bool(row["reason"])
        assert bool(row["mend"]) is bool(row["reason"])
    text = done("devices").out.splitlines()
    assert len(text) == 1 + len(rows)
    for line, row in zip(text[1:], rows, strict=True):
        assert line.split()[0] == row["backend"]
        assert row["mend"] in line


def test_check_finds_every_comparison_within_its_limit(monkeypatch):
    rows = list(gradient_rows())
    monkeypatch.setattr(
        "backprop_xp.diagnosis.device_check.gradient_rows", lambda: rows
    )  # once is enough
    told = done("check", "--device", "cpu", "--json").json
    assert told["passed"] is True
    assert {row["group"] for row in told["rows"]} == {"gradient", "float32", "float64"}
    assert all(row["error"] <= row["limit"] for row in told["rows"])
    text = done("check", "--device", "cpu", "--quiet").out.splitlines()
    assert (
        text[-1] == f"{len(told['rows'])} of {len(told['rows'])} comparisons are within "
        "their limits"
    )
    assert all(" ok " in line for line in text[1:-1])
    assert len(text) == len(told["rows"]) + 2


def test_check_fails_when_a_rule_is_wrong(monkeypatch):
    adam = OPTIMIZERS["adam"]

    def wrong(p, g, slots, scalars, xp):
        p, slots = adam().rule(p, g, slots, scalars, xp)
        return p + 1e-3 * (type(p).__module__ != "numpy"), slots

    monkeypatch.setattr(
        "backprop_xp.diagnosis.device_check.gradient_rows", list
    )  # they are right, and slow
    monkeypatch.setitem(OPTIMIZERS, "adam", lambda **given: adam(**given)._replace(rule=wrong))
    result = run("check", "--backend", "array_api_strict", "--json")
    assert result.code == 1
    failed = [row["name"] for row in result.json["rows"] if not row["passed"]]
    assert failed == ["one step of adam"] * 2
    text = run("check", "--backend", "array_api_strict")
    assert (text.code, text.out.count("FAILED")) == (1, 2)


# --- help, version and completion ---


def test_without_a_command_the_help_is_shown():
    assert run() == done("--help")
    assert all(f"  {name} " in done("-h").out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name):
    text = done(name, "--help").out
    assert text.startswith(f"Usage: backprop-xp {name} [OPTIONS]")
    assert "--json" in text


def test_the_version_is_told():
    assert done("--version").out == f"backprop-xp, version {__version__}\n"


@pytest.mark.parametrize(
    "args",
    [["--help"], ["train", "--help"], ["find-lr", "--help"], ["plot", "--help"], ["--version"]],
)
def test_help_loads_no_array_library(args):
    code = (
        "import sys\nfrom backprop_xp.cli import _run\n"
        f"assert _run({args}) == 0\n"
        "heavy = {'numpy', 'cupy', 'jax', 'torch', 'rich', 'safetensors'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == ""
