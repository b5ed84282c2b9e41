"""A session in Python: what a run leaves in its folder, whether or not it reaches its end."""

import json
import os
import subprocess
import sys

import pytest
from helpers import bytes_of

from backprop_xp import (
    ConfigurationError,
    DivergenceError,
    RunSettings,
    load_model,
    prepare_run,
    train,
)
from backprop_xp.runs.folder import CONFIG, FILES, HISTORY, MODEL, OUTCOME, RunFolder
from backprop_xp.runs.reader import read_run
from backprop_xp.runs.session import advice, train_run
from backprop_xp.training.state import TrainingInterrupted

SHORT = {"seed": 0, "device": "cpu", "hidden": (4,)}


def outcome(path):
    return json.loads((path / OUTCOME).read_text())


def epochs(path):
    return [json.loads(line)["epoch"] for line in (path / HISTORY).read_text().splitlines()]


def interrupt_after(epoch):
    def on_epoch(state):
        if state.epoch == epoch:
            raise KeyboardInterrupt

    return on_epoch


def diverging(tmp_path):
    path = tmp_path / "line.csv"
    path.write_text("x,t\n" + "\n".join(f"{i},{3 * i}" for i in range(50)) + "\n")
    settings = {
        "data": str(path),
        "task": "regression",
        "label": "t",
        "optimizer": "sgd",
        "batch_size": 4,
    }
    return prepare_run(RunSettings(**SHORT, **settings, learning_rate=1e6))


def test_a_run_that_reaches_its_end_fills_its_folder(tmp_path):
    run = prepare_run(RunSettings(epochs=3, **SHORT))
    seen = []
    with RunFolder(tmp_path / "run") as folder:
        trained = train_run(run, folder, on_epoch=lambda state: seen.append(epochs(folder.path)))
    assert seen == [[1], [1, 2], [1, 2, 3]]  # an epoch is recorded before it is announced
    assert sorted(os.listdir(tmp_path / "run")) == sorted(FILES)
    assert outcome(tmp_path / "run")["measured"] == json.loads(json.dumps(trained.measured))
    test = run.dataset.test
    measured = load_model(tmp_path / "run" / MODEL).measure(test.inputs, test.targets)
    assert measured == trained.measured["test"]
    assert trained.findings is None


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = train_run(prepare_run(RunSettings(epochs=1, **SHORT)), doctor=True)
    assert trained.state.epoch == 1
    assert isinstance(trained.findings, list)
    assert os.listdir(tmp_path) == []


def test_a_callback_that_returns_something_true_stops_the_session(tmp_path):
    run = prepare_run(RunSettings(epochs=9, **SHORT))
    with RunFolder(tmp_path / "run") as folder:
        trained = train_run(run, folder, on_epoch=lambda state: state.epoch == 2)
    assert trained.state.epoch == 2
    assert (outcome(tmp_path / "run")["status"], epochs(tmp_path / "run")) == ("on_epoch", [1, 2])


def test_an_interrupted_run_keeps_its_last_complete_epoch(tmp_path):
    run = prepare_run(RunSettings(epochs=9, **SHORT))
    with pytest.raises(TrainingInterrupted) as failure, RunFolder(tmp_path / "run") as folder:
        train_run(run, folder, on_epoch=interrupt_after(2))
    assert failure.value.hint == (
        f"the model of epoch 2 is in {folder.model}; continue with: backprop-xp train --resume "
        f"{folder.path}"
    )
    kept = outcome(folder.path)
    assert (kept["status"], kept["epochs"], epochs(folder.path)) == ("interrupted", 2, [1, 2])
    two = prepare_run(RunSettings(epochs=2, **SHORT)).train()
    weights = load_model(folder.model).parameters[0].weights
    assert weights.tobytes() == two.parameters[0].weights.tobytes()


