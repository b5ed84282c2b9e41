"""A run from its settings, the folder it fills, and the settings that say it all again."""

import json
import math
import os
import signal
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from command_line import animals, plane, small_model, written
from helpers import bytes_of

from backprop_xp import (
    ConfigurationError,
    DataError,
    RunSettings,
    load_dataset,
    load_model,
    prepare_run,
    save_model,
)
from backprop_xp.runs.config_file import as_toml, toml_value
from backprop_xp.runs.folder import CONFIG, HISTORY, MODEL, RunFolder
from backprop_xp.training.state import TrainingInterrupted


def settings_of(text):
    return RunSettings(**tomllib.loads(text))


# --- from settings to a model ---


def test_a_run_trains_on_scaled_rows_and_its_model_takes_raw_ones():
    run = prepare_run(RunSettings(epochs=3, seed=0, device="cpu"))
    model = run.model(run.train())
    test = load_dataset("digits").test
    assert (test.inputs.dtype, test.inputs.max()) == (np.uint8, 16)
    measured = model.evaluate(test.inputs, test.targets)
    predicted = model.predict(test.inputs)
    outputs = model.outputs(test.inputs)
    assert predicted.tolist() == [int(model.classes[k]) for k in outputs.argmax(axis=1)]
    right = int(np.sum(predicted == test.targets))
    assert measured["correct"] == right > 0.7 * len(predicted)


def test_scaling_is_learned_from_the_training_rows_alone(tmp_path):
    table = written(tmp_path / "plane.csv", "\n".join(plane(100)))
    run = prepare_run(RunSettings(data=str(table), label="t", task="regression", seed=3))
    assert run.dataset.train.size == 85
    assert np.allclose(run.scaling.offset, run.dataset.train.inputs.mean(axis=0))
    everything = np.concatenate([run.dataset.train.inputs, run.dataset.validation.inputs])
    assert not np.allclose(run.scaling.offset, everything.mean(axis=0))


def test_the_same_settings_give_the_same_weights_and_rows(tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join(animals()))
    runs = [
        prepare_run(
            RunSettings(
                **{"data": str(table), "label": "kind", "device": "cpu"},
                **{"batch_size": 8, "epochs": 2, "seed": seed},
            )
        )
        for seed in (5, 5, 6)
    ]
    weights = [bytes_of(run.train().parameters) for run in runs]
    assert weights[0] == weights[1] != weights[2]
    rows = [run.dataset.validation.inputs.tolist() for run in runs]
    assert rows[0] == rows[1] != rows[2]


def test_what_was_left_open_is_filled_in_and_gives_the_same_run_again():
    run = prepare_run(RunSettings(epochs=1, optimizer="rmsprop"))
    settings = run.settings
    assert (settings.output, settings.loss) == ("softmax", "cross_entropy")
    assert settings.learning_rate == 0.001
    assert (settings.backend, settings.device) == (run.placement.backend, run.placement.name)
    assert settings.seed is not None
    again = prepare_run(settings)
    assert again.settings == settings
    if run.placement.backend == "numpy":  # a GPU's sums may come in another order
        assert bytes_of(again.train().parameters) == bytes_of(run.train().parameters)


def test_two_runs_without_a_seed_differ():
    seeds = {prepare_run(RunSettings(device="cpu")).settings.seed for _ in range(5)}
    assert len(seeds) == 5


def test_a_regression_takes_identity_and_the_squared_error(tmp_path):
    table = written(tmp_path / "plane.csv", "\n".join(plane()))
    run = prepare_run(RunSettings(data=str(table), label="t", task="regression", batch_size=8))
    assert (run.settings.output, run.settings.loss) == ("identity", "half_squared_error")
    assert (run.network.sizes, run.dataset.classes) == ((2, 128, 1), None)


