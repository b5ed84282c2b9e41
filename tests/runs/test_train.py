"""Training in one call, from Python: files, data frames and arrays become a model."""

import json
import random

import numpy as np
import pytest
from command_line import animals, done, written
from helpers import bytes_of

import backprop_xp
from backprop_xp import ConfigurationError, DataError, load_model
from backprop_xp.runs.folder import FILES
from backprop_xp.training.state import TrainingInterrupted

SHORT = {"epochs": 2, "hidden": (4,), "seed": 0, "device": "cpu"}


def columns():
    """Return the animals as a dict of columns."""
    rows = [line.split(",") for line in animals()[1:]]
    return {
        "height": [float(row[0]) for row in rows],
        "width": [float(row[1]) for row in rows],
        "kind": [row[2] for row in rows],
    }


def towns(n=100):
    """Return columns of which one has text and gaps, one row numbers and one a single value."""
    rng = random.Random(0)
    return {
        "id": list(range(1, n + 1)),
        "town": [rng.choice(("Ulm", "Bonn", None)) for _ in range(n)],
        "area": [rng.uniform(30, 200) for _ in range(n)],
        "country": ["DE"] * n,
        "rent": [rng.uniform(300, 3000) for _ in range(n)],
    }


def test_every_source_gives_the_model_of_the_command_line(tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join(animals()))
    options = ("--epochs", 2, "--hidden", 4, "--seed", 0, "--device", "cpu")
    done("train", table, "--label", "kind", *options, "--out", tmp_path / "run")
    wanted = bytes_of(load_model(tmp_path / "run" / "model.safetensors").parameters)
    data = columns()
    kinds = np.asarray(data["kind"])
    inputs = np.asarray([data["height"], data["width"]]).T
    named = {name: data[name] for name in ("height", "width")}
    models = [
        backprop_xp.train(table, "kind", **SHORT),
        backprop_xp.train(str(table), label=["kind"], **SHORT),
        backprop_xp.train(data, "kind", **SHORT),
        backprop_xp.train(named, data["kind"], **SHORT),
        backprop_xp.train((inputs, kinds), **SHORT),
        backprop_xp.train(inputs, kinds, **SHORT),
        backprop_xp.train(inputs.tolist(), data["kind"], **SHORT),
    ]
    try:
        import pandas
    except ImportError:
        pass
    else:
        frame = pandas.DataFrame(data)
        models += [
            backprop_xp.train(frame, "kind", **SHORT),
            backprop_xp.train(frame[["height", "width"]], frame["kind"], **SHORT),
        ]
    for model in models:
        assert bytes_of(model.parameters) == wanted
        assert model.classes == ("ant", "bee", "cat")
        assert model.predict(inputs[:3]).tolist() == models[0].predict(inputs[:3]).tolist()


