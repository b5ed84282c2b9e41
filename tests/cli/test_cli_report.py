"""``backprop-xp report``: what it writes and where, and folders that are not whole."""

import json
import os
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from command_line import animals, done, plane, refused, run, strict_json, written
from report_pages import read_page

from backprop_xp import ConfigurationError, RunSettings, prepare_run
from backprop_xp.report.page import write_report
from backprop_xp.runs import reader
from backprop_xp.runs.folder import RunFolder
from backprop_xp.runs.outcome import outcome_of

HUGE = f"1{'0' * 27}...{'0' * 29}"
"""How a message shows 10**400."""

QUICK = ("--seed", 0, "--device", "cpu", "--hidden", 8)


@pytest.fixture
def folder(tmp_path):
    """A run of two epochs on a table of two inputs."""
    table = written(tmp_path / "animals.csv", "\n".join(animals()))
    done("train", table, "--label", "kind", *QUICK, "--epochs", 2, "--out", tmp_path / "run")
    return tmp_path / "run"


def outcome(folder):
    return strict_json((folder / "outcome.json").read_text())


def report(folder, *options):
    """Make a report; return its page, parsed, and what the command told."""
    told = done("report", folder, *options, "--json").json
    return read_page(Path(told["report"])), told


# --- what is written, and where ---


def test_the_page_and_the_traces_go_into_the_folder_of_the_run(folder):
    worst = outcome(folder)["review"]["worst"]
    _, told = report(folder)
    traces = [folder / "traces" / f"validation-{row['row']}.html" for row in worst]
    assert told == {
        **{"schema_version": 1, "command": "report", "run": str(folder), "compared": []},
        **{"status": "finished", "report": str(folder / "report.html"), "problems": []},
        **{"traces": [str(path) for path in traces], "notes": []},
    }
    assert sorted((folder / "traces").iterdir()) == sorted(traces)
    result = done("report", folder)
    assert result.out == f"report in {folder / 'report.html'}, and {len(worst)} traces\n"
    assert result.err == ""


def test_links_lead_to_the_traces_wherever_the_page_is(folder, tmp_path):
    (tmp_path / "a b").mkdir()
    folder = folder.rename(tmp_path / "run of #1?")
    page, told = report(folder, "--out", tmp_path / "a b" / "page.html")
    assert not (folder / "report.html").exists()
    links = [given["href"] for given in page.all("a")]
    assert len(links) == len(told["traces"]) > 0
    found = {os.path.normpath(tmp_path / "a b" / unquote(link)) for link in links}
    assert found == set(told["traces"])
    assert all(os.path.isfile(path) for path in found)


def test_a_trace_is_the_step_of_its_row_with_the_settings_of_the_run(folder):
    _, told = report(folder)
    row = outcome(folder)["review"]["worst"][0]
    source = Path(told["traces"][0]).read_text("utf-8")
    assert f"animals.csv: line {row['line']} of the validation rows" in source
    assert '"adam"' in source


def test_traces_of_an_earlier_report_give_way_and_other_files_stay(folder):
    (folder / "traces").mkdir()
    earlier = written(folder / "traces" / "test-7777.html", "earlier")
    others = [written(folder / "traces" / name, "mine") for name in ("mine.html", "test-7.txt")]
    report(folder)
    assert not earlier.exists()
    assert all(path.exists() for path in others)


def test_traces_that_would_be_too_large_are_left_out(folder, monkeypatch):
    monkeypatch.setattr("backprop_xp.report.traces.LARGEST", 1000)
    page, told = report(folder)
    assert told["traces"] == page.all("a") == []


def test_a_folder_that_cannot_be_written_to_still_gives_a_page_elsewhere(folder, tmp_path):
    written(folder / "traces", "a file where the folder should be")
    page, told = report(folder, "--out", tmp_path / "page.html")
    (problem,) = told["problems"]
    assert problem.startswith(f"{folder / 'traces'} cannot be written")
    assert problem in page.text
    assert page.all("a") == []


# --- runs beside each other ---


