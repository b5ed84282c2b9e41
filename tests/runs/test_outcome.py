"""What is kept of a run beside its model: how it ended, and what the model gets wrong."""

from collections import Counter

import numpy as np
import pytest
from command_line import animals, done, plane, small_model, strict_json, written

from backprop_xp import RunSettings, prepare_run
from backprop_xp.data.dataset import Split
from backprop_xp.data.memory_map import MemoryMap
from backprop_xp.diagnosis import error_analysis
from backprop_xp.diagnosis.error_analysis import points
from backprop_xp.runs.folder import RunFolder
from backprop_xp.runs.outcome import PARTS, measure, outcome_of
from backprop_xp.training import evaluation
from backprop_xp.training.state import TrainingInterrupted

SHORT = {"seed": 0, "device": "cpu", "hidden": (12,)}


@pytest.fixture(scope="module")
def digits():
    """A run of two epochs, its model, and what the model says of the test rows."""
    run = prepare_run(RunSettings(epochs=2, **SHORT))
    model = run.model(run.train())
    return run, model, model.outputs(run.dataset.test.inputs)


def analyzed(model, part, rows=None):
    """Return the analysis of a model's outputs, given in chunks of some rows."""
    analysis, rows = error_analysis.start_analysis(model, part), rows or part.size
    for first in range(0, part.size, rows):
        analysis.add(model.outputs(part.inputs[first : first + rows]))
    return analysis.result()


def test_a_confusion_matrix_counts_every_row_under_its_class_and_the_predicted_one(digits):
    run, model, outputs = digits
    found = analyzed(model, run.dataset.test)
    pairs = Counter(zip(run.dataset.test.targets.tolist(), outputs.argmax(1).tolist(), strict=True))
    assert found["matrix"] == [[pairs[t, p] for p in range(10)] for t in range(10)]
    assert found["classes"] == list("0123456789")
    wrong = {(str(t), str(p)): n for (t, p), n in pairs.items() if t != p}
    assert {(t, p): n for t, p, n in found["confused"]} == wrong
    times = [n for _, _, n in found["confused"]]
    assert times == sorted(times, reverse=True)
    assert found["wrong"] == sum(wrong.values())


def test_the_worst_mistakes_are_the_wrong_rows_that_were_surest(digits):
    run, model, outputs = digits
    test = run.dataset.test
    found = analyzed(model, test)
    predicted = outputs.argmax(1)
    wrong = np.flatnonzero(predicted != test.targets)
    order = wrong[np.argsort(-outputs[wrong].max(1), kind="stable")][: error_analysis.WORST]
    assert [row["row"] for row in found["worst"]] == order.tolist()
    for row in found["worst"]:
        k = row["row"]
        assert row["inputs"] == test.inputs[k].tolist()
        assert (row["target"], row["predicted"]) == (str(test.targets[k]), str(predicted[k]))
        assert row["sure"] == outputs[k].max()
        assert row["target_output"] == outputs[k, test.targets[k]]
        likeliest = np.argsort(-outputs[k], kind="stable")[: error_analysis.TOP_CLASSES]
        assert row["likeliest"] == [(str(c), outputs[k, c]) for c in likeliest]


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_rows_that_are_looked_at_in_parts_or_read_from_a_file_give_the_same_review(
    kind, digits, tmp_path
):
    run, model, _ = digits
    part = run.dataset.test
    if kind == "numbers":
        model = small_model((64, 2))
        part = Split(part.inputs, np.random.default_rng(0).normal(size=(part.size, 2)))
    whole = analyzed(model, part)
    np.save(tmp_path / "x.npy", part.inputs)
    stored = MemoryMap(np.load(tmp_path / "x.npy", mmap_mode="r"))
    for inputs in (part.inputs, stored):
        found = analyzed(model, Split(inputs, part.targets), rows=50)
        # A product over fewer rows may be rounded otherwise in its last bit.
        assert [row["row"] for row in found["worst"]] == [row["row"] for row in whole["worst"]]
        for name in ("matrix", "confused", "wrong"):
            assert found.get(name) == whole.get(name)
        for name in ("outputs", "pairs"):
            got, wanted = (_flat(one.get(name, [])) for one in (found, whole))
            assert got == pytest.approx(wanted, rel=1e-5, abs=1e-5)


def _flat(value):
    """Return all numbers of nested plain data in their order."""
    if isinstance(value, dict):
        value = list(value.values())
    return [n for one in value for n in _flat(one)] if isinstance(value, list) else [value]