def test_an_earlier_run_is_replaced_only_by_an_epoch(tmp_path):
    with RunFolder(tmp_path / "run") as folder:
        train_run(prepare_run(RunSettings(epochs=1, **SHORT)), folder)
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    with (
        pytest.raises(DivergenceError),
        RunFolder(tmp_path / "run", overwrite=True) as folder,
    ):
        train_run(diverging(tmp_path), folder)
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before


def test_a_run_that_diverges_in_its_first_epoch_leaves_its_outcome(tmp_path):
    with pytest.raises(DivergenceError) as failure, RunFolder(tmp_path / "run") as folder:
        train_run(diverging(tmp_path), folder, doctor=True)
    assert sorted(os.listdir(folder.path)) == [CONFIG, HISTORY, OUTCOME]
    kept = outcome(folder.path)
    assert (kept["status"], kept["message"]) == ("diverged", str(failure.value))
    assert kept["advice"][0]["fault"] == "learning rate too high"
    assert kept["measured"] == {}
    lines = failure.value.hint.splitlines()
    assert lines[0] == kept["hint"]
    assert lines[1].startswith("doctor: learning rate too high: ")


def test_advice_is_one_line_with_the_remedy():
    run = prepare_run(RunSettings(epochs=12, scaling="none", learning_rate=3.0, **SHORT))
    with pytest.warns(UserWarning, match="root mean square"):
        findings = train_run(run, doctor=True).findings
    assert findings
    for finding in findings:
        assert advice(finding).endswith(f"; fix: {finding.remedy}")
        assert "\n" not in advice(finding)


# --- a kill while the files of an earlier run are replaced ---

KILLED = """
import os, sys
import backprop_xp
replace, left = os.replace, int(sys.argv[2])

def replace_or_die(*paths):
    global left
    if not left:
        os._exit(9)
    left -= 1
    replace(*paths)

os.replace = replace_or_die
settings = {"epochs": 2, "seed": 2, "hidden": 4, "device": "cpu"}
backprop_xp.train("digits", out=sys.argv[1], overwrite=True, **settings)
"""


@pytest.mark.parametrize("renamed", range(5))
def test_a_kill_while_files_are_replaced_leaves_one_run_or_the_other(renamed, tmp_path):
    """The files are renamed one after the other: checkpoint, model, history, settings."""
    path = tmp_path / "run"
    train("digits", out=path, epochs=2, seed=1, hidden=4, device="cpu")
    earlier = {file.name: file.read_bytes() for file in path.iterdir()}
    code = subprocess.run([sys.executable, "-c", KILLED, str(path), str(renamed)]).returncode
    assert code == 9
    found = read_run(path)
    assert found.problems == []
    assert found.settings.seed == (2 if renamed else 1)
    assert len(found.history) == [2, 1, 1, 1, 2][renamed]
    assert len(found.notes) == (0 < renamed < 4)
    assert load_model(path / MODEL).seed == (2 if renamed > 1 else 1)
    if not renamed:
        kept = {file.name: file.read_bytes() for file in path.iterdir() if file.suffix != ".tmp"}
        assert kept == earlier
        return
    model = train("digits", out=path, resume=True)
    whole = train("digits", epochs=2, seed=2, hidden=4, device="cpu")
    assert bytes_of(model.parameters) == bytes_of(whole.parameters)
    found = read_run(path)
    assert (found.settings.seed, found.problems, found.notes) == (2, [], [])
    assert sorted(os.listdir(path)) == sorted(FILES)


def test_resuming_needs_no_settings_and_accepts_only_some(tmp_path):
    train("digits", out=tmp_path, epochs=1, seed=1, hidden=4, device="cpu")
    assert len(train("digits", out=tmp_path, resume=True, epochs=3).history) == 3
    with pytest.raises(ConfigurationError, match=r"hidden is \(5,\), was \(4,\)") as caught:
        train("digits", out=tmp_path, resume=True, hidden=5)
    assert "epochs" in caught.value.hint
    with pytest.raises(ConfigurationError, match="no run to resume"):
        train("digits", resume=True)