def test_runs_are_laid_over_each_other_with_what_differs(folder, tmp_path):
    table = tmp_path / "animals.csv"
    other = ("--optimizer", "sgd", "--learning-rate", 0.5, "--epochs", 3, "--out", tmp_path / "b")
    done("train", table, "--label", "kind", *QUICK, *other)
    page, told = report(folder, "--compare", tmp_path / "b", folder)
    assert report(folder, "--compare", tmp_path / "b", "--compare", folder)[1] == told
    assert told["compared"] == [str(tmp_path / "b"), str(folder)]
    tables = [t for t in page.tables if t[0] == ["", str(folder), str(tmp_path / "b"), str(folder)]]
    results, settings = ({row[0]: row[1:] for row in table[1:]} for table in tables)
    assert settings == {
        "optimizer": ["adam", "sgd", "adam"],
        "learning_rate": ["0.001", "0.5", "0.001"],
        "epochs": ["2", "3", "2"],
    }
    runs = [outcome(f) for f in (folder, tmp_path / "b", folder)]
    accuracies = [f"{one['measured']['validation']['accuracy']:.2%}" for one in runs]
    assert results["validation accuracy"] == accuracies
    assert results["epochs"] == ["2", "3", "2"]
    assert "test accuracy" not in results
    labels = [given["aria-label"] for given in page.all("svg")]
    assert [text.startswith(("Loss", "Accuracy")) for text in labels[:2]] == [True, True]
    assert f"{tmp_path / 'b'} " in labels[0]
    assert f"The rest of this page is about {folder} ." in page.text


def test_runs_that_are_not_to_be_compared_are_refused(folder, tmp_path):
    message, _ = refused(2, "usage", "report", folder, tmp_path / "b")
    assert "--compare" in message


def test_a_classification_and_a_regression_can_be_compared(folder, tmp_path):
    table = written(tmp_path / "plane.csv", "\n".join(plane()))
    options = ("--label", "t", "--task", "regression", *QUICK, "--epochs", 1)
    done("train", table, *options, "--out", tmp_path / "plane")
    page, _ = report(folder, "--compare", tmp_path / "plane")
    (results,) = [t for t in page.tables if ["ended", "finished", "finished"] in t]
    assert next(row for row in results if row[0] == "validation accuracy")[2] == "–"


# --- how runs end ---


def test_a_training_that_diverged_says_so(tmp_path):
    table = written(tmp_path / "t.csv", "a,t\n1,0\n-1,0\n2,1\n")
    options = ("--task", "regression", "--label", "t", "--validation-fraction", 0, "--hidden", "")
    more = ("--optimizer", "sgd", "--learning-rate", 10, "--batch-size", 0, "--epochs", 500)
    out = ("--no-bias", "--doctor", "--quiet", "--out", tmp_path / "run")
    assert run("train", table, *options, *more, *out).code == 5
    page, told = report(tmp_path / "run")
    kept = outcome(tmp_path / "run")
    assert told["status"] == "diverged"
    assert f"The training {kept['message'].removeprefix('training ')}." in page.text
    assert f"The model has the weights of epoch {kept['epochs']}." in page.text
    assert "Learning rate too high. Evidence: training diverged." in page.text


def test_a_training_that_diverged_in_its_first_epoch_says_so(tmp_path):
    options = ("--optimizer", "sgd", "--learning-rate", 1e30, "--doctor", "--out", tmp_path / "run")
    assert run("train", *QUICK, *options).code == 5
    page, told = report(tmp_path / "run")
    assert (told["status"], told["traces"], told["problems"]) == ("diverged", [], [])
    assert "The training diverged: the loss is nan at step 2 (epoch 1)" in page.text
    assert "lower the learning rate (it is 1e+30)" in page.text
    assert "No epoch was completed, so there are no curves." in page.text