def test_paths_in_the_settings_become_absolute(tmp_path, monkeypatch):
    for name in ("a.csv", "b.csv"):
        written(tmp_path / name, "\n".join(animals()))
    monkeypatch.chdir(tmp_path)
    run = prepare_run(RunSettings(data="a.csv", validation="b.csv", label="kind"))
    assert run.settings.data == str(tmp_path / "a.csv")
    assert run.settings.validation == str(tmp_path / "b.csv")
    assert prepare_run(RunSettings(data_dir="d")).settings.data_dir == str(tmp_path / "d")
    assert prepare_run(RunSettings()).settings.data == "digits"


@pytest.mark.parametrize(
    ("activation", "hidden", "names"),
    [
        ("tanh", (4, 3), ["tanh", "tanh", "softmax"]),
        ("relu, sigmoid", (4, 3), ["relu", "sigmoid", "softmax"]),
        ("relu", (), ["softmax"]),
    ],
)
def test_hidden_layers_share_an_activation_or_have_their_own(activation, hidden, names):
    network = RunSettings(activation=activation, hidden=hidden).network(5, 2)
    assert [f.name for f in network.activations] == names
    assert network.sizes == (5, *hidden, 2)


def test_an_activation_too_many_is_refused():
    with pytest.raises(ConfigurationError, match="2 activations were given for 3 hidden layers"):
        RunSettings(activation="relu,tanh", hidden=(4, 3, 2))


def test_a_device_is_refused_before_the_data_is_read(tmp_path):
    with pytest.raises(ConfigurationError, match="unknown device 'gpu'"):
        prepare_run(RunSettings(device="gpu", data=str(tmp_path / "gone.csv")))
    with pytest.raises(DataError, match=r"gone\.csv"):
        prepare_run(RunSettings(device="cpu", data=str(tmp_path / "gone.csv")))


def test_an_interrupt_after_an_epoch_carries_the_state_from_which_a_model_is_made():
    run = prepare_run(RunSettings(epochs=5, seed=0, device="cpu"))

    def stop(state):
        if state.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted) as cut_off:
        run.train(stop)
    assert cut_off.value.state.epoch == 2
    two = prepare_run(RunSettings(epochs=2, seed=0, device="cpu")).train()
    assert bytes_of(run.model(cut_off.value.state).parameters) == bytes_of(two.parameters)


# --- the folder ---


def test_a_folder_that_was_not_written_to_is_taken_away_again(tmp_path):
    (tmp_path / "there").mkdir()
    for path in (tmp_path / "there", tmp_path / "there" / "a" / "b"):
        with RunFolder(path):
            assert path.is_dir()
        with pytest.raises(DataError), RunFolder(path):
            raise DataError("bad")
    assert os.listdir(tmp_path) == ["there"]
    assert os.listdir(tmp_path / "there") == []


def test_a_folder_into_which_somebody_else_wrote_stays(tmp_path):
    with RunFolder(tmp_path / "a" / "b"):
        written(tmp_path / "a" / "b" / "note", b"")
    assert (tmp_path / "a" / "b" / "note").exists()


def test_the_history_grows_by_the_epochs_that_are_new(tmp_path):
    history = [{"epoch": n, "loss": 1 / n} for n in range(1, 6)]
    with RunFolder(tmp_path) as folder:
        folder.start(RunSettings(), history[:1])
        for n in (1, 2, 2, 5):
            folder.append_history(history[:n])
            lines = (tmp_path / HISTORY).read_text().splitlines()
            assert [json.loads(line) for line in lines] == history[:n]


def test_what_was_cut_off_within_a_line_is_written_again(tmp_path):
    history = [{"epoch": n, "loss": 1 / n} for n in range(1, 4)]
    with RunFolder(tmp_path) as folder:
        folder.start(RunSettings(), history[:1])
        with open(tmp_path / HISTORY, "a") as file:
            file.write('{"epoch": 2, "lo')
        folder.append_history(history)
    lines = (tmp_path / HISTORY).read_text().splitlines()
    assert [json.loads(line) for line in lines] == history


