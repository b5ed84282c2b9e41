"""A model takes rows as people have them, and returns predictions in their terms."""

import dataclasses
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from command_line import small_model

from backprop_xp import ConfigurationError, DataError, Model, load_dataset
from backprop_xp.data.scaling import Scaling, scaling_for

N = 60
RNG = np.random.default_rng(0)
AGES = [None if k % 7 == 0 else round(float(RNG.normal(40, 10)), 2) for k in range(N)]
TOWNS = [("York", "Bath", None)[k % 3] for k in range(N)]
TAME = [k % 4 == 0 for k in range(N)]
KINDS = [("cat", "dog")[(k // 2) % 2] for k in range(N)]
INPUTS = {"age": AGES, "town": TOWNS, "tame": TAME}
TABLE = {**INPUTS, "kind": KINDS}
ROWS = [list(row) for row in zip(AGES, TOWNS, TAME, strict=True)]


def model_for(source, label, task=None, **changed):
    """Return a model with random weights for a data set."""
    dataset = load_dataset(source, label=label, task=task, seed=0)
    numbers = None if dataset.preprocessing is None else dataset.preprocessing.is_number
    fields = {
        "scaling": scaling_for("standard", dataset.train.inputs, numbers),
        "image_shape": dataset.image_shape,
        **{name: getattr(dataset, name) for name in ("classes", "features", "label")},
        **{name: getattr(dataset, name) for name in ("label_type", "preprocessing")},
    }
    regression = dataset.classes is None
    return small_model(
        (dataset.n_inputs, 5, dataset.n_outputs),
        ("tanh", "identity" if regression else "softmax"),
        **{**fields, **changed},
    )


@pytest.fixture(scope="module")
def model():
    return model_for(TABLE, "kind")


def pandas():
    return pytest.importorskip("pandas")


def csv_file(path, columns):
    lines = [",".join(columns)]
    for row in zip(*columns.values(), strict=True):
        lines.append(",".join("" if cell is None else str(cell) for cell in row))
    path.write_text("\n".join(lines) + "\n")
    return path


# --- the same rows in every form ---


def test_every_form_of_the_same_rows_gives_identical_numbers(model, tmp_path):
    wanted = model.predict_proba(INPUTS)
    assert wanted.shape == (N, 2)
    frame = pandas().DataFrame(TABLE)
    shuffled = frame[["tame", "kind", "age", "town"]].assign(extra=1.0)
    shuffled["far"] = np.inf
    text = frame.assign(tame=frame["tame"].map({True: "TRUE", False: "false"}))
    forms = {
        "frame": frame,
        "shuffled": shuffled,
        "text": text,
        "category": frame.assign(town=frame["town"].astype("category")),
        "dict": {**TABLE, "extra": [[1]] * N},
        "rows": ROWS,
        "tuples": tuple(map(tuple, ROWS)),
        "array": np.asarray(ROWS, dtype=object),
        "0 and 1": [[age, town, int(tame)] for age, town, tame in ROWS],
        "path": csv_file(tmp_path / "rows.csv", TABLE),
        "text path": str(csv_file(tmp_path / "shuffled.csv", dict(reversed(TABLE.items())))),
        "semicolons": tmp_path / "rows.txt",
    }
    forms["semicolons"].write_text(
        (tmp_path / "rows.csv").read_text().replace(",", ";").replace(".", ",")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, form in forms.items():
            assert model.predict_proba(form).tobytes() == wanted.tobytes(), name
            assert model.predict(form).tolist() == model.predict(INPUTS).tolist()


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_frames_of_other_libraries_give_the_same_numbers(model, library):
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    frame = module.table(TABLE) if library == "pyarrow" else module.DataFrame(TABLE)
    assert model.predict_proba(frame).tobytes() == model.predict_proba(INPUTS).tobytes()


def test_each_row_is_predicted_alone_as_among_others(model):
    wanted = model.predict_proba(INPUTS)
    for k in range(12):
        alone = model.predict_proba({name: values[k : k + 1] for name, values in INPUTS.items()})
        assert alone == pytest.approx(wanted[k : k + 1], abs=1e-6)
        assert model.predict([ROWS[k]]).tolist() == model.predict(INPUTS)[k : k + 1].tolist()


def test_arrays_without_names_are_taken_as_they_are():
    x = np.random.default_rng(1).normal(size=(40, 3))
    model = model_for((x, x[:, 0] > 0), None)
    wanted = model.predict_proba(x)
    for form in (x.tolist(), tuple(map(tuple, x)), pandas().DataFrame(x, columns=list("abc"))):
        assert model.predict_proba(form).tobytes() == wanted.tobytes()
    assert model.predict((x[0], x[1])).tolist() == model.predict(x)[:2].tolist()


def test_images_are_taken_in_their_shape_or_flat():
    x = np.random.default_rng(1).integers(0, 17, size=(40, 2, 3), dtype=np.uint8)
    model = model_for((x, np.arange(40) % 2), None, scaling=None)
    wanted = model.predict_proba(x)
    for form in (x.reshape(40, 6), x.tolist()):
        assert model.predict_proba(form).tobytes() == wanted.tobytes()


# --- what is missing or new ---


def test_an_unseen_category_gives_zeros_and_one_warning_with_the_count(model):
    rows = {"age": [30.0] * 4, "town": ["Hull", "York", "Hull", "Rome"], "tame": [True] * 4}
    with pytest.warns(UserWarning, match="3 rows of the column 'town' have categories") as caught:
        inputs = model.read(rows).inputs
    assert len(caught) == 1
    names = [name.startswith("town") for name in model.features]
    assert inputs[:, names].any(axis=1).tolist() == [False, True, False, False]
    with pytest.warns(UserWarning, match="3 rows"):
        predicted = model.predict_proba(rows)
    assert predicted[0].tolist() == predicted[2].tolist() == predicted[3].tolist()
    assert predicted[0].tolist() != predicted[1].tolist()


def test_a_missing_value_is_filled_in_and_marked_where_training_rows_had_some(model):
    (age, *_) = model.preprocessing.columns
    row = {"age": [None], "town": ["York"], "tame": [True]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inputs = model.read(row).inputs[0]
    named = dict(zip(model.features, inputs, strict=True))
    assert (named["age"], named["age missing"]) == (age.fill, 1)
    with pytest.warns(UserWarning, match="1 row of the column 'tame' has no value"):
        model.predict({"age": [1.0], "town": ["York"], "tame": [None]})


def test_rows_to_predict_may_have_an_empty_or_unknown_label(model):
    wanted = model.predict(INPUTS).tolist()
    for kinds in ([None] * N, ["emu"] * N, [3.5] * N):
        assert model.predict({**INPUTS, "kind": kinds}).tolist() == wanted


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"age": AGES, "tame": TAME}, "there is no column 'town'; the columns are: age, tame"),
        ({**INPUTS, "age": ["x"] * N}, r"row 0 .*column 'age': 'x' is not a number"),
        ({**INPUTS, "age": [np.inf] * N}, r"row 0 .*column 'age': the number is infinite"),
        ({**INPUTS, "age": AGES[:-1]}, "column 'town' has 60 rows, but the others have 59"),
        ({"age": 3.0, "town": "York", "tame": True}, "column 'age': the shape is"),
        ([[1.0, "York"]], r"shape \(1, 2\), but \(n, 3\) is expected"),
        (np.zeros((4, 5)), r"shape \(4, 5\), but \(n, 3\) is expected"),
        ([1.0, "York", True], "not a list of rows"),
        ([{"age": 1.0, "town": "York", "tame": True}], "not a list of rows"),
        ([[1.0, "York", True], [1.0, "York"]], "different numbers of values"),
        ([], "no rows"),
        (None, "not a list of rows"),
        (3.0, "not a list of rows"),
        ({name: [] for name in INPUTS}, "no rows"),
        ("nowhere.csv", "there is no such file"),
    ],
)
def test_rows_that_do_not_fit_the_columns_are_errors(model, rows, message):
    with pytest.raises(DataError, match=message):
        model.predict(rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((4, 2)), r"shape \(4, 2\)"),
        ([[1.0, 2.0], [3.0]], "different numbers of values"),
        ([[1.0, np.nan, 3.0]], "the value is missing"),
        ([[1.0, np.inf, 3.0]], "inf is in row 0, column 1"),
        ([["x", 1.0, 2.0]], "'x' is not a number"),
        (np.zeros(3), "expected"),
    ],
)
def test_arrays_that_do_not_fit_the_network_are_errors(rows, message):
    x = np.random.default_rng(1).normal(size=(40, 3))
    with pytest.raises(DataError, match=message):
        model_for((x, x[:, 0] > 0), None).predict(rows)