def test_a_training_that_was_interrupted_says_so(tmp_path):
    prepared = prepare_run(RunSettings(seed=0, device="cpu", hidden=(4,), epochs=3))
    with RunFolder(tmp_path / "run") as folder:
        state = prepared.train(lambda state: state.epoch == 2)
        folder.start(prepared.settings, state.history)
        told = {"status": "interrupted", "message": "interrupted after epoch 2", "hint": None}
        folder.write_outcome(outcome_of(prepared, state, ending=told))
    page, told = report(tmp_path / "run")
    assert told["status"] == "interrupted"
    assert "The training was interrupted after 2 epochs." in page.text


@pytest.mark.parametrize(
    ("options", "word", "text"),
    [
        (("--patience", 1, "--learning-rate", 3), "stopped early", "Stopped early after"),
        (("--target-loss", 2.0), "target reached", "a batch reached the target loss."),
        (("--epochs", 0), "finished", "No epoch was completed"),
        (("--epochs", 1), "finished", "Loss"),
    ],
)
def test_a_training_that_ended_early_or_hardly_began_says_so(tmp_path, options, word, text):
    done("train", *QUICK, "--optimizer", "sgd", *options, "--out", tmp_path / "run")
    page, told = report(tmp_path / "run")
    assert (told["status"], told["problems"]) == (word, [])
    assert text in page.text


def test_a_training_that_was_killed_says_so(folder):
    (folder / "outcome.json").unlink()
    (folder / "model.safetensors").unlink()
    page, told = report(folder)
    assert (told["status"], told["problems"]) == ("not ended", [])
    assert "The folder does not say how the training ended: after 2 epochs" in page.text
    assert len(page.table("epoch")) == 2


# --- folders that are not whole ---


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("config.toml", "is not valid TOML"),
        ("history.jsonl", "history.jsonl, line 2 is damaged: "),
        ("outcome.json", "outcome.json cannot be read"),
        ("model.safetensors", "is damaged"),
    ],
)
def test_a_file_that_is_cut_off_is_told_and_the_rest_is_shown(folder, name, what):
    content = (folder / name).read_bytes()
    ends = {"config.toml": b"\n\xff", "history.jsonl": b"\n"}
    written(folder / name, content[: len(content) - 20] + ends.get(name, b""))
    page, told = report(folder)
    (problem,) = told["problems"]
    assert what in problem
    assert problem in page.text
    shown = {
        "config.toml": "optimizer" in page.text,
        "history.jsonl": len(page.table("epoch")) == 2,
        "outcome.json": "Confusion matrix" in page.text,
        "model.safetensors": "Decision boundary" in page.text or name == "outcome.json",
    }
    assert shown == {other: other != name for other in shown}
    assert f"note: {problem}\n" == done("report", folder).err


def test_a_history_that_was_cut_off_by_a_kill_is_not_damaged(folder):
    content = (folder / "history.jsonl").read_bytes()
    for end in (b"", b"\0" * 30):
        written(folder / "history.jsonl", content[:-20] + end)
        page, told = report(folder)
        (note,) = told["notes"]
        assert (
            note == f"the last line of {folder / 'history.jsonl'} was cut off, as when the run "
            "was killed"
        )
        assert told["problems"] == []
        assert f"Note: {note}." in page.text
        assert len(page.table("epoch")) == 1
        assert done("report", folder).err == f"note: {note}\n"
    written(folder / "history.jsonl", content[:-1])  # the last line is complete
    page, told = report(folder)
    assert (told["notes"], told["problems"], len(page.table("epoch"))) == ([], [], 2)


