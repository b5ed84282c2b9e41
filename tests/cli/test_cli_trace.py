"""``backprop-xp trace`` as its users meet it: tables, JSON, LaTeX, a page, and its errors."""

import os
import sys
import types

import pytest
from command_line import done, refused, run, small_model, written

from backprop_xp import ConfigurationError, save_model
from backprop_xp.files import atomic_write
from backprop_xp.trace.examples import EXAMPLES, read_example
from backprop_xp.trace.latex import latex_document

CPU = ("--device", "cpu")


@pytest.fixture
def page(monkeypatch):
    """A page that is quickly made, and says of which trace it is."""
    made = types.SimpleNamespace(trace_page=lambda trace: f"<p>{trace.title} ½</p>")
    monkeypatch.setitem(sys.modules, "backprop_xp.trace.page", made)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(small_model((64, 5, 10), ("relu", "softmax"), classes=tuple("0123456789")), path)
    return path


@pytest.mark.parametrize("name", EXAMPLES)
def test_json_is_the_plain_data_of_the_trace(name):
    told = done("trace", name, "--json", *CPU).json
    assert (told.pop("schema_version"), told.pop("command")) == (1, "trace")
    assert told == read_example(name).trace().as_data()


def test_latex_is_printed_alone():
    result = done("trace", "note-001", "--latex", "--quiet", *CPU)
    assert result == (0, latex_document(read_example("note-001").trace()), "")


@pytest.mark.parametrize("source", [*EXAMPLES, "model"])
def test_the_tables_are_readable_at_80_columns(source, model):
    given = ("--model", model, "--data", "digits") if source == "model" else (source,)
    for optimizer in ("sgd", "adam"):
        result = done("trace", *given, "--optimizer", optimizer, *CPU)
        lines = [line.rstrip() for line in result.out.splitlines()]
        assert max(map(len, lines)) <= 80
        for title in ("forward", "loss ", "backward", "update", "forward with the new weights"):
            assert any(line.startswith(title) for line in lines), title
        assert result.err.startswith("device: cpu")


def test_optimizer_and_learning_rate_can_be_others():
    told = done("trace", "note-000", "--optimizer", "adam", "--json", *CPU).json
    assert (told["optimizer"]["name"], told["optimizer"]["learning_rate"]) == ("adam", 0.001)
    told = done("trace", "note-000", "--learning-rate", 0.5, "--json", *CPU).json
    assert (told["optimizer"]["name"], told["optimizer"]["learning_rate"]) == ("sgd", 0.5)


def test_a_model_is_traced_on_samples_of_a_data_set(model):
    given = ("trace", "--model", model, "--data", "digits", "--json", *CPU)
    told = done(*given).json
    source = {"model": str(model), "data": "digits", "part": "test", "sample": 0}
    assert (told["source"], told["title"]) == (source, "digits (test), sample 0")
    told = done(*given, "--sample", "7,8", "--split", "validation").json
    assert (told["source"]["part"], told["source"]["sample"]) == ("validation", [7, 8])
    assert [sample["share"] for sample in told["samples"]] == [0.5, 0.5]
    assert done(*given, "--sample", "7,8", "--part", "validation").json == told


def test_another_backend_finds_the_same():
    told = done("trace", "xor", "--json", *CPU, "--backend", "array_api_strict").json
    assert told["loss_after"] == pytest.approx(read_example("xor").trace().after.loss, rel=1e-14)


# --- the page ------------------------------------------------------------------------------


def test_the_page_is_written_whole_in_place_of_an_earlier_file(page, tmp_path):
    path = written(tmp_path / "page.html", "an earlier page")
    result = done("trace", "note-001", "--html", path, *CPU)
    assert path.read_text("utf-8") == f"<p>{read_example('note-001').title} ½</p>"
    assert (result.out, result.err.splitlines()[-1]) == ("", f"the page is in {path}")
    assert done("trace", "xor", "--html", path, "--json", *CPU).json["title"].startswith("Excl")
    assert "Exclusive" in path.read_text("utf-8")
    assert os.listdir(tmp_path) == ["page.html"]


def test_a_page_that_cannot_be_written_is_refused_in_plain_words(page, tmp_path):
    path = tmp_path / "missing" / "page.html"
    message, hint = refused(2, "configuration", "trace", "xor", "--html", path)
    assert (str(path) in message, "folder" in hint) == (True, True)
    (tmp_path / "folder").mkdir()
    assert "folder" in refused(2, "configuration", "trace", "xor", "--html", tmp_path / "folder")[0]
    assert os.listdir(tmp_path) == ["folder"]


def test_a_page_whose_writing_fails_leaves_the_earlier_file(tmp_path):
    path = written(tmp_path / "page.html", "an earlier page")

    def write(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(ConfigurationError, match="No space left"):
        atomic_write(path, write)
    assert path.read_text() == "an earlier page"
    assert os.listdir(tmp_path) == ["page.html"]


# --- mistakes ------------------------------------------------------------------------------


def test_without_a_source_it_says_what_can_be_traced():
    message, hint = refused(2, "configuration", "trace")
    assert message == "there is nothing to trace"
    for name in (*EXAMPLES, ".toml", "--model"):
        assert name in hint


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("xor --json --latex", "give one of them"),
        ("xor --sample 3", "--sample and the source xor exclude each other"),
        ("xor --model m.safetensors", "--model and the source xor exclude each other"),
        ("xor --split test", "--split and the source xor"),
        ("xor --part test", "--split and the source xor"),
        ("--model m.safetensors", "--model needs --data"),
        ("--data digits", "--data needs --model"),
        ("--model m.safetensors --data digits --sample 1.5", "not a list of whole numbers"),
        ("--part best", "'best' is not one of"),
        ("xor --html -", "--html needs the name of a file"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(given, said):
    result = run("trace", *given.split())
    assert (result.code, said in result.err) == (2, True)


@pytest.mark.parametrize("sample", ["357", "-1", "3,999"])
def test_a_sample_out_of_range_is_refused_with_their_number(sample, model):
    given = ("trace", "--model", model, "--data", "digits", "--sample", sample, *CPU)
    message, hint = refused(3, "data", *given)
    assert message == f"there is no sample {sample.split(',')[-1]} in digits: it has 357"
    assert hint == "give numbers from 0 to 356"


def test_a_model_that_is_not_there_is_refused(tmp_path):
    given = ("trace", "--model", tmp_path / "model.safetensors", "--data", "digits")
    assert "cannot be read" in refused(4, "model", *given)[0]


def test_no_sample_at_all_is_refused(model):
    given = ("trace", "--model", model, "--data", "digits", "--sample", "", *CPU)
    assert "at least one sample" in refused(3, "data", *given)[1]
