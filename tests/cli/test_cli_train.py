"""``backprop-xp train`` as its users meet it: what it prints, what it keeps, what it reads."""

import dataclasses
import os
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from command_line import (
    animals,
    done,
    image_folder,
    plane,
    refused,
    refused_alike,
    run,
    strict_json,
    written,
)

from backprop_xp import DivergenceError, RunSettings, load_model, prepare_run
from backprop_xp.cli.train import command
from backprop_xp.data.mnist import FILES
from backprop_xp.runs import folder as run_folder

SHORT = ("--epochs", 2, "--seed", 0, "--device", "cpu")
RUN = {*run_folder.FILES} - {"checkpoint.previous.safetensors"}

# --- what is printed ---


def test_training_on_the_digits_needs_nothing_but_its_name():
    result = done("train", "--seed", 0, "--json")
    told = result.json
    assert {"schema_version": 1, "command": "train", "seed": 0}.items() <= told.items()
    assert (told["data"]["name"], told["network"]["sizes"]) == ("digits", [64, 128, 10])
    epochs = [epoch["epoch"] for epoch in told["epochs"]]
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(epochs) == told["settings"]["epochs"] or told["stopped"] == "early_stopping"
    assert told["test"]["accuracy"] >= 0.96
    assert told["test"]["correct"] == round(told["test"]["accuracy"] * told["test"]["count"])
    assert told["settings"]["seed"] == 0
    assert f"device: {told['device']} " in result.err


@pytest.mark.parametrize("seed", range(1, 5))
def test_the_defaults_learn_the_digits_from_any_seed(seed):
    assert done("train", "--seed", seed, "--json", "--quiet").json["test"]["accuracy"] >= 0.95


def test_the_result_for_people_is_two_lines():
    result = done("train", *SHORT)
    first, second = result.out.splitlines()
    assert first.startswith("digits: 64-128-10, 9,610 parameters, adam, 2 epochs in ")
    assert first.endswith("on cpu (numpy), seed 0")
    assert second.startswith("test accuracy ")
    assert second.endswith(" of 357)")