@pytest.mark.parametrize("name", ["config.toml", "history.jsonl", "outcome.json"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff", b"[1]\n", b'{"epoch": "1"}\n', b"null\n"])
def test_a_file_of_another_kind_is_told(folder, name, content):
    written(folder / name, content)
    page, told = report(folder)
    expected = 0 if content == b"" and name != "outcome.json" else 1
    assert len(told["problems"] + told["notes"]) == expected
    assert len(told["notes"]) == (name == "history.jsonl" and content == b"\x00\xff")
    assert "animals.csv" in page.text or name == "outcome.json"


@pytest.mark.parametrize("name", ["config.toml", "history.jsonl"])
def test_a_file_that_is_missing_is_told(folder, name):
    (folder / name).unlink()
    _, told = report(folder)
    assert told["problems"] == [f"{folder / name} is missing"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"review": []}, "review is [], not an object"),
        ({"review": {"worst": [{}]}}, "review.wrong is missing"),
        ({"measured": {"test": 3}}, "measured.test is 3, not an object"),
        ({"data": None}, "data is None, not an object"),
        ({"environment": "here"}, "environment is 'here', not an object"),
        ({"part": "../../../x"}, "part is '../../../x', not test or train or validation"),
        ({"points": {"inputs": 1}}, "points.inputs is 1, not a list"),
        ({"points": {"inputs": [[1, 2, 3]]}}, "points.inputs[0] has 3 entries, more than 2"),
        ({"advice": 1}, "advice is 1, not a list"),
        ({"advice": ["text"]}, "advice[0] is 'text', not an object"),
        ({"advice": [{"fault": "dead units"}]}, "advice[0].evidence is missing"),
        ({"epochs": True}, "epochs is True, not a whole number from 0 up"),
        ({"best_epoch": 10**400}, f"best_epoch is {HUGE}, not a whole number from 0 up"),
        ({"status": {"a": 1}}, "status is {'a': 1}, not a text"),
    ],
    ids=str,
)
def test_a_part_of_an_outcome_that_is_damaged_is_told_and_gone_without(folder, changed, said):
    written(folder / "outcome.json", json.dumps(outcome(folder) | changed))
    page, told = report(folder)
    (problem,) = told["problems"]
    assert problem == f"{folder / 'outcome.json'} is damaged: {said}"
    assert problem in page.text
    assert len(page.table("epoch")) == 2
    kept = "Error analysis" in page.text
    assert kept == (not {"review", "measured", "data", "part"} & set(changed))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"schema_version": 1, "part": "test", "part": "train"}', "the key 'part' is repeated"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"schema_version": 1, "hint": "' + b"x" * (8 << 20) + b'"}', "it is larger than 8 MB"),
        (
            b'{"schema_version": 1, "epochs": ' + b"9" * 5000 + b"}",
            "a number has thousands of digits",
        ),
    ],
    ids=["repeated", "deep", "large", "digits"],
)
def test_an_outcome_that_cannot_be_an_outcome_is_told(folder, content, said):
    written(folder / "outcome.json", content)
    (problem,) = report(folder)[1]["problems"]
    assert str(folder / "outcome.json") in problem
    assert said in problem


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"epoch": "1"}, "its epoch is '1', which does not follow 1"),
        ({"epoch": 1}, "its epoch is 1, which does not follow 1"),
        ({"epoch": 10**400}, f"its epoch is {HUGE}, which does not follow 1"),
        ({"epoch": 2, "train_loss": "0.1"}, "train_loss is '0.1', not a finite number"),
        ({"epoch": 2, "train_loss": 10**400}, f"train_loss is {HUGE}, not a finite number"),
        ({"epoch": 2, "loss": float("nan")}, "loss is nan, not a finite number"),
        ({"epoch": 2, "layers": 1}, "layers is 1, not a list"),
        ({"epoch": 2, "layers": [1]}, "layers[0] is 1, not an object"),
        ({"epoch": 2, "layers": [{"dead": True}]}, "dead is True, not a finite number"),
    ],
    ids=str,
)
def test_a_line_of_the_history_of_another_type_is_told_and_gone_without(folder, line, said):
    first = (folder / "history.jsonl").read_text().splitlines()[0]
    written(folder / "history.jsonl", f"{first}\n{json.dumps(line)}\n")
    page, told = report(folder)
    assert told["problems"] == [f"{folder / 'history.jsonl'}, line 2 is damaged: {said}"]
    assert len(page.table("epoch")) == 1


def test_of_many_damaged_lines_a_few_are_named(folder):
    written(folder / "history.jsonl", "x\n" * 1000)
    _, told = report(folder)
    assert len(told["problems"]) == 4
    assert told["problems"][-1] == f"{folder / 'history.jsonl'}: 997 more lines are damaged"