# --- what comes back ---


@pytest.mark.parametrize(
    "labels",
    [
        np.asarray(KINDS),
        np.arange(N) % 3,
        np.arange(N, dtype=np.uint8) % 2 + 7,
        np.arange(N) % 2 == 0,
        np.where(np.arange(N) % 2, 0.5, 1.5),
        np.asarray(["1", "2"])[np.arange(N) % 2],
    ],
    ids=["text", "integers", "unsigned", "booleans", "fractions", "digits as text"],
)
def test_classes_come_back_in_their_own_type(labels, tmp_path):
    for source in (INPUTS, np.random.default_rng(0).normal(size=(N, 2))):
        model = model_for(source, labels, task="classification")
        model.save(tmp_path / "m")
        for same in (model, Model.load(tmp_path / "m")):
            predicted = same.predict(source)
            assert predicted.shape == (N,)
            kind = "i" if labels.dtype.kind == "u" else labels.dtype.kind
            assert predicted.dtype.kind == kind
            assert set(predicted.tolist()) <= set(labels.tolist())
            assert same.evaluate(source, labels)["accuracy"] == np.mean(predicted == labels)


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble])
@pytest.mark.filterwarnings("error")
def test_whole_numbers_of_any_float_come_back_as_integers(dtype):
    source = np.random.default_rng(0).normal(size=(N, 2))
    predicted = model_for(source, (np.arange(N) % 2).astype(dtype)).predict(source)
    assert predicted.dtype.kind == "i"
    assert set(predicted.tolist()) <= {0, 1}