def test_progress_is_plain_lines_where_there_is_no_terminal():
    note, seed, *epochs, following, command = done("train", *SHORT).err.splitlines()
    assert note == "device: cpu (NumPy); requested"
    assert seed == "seed: 0"
    assert [line.split("  ")[0] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    assert "validation accuracy" in epochs[0]
    assert following == "next:"
    assert command.startswith("  backprop-xp train ")


@pytest.mark.parametrize("evaluated", [False, True])
def test_progress_tells_the_figures_of_an_epoch_from_those_after_it(evaluated, tmp_path):
    told = (
        *SHORT,
        "--out",
        tmp_path / "run",
        "--evaluate-training" if evaluated else "--no-doctor",
    )
    lines = done("train", *told).err.splitlines()
    shown = next(line for line in lines if line.startswith("epoch 2/2")).split("  ")
    last = strict_json((tmp_path / "run" / "history.jsonl").read_text().splitlines()[-1])
    after = [f"training set accuracy {last['train_accuracy']:.2%}"] if evaluated else []
    assert shown == [
        *("epoch 2/2", f"loss {last['loss']:.4g}", f"accuracy {last['accuracy']:.2%}", *after),
        f"validation accuracy {last['validation_accuracy']:.2%}",
    ]


def test_quiet_leaves_only_the_result():
    result = done("train", *SHORT, "--quiet")
    assert (len(result.out.splitlines()), result.err) == (2, "")


def test_a_seed_that_was_not_given_is_drawn_and_told():
    result = done("train", "--epochs", 1)
    seed = result.err.split("seed: ")[1].split("\n")[0]
    assert result.out.splitlines()[0].endswith(f"seed {seed}")
    again = done("train", "--epochs", 1, "--json").json["seed"]
    assert again != int(seed)


def test_no_epoch_at_all_measures_the_initial_weights():
    told = done("train", "--epochs", 0, "--seed", 0, "--json").json
    assert told["epochs"] == []
    assert 0 < told["test"]["accuracy"] < 0.4


def test_a_target_loss_ends_the_training_early():
    told = done("train", "--target-loss", 0.5, "--seed", 0, "--json").json
    assert told["stopped"] == "target_loss"
    assert len(told["epochs"]) < told["settings"]["epochs"]


# --- what is kept ---


def test_out_keeps_the_settings_the_history_and_the_model(tmp_path):
    told = done("train", *SHORT, "--json", "--out", tmp_path / "a" / "b").json
    folder = tmp_path / "a" / "b"
    assert {path.name for path in folder.iterdir()} == {*run_folder.FILES}
    assert told["out"] == str(folder)
    lines = (folder / "history.jsonl").read_text().splitlines()
    assert [strict_json(line) for line in lines] == told["epochs"]
    kept = tomllib.loads((folder / "config.toml").read_text())
    assert kept == {k: v for k, v in told["settings"].items() if v is not None}
    assert load_model(folder / "model.safetensors").seed == 0


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    models = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        done("train", *SHORT, "--seed", seed, "--out", tmp_path / name)
        models.append((tmp_path / name / "model.safetensors").read_bytes())
    assert models[0] == models[1] != models[2]


def test_a_run_can_be_repeated_from_its_configuration(tmp_path, monkeypatch):
    table = written(tmp_path / "animals.csv", "\n".join(animals()))
    monkeypatch.chdir(tmp_path)
    options = ("--hidden", "5,4", "--activation", "tanh,sigmoid", "--optimizer", "nesterov")
    more = ("--momentum", 0.8, "--batch-size", 7, "--no-bias", "--epochs", 3, "--device", "cpu")
    done("train", table.name, "--label", "kind", *options, *more, "--out", "first")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done("train", "--config", "../first/config.toml", "--out", "../second")
    for name in ("model.safetensors", "config.toml"):
        first, second = (tmp_path / folder / name for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_an_earlier_run_is_replaced_only_when_told(tmp_path):
    done("train", *SHORT, "--out", tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    result = run("train", "--epochs", 1, "--seed", 1, "--out", tmp_path)
    assert result.code == 2
    assert "already holds a run" in result.err
    assert "--overwrite" in result.err
    assert (tmp_path / "model.safetensors").read_bytes() == before
    done("train", "--epochs", 1, "--seed", 1, "--out", tmp_path, "--overwrite")
    assert (tmp_path / "model.safetensors").read_bytes() != before
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 1


def test_a_run_of_no_epochs_keeps_its_files(tmp_path):
    done("train", "--epochs", 0, "--out", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == RUN
    assert (tmp_path / "history.jsonl").read_bytes() == b""


# --- what diverges or fails ---


def test_divergence_names_the_layer_and_the_step():
    settings = {"optimizer": "sgd", "learning_rate": 1e30, "seed": 0}
    options = ("--optimizer", "sgd", "--learning-rate", 1e30, "--seed", 0, "--device", "cpu")
    text = refused_alike(
        DivergenceError,
        lambda: prepare_run(RunSettings(device="cpu", **settings)).train(),
        *("train", *options, "--no-doctor"),
    )
    assert re.search(r"the loss is nan at step 2 \(epoch 1\): the weighted inputs of layer", text)
    assert "lower the learning rate (it is 1e+30)" in text


def test_divergence_in_the_first_epoch_leaves_an_outcome_but_replaces_no_earlier_run(tmp_path):
    diverging = ("train", "--optimizer", "sgd", "--learning-rate", 1e30, "--device", "cpu")
    assert run(*diverging, "--seed", 0, "--out", tmp_path / "new").code == 5
    files = {"config.toml", "history.jsonl", "outcome.json"}
    assert {path.name for path in (tmp_path / "new").iterdir()} == files
    outcome = strict_json((tmp_path / "new" / "outcome.json").read_text())
    assert (outcome["status"], outcome["epochs"], outcome["measured"]) == ("diverged", 0, {})
    assert outcome["message"].startswith("training diverged: the loss is nan at step 2")
    done("train", "--epochs", 1, "--out", tmp_path / "old")
    before = {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}
    assert run(*diverging, "--out", tmp_path / "old", "--overwrite").code == 5
    assert {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()} == before


def test_divergence_after_an_epoch_keeps_the_last_good_model(tmp_path):
    # Each epoch is one step, which multiplies the single weight by -9: it overflows in the end.
    table = written(tmp_path / "t.csv", "a,t\n1,0\n-1,0\n")
    options = ("--task", "regression", "--label", "t", "--validation-fraction", 0, "--hidden", "")
    more = ("--optimizer", "sgd", "--learning-rate", 10, "--batch-size", 0, "--epochs", 500)
    result = run("train", table, *options, *more, "--no-bias", "--quiet", "--out", tmp_path / "out")
    assert result.code == 5
    epochs = len((tmp_path / "out" / "history.jsonl").read_text().splitlines())
    model = tmp_path / "out" / "model.safetensors"
    assert epochs > 1
    assert f"; the model of epoch {epochs} is in {model}\n" in result.err
    assert np.isfinite(load_model(model).parameters[0].weights).all()


def test_a_run_that_fails_leaves_an_earlier_run_as_it_was(tmp_path):
    done("train", "--epochs", 1, "--out", tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    options = ("--batch-size", 2000, "--overwrite", "--out", tmp_path)
    refused(2, "configuration", "train", *options)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# --- settings and where they come from ---


def settings_of(*args, **variables):
    return done("train", "--print-config", "--json", *args, **variables).json["settings"]


def test_option_goes_before_environment_before_file_before_default(tmp_path):
    file = written(tmp_path / "c.toml", "epochs = 3\nbatch_size = 8\nseed = 1\ndtype = 'float64'\n")
    found = settings_of(
        "--config", file, "--seed", 5, BACKPROP_XP_SEED=4, BACKPROP_XP_BATCH_SIZE=16
    )
    assert found["seed"] == {"value": 5, "source": "command line"}
    assert found["batch_size"] == {"value": 16, "source": "environment"}
    assert found["epochs"] == {"value": 3, "source": "configuration file"}
    assert found["dtype"] == {"value": "float64", "source": "configuration file"}
    assert found["optimizer"] == {"value": "adam", "source": "default"}


def test_the_configuration_that_is_printed_can_be_read_again(tmp_path):
    text = done(
        *("train", "--print-config", "--hidden", "9,8", "--label", 'a "b"\\\x7f'),
        BACKPROP_XP_EPOCHS=7,
    ).out
    assert 'label = "a \\"b\\"\\\\\\u007f"' in text
    assert "epochs = 7                                # environment" in text.splitlines()
    assert "# seed =                                  # default" in text.splitlines()
    file = written(tmp_path / "c.toml", text)
    found = {name: item["value"] for name, item in settings_of("--config", file).items()}
    assert found == {
        **dataclasses.asdict(RunSettings()),
        **{name: [] for name in ("drop", "categorical", "numeric")},
        **{"hidden": [9, 8], "label": 'a "b"\\\x7f', "epochs": 7},
    }


def test_every_setting_can_come_from_the_environment():
    values = {"hidden": "4,3", "activation": "tanh,relu", "bias": "false", "data": "mnist"}
    values |= {"learning_rate": 0.5, "output": "sigmoid", "loss": "squared_error"}
    values |= {"evaluate_training": "no", "optimizer": "sgd", "backend": "numpy"}
    found = settings_of(**{f"BACKPROP_XP_{name.upper()}": value for name, value in values.items()})
    assert {name for name, item in found.items() if item["source"] == "environment"} == set(values)
    assert (found["hidden"]["value"], found["bias"]["value"]) == ([4, 3], False)
    assert found["data"]["value"] == "mnist"


def test_settings_and_options_are_the_same_names_with_the_same_defaults():
    not_settings = {"config", "print_config", "doctor", "out", "overwrite", "resume"}
    not_settings |= {"json", "quiet", "debug"}
    options = {option.name for option in command.params} - not_settings
    fields = dataclasses.fields(RunSettings)
    assert options == {field.name for field in fields}
    defaults = {name: item["value"] for name, item in settings_of().items()}
    assert defaults == {
        field.name: list(field.default) if isinstance(field.default, tuple) else field.default
        for field in fields
    }
    for option in command.params:
        if option.name in options - {"data"}:
            assert f"--{option.name.replace('_', '-')}" in option.opts
        if option.name in options:
            assert option.envvar == f"BACKPROP_XP_{option.name.upper()}"


# --- data of one's own ---


def test_a_table_of_named_classes_is_learned(tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join(animals(120)))
    told = done("train", table, "--label", "kind", "--seed", 0, "--json").json
    assert told["data"] == {
        **{"name": "animals.csv", "inputs": 2, "classes": ["ant", "bee", "cat"]},
        **{"task": "classification", "notes": told["data"]["notes"]},
        **{"train": 102, "validation": 18, "test": None},
    }
    assert told["test"] is None
    assert told["validation"]["accuracy"] >= 0.9


def test_without_test_rows_the_result_is_that_of_the_validation(tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join(animals(120)))
    out = done("train", table, "--label", "kind", *SHORT).out
    assert out.splitlines()[1].startswith("validation accuracy ")
    out = done("train", table, "--label", "kind", "--validation-fraction", 0, *SHORT).out
    assert out.splitlines()[1].startswith("train accuracy ")


def test_a_regression_on_a_table_is_learned(tmp_path):
    table = written(tmp_path / "plane.csv", "\n".join(plane(120)))
    options = ("--task", "regression", "--label", "t", "--seed", 0, "--learning-rate", 0.01)
    told = done("train", table, *options, "--json").json
    assert told["network"]["activations"] == ["relu", "identity"]
    assert told["settings"]["loss"] == "half_squared_error"
    assert told["validation"]["loss"] < 0.05
    assert "accuracy" not in told["epochs"][-1]
    out = done("train", table, *options).out
    assert out.splitlines()[1].startswith("validation R² ")


def test_an_archive_of_numbers_is_learned(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = rng.normal(size=(200, 3)) + 3 * y[:, None]
    parts = {"x_train": x[:150], "y_train": y[:150], "x_test": x[150:], "y_test": y[150:]}
    np.savez(tmp_path / "two.npz", **parts)
    told = done("train", tmp_path / "two.npz", "--seed", 0, "--json").json
    assert told["data"]["test"] == 50
    assert told["test"]["accuracy"] >= 0.9


def test_a_folder_of_idx_files_is_learned(tmp_path):
    folder = image_folder(tmp_path / "rows")
    told = done("train", folder, "--seed", 0, "--json").json
    assert told["data"] == {
        **{"name": "rows", "inputs": 9, "classes": ["0", "1", "2"]},
        **{"task": "classification", "notes": []},
        **{"train": 100, "validation": 20, "test": 30},
    }
    assert told["test"]["accuracy"] == 1.0


def test_a_validation_loss_that_is_no_number_is_null_in_json(tmp_path):
    train = written(tmp_path / "train.csv", "a,t\n" + "1,2\n2,3\n" * 10)
    validation = written(tmp_path / "validation.csv", "a,t\n1,1e30\n")
    told = done(
        *("train", train, "--label", "t", "--task", "regression", "--validation", validation),
        *("--epochs", 1, "--batch-size", 4, "--json", "--out", tmp_path / "out"),
    ).json
    assert told["epochs"][0]["validation_loss"] is None
    assert strict_json((tmp_path / "out" / "history.jsonl").read_text()) == told["epochs"][0]


def test_mnist_itself_is_learned_in_one_epoch():
    beside = Path(__file__).parents[3] / "shared" / "data" / "mnist"
    folder = Path(os.environ.get("BACKPROP_XP_TEST_MNIST") or beside)
    if missing := [name for name in FILES if not (folder / f"{name}.gz").is_file()]:
        pytest.skip(
            f"MNIST is not at {folder} (missing: {', '.join(missing)}); "
            "BACKPROP_XP_TEST_MNIST may name its folder"
        )
    options = ("--epochs", 1, "--seed", 0, "--hidden", 32, "--device", "cpu", "--json")
    told = done("train", "mnist", "--data-dir", folder, *options).json
    assert told["data"]["train"] == 50_000
    assert told["test"]["accuracy"] >= 0.9
