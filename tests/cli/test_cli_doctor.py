"""``backprop-xp train --doctor``: advice after training, and on a run that diverges."""

import numpy as np
from command_line import done, run

from backprop_xp.training.layer_statistics import MEASURES, is_due

SHORT = ("--epochs", 12, "--seed", 0, "--device", "cpu", "--quiet")


def table(tmp_path, factor=1.0):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 2)) * [1.0, factor]
    lines = [f"{a},{b},{'high' if a > 0 else 'low'}" for a, b in rows]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["width,price,kind", *lines]) + "\n")
    return path


def test_a_good_training_is_told_to_be_one(tmp_path):
    result = done("train", table(tmp_path), "--label", "kind", "--doctor", *SHORT)
    assert result.out.splitlines()[2:] == ["doctor: nothing that commonly goes wrong was found"]


def test_advice_names_the_fault_its_evidence_and_a_mend(tmp_path):
    asked = (table(tmp_path, 1000.0), "--label", "kind", "--scaling", "none", "--doctor", *SHORT)
    line = done("train", *asked).out.splitlines()[2]
    assert line.startswith("doctor: inputs not scaled: the inputs of column price have a root mean")
    assert "--scaling standard" in line
    told = done("train", *asked, "--json").json
    assert list(told["advice"][0]) == ["fault", "evidence", "mend"]
    assert told["advice"][0]["fault"] == "inputs not scaled"


def test_without_the_option_advice_is_a_note_for_people(tmp_path):
    asked = ("train", table(tmp_path, 1000.0), "--label", "kind", "--scaling", "none", *SHORT)
    result = done(*[word for word in asked if word != "--quiet"])
    assert len(result.out.splitlines()) == 2
    assert "\ndoctor: inputs not scaled: " in result.err
    assert "doctor" not in done(*asked).err
    assert done(*asked, "--json").json["advice"][0]["fault"] == "inputs not scaled"


def test_without_the_doctor_there_is_no_advice(tmp_path):
    asked = ("train", table(tmp_path, 1000.0), "--label", "kind", "--scaling", "none")
    result = done(*asked, "--no-doctor", *[word for word in SHORT if word != "--quiet"])
    assert "doctor:" not in result.out + result.err
    assert done(*asked, "--no-doctor", *SHORT, "--json").json["advice"] is None


def test_a_training_that_diverges_is_explained(tmp_path):
    asked = ("--task", "regression", "--label", "width", "--optimizer", "sgd")
    path = tmp_path / "line.csv"
    path.write_text("x,width\n" + "\n".join(f"{i},{3 * i}" for i in range(50)) + "\n")
    result = run("train", path, *asked, "--learning-rate", 1e6, "--doctor", *SHORT)
    assert result.code == 5
    assert "hint: lower the learning rate" in result.err
    assert "doctor: learning rate too high: training diverged" in result.err
    result = run("train", path, *asked, "--learning-rate", 1e6, "--no-doctor", *SHORT)
    assert "hint: lower the learning rate" in result.err
    assert "doctor" not in result.err


def test_the_history_tells_of_the_steps_that_were_measured():
    epochs = done("train", *SHORT, "--json").json["epochs"]
    steps = epochs[0]["step"]
    due = [is_due(epoch["step"] - steps, steps, 64) for epoch in epochs]
    assert ["layers" in epoch for epoch in epochs] == due
    assert 1 < sum(due) < 12
    first, last = epochs[0]["layers"]
    assert list(first) == list(MEASURES)
    assert last["dead"] is None
    assert not any(
        "layers" in epoch
        for epoch in done("train", *SHORT, "--no-diagnostics", "--json").json["epochs"]
    )