def test_probabilities_are_in_the_order_of_the_classes(model):
    probabilities = model.predict_proba(INPUTS)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(N), abs=1e-6)
    chosen = np.asarray(model.classes)[probabilities.argmax(axis=1)]
    assert model.predict(INPUTS).tolist() == chosen.tolist()


def test_a_single_sigmoid_output_gives_two_probabilities():
    model = small_model((2, 1), "sigmoid", classes=("no", "yes"))
    x = np.random.default_rng(0).normal(size=(5, 2))
    probabilities = model.predict_proba(x)
    assert probabilities.shape == (5, 2)
    assert probabilities[:, 1].tolist() == model.outputs(x)[:, 0].tolist()
    assert model.predict(x).tolist() == [("no", "yes")[int(p > 0.5)] for p in probabilities[:, 1]]


def test_a_model_without_probabilities_says_so():
    for model in (small_model(), small_model((2, 2), classes=("a", "b"))):
        with pytest.raises(ConfigurationError, match="has no probabilities"):
            model.predict_proba([[1.0, 2.0]])


@pytest.mark.parametrize("n_targets", [1, 2])
def test_a_regression_predicts_in_the_units_of_its_targets(n_targets):
    model = small_model((2, n_targets), dtype="float64")
    offset, divisor = np.asarray([1e6, -3.0])[:n_targets], np.asarray([1e5, 0.5])[:n_targets]
    scaled = dataclasses.replace(model, target_scaling=Scaling(offset, divisor))
    x = np.random.default_rng(0).normal(size=(5, 2))
    wanted = model.outputs(x) * divisor + offset
    predicted = scaled.predict(x)
    assert predicted.shape == ((5,) if n_targets == 1 else (5, 2))
    assert predicted.reshape(5, -1) == pytest.approx(wanted)
    assert scaled.evaluate(x, wanted)["targets"][-1]["r2"] == pytest.approx(1)


def test_targets_far_from_0_keep_their_digits():
    model = small_model((2, 1))
    scaled = dataclasses.replace(model, target_scaling=Scaling(np.full(1, 1e9), np.ones(1)))
    x = np.random.default_rng(0).normal(size=(5, 2))
    assert scaled.predict(x) - 1e9 == pytest.approx(model.predict(x), abs=1e-5)
    measured = scaled.evaluate(x, model.predict(x).astype(float) + 1e9)
    assert measured["r2"] == pytest.approx(1)


def test_the_loss_of_one_target_is_in_its_units():
    model = small_model((2, 1), dtype="float64")
    scaled = dataclasses.replace(model, target_scaling=Scaling(np.zeros(1), np.full(1, 100.0)))
    x, y = np.random.default_rng(0).normal(size=(5, 2)), np.arange(5.0)
    errors = scaled.predict(x) - y
    ratio = scaled.evaluate(x, y)["loss"] / np.mean(errors**2)
    plain = model.evaluate(x, y)["loss"] / np.mean((model.predict(x) - y) ** 2)
    assert ratio == pytest.approx(plain)


# --- evaluation ---