def test_of_many_classes_the_commonest_confusions_are_kept_alone():
    n = error_analysis.MATRIX + 1
    names = tuple(f"class {k}" for k in range(n))
    model = small_model((1, n), "softmax", classes=names, scaling=None)
    part = Split(np.ones((300, 1)), np.asarray([5] * 200 + [7] * 100))
    taken = model.predict(part.inputs[:1])[0]
    found = analyzed(model, part)
    assert (found["matrix"], found["classes"]) == (None, None)
    assert found["confused"] == [("class 5", taken, 200), ("class 7", taken, 100)]
    assert len(found["worst"][0]["likeliest"]) == error_analysis.TOP_CLASSES


def test_rows_that_are_too_wide_are_not_kept():
    for width, kept in ((error_analysis.MAX_INPUTS, True), (error_analysis.MAX_INPUTS + 1, False)):
        model = small_model((width, 2), "softmax", classes=("a", "b"), scaling=None)
        inputs = np.ones((2, width), dtype=np.uint8)
        (worst,) = analyzed(model, Split(inputs, np.asarray([0, 1])))["worst"]
        assert (worst["inputs"] is not None) is kept


def test_residuals_are_summed_up_for_each_output():
    model = small_model((3, 2))
    rng = np.random.default_rng(1)
    part = Split(rng.normal(size=(40, 3)), rng.normal(size=(40, 2)))
    found = analyzed(model, part)
    residuals = model.outputs(part.inputs) - part.targets
    for k, summary in enumerate(found["outputs"]):
        r = residuals[:, k]
        wanted = {"mean": r.mean(), "mean_absolute": abs(r).mean(), "largest": abs(r).max()}
        wanted |= {"root_mean_square": (r**2).mean() ** 0.5}
        wanted |= {"target_deviation": part.targets[:, k].std()}
        assert summary == pytest.approx(wanted, rel=1e-12)
    order = np.argsort(-(residuals**2).sum(1), kind="stable")[: error_analysis.WORST]
    assert [row["row"] for row in found["worst"]] == order.tolist()
    drawn = np.stack([part.targets, model.outputs(part.inputs)], axis=-1)
    assert found["pairs"] == drawn.tolist()


def test_a_sample_of_rows_is_bounded_and_spread_over_all_of_them():
    n = 5 * error_analysis.SAMPLE
    part = Split(np.arange(2.0 * n).reshape(n, 2), np.arange(float(n)).reshape(n, 1))
    found = points(part, None)
    assert len(found["inputs"]) == len(found["targets"]) == error_analysis.SAMPLE
    assert (found["targets"][0], found["targets"][-1]) == (0.0, n - 1.0)
    assert set(np.diff(found["targets"])) == {5.0, 6.0}
    assert [x for x, _ in found["inputs"]] == [2 * t for t in found["targets"]]
    pairs = analyzed(small_model((2, 1)), part)["pairs"]
    assert [target for ((target, _),) in pairs] == found["targets"]


def test_the_outcome_says_what_was_measured_on_what_and_where(tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join(animals()))
    options = ("--label", "kind", "--epochs", 2, "--seed", 0, "--device", "cpu")
    told = done("train", table, *options, "--doctor", "--json", "--out", tmp_path / "run").json
    kept = strict_json((tmp_path / "run" / "outcome.json").read_text())
    assert kept["measured"] == {part: told[part] for part in ("train", "validation", "test")}
    assert (kept["part"], kept["status"]) == ("validation", "finished")
    assert kept["advice"] == told["advice"] != []
    sizes = {part: told["data"][part] for part in ("train", "validation", "test")}
    about = {"name": "animals.csv", "inputs": 2, "image_shape": None, "classes": 3}
    about["notes"] = told["data"]["notes"]
    assert kept["data"] == about | sizes
    assert kept["network"] == {**told["network"], "bias": True}
    assert len(kept["points"]["inputs"]) == told["data"]["train"]
    found = kept["environment"]
    assert (found["library"], found["library_version"]) == ("numpy", np.__version__)


def test_a_regression_says_what_was_measured_too(tmp_path):
    table = written(tmp_path / "plane.csv", "\n".join(plane()))
    options = ("--label", "t", "--task", "regression", "--epochs", 2, "--device", "cpu")
    done("train", table, *options, "--out", tmp_path / "run")
    kept = strict_json((tmp_path / "run" / "outcome.json").read_text())
    loss = kept["measured"]["validation"]["loss"]
    (summary,) = kept["review"]["outputs"]
    assert summary["root_mean_square"] ** 2 / 2 == pytest.approx(loss, rel=1e-5)


def test_after_early_stopping_the_figures_are_those_of_the_best_epoch():
    run = prepare_run(RunSettings(epochs=200, patience=2, learning_rate=0.05, **SHORT))
    state = run.train()
    outcome = outcome_of(run, state)
    best = state.best.epoch
    assert best < state.epoch
    assert outcome["status"] == "early_stopping"
    assert outcome["best_epoch"] == outcome["model_epoch"] == best
    assert outcome["measured"]["validation"]["loss"] == state.history[best - 1]["validation_loss"]


