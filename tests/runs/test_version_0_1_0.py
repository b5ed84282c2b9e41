"""Files that version 0.1.0 wrote: they still open, with the outputs that it computed."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import done
from helpers import bytes_of

from backprop_xp import load_model, save_model

OLD = Path(__file__).parents[1] / "support" / "version_0_1_0"
EXPECTED = json.loads((OLD / "expected.json").read_text())
MODELS = ("classification", "regression", "estimator")


@pytest.mark.parametrize("name", MODELS)
def test_an_old_model_gives_the_same_outputs(name):
    model = load_model(OLD / f"{name}.safetensors")
    expected = EXPECTED[name]
    inputs = np.asarray(expected["inputs"])
    assert model.version == "0.1.0"
    assert model.outputs(inputs) == pytest.approx(np.asarray(expected["outputs"]), rel=1e-5)
    if name != "regression":
        names = [str(name) for name in model.predict(inputs)]
        assert names == expected["predictions"]


@pytest.mark.parametrize("name", MODELS)
def test_an_old_model_is_written_again_without_a_change_of_a_bit(name, tmp_path):
    old = load_model(OLD / f"{name}.safetensors")
    save_model(old, tmp_path / "again")
    new = load_model(tmp_path / "again")
    inputs = np.asarray(EXPECTED[name]["inputs"])
    assert new.outputs(inputs).tobytes() == old.outputs(inputs).tobytes()
    assert bytes_of(new.parameters) == bytes_of(old.parameters)
    arrays = ("parameters", "scaling")
    for field in dataclasses.fields(old):
        if field.name not in arrays:
            assert getattr(new, field.name) == getattr(old, field.name), field.name
    for offset_or_divisor, original in zip(new.scaling or (), old.scaling or (), strict=True):
        assert offset_or_divisor.tobytes() == original.tobytes()
    save_model(new, tmp_path / "third")
    assert (tmp_path / "third").read_bytes() == (tmp_path / "again").read_bytes()


def test_an_old_estimator_predicts_as_it_did():
    estimators = pytest.importorskip("backprop_xp.estimators")
    expected = EXPECTED["estimator"]
    inputs = np.asarray(expected["inputs"])
    loaded = estimators.MLPClassifier.load(OLD / "estimator.safetensors")
    assert loaded.predict_proba(inputs) == pytest.approx(np.asarray(expected["outputs"]), rel=1e-5)
    assert loaded.predict(inputs).tolist() == expected["predictions"]


def test_an_old_model_is_evaluated_and_predicts_on_the_command_line():
    options = ("--device", "cpu", "--json")
    measured = done("evaluate", OLD / "run" / "model.safetensors", "digits", *options).json
    for name, value in EXPECTED["run"].items():
        assert measured[name] == pytest.approx(value, rel=1e-5)
    data = (OLD / "classification.safetensors", OLD / "animals.csv")
    assert done("evaluate", *data, "--label", "kind", *options).json["count"] == 30
    assert len(done("predict", *data, *options).json["predictions"]) == 30
    plane = (OLD / "regression.safetensors", OLD / "plane.csv", "--label", "t")
    assert done("evaluate", *plane, *options).json["loss"] < 1.0


def test_a_report_of_an_old_run_has_no_problems(tmp_path):
    pytest.importorskip("jinja2")
    shutil.copytree(OLD / "run", tmp_path / "run")
    told = done("report", tmp_path / "run", "--json").json
    assert (told["status"], told["problems"]) == ("finished", [])
    assert told["traces"]
    page = Path(told["report"]).read_text("utf-8")
    assert re.search(r"<th[^>]*>backprop_xp</th>\s*<td[^>]*>0\.1\.0</td>", page)


@pytest.mark.parametrize("path", ["settings.toml", "run/config.toml"])
def test_an_old_configuration_trains_again(path):
    told = done("train", "--config", OLD / path, "--json").json
    if path == "settings.toml":
        losses = [epoch["validation_loss"] for epoch in told["epochs"]]
        assert losses == pytest.approx(EXPECTED["settings"], rel=1e-9)
    else:
        assert told["test"]["loss"] == pytest.approx(EXPECTED["run"]["loss"], rel=1e-5)