def test_a_history_that_is_too_large_is_read_from_its_beginning(folder, monkeypatch):
    content = (folder / "history.jsonl").read_bytes()
    monkeypatch.setattr(reader, "_LARGEST_HISTORY", len(content) - 5)
    page, told = report(folder)
    assert told["problems"] == []
    assert "history.jsonl is larger than" in told["notes"][0]
    assert len(page.table("epoch")) == 1


def test_a_model_of_another_run_costs_only_what_needs_both(folder, tmp_path):
    other = tmp_path / "other"
    done("train", *QUICK, "--epochs", 1, "--out", other)
    shutil.copy(other / "model.safetensors", folder)
    page, told = report(folder)
    assert told["problems"]
    assert len(page.table("epoch")) == 2
    assert "Confusion matrix" in page.text


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_nothing_is_written_through_a_link(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    row = outcome(folder)["review"]["worst"][0]["row"]
    name = f"validation-{row}.html"
    earlier = [written(outside / one, "mine") for one in (name, "page.html")]
    (folder / "report.html").symlink_to(outside / "page.html")
    (folder / "traces").mkdir()
    (folder / "traces" / name).symlink_to(outside / name)
    page, told = report(folder)
    assert (folder / "traces" / name).is_file()
    assert not (folder / "traces" / name).is_symlink()
    assert not (folder / "report.html").is_symlink()
    assert told["notes"] == [
        f"{folder / 'report.html'} was a symbolic link, which the report replaces"
    ]
    shutil.rmtree(folder / "traces")
    (folder / "traces").symlink_to(outside)
    page, told = report(folder)
    (problem,) = told["problems"]
    assert problem == f"{folder / 'traces'} is a symbolic link, so no traces are written to it"
    assert page.all("a") == []
    assert [path.read_text() for path in earlier] == ["mine", "mine"]
    assert sorted(outside.iterdir()) == sorted(earlier)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_folder_whose_name_is_not_utf_8_has_a_report(folder, tmp_path):
    folder = folder.rename(tmp_path / os.fsdecode(b"run \xff\x1b[31m\n\xc2\x9b"))
    page, told = report(folder)
    assert told["problems"] == []
    assert r"run \udcff\x1b[31m\n\x9b" in page.text
    links = [given["href"] for given in page.all("a")]
    assert links
    assert all((folder / unquote(link)).is_file() for link in links)


def test_an_outcome_of_a_later_version_is_told(folder):
    written(folder / "outcome.json", json.dumps(outcome(folder) | {"schema_version": 2}))
    (problem,) = report(folder)[1]["problems"]
    assert problem.endswith("it is not an outcome of schema version 1")


def test_a_folder_without_a_run_is_refused(tmp_path):
    message, hint = refused(2, "configuration", "report", tmp_path)
    assert message == f"{tmp_path} holds no run"
    assert "train --out" in hint
    message, _ = refused(2, "configuration", "report", tmp_path / "gone")
    assert message == f"{tmp_path / 'gone'} is not a folder"


def test_a_run_to_compare_with_that_is_none_is_refused_before_anything_is_written(folder, tmp_path):
    before = sorted(folder.iterdir())
    message, _ = refused(2, "configuration", "report", folder, "--compare", tmp_path)
    assert message == f"{tmp_path} holds no run"
    assert sorted(folder.iterdir()) == before


def test_a_page_that_cannot_be_written_is_refused(folder, tmp_path):
    message, _ = refused(2, "configuration", "report", folder, "--out", tmp_path / "no" / "x.html")
    assert "x.html cannot be written" in message


@pytest.mark.parametrize("library", ["jinja2", "matplotlib"])
def test_without_its_libraries_the_extra_is_named(folder, monkeypatch, library):
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    message, hint = refused(2, "configuration", "report", folder)
    assert message == f"a report needs {library}, which is not installed"
    assert hint == "pip install 'backprop-xp[report]'"
    with pytest.raises(ConfigurationError, match=library):
        write_report(folder)