def test_an_earlier_run_gives_way_when_the_new_one_starts_and_not_before(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.start(RunSettings(seed=1), [{"epoch": 1}])
        save_model(small_model(), folder.model)
    with RunFolder(tmp_path, overwrite=True) as folder:
        assert load_model(folder.model).seed == 0
        assert settings_of((tmp_path / CONFIG).read_text()).seed == 1
        folder.start(RunSettings(seed=2), [])
        assert (tmp_path / HISTORY).read_bytes() == b""
        assert settings_of((tmp_path / CONFIG).read_text()).seed == 2


def test_only_one_run_at_a_time_writes_to_a_folder(tmp_path):
    with RunFolder(tmp_path / "run") as folder:
        for more in ({}, {"overwrite": True}, {"resume": True}):
            with pytest.raises(ConfigurationError, match="another training run is writing to"):
                RunFolder(tmp_path / "run", **more)
        folder.start(RunSettings(), [])
    with RunFolder(tmp_path / "run", overwrite=True):
        pass


def test_the_lock_ends_with_its_process(tmp_path):
    code = (
        "import os, signal; from backprop_xp.runs.folder import RunFolder\n"
        f"folder = RunFolder({str(tmp_path)!r})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    with RunFolder(tmp_path):
        pass


def test_a_run_without_a_checkpoint_cannot_be_resumed(tmp_path):
    written(tmp_path / MODEL, b"mine")
    with pytest.raises(ConfigurationError, match="a run without a checkpoint"):
        RunFolder(tmp_path, resume=True)
    with RunFolder(tmp_path / "new", resume=True) as folder:
        assert not folder.resumes


def test_temporary_files_of_a_killed_run_are_removed(tmp_path):
    for name in (".model.safetensors.abc.tmp", ".history.jsonl.x.tmp", ".mine.tmp"):
        written(tmp_path / name, b"")
    with RunFolder(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".mine.tmp"]


@pytest.mark.parametrize("name", [CONFIG, HISTORY, MODEL])
def test_any_file_of_a_run_keeps_another_from_taking_the_folder(name, tmp_path):
    written(tmp_path / name, b"mine")
    with pytest.raises(ConfigurationError, match=f"already holds a run \\({name}\\)"):
        RunFolder(tmp_path)
    assert (tmp_path / name).read_bytes() == b"mine"


def test_a_history_that_cannot_be_written_is_a_configuration_error(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.start(RunSettings(), [])
        (tmp_path / HISTORY).unlink()
        (tmp_path / HISTORY).mkdir()
        with pytest.raises(ConfigurationError, match=f"{HISTORY} cannot be written") as failure:
            folder.append_history([{"epoch": 1}])
    assert "--out" in failure.value.hint


# --- settings as text ---


@pytest.mark.parametrize(
    "settings",
    [
        RunSettings(),
        RunSettings(
            hidden=(), bias=False, seed=2**70, learning_rate=1e-30, evaluate_training=False
        ),
        RunSettings(
            hidden=(3, 2, 1), activation="relu,tanh,step", data='a "b"\\c\n\té\x7f\x01.csv'
        ),
        RunSettings(optimizer="adamw", weight_decay=0.1, beta1=0.5, beta2=0.6, epsilon=1e-300),
    ],
    ids=["default", "numbers", "texts", "optimizer"],
)
def test_settings_come_back_from_their_text(settings):
    assert settings_of(as_toml(settings)) == settings


@pytest.mark.parametrize(
    "value", [0, -(2**80), 0.1, 1e300, 5e-324, -0.0, True, "", "'\"\\\b\x1f\x7fß😀", [1, 2], []]
)
def test_every_value_comes_back_from_toml(value):
    found = tomllib.loads(f"key = {toml_value(value)}")["key"]
    assert found == value
    assert type(found) is type(value)
    if isinstance(value, float):
        assert math.copysign(1, found) == math.copysign(1, value)
