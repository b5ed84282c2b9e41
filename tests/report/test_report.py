"""The page of a run shows the content of its folder, whatever the names in it are."""

import json
import re
import shlex
import shutil
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from command_line import animals, done, image_folder, plane, strict_json, written
from report_pages import read_page

from backprop_xp.diagnosis import error_analysis
from backprop_xp.report import sections
from backprop_xp.report.curves import compared_curves, layer_curves, training_curves
from backprop_xp.report.page import write_report
from backprop_xp.report.text import number, percent, result
from backprop_xp.runs.reader import read_run

QUICK = ("--seed", 0, "--device", "cpu", "--hidden", 12)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run on the digits, and its page."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    options = ("--epochs", 12, "--schedule", "cosine", "--activation", "sigmoid", "--doctor")
    options = (*options, "--patience", 0, "--learning-rate", 0.03)
    done("train", *QUICK, *options, "--out", folder)
    return folder, read_page(write_report(folder).path)


def history(folder):
    return [strict_json(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def outcome(folder):
    return strict_json((folder / "outcome.json").read_text())


def drawn(page, title, series):
    """Return the points of a line in a chart, in the chart's own measure."""
    chart = re.search(rf"<h3>{title}.*?</figure>", page.source, re.DOTALL)[0]
    lines = re.findall(r'<path d="(M [^"]*)"[^>]*style="([^"]*)"', chart)
    (path,) = [d for d, style in lines if f"stroke: var(--series-{series})" in style and " L " in d]
    return np.asarray([float(n) for n in re.findall(r"-?[\d.]+", path)]).reshape(-1, 2)


# --- figures ---


def test_the_headline_is_what_was_measured(digits):
    folder, page = digits
    test = outcome(folder)["measured"]["test"]
    correct = f"{test['correct']} of {test['count']} correct"
    assert f"{percent(test['accuracy'])} test accuracy: {correct}" in page.text
    assert "A network of 64-12-10 neurons (sigmoid, softmax), trained with adam" in page.text
    assert "Images of 8 × 8, 10 classes; rows: 1,078 training, 362 validation, 357" in page.text


def test_the_table_of_the_history_is_the_history(digits):
    folder, page = digits
    assert_shown(page, history(folder), ["learning rate", *DURING, *AFTER, "seconds"])


DURING = {
    "training loss (during the epoch)": "loss",
    "training accuracy (during the epoch)": "accuracy",
}
AFTER = {"validation loss": "validation_loss", "validation accuracy": "validation_accuracy"}
COMPLETE = {
    "loss (complete training set)": "train_loss",
    "accuracy (complete training set)": "train_accuracy",
}


def assert_shown(page, history, wanted):
    """Check the titles and cells of the table of epochs."""
    rows = page.table("epoch", "learning rate")
    titles = page.tables[[t[1:] for t in page.tables].index(rows)][0]
    assert sorted(titles) == sorted(["epoch", *wanted])
    names = {**DURING, **AFTER, **COMPLETE, "learning rate": "learning_rate", "seconds": "seconds"}
    for row, record in zip(rows, history, strict=True):
        assert row[0].split()[0] == str(record["epoch"])
        for title, cell in zip(titles[1:], row[1:], strict=True):
            shown = percent if "accuracy" in title else number
            assert cell == shown(record[names[title]])


def test_the_curves_say_how_the_training_figures_were_measured(digits):
    _, page = digits
    during = "training: during the epoch, each batch before its update"
    assert page.text.count(during) == 2
    assert f"{during}, with" not in page.text  # 12 neurons have no dropout
    assert "complete training set" not in page.text


def test_figures_of_the_complete_training_set_are_drawn_and_named(tmp_path):
    options = ("--epochs", 3, "--evaluate-training", "--out", tmp_path / "run")
    done("train", *QUICK, *options)
    page = read_page(write_report(tmp_path / "run").path)
    titles = ["learning rate", *DURING, *COMPLETE, *AFTER, "seconds"]
    records = history(tmp_path / "run")
    assert_shown(page, records, titles)
    assert page.text.count("training: on the complete training set after each epoch") == 2
    for title, measure in (("Loss", "loss"), ("Accuracy", "accuracy")):
        points = drawn(page, title, 0)[:, 1]
        drawn_at, complete = points - points[0], [record[f"train_{measure}"] for record in records]
        scale = drawn_at[-1] / (complete[-1] - complete[0])
        assert np.allclose(drawn_at, scale * (np.asarray(complete) - complete[0]), atol=0.01)


def test_dropout_is_named_where_it_makes_the_training_figures_worse(tmp_path):
    options = ("--epochs", 2, "--dropout", 0.5, "--augment", "shift")
    done("train", *QUICK, *options, "--out", tmp_path / "run")
    figures = training_curves(read_run(tmp_path / "run"))[:2]
    wanted = (
        "training: during the epoch, each batch before its update, with dropout and augmentation"
    )
    assert [figure.note for figure in figures] == [wanted] * 2


def test_runs_without_validation_are_compared_by_what_they_have(tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join(animals(120)))
    options = (table, "--label", "kind", "--epochs", 2, "--validation-fraction", 0)
    done("train", *options, *QUICK, "--out", tmp_path / "a")
    done("train", *options, *QUICK, "--evaluate-training", "--out", tmp_path / "b")
    runs = [read_run(tmp_path / name) for name in "ab"]
    for figure in compared_curves(runs, ["a", "b"]):
        assert [name for name, *_ in figure.legend] == ["a", "b"]
        wanted = "on the complete training set or on the training set during the epoch"
        assert figure.note == wanted


def test_the_headline_of_a_run_that_was_cut_off_says_what_it_is(digits, tmp_path):
    lines = (digits[0] / "history.jsonl").read_text().splitlines()[:2]
    records = [strict_json(line) for line in lines]
    for left_out, wanted in (
        ((), (percent(records[1]["validation_accuracy"]), "validation accuracy after epoch 2")),
        (("validation_",), (percent(records[1]["accuracy"]), "training accuracy during epoch 2")),
        (("validation_", "accuracy"), (number(records[1]["loss"]), "training loss during epoch 2")),
    ):
        kept = [
            {name: value for name, value in record.items() if not name.startswith((*left_out, "#"))}
            for record in records
        ]
        text = "".join(json.dumps(record) + "\n" for record in kept)
        written(tmp_path / "history.jsonl", text)
        assert result(read_run(tmp_path)) == wanted


@pytest.mark.parametrize(
    ("title", "series", "field"),
    [
        *(("Loss", 0, "loss"), ("Loss", 1, "validation_loss")),
        *(("Accuracy", 0, "accuracy"), ("Accuracy", 1, "validation_accuracy")),
        ("Learning rate", 2, "learning_rate"),
    ],
)
def test_the_curves_are_those_of_the_history(digits, title, series, field):
    folder, page = digits
    values = np.asarray([record[field] for record in history(folder)])
    points = drawn(page, title, series)
    assert len(points) == len(values)
    for drawn_at, wanted in ((points[:, 0], np.arange(len(values))), (points[:, 1], values)):
        assert np.corrcoef(drawn_at, wanted)[0, 1] ** 2 > 0.999999
    assert np.corrcoef(points[:, 1], values)[0, 1] < 0  # an image's y goes down


def test_a_single_epoch_is_the_only_one_on_its_axis(digits, tmp_path):
    first = (digits[0] / "history.jsonl").read_text().splitlines()[0]
    written(tmp_path / "history.jsonl", first)
    found = read_run(tmp_path)
    for figure in [*training_curves(found), *layer_curves(found)]:
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", figure.svg)
        assert texts[: texts.index("epoch")] == ["1"]


def test_the_best_epoch_is_that_of_the_lowest_validation_loss(digits):
    folder, page = digits
    best = min(history(folder), key=lambda record: record["validation_loss"])
    assert f"best: epoch {best['epoch']}" in page.text
    (row,) = [row for row in page.table("epoch") if "best" in row[0]]
    assert row[0] == f"{best['epoch']} best"


def test_the_layers_stand_with_their_shapes_and_what_was_measured_of_them(digits):
    folder, page = digits
    last = [record["layers"] for record in history(folder) if "layers" in record][-1]
    found = page.table("layer", "activation", "inputs → neurons")
    assert [row[:4] for row in found] == [
        ["1", "sigmoid", "64 → 12", "780"],
        ["2", "softmax", "12 → 10", "130"],
        ["all", "", "", "910"],
    ]
    for row, layer in zip(found, last, strict=False):
        assert row[4:] == [
            *(number(layer["gradient"]), percent(layer["saturated"])),
            percent(layer["dead"]),
        ]
    measured = sum("layers" in record for record in history(folder))
    assert len(drawn(page, "Gradient norm", 1)) == measured > 1
    assert "layer 2" in page.text


def test_the_confusion_matrix_is_that_of_the_outcome(digits):
    folder, page = digits
    matrix = outcome(folder)["review"]["matrix"]
    (shown,) = [table for table in page.tables if table[0][1:2] == ["predicted"]]
    assert shown[1] == ["actual", *"0123456789", "correct"]
    for k, (cells, counts) in enumerate(zip(shown[2:], matrix, strict=True)):
        assert cells == [str(k), *map(str, counts), percent(counts[k] / sum(counts))]


def test_the_worst_mistakes_are_pictures_with_what_they_were_taken_for(digits):
    folder, page = digits
    worst = outcome(folder)["review"]["worst"]
    shown = page.all("img")[: len(worst)]
    assert [given["alt"] for given in shown] == [f"Image of row {row['row']}" for row in worst]
    for row in worst:
        assert f"predicted {row['predicted']} {percent(row['sure'])}" in page.text
        assert (
            f"actual {row['target']} {percent(row['target_output'])} row {row['row']}" in page.text
        )


def test_the_first_layer_is_shown_as_pictures(digits):
    _, page = digits
    names = [given["alt"] for given in page.all("img")]
    assert len([name for name in names if name.startswith("neuron ")]) == 12


def test_settings_that_are_not_the_usual_ones_are_marked(digits):
    _, page = digits
    rows = dict(row for table in page.tables for row in table if len(row) == 2)
    assert (rows["hidden"], rows["schedule"], rows["Python"]) == (
        *("12", "cosine"),
        ".".join(map(str, sys.version_info[:3])),
    )
    changed = re.findall(r'<tr class="changed"><th scope="row">(\w+)', page.source)
    assert {"hidden", "schedule", "activation"} <= set(changed)
    assert not {"optimizer", "device", "batch_size"} & set(changed)


def test_the_doctor_is_heard(digits, tmp_path):
    _, page = digits
    assert "The doctor checked for common problems and found none." in page.text
    table = written(tmp_path / "animals.csv", "\n".join(animals()))
    done("train", table, "--label", "kind", *QUICK, "--epochs", 1, "--doctor", "--out", tmp_path)
    (advice,) = outcome(tmp_path)["advice"]
    text = read_page(write_report(tmp_path).path).text
    assert f"{advice['fault'].capitalize()}. Evidence: {advice['evidence']}." in text
    assert f"Fix: {advice['mend']}." in text


def test_the_command_that_repeats_a_training_can_be_typed_as_it_stands(digits, tmp_path):
    folder = tmp_path / "my runs; $HOME"
    shutil.copytree(digits[0], folder)
    page = read_page(write_report(folder).path)
    command = page.text.partition("To repeat this training run:")[2].partition("Made by")[0]
    assert shlex.split(command)[-2:] == ["--config", str(folder / "config.toml")]


def test_a_regression_shows_residuals_and_predictions_over_targets(tmp_path):
    table = written(tmp_path / "plane.csv", "\n".join(plane()))
    options = ("--label", "t", "--task", "regression", *QUICK, "--epochs", 3)
    done("train", table, *options, "--out", tmp_path / "run")
    page = read_page(write_report(tmp_path / "run").path)
    kept = outcome(tmp_path / "run")["review"]
    (summary,) = kept["outputs"]
    error, deviation = (number(summary[k]) for k in ("root_mean_square", "target_deviation"))
    measured = outcome(tmp_path / "run")["measured"]["validation"]
    assert f"R² {measured['r2']:.4f} of t on the validation rows" in page.text
    assert f"root mean square error {error}" in page.text
    assert page.table("root mean square")[0][:2] == [error, number(summary["mean_absolute"])]
    assert page.table("root mean square")[0][-1] == deviation
    rows = page.table("row", "target", "prediction", "a", "b")
    lines = [line.split(",") for line in plane()]
    for row, worst in zip(rows, kept["worst"], strict=True):
        line = int(row[0].removeprefix("line "))
        assert worst["inputs"] == [float(cell) for cell in lines[line - 1][:2]]
    chart = re.search(r"<h3>Predictions.*?</figure>", page.source, re.DOTALL)[0]
    assert chart.count("<use ") >= len(kept["pairs"])
    assert "Accuracy" not in page.text
    assert page.all(
        "svg", **{"aria-label": "Output of the model over a (horizontal) and b (vertical)"}
    )


def test_many_classes_are_a_picture_and_a_list(tmp_path):
    n = sections.TABLE + 3
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "many.npz", x=rng.normal(size=(n * 8, 3)), y=np.arange(n * 8) % n)
    done("train", tmp_path / "many.npz", *QUICK, "--epochs", 1, "--out", tmp_path / "run")
    page = read_page(write_report(tmp_path / "run").path)
    kept = outcome(tmp_path / "run")["review"]["confused"]
    wanted = [[t, p, str(count)] for t, p, count in kept[: sections.COMMONEST]]
    assert page.table("actual", "predicted", "rows") == wanted
    assert [given for given in page.all("svg") if given["aria-label"].startswith("Confusion")]


def test_rows_that_are_too_wide_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(error_analysis, "MAX_INPUTS", 8)
    done("train", image_folder(tmp_path / "data"), *QUICK, "--epochs", 0, "--out", tmp_path / "run")
    written_page = write_report(tmp_path / "run")
    page = read_page(written_page.path)
    assert "The inputs of these rows were not stored: 9 numbers per row are too many." in page.text
    assert written_page.traces == []


def test_of_wide_rows_the_first_inputs_are_shown(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "wide.npz", x=rng.normal(size=(90, 11)), y=rng.integers(0, 2, 90))
    done("train", tmp_path / "wide.npz", *QUICK, "--epochs", 1, "--out", tmp_path / "run")
    page = read_page(write_report(tmp_path / "run").path)
    shown = page.table("row", "actual", "predicted", "confidence", "input 1", "input 2")
    assert {len(row) for row in shown} == {4 + sections.COLUMNS + 1}
    assert "Only the first inputs are shown; 3 more are in outcome.json." in page.text


# --- names that are hostile ---

HOSTILE = ("<script>alert(1)</script>", "$x_1$ \\frac{", "普通", "a\" onload='x' & #010101 url(#a)")


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_names_are_text_wherever_they_stand(tmp_path, task):
    rng = np.random.default_rng(0)
    names = ("<img src=x onerror=alert(1)> $\\alpha", '"><svg onload=alert(1)> 普通')
    quoted = ['"' + name.replace('"', '""') + '"' for name in (*names, *HOSTILE)]
    lines = [",".join([*quoted[:2], '"<b>t</b>"'])]
    for k in range(80):
        target = quoted[2 + k % 4] if task == "classification" else f"{rng.normal():.3f}"
        lines.append(f"{rng.normal():.3f},{rng.normal():.3f},{target}")
    table = written(tmp_path / "<i>$data$ & more.csv", "\n".join(lines))
    run = tmp_path / "<u>run$x$"
    options = ("--label", "<b>t</b>", "--task", task, *QUICK, "--epochs", 2, "--out", run)
    done("train", table, *options)
    page = read_page(write_report(run, compare=[run]).path)
    wanted = [*names, "<i>$data$ & more.csv", "<u>run$x$", "<b>t</b>"]
    for name in wanted + list(HOSTILE) * (task == "classification"):
        assert any(name in text for text in page.texts), name
    assert not {"b>", "script"} & {tag for tag, _ in page.elements}
    assert len([tag for tag, _ in page.elements if tag in ("i", "u")]) == len(
        [
            given
            for tag, given in page.elements
            if given.get("class", "").startswith(("line", "dot"))
        ]
    )
    for path in write_report(run).traces:
        assert "<script>alert(1)" not in path.read_text("utf-8")


# --- the page as a file ---


def test_the_same_folder_gives_the_same_page_whatever_matplotlib_is_told(digits):
    folder, page = digits
    with matplotlib.rc_context({"lines.linewidth": 9.0, "font.size": 30.0, "text.usetex": False}):
        before = dict(matplotlib.rcParams)
        again = write_report(folder).path.read_text("utf-8")
        assert dict(matplotlib.rcParams) == before
    assert again == page.source


def test_a_report_needs_no_pyplot_and_no_display(digits):
    folder, _ = digits
    code = (
        "import sys; from backprop_xp.report.page import write_report; "
        f"write_report({str(folder)!r}); print('matplotlib.pyplot' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert (result.stdout.strip(), result.stderr) == ("False", "")


def test_a_long_history_is_cut_in_the_table_and_whole_in_the_curves(digits, tmp_path):
    folder, _ = digits
    for name in ("config.toml", "outcome.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    records = [
        {"epoch": k, "train_loss": 1.0 / k, "validation_loss": abs(k - 333.5) + 1.0, "seconds": 1.0}
        for k in range(1, 1001)
    ]
    written(tmp_path / "history.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    page = read_page(write_report(tmp_path).path)
    rows = page.table("epoch", "loss (complete training set)")
    assert len(rows) == sections.ROWS + 1
    assert [row[0] for row in (rows[0], rows[-1])] == ["1", "1,000"]
    assert "333 best" in [row[0] for row in rows]
    assert f"{sections.ROWS + 1} of 1000 epochs are shown." in page.text
    assert len(drawn(page, "Loss", 1)) > 2