def test_of_a_training_that_is_interrupted_the_figures_are_those_of_its_last_epoch():
    def stop(state):
        if state.epoch > state.best.epoch:
            raise KeyboardInterrupt

    run = prepare_run(RunSettings(epochs=200, patience=50, learning_rate=0.05, **SHORT))
    with pytest.raises(TrainingInterrupted) as cut_off:
        run.train(stop)
    state = cut_off.value.state
    told = {"status": "interrupted", "message": "m", "hint": None}
    outcome = outcome_of(run, state, ending=told)
    assert outcome | told == outcome
    assert outcome["best_epoch"] == outcome["model_epoch"] - 1 == state.epoch - 1
    assert outcome["measured"]["validation"]["loss"] == state.history[-1]["validation_loss"]
    model, test = run.model(state), run.dataset.test
    assert outcome["measured"]["test"] == model.measure(test.inputs, test.targets)


def test_what_is_no_number_is_null_in_the_folder(tmp_path):
    table = written(tmp_path / "t.csv", "a,t\n1,0\n-1,0\n")
    run = prepare_run(
        RunSettings(
            **{"data": str(table), "label": "t", "task": "regression", "device": "cpu"},
            **{"validation_fraction": 0.0, "hidden": (), "epochs": 1, "optimizer": "sgd"},
            **{"learning_rate": 1e25, "seed": 0, "evaluate_training": False},
        )
    )
    state = run.train()
    with RunFolder(tmp_path / "run") as folder:
        folder.start(run.settings, state.history)
        folder.write_outcome(outcome_of(run, state))
    kept = strict_json((tmp_path / "run" / "outcome.json").read_text())
    assert kept["measured"]["train"]["loss"] is None
    assert kept["review"]["outputs"][0]["root_mean_square"] > 1e20


def test_an_earlier_outcome_gives_way_with_the_first_epoch(tmp_path):
    done("train", "--epochs", 1, "--seed", 0, "--out", tmp_path)
    run = prepare_run(RunSettings(epochs=1, **SHORT))
    with RunFolder(tmp_path, overwrite=True) as folder:
        assert "outcome.json" in folder.held
        folder.start(run.settings, [])
    assert not (tmp_path / "outcome.json").exists()


def test_an_outcome_is_small_whatever_the_data(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "wide.npz", x=rng.normal(size=(400, 5000)), y=rng.integers(0, 150, 400))
    options = ("--epochs", 1, "--seed", 0, "--hidden", 4, "--validation-fraction", 0)
    done("train", tmp_path / "wide.npz", *options, "--out", tmp_path / "run")
    assert (tmp_path / "run" / "outcome.json").stat().st_size < 20_000


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("reviewed", [False, True])
def test_each_part_is_passed_through_the_network_once(task, reviewed, tmp_path, monkeypatch):
    content = animals(120) if task == "classification" else plane(120)
    settings = {
        **{"data": str(written(tmp_path / "t.csv", "\n".join(content))), "task": task},
        **{"label": "kind" if task == "classification" else "t", "epochs": 2, **SHORT},
        **{"test_fraction": 0.2},
    }
    run = prepare_run(RunSettings(**settings))
    state = run.train()
    forward, passes = evaluation.forward, []

    def counted(network, parameters, x, **options):
        passes.append(len(x))
        return forward(network, parameters, x, **options)

    monkeypatch.setattr(evaluation, "forward", counted)
    measured, part, review = measure(run, state, review=reviewed)
    assert part == "test"
    sizes = [getattr(run.dataset, name).size for name in PARTS]
    # Of classes, the history has the figures of the validation rows.
    assert passes == (sizes[::2] if task == "classification" else sizes)
    assert (review is not None) is reviewed
    if reviewed:
        model, test = run.model(state), run.dataset.test
        assert review == analyzed(model, test)
        assert measured["test"] == model.measure(test.inputs, test.targets)


def test_the_figures_and_the_review_of_validation_rows_are_those_of_the_history(tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join(animals(120)))
    run = prepare_run(RunSettings(data=str(table), label="kind", epochs=2, **SHORT))
    state = run.train()
    known, part, _ = measure(run, state)
    again, _, review = measure(run, state, review=True)
    assert part == "validation"
    for name in ("loss", "accuracy", "count"):
        assert again["validation"][name] == known["validation"][name]
    assert review["wrong"] == round(
        (1.0 - known["validation"]["accuracy"]) * run.dataset.validation.size
    )