def test_the_model_knows_its_history(tmp_path):
    seen = []
    model = backprop_xp.train(columns(), "kind", on_epoch=lambda s: seen.append(s.epoch), **SHORT)
    assert [record["epoch"] for record in model.history] == seen == [1, 2]
    names = {"loss", "accuracy", "validation_loss", "validation_accuracy"}
    assert names <= set(model.history[0])
    model.save(tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors").history == ()


def test_out_keeps_the_run_as_the_command_line_does(tmp_path):
    model = backprop_xp.train(columns(), "kind", out=tmp_path / "run", **SHORT)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == set(FILES)
    kept = load_model(tmp_path / "run" / "model.safetensors")
    assert bytes_of(kept.parameters) == bytes_of(model.parameters)
    lines = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert tuple(json.loads(line) for line in lines) == model.history
    with pytest.raises(ConfigurationError, match="already holds a run"):
        backprop_xp.train(columns(), "kind", out=tmp_path / "run", **SHORT)
    more = SHORT | {"epochs": 1}
    backprop_xp.train(columns(), "kind", out=tmp_path / "run", overwrite=True, **more)
    assert len((tmp_path / "run" / "history.jsonl").read_text().splitlines()) == 1


def test_columns_that_are_left_out_are_one_warning():
    with pytest.warns(UserWarning, match="left out") as caught:
        model = backprop_xp.train(towns(), "rent", **SHORT)
    (warning,) = caught
    assert "left out 'id': " in str(warning.message)
    assert "left out 'country': " in str(warning.message)
    assert warning.filename == __file__
    assert model.preprocessing.names == ("town", "area")
    # Without those columns, there is nothing to warn of; warnings are errors in these tests.
    named = backprop_xp.train(towns(), "rent", drop=["id", "country"], **SHORT)
    assert bytes_of(named.parameters) == bytes_of(model.parameters)


def test_a_regression_is_found_and_is_in_its_own_units():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    y = 5e5 + 1e5 * (x[:, 0] - x[:, 1])
    settings = {"seed": 0, "hidden": (16,), "epochs": 60, "learning_rate": 0.01}
    model = backprop_xp.train(x, y, evaluate_training=True, **settings)
    assert model.task == "regression"
    predicted = model.predict(x)
    assert predicted.shape == (300,)
    measured = model.evaluate(x, y)
    assert measured["rmse"] == pytest.approx(np.sqrt(np.mean((predicted - y) ** 2)), rel=1e-4)
    assert measured["r2"] > 0.9
    assert model.history[-1]["train_loss"] < 0.1 * np.var(y) / 2


def test_validation_rows_are_those_that_were_given():
    data = columns()
    held_out = {name: column[:9] for name, column in data.items()}
    model = backprop_xp.train(data, "kind", validation=held_out, **SHORT)
    measured = model.evaluate(held_out)
    assert measured["count"] == 9
    last = model.history[-1]
    assert last["validation_accuracy"] == measured["accuracy"]
    assert last["validation_loss"] == pytest.approx(measured["loss"], rel=1e-5)
    pair = (np.asarray([data["height"], data["width"]]).T, np.asarray(data["kind"]))
    part = tuple(array[:9] for array in pair)
    again = backprop_xp.train(pair, validation=part, **SHORT)
    assert again.history[-1]["validation_loss"] == last["validation_loss"]


def test_an_unknown_setting_is_an_error_with_a_suggestion():
    with pytest.raises(ConfigurationError) as failure:
        backprop_xp.train(columns(), "kind", epoch=3)
    assert failure.value.message == "unknown setting 'epoch'"
    assert "did you mean 'epochs'" in failure.value.hint


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("kin", "there is no column 'kin'; the columns are: height, width, kind"),
        (None, "which column is the label?"),
        (["ant"] * 59, "60 rows, but 59 labels"),
        (["ant"] * 60, "every row has the class 'ant'"),
    ],
)
def test_labels_that_do_not_fit_are_an_error(label, said):
    with pytest.raises(DataError) as failure:
        backprop_xp.train(columns(), label, **SHORT)
    assert said in failure.value.message
    assert failure.value.hint


def test_no_data_is_an_error():
    with pytest.raises(DataError, match="there is no data: it is None"):
        backprop_xp.train(None)


def test_a_run_that_fails_leaves_no_folder(tmp_path):
    with pytest.raises(DataError):
        backprop_xp.train(columns(), "kin", out=tmp_path / "a" / "b", **SHORT)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_hands_over_the_last_epoch(tmp_path):
    def stop(state):
        if state.epoch == 2:
            raise KeyboardInterrupt

    settings = SHORT | {"epochs": 9}
    with pytest.raises(TrainingInterrupted) as cut_off:
        backprop_xp.train(columns(), "kind", on_epoch=stop, out=tmp_path / "run", **settings)
    assert cut_off.value.state.epoch == 2
    two = backprop_xp.train(columns(), "kind", **SHORT)
    assert bytes_of(cut_off.value.state.parameters) == bytes_of(two.parameters)
    kept = load_model(tmp_path / "run" / "model.safetensors")
    assert bytes_of(kept.parameters) == bytes_of(two.parameters)
    assert kept.predict({"width": [0.0], "height": [0.0]}).shape == (1,)


def test_a_loss_with_a_parameter_is_trained_in_the_units_of_the_targets(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    y = 1e5 + 3e4 * x[:, 0] + 1e4 * rng.normal(size=300)
    options = {"seed": 0, "epochs": 60, "hidden": 16}
    model = backprop_xp.train((x, y), loss=backprop_xp.quantile(0.9), **options)
    assert np.mean(y < model.predict(x)) == pytest.approx(0.9, abs=0.04)
    errors = y - model.predict(x)
    pinball = np.mean(np.maximum(0.9 * errors, -0.1 * errors))
    assert model.evaluate(x, y)["loss"] == pytest.approx(pinball, rel=1e-4)
    narrow, wide = (
        backprop_xp.train((x, y), loss=backprop_xp.huber(delta), **options) for delta in (0.1, 10.0)
    )
    assert narrow.evaluate(x, y)["loss"] < wide.evaluate(x, y)["loss"]
    with pytest.raises(backprop_xp.ConfigurationError, match="loss is a record or a function"):
        backprop_xp.train((x, y), loss=backprop_xp.quantile(0.9), out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