def test_labels_are_remembered_named_or_given(model, tmp_path):
    wanted = model.evaluate(TABLE)
    assert wanted["count"] == N
    assert wanted["accuracy"] == np.mean(model.predict(INPUTS) == np.asarray(KINDS))
    assert np.sum(wanted["confusion"]) == N
    frame = pandas().DataFrame(TABLE)
    renamed = {**INPUTS, "species": KINDS}
    for data, label in (
        (TABLE, "kind"),
        (frame, None),
        (frame, frame["kind"]),
        (renamed, "species"),
        (INPUTS, KINDS),
        (INPUTS, np.asarray(KINDS)),
        ((INPUTS, KINDS), None),
        (ROWS, KINDS),
        ((ROWS, KINDS), None),
        (csv_file(tmp_path / "rows.csv", TABLE), None),
    ):
        assert model.evaluate(data, label) == wanted
    assert model.measure(*model.read(TABLE, labeled=True)[:2], by_class=True) == wanted


@pytest.mark.parametrize(
    ("data", "label", "error", "message"),
    [
        (INPUTS, None, DataError, "the data has no labels to compare with: no column 'kind'"),
        (ROWS, None, DataError, "no labels to compare with"),
        (TABLE, "knid", DataError, "there is no column 'knid'"),
        (INPUTS, KINDS[:-1], DataError, "60 rows, but 59 labels"),
        (INPUTS, ["emu"] * N, DataError, r"row 0 .*the label 'emu' is not a known class"),
        ({**INPUTS, "kind": [None] * N}, None, DataError, r"row 0 .*the label is missing"),
        ((INPUTS, KINDS), "kind", ConfigurationError, "given twice"),
    ],
)
def test_labels_that_do_not_fit_are_errors(model, data, label, error, message):
    with pytest.raises(error, match=message):
        model.evaluate(data, label)


def test_several_targets_are_remembered_and_measured_by_name():
    table = {"a": AGES, "b": list(range(N)), "c": [k / 2 for k in range(N)]}
    model = model_for(table, ["b", "c"])
    measured = model.evaluate(table)
    assert [target["name"] for target in measured["targets"]] == ["b", "c"]
    assert model.target_names == ("b", "c")
    with pytest.raises(DataError, match="no column 'b' or 'c'"):
        model.evaluate({"a": AGES, "b": table["b"]})


# --- files and words ---


def test_a_model_comes_back_from_its_file_with_the_same_predictions(model, tmp_path):
    model.save(tmp_path / "m.safetensors")
    loaded = Model.load(tmp_path / "m.safetensors")
    (tmp_path / "m.safetensors").rename(tmp_path / "model.safetensors")
    assert Model.load(tmp_path).summary() == loaded.summary()  # the folder of a run
    assert loaded.predict_proba(ROWS).tobytes() == model.predict_proba(ROWS).tobytes()
    assert loaded.evaluate(TABLE) == model.evaluate(TABLE)
    assert loaded.summary() == model.summary()
    assert loaded.history == ()


def test_the_summary_shows_what_is_done_to_each_column(model):
    lines = [" ".join(line.split()) for line in model.summary().splitlines()]
    fill = model.preprocessing.columns[0].fill
    assert f"age a number; missing values become {fill:g}, and one input marks them" in lines
    assert any(line.startswith("town 2 categories: Bath, York; missing values") for line in lines)
    assert "label kind" in lines
    assert "classes 2: cat, dog" in lines
    regression = small_model(
        label=("price",), target_scaling=Scaling(np.full(1, 3.0), np.full(1, 0.5))
    )
    assert "(price - 3) / 0.5" in regression.summary()


def test_what_was_left_out_is_in_the_summary():
    text = model_for({**TABLE, "id": range(N)}, "kind").summary()
    assert "id" in text
    assert "left out: its numbers only name the rows" in text


def test_representations_are_short(model):
    assert repr(model) == "<Model 7-5-2: 2 classes, 52 parameters>"
    assert repr(small_model(label=("price",))) == ("<Model 2-1: regression of price, 3 parameters>")
    assert repr(load_dataset(TABLE, label="kind", seed=0)) == (
        "<Dataset the data: 7 inputs, 2 classes; rows: train 52, validation 8>"
    )


def test_the_html_representation_escapes_what_comes_from_the_data():
    model = model_for({**INPUTS, "<script>": TAME, "kind": KINDS}, "kind")
    html = model._repr_html_()
    rows = ElementTree.fromstring(f"<div>{html}</div>").iter("tr")
    shown = "\n".join(" ".join("".join(cell.itertext()) for cell in row) for row in rows)
    assert shown.split() == model.summary().split()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
