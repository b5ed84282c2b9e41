"""``backprop-xp find-lr`` as its users meet it: what it prints, and its options."""

import shlex

import pytest
from command_line import animals, done, refused, refused_alike, run, written

from backprop_xp import (
    ConfigurationError,
    RunSettings,
    find_learning_rate,
    load_digits,
    prepare_run,
)
from backprop_xp.cli.find_lr import command
from backprop_xp.cli.train import command as train_command
from backprop_xp.training.settings import LEARNING_RATE_AND_STOPPING

DIGITS = ("find-lr", "--hidden", 30, "--seed", 0, "--device", "cpu")


def test_the_result_for_people_is_a_rate_and_the_command_that_trains_with_it():
    found = done(*DIGITS, "--optimizer", "sgd", "--dropout", "0.1", "--no-bias", "--quiet")
    first, second = found.out.splitlines()
    rate = first.split()[2].rstrip(",")
    assert first.startswith("learning rate ")
    assert first.endswith(" steps of sgd with batches of 64")
    assert shlex.split(second) == [
        *("backprop-xp", "train", "--device", "cpu", "--hidden", "30", "--no-bias"),
        *("--optimizer", "sgd", "--seed", "0", "--dropout", "0.1", "--learning-rate", rate),
    ]
    told = done(*shlex.split(second)[1:], "--epochs", 10, "--json").json
    assert told["settings"]["learning_rate"] == float(rate)
    assert told["test"]["accuracy"] >= 0.9


def test_json_is_one_object_with_the_whole_curve():
    told = done(*DIGITS, "--json", "--steps", 200).json
    assert {"schema_version": 1, "command": "find-lr", "reason": ""}.items() <= told.items()
    assert set(told) == {
        *("schema_version", "command", "settings", "rates", "losses", "smoothed"),
        *("suggestion", "reason"),
    }
    assert 20 < len(told["rates"]) == len(told["losses"]) == len(told["smoothed"]) <= 200
    assert told["rates"][0] == 1e-6
    assert (told["settings"]["seed"], told["settings"]["batch_size"]) == (0, 64)
    assert not set(told["settings"]) & set(LEARNING_RATE_AND_STOPPING)


def test_the_command_finds_what_python_finds():
    told = done(*DIGITS, "--json", "--dtype", "float64", "--low", 1e-4, "--high", 1).json
    run = prepare_run(RunSettings(hidden=(30,), seed=0, device="cpu", dtype="float64"))
    found = run.find_learning_rate(low=1e-4, high=1.0)
    assert told["suggestion"] == found.suggestion
    assert told["losses"] == found.losses
    digits = load_digits().train
    again = find_learning_rate(
        *(run.network, (digits.inputs / 16.0, digits.targets)),
        **{"low": 1e-4, "high": 1.0, "seed": 0, "batch_size": 64, "l2": run.settings.l2},
    )
    assert again == found


def test_pictures_are_augmented_as_in_training():
    plain = done(*DIGITS, "--json").json["losses"]
    moved = done(*DIGITS, "--json", "--augment", "shift").json["losses"]
    assert moved[0] != plain[0]


def test_the_curve_is_shown_on_stderr_unless_quiet():
    note, seed, *curve = done(*DIGITS).err.splitlines()
    assert note == "device: cpu (NumPy); requested"
    assert seed == "seed: 0"
    assert 10 < len(curve) < 30
    assert curve[0].startswith("rate 1.0e-06  loss ")
    assert min(line.count("#") for line in curve) < 20 < curve[0].count("#")
    assert done(*DIGITS, "--quiet").err == ""


def test_where_nothing_is_found_the_exit_code_is_1_and_the_reason_is_told():
    options = ("--low", 1e-9, "--high", 1e-7)
    told = run(*DIGITS, *options, "--json")
    assert (told.code, told.json["suggestion"]) == (1, None)
    assert "never fell clearly" in told.json["reason"]
    text = run(*DIGITS, *options, "--quiet")
    assert text == (1, f"no learning rate: {told.json['reason']}\n", "")


def test_the_configuration_of_an_earlier_run_can_be_used(tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join(animals(120)))
    options = ("--label", "kind", "--batch-size", 8, "--seed", 3, "--epochs", 1)
    done("train", table, *options, "--learning-rate", 1e-9, "--out", tmp_path / "run")
    config = tmp_path / "run" / "config.toml"
    out = done("find-lr", "--config", config, "--quiet").out.splitlines()[1]
    told = done("find-lr", table, *options[:-2], "--json").json
    assert shlex.split(out) == [
        *("backprop-xp", "train", "--config", str(config)),
        *("--learning-rate", f"{told['suggestion']:g}"),
    ]
    found = done(*shlex.split(out)[1:], "--epochs", 10, "--json").json
    assert found["validation"]["accuracy"] >= 0.9


def test_it_has_the_options_of_train_but_for_those_without_a_meaning():
    names = {option.name for option in command.params}
    not_settings = {"print_config", "doctor", "out", "overwrite", "resume", "checkpoint_every"}
    assert names - {"low", "high", "steps"} == (
        {option.name for option in train_command.params}
        - not_settings
        - set(LEARNING_RATE_AND_STOPPING)
    )
    result = run("find-lr", "--learning-rate", 1, "--json")
    assert (result.code, result.json["error"]["kind"]) == (2, "usage")


@pytest.mark.parametrize(
    ("options", "test"),
    [
        (("--low", 1.0, "--high", 0.1), {"low": 1.0, "high": 0.1}),
        (("--low", 0.0), {"low": 0.0}),
        (("--steps", 5), {"steps": 5}),
    ],
)
def test_a_range_that_cannot_be_is_refused(options, test):
    run = prepare_run(RunSettings(device="cpu"))
    refused_alike(ConfigurationError, lambda: run.find_learning_rate(**test), "find-lr", *options)


def test_a_bad_range_is_refused_before_any_data_is_read():
    message, _ = refused(2, "configuration", "find-lr", "missing.csv", "--steps", 5)
    assert message == "steps is 5"
