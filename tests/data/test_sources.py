"""The loading of data sets: the splits of each source, and the errors."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from backprop_xp.data.digits import load_digits
from backprop_xp.data.mnist import FILES
from backprop_xp.data.sources import load_dataset, load_rows
from backprop_xp.errors import ConfigurationError, DataError


@pytest.fixture
def csv_file(tmp_path):
    def write(name="flowers.csv", n=20, header="width,kind,length"):
        rows = (f"{i},{('rose', 'iris')[i % 2]},{i / 10}" for i in range(n))
        path = tmp_path / name
        path.write_text("\n".join([header, *rows]) + "\n")
        return str(path)

    return write


@pytest.fixture
def npz_file(tmp_path):
    def write(name="rows.npz", **arrays):
        path = tmp_path / name
        np.savez(path, **arrays)
        return str(path)

    return write


@pytest.fixture
def idx_folder(tmp_path):
    folder = tmp_path / "letters"
    folder.mkdir()
    for name in FILES:
        n = 12 if name.startswith("train") else 3
        shape = (n, 2, 2) if "images" in name else (n,)
        content = (np.arange(np.prod(shape)) % 3).astype(np.uint8).tobytes()
        header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
        (folder / name).write_bytes(header + content)
    return str(folder)


X = np.arange(40.0).reshape(20, 2)
Y = np.arange(20) % 2


# --- data sets for training ---


def test_the_digits_need_nothing_else():
    dataset = load_dataset("digits", validation_fraction=0.5, seed=3)
    assert dataset.train.inputs.tolist() == load_digits().train.inputs.tolist()


def test_mnist_is_looked_for_in_the_data_folder(idx_folder):
    dataset = load_dataset("mnist", data_dir=idx_folder)
    assert dataset.name == "mnist"
    assert dataset.train.size == 10


def test_a_folder_of_idx_files_is_a_source(idx_folder):
    dataset = load_dataset(idx_folder)
    assert dataset.name == "letters"
    assert dataset.image_shape == (2, 2)


def test_a_table_is_split_class_by_class(csv_file):
    dataset = load_dataset(csv_file(), label="kind", validation_fraction=0.2)
    assert dataset.name == "flowers.csv"
    assert dataset.features == ("width", "length")
    assert dataset.classes == ("iris", "rose")
    assert dataset.test is None
    assert dataset.default_scaling == "standard"
    assert (dataset.n_inputs, dataset.n_outputs) == (2, 2)
    assert np.bincount(dataset.train.targets).tolist() == [8, 8]
    assert np.bincount(dataset.validation.targets).tolist() == [2, 2]
    # Each row still has its own label: an odd width is an iris.
    for split in (dataset.train, dataset.validation):
        assert split.targets.tolist() == (split.inputs[:, 0] % 2 == 0).tolist()


def test_the_split_follows_from_the_seed(csv_file):
    first, same, other = (
        load_dataset(csv_file(), label="kind", seed=seed).validation.inputs.tolist()
        for seed in (1, 1, 2)
    )
    assert first == same != other


def test_a_fraction_of_0_splits_nothing_off(csv_file):
    dataset = load_dataset(csv_file(), label="kind", validation_fraction=0)
    assert dataset.validation is None
    assert dataset.train.size == 20


def test_a_validation_file_is_matched_by_column_name_and_class(csv_file, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("length,width,kind\n5,7,rose\n")
    dataset = load_dataset(csv_file(), label="kind", validation=other)
    assert dataset.train.size == 20
    assert dataset.validation.inputs.tolist() == [[7, 5]]
    assert dataset.validation.targets.tolist() == [1]
    other.write_text("length,width,kind\n5,7,rose\n5,7,tulip\n")
    with pytest.raises(DataError, match=r"other\.csv, line 3, column 'kind': the label 'tulip'"):
        load_dataset(csv_file(), label="kind", validation=other)


def test_a_regression_on_a_table_has_number_targets(csv_file, tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text("a,price\n" + "".join(f"{i},{i / 2}\n" for i in range(10)))
    dataset = load_dataset(str(path), label="price", task="regression", validation_fraction=0.3)
    assert dataset.classes is None
    assert dataset.n_outputs == 1
    assert dataset.train.targets.shape == (7, 1)
    assert dataset.validation.targets.tolist() == (dataset.validation.inputs / 2).tolist()


def test_an_archive_may_bring_its_own_parts(npz_file):
    path = npz_file(x_train=X, y_train=Y, x_val=X[:3], y_val=Y[:3], x_test=X[:5], y_test=Y[:5])
    dataset = load_dataset(path)
    assert (dataset.train.size, dataset.validation.size, dataset.test.size) == (20, 3, 5)
    assert dataset.classes == ("0", "1")


def test_test_rows_without_targets_are_no_test_part(npz_file):
    assert load_dataset(npz_file(x_train=X, y_train=Y, x_test=X)).test is None


def test_a_validation_archive_may_be_given(npz_file):
    path, other = npz_file(x=X, y=Y), npz_file("other.npz", x=X[:4], y=Y[:4])
    dataset = load_dataset(path, validation=other)
    assert (dataset.train.size, dataset.validation.size) == (20, 4)
    wide = npz_file("wide.npz", x=np.zeros((4, 3)), y=Y[:4])
    with pytest.raises(DataError, match=r"wide\.npz.*the inputs have the shape \(4, 3\)"):
        load_dataset(path, validation=wide)


@pytest.mark.parametrize(
    ("dtype", "high", "scaling"),
    [(np.uint8, 255, "255"), (np.uint8, 16, "16"), (np.float32, 0.5, "0.5"), (np.uint8, 0, "1")],
)
def test_images_in_an_archive_are_divided_by_their_largest_value(npz_file, dtype, high, scaling):
    images = np.zeros((20, 3, 4), dtype=dtype)
    images[:, 1, 1] = high
    dataset = load_dataset(npz_file(x=images, y=Y))
    assert dataset.default_scaling == scaling
    assert dataset.image_shape == (3, 4)
    assert dataset.n_inputs == 12


def test_only_the_training_rows_decide_what_images_are_divided_by(npz_file):
    images = np.full((20, 3, 4), 16, dtype=np.uint8)
    path = npz_file(x=images, y=Y, x_test=images * 4, y_test=Y)
    assert load_dataset(path).default_scaling == "16"


def test_arrays_that_are_no_images_are_standardized(npz_file):
    assert load_dataset(npz_file(x=X, y=Y)).default_scaling == "standard"
    negative = np.zeros((20, 3, 4))
    negative[0] = -1
    assert load_dataset(npz_file(x=negative, y=Y)).default_scaling == "standard"


def test_a_regression_on_an_archive_may_have_several_targets(npz_file):
    dataset = load_dataset(npz_file(x=X, y=X * 2), task="regression")
    assert dataset.n_outputs == 2
    assert dataset.train.targets.tolist() == (dataset.train.inputs * 2).tolist()


def test_fractions_are_the_targets_of_a_regression_unless_they_are_called_classes(npz_file):
    path = npz_file(x=X, y=Y + 0.5)
    dataset = load_dataset(path)
    assert dataset.task == "regression"
    (note,) = dataset.notes
    assert "fractions" in note
    assert "--task classification" in note
    assert load_dataset(path, task="classification").classes == ("0.5", "1.5")


def test_a_table_without_a_label_column_named_lists_its_columns(csv_file):
    with pytest.raises(DataError, match="The columns are: width, kind, length") as caught:
        load_dataset(csv_file())
    assert "--label NAME" in caught.value.hint


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "has inputs, but no targets"),
        ({"x": X, "y": Y * 0}, r"rows\.npz: 'y': every row has the class '0'"),
        ({"x_test": X, "y_test": Y}, "has no train split, only: test"),
        ({"x": X, "y": np.where(np.arange(20) == 7, 2, Y)}, "class '2' cannot be split: 1 row"),
    ],
)
def test_an_archive_that_is_not_fit_to_train_on_is_refused(npz_file, arrays, message):
    with pytest.raises(DataError, match=message):
        load_dataset(npz_file(**arrays))


def test_a_name_that_is_nearly_right_is_guessed():
    with pytest.raises(ConfigurationError, match="unknown data 'digit'") as caught:
        load_dataset("digit")
    assert "did you mean 'digits'?" in caught.value.hint
    for kind in ("mnist", "IDX", ".csv", ".npz"):
        assert kind in caught.value.hint


def test_a_file_that_is_missing_is_named(tmp_path):
    for name in ("rows.csv", "rows.NPZ"):
        with pytest.raises(DataError, match="no such file"):
            load_dataset(str(tmp_path / name), label="y" if name.endswith("csv") else None)


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("digits", {"label": "kind"}),
        ("digits", {"validation": "other.csv"}),
        ("digits", {"task": "regression"}),
        ("digits", {"task": "regresion"}),
        ("rows.npz", {"label": "kind"}),
        ("rows.npz", {"validation": "other.csv"}),
        ("rows.csv", {"label": "kind", "validation_fraction": 1.0}),
        ("rows.csv", {"label": "kind", "validation_fraction": -0.1}),
        ("rows.csv", {"label": "kind", "validation_fraction": float("nan")}),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    csv_file, npz_file, tmp_path, monkeypatch, source, options
):
    csv_file("rows.csv"), csv_file("other.csv"), npz_file(x=X, y=Y)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError):
        load_dataset(source, **options)


# --- rows for a trained network ---


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_set_with_parts_gives_the_part_asked_for(split):
    inputs, targets, _ = load_rows("digits", split=split)
    wanted = getattr(load_digits(), split)
    assert inputs.tolist() == wanted.inputs.tolist()
    assert targets.tolist() == wanted.targets.tolist()


def test_labels_become_indices_into_the_classes_of_the_network(idx_folder):
    targets = load_rows(idx_folder, classes=("2", "1", "0")).targets
    assert targets.tolist() == [2, 1, 0]
    with pytest.raises(DataError, match="label '2' is not a known class"):
        load_rows(idx_folder, classes=("0", "1"))


def test_the_columns_of_the_network_are_picked_from_a_table(csv_file):
    inputs, targets, lines = load_rows(csv_file(), features=("length",))
    assert inputs.shape == (20, 1)
    assert targets is None
    assert lines.tolist() == list(range(2, 22))
    targets = load_rows(csv_file(), label="kind", classes=("rose", "iris")).targets
    assert targets[:2].tolist() == [0, 1]


def test_a_label_unknown_to_the_network_is_named_with_its_line(csv_file):
    with pytest.raises(DataError, match=r"flowers\.csv, line 3, column 'kind': the label 'iris'"):
        load_rows(csv_file(), label="kind", classes=("rose",))


def test_a_label_column_asked_for_must_be_there(csv_file):
    with pytest.raises(DataError, match="no column 'species'"):
        load_rows(csv_file(), label="species", features=("width",))


def test_a_regression_reads_numbers(csv_file):
    rows = load_rows(csv_file(), label="length", features=("width",), task="regression")
    assert rows.targets.shape == (20, 1)


def test_an_archive_gives_its_test_part_or_all_rows(npz_file):
    path = npz_file(x=X, y=Y)
    assert load_rows(path)[0].shape == (20, 2)
    assert load_rows(path, split="train")[1].tolist() == Y.tolist()
    split_path = npz_file("split.npz", x_train=X, y_train=Y, x_test=X[:5], y_test=Y[:5])
    assert load_rows(split_path)[0].shape == (5, 2)
    assert load_rows(split_path, split="train")[0].shape == (20, 2)
    with pytest.raises(DataError, match="no validation split, only: train, test"):
        load_rows(split_path, split="validation")


def test_an_archive_without_targets_can_be_predicted(npz_file):
    inputs, targets, _ = load_rows(npz_file(x=X))
    assert inputs.tolist() == X.tolist()
    assert targets is None


def test_an_unknown_split_is_refused():
    with pytest.raises(ConfigurationError, match="unknown split 'tests'"):
        load_rows("digits", split="tests")


# --- tables in memory ---

N = 40
AREA = [float(10 + k * k % 17) for k in range(N)]
TOWN = [("York", "Bath", "Leeds")[k % 3] for k in range(N)]
KIND = [("flat", "house")[k % 2] for k in range(N)]
HOUSES = {"area": AREA, "town": TOWN, "kind": KIND}
INPUTS = {"area": AREA, "town": TOWN}


def same_splits(one, other):
    return all(
        a.inputs.tolist() == b.inputs.tolist() and a.targets.tolist() == b.targets.tolist()
        for a, b in zip((one.train, one.validation), (other.train, other.validation), strict=True)
    )


def frame_of(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


def csv_text(columns):
    lines = [",".join(columns)]
    lines += [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    return "\n".join(lines) + "\n"


def test_every_form_of_a_table_gives_the_same_data_set(tmp_path):
    path = tmp_path / "houses.csv"
    path.write_text(csv_text(HOUSES))
    wanted = load_dataset(path, label="kind")
    assert wanted.features == ("area", "town=Bath", "town=Leeds", "town=York")
    assert wanted.label == ("kind",)
    assert wanted.classes == ("flat", "house")
    frame = frame_of(HOUSES)
    rows = [list(row) for row in zip(AREA, TOWN, strict=True)]
    for source, label in (
        (HOUSES, "kind"),
        (HOUSES, ["kind"]),
        (INPUTS, KIND),
        ((INPUTS, KIND), None),
        (frame, "kind"),
        (frame, frame["kind"]),  # not an input, although it is in the frame
        (frame[["area", "town"]], frame["kind"]),
        ((frame[["area", "town"]], frame[["kind"]]), None),
        (frame[["area", "town"]], frame["kind"].to_numpy()),
        ((rows, KIND), None),
        (rows, np.asarray(KIND)),
        (np.asarray(rows, dtype=object), KIND),
        (np.asarray(rows), KIND),
    ):
        assert same_splits(load_dataset(source, label=label), wanted)


def test_the_rows_know_their_lines(tmp_path):
    path = tmp_path / "houses.csv"
    path.write_text("\n" + csv_text(HOUSES))
    dataset = load_dataset(path, label="kind", test_fraction=0.2)
    for split in (dataset.train, dataset.validation, dataset.test):
        assert [AREA[line - 3] for line in split.lines] == split.inputs[:, 0].tolist()
    assert load_dataset(HOUSES, label="kind").train.lines is None


def test_columns_can_have_numbers_as_names():
    frame = frame_of(np.column_stack([AREA, np.arange(N) % 2]))
    for label in (1, "1", [1]):
        dataset = load_dataset(frame, label=label)
        assert dataset.features == ("0",)
        assert dataset.classes == ("0", "1")


def test_a_column_of_several_levels_of_names_is_named_by_a_tuple():
    frame = frame_of({("size", "m2"): AREA, ("kind", "code"): np.arange(N) % 2})
    for label in (("kind", "code"), [("kind", "code")], "('kind', 'code')"):
        assert load_dataset(frame, label=label).classes == ("0", "1")


def test_labels_in_another_order_than_the_rows_are_an_error():
    frame = frame_of({"area": AREA})
    label = frame["area"] > 15
    shuffled = label.sample(frac=1, random_state=0)
    for source, given in (
        ((frame, shuffled), None),
        (frame, shuffled),
        (frame, shuffled.to_frame()),
    ):
        with pytest.raises(DataError, match="but in another order") as caught:
            load_dataset(source, label=given)
        assert "labels.loc[frame.index]" in caught.value.hint
    wanted = load_dataset(frame, label=label).train.targets
    for given in (label.to_numpy(), label.set_axis(range(100, 100 + N))):
        assert load_dataset(frame, label=given).train.targets.tolist() == wanted.tolist()
    again = load_dataset((frame.loc[shuffled.index], shuffled), validation_fraction=0)
    assert again.train.targets.tolist() == shuffled.astype(int).tolist()


def test_labels_that_are_names_of_columns_are_labels():
    columns = {"p": AREA, "q": AREA[::-1]}
    assert load_dataset(columns, label=["p", "q"] * (N // 2)).classes == ("p", "q")


def test_labels_with_the_name_of_another_column_do_not_replace_it():
    frame = frame_of({"area": AREA})
    label = frame["area"].rename("area") > 15
    dataset = load_dataset(frame, label=label)
    assert dataset.features == ("area",)
    assert dataset.classes == ("False", "True")
    assert dataset.label_type == "boolean"


def test_several_targets_are_named_or_given_as_an_array():
    columns = {"a": AREA, "b": AREA[::-1], "c": [2 * value for value in AREA]}
    for label in ("b,c", "b, c", ["b", "c"]):
        dataset = load_dataset(columns, label=label)
        assert dataset.label == ("b", "c")
        assert dataset.task == "regression"
        assert dataset.n_outputs == 2
    apart = load_dataset({"a": AREA}, label=np.column_stack([columns["b"], columns["c"]]))
    assert apart.label == ("label 1", "label 2")
    assert same_splits(apart, dataset)
    pairs = [list(pair) for pair in zip(columns["b"], columns["c"], strict=True)]
    assert same_splits(load_dataset({"a": AREA}, label=pairs), dataset)
    assert load_dataset({**columns, "b,c": KIND}, label="b,c").label == ("b,c",)


def test_the_task_is_inferred_and_reported():
    price = [1000.5 * value for value in AREA]
    for label, task, reason in (
        (price, "regression", "fractions"),
        (KIND, "classification", "text"),
        ([k % 3 for k in range(N)], "classification", "3 different whole numbers"),
        ([str(value) for value in price], "regression", "fractions"),
        (np.arange(N) * 100, "regression", "40 different numbers"),
    ):
        dataset = load_dataset(INPUTS, label=label)
        assert dataset.task == task
        (note,) = dataset.notes
        assert f"task: {task}, because" in note
        assert reason in note
        assert not load_dataset(INPUTS, label=label, task=task).notes


def test_a_target_that_is_always_the_same_is_noted():
    dataset = load_dataset(INPUTS, label=[2.5] * N, task="regression")
    assert dataset.notes == ("the target 'label' is 2.5 in every row",)


def test_what_was_left_out_is_noted():
    dataset = load_dataset({**HOUSES, "id": range(N)}, label="kind")
    assert "id" not in dataset.features
    assert any("left out 'id'" in note for note in dataset.notes)
    assert dataset.preprocessing.left_out.keys() == {"id"}


# --- options of tables ---


def test_columns_are_left_out_or_read_as_asked():
    columns = {**HOUSES, "code": [k % 3 for k in range(N)], "bad": [[1]] * N}
    with pytest.raises(DataError, match="column 'bad': has values of the type list"):
        load_dataset(columns, label="kind")
    columns["worse"] = [float("inf")] * N
    drop = ["town", "bad", "worse"]
    dataset = load_dataset(columns, label="kind", drop=drop, categorical=["code"])
    assert dataset.features == ("area", "code=0", "code=1", "code=2")
    del columns["worse"]
    assert load_dataset(columns, label="kind", drop="bad").features == (
        *("area", "town=Bath", "town=Leeds", "town=York", "code"),
    )
    frame = frame_of(HOUSES)
    frame["town"] = frame["town"].astype("category")
    frame["code"] = frame_of({"code": [k % 2 for k in range(N)]})["code"].astype("category")
    features = load_dataset(frame, label="kind").features
    assert features == ("area", "town=Bath", "town=Leeds", "town=York", "code=0", "code=1")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"drop": ["twon"]}, DataError, "no column 'twon'"),
        ({"categorical": ["twon"]}, DataError, "no column 'twon'"),
        ({"drop": ["kind"]}, ConfigurationError, "'kind' is the label"),
        ({"categorical": ["kind"]}, ConfigurationError, "'kind' is the label"),
        ({"drop": ["town"], "categorical": ["town"]}, ConfigurationError, "'town' is left out"),
        ({"categorical": ["area"], "numeric": ["area"]}, ConfigurationError, "named both"),
        ({"numeric": ["town"]}, DataError, "row 0 .* column 'town': 'York' is not a number"),
        ({"missing": "ignore"}, ConfigurationError, "unknown missing 'ignore'"),
        ({"test_fraction": 0.9}, ConfigurationError, "leave no rows for training"),
        ({"test_fraction": -0.1}, ConfigurationError, "leave no rows for training"),
    ],
)
def test_options_that_do_not_fit_the_table_are_errors(options, error, message):
    with pytest.raises(error, match=message):
        load_dataset(HOUSES, label="kind", **options)


def test_columns_of_arrays_cannot_be_chosen():
    with pytest.raises(ConfigurationError, match="has no named columns"):
        load_dataset((X, Y), drop=["a"])


def test_a_part_for_a_test_is_split_off():
    dataset = load_dataset(HOUSES, label="kind", validation_fraction=0.2, test_fraction=0.3)
    assert (dataset.train.size, dataset.validation.size, dataset.test.size) == (20, 8, 12)
    assert np.bincount(dataset.test.targets).tolist() == [6, 6]
    arrays = load_dataset((X, Y), validation_fraction=0, test_fraction=0.5)
    assert (arrays.train.size, arrays.validation, arrays.test.size) == (10, None, 10)


def test_the_columns_are_fitted_on_the_training_rows_only():
    dataset = load_dataset(HOUSES, label="kind", seed=1)
    alone = [k for k in range(N) if AREA[k] == dataset.validation.inputs[0, 0]]
    towns = list(TOWN)
    for k in alone:
        towns[k] = None
    without = load_dataset({**HOUSES, "town": towns}, label="kind", seed=1)
    in_training = np.isin(AREA, dataset.train.inputs[:, 0])[alone].any()
    assert ("town missing" in without.features) is bool(in_training)


WITH_GAPS = {**HOUSES, "area": [None if k % 5 == 0 else value for k, value in enumerate(AREA)]}


def test_missing_values_are_filled_in_or_their_rows_left_out():
    dataset = load_dataset(WITH_GAPS, label="kind")
    assert "area missing" in dataset.features
    assert dataset.notes[-1] == "filled in missing values of 'area' (8 rows)"
    assert dataset.train.size + dataset.validation.size == N
    dropped = load_dataset(WITH_GAPS, label="kind", missing="drop")
    assert dropped.features == ("area", "town=Bath", "town=Leeds", "town=York")
    assert dropped.train.size + dropped.validation.size == N - 8
    assert "8 rows with missing values left out, 32 kept" in dropped.notes
    complete = {name: [v for k, v in enumerate(c) if k % 5] for name, c in HOUSES.items()}
    assert same_splits(dropped, load_dataset(complete, label="kind"))


def test_missing_values_are_errors_if_asked_for():
    with pytest.raises(DataError, match=r"row 0 .*column 'area': the value is missing"):
        load_dataset(WITH_GAPS, label="kind", missing="error")
    with pytest.raises(DataError, match=r"row 0 .*column 'area': the value is missing"):
        load_dataset(HOUSES, label="kind", missing="error", validation=WITH_GAPS)
    load_dataset(WITH_GAPS, label="kind", missing="error", drop=["area"])


def test_no_row_without_missing_values_is_an_error_that_names_the_worst_column():
    columns = {**WITH_GAPS, "nothing": [None] * N}
    with pytest.raises(DataError, match="the column 'nothing' has no value"):
        load_dataset(columns, label="kind", missing="drop")
    columns["even"] = [k if k % 2 else None for k in range(N)]
    columns["nothing"] = [None if k % 2 or k % 3 else 1.0 + k for k in range(N)]
    with pytest.raises(DataError, match="every row has a missing value, 33 of them in") as caught:
        load_dataset(columns, label="kind", missing="drop")
    assert "--drop nothing" in caught.value.hint


def test_a_class_whose_rows_are_all_left_out_is_no_class():
    kinds = ["tent" if k % 5 == 0 else kind for k, kind in enumerate(KIND)]
    columns = {**WITH_GAPS, "kind": kinds}
    assert load_dataset(columns, label="kind").classes == ("flat", "house", "tent")
    assert load_dataset(columns, label="kind", missing="drop").classes == ("flat", "house")


# --- validation rows of tables ---


def test_validation_rows_are_a_table_or_a_pair():
    few = {name: values[:6] for name, values in HOUSES.items()}
    few_inputs = {name: few[name] for name in ("town", "area")}
    frame = frame_of(few)
    wanted = load_dataset(HOUSES, label="kind", validation=few)
    assert wanted.train.size == N
    assert wanted.validation.size == 6
    for source, label, validation in (
        (HOUSES, "kind", (few_inputs, few["kind"])),
        (HOUSES, "kind", frame),
        (HOUSES, "kind", (frame[["area", "town"]], frame["kind"].rename("something"))),
        ((INPUTS, KIND), None, (few_inputs, few["kind"])),
        (INPUTS, KIND, (few_inputs, frame["kind"])),
    ):
        dataset = load_dataset(source, label=label, validation=validation)
        assert same_splits(dataset, wanted)


def test_validation_rows_with_new_categories_and_gaps_are_used_with_one_warning():
    few = {"area": [None, 3.0], "town": ["Hull", "York"], "kind": ["flat", "house"]}
    with pytest.warns(UserWarning, match="1 row of the column 'town' has a category") as caught:
        dataset = load_dataset(HOUSES, label="kind", validation=few)
    assert len(caught) == 1
    median = np.median(dataset.train.inputs[:, 0])
    assert dataset.validation.inputs.tolist() == [[median, 0, 0, 0], [3, 0, 0, 1]]


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (INPUTS, "no column 'kind'"),
        ({"area": AREA, "kind": KIND}, "no column 'town'"),
        ({**HOUSES, "kind": ["tent"] * N}, "the label 'tent' is not a known class"),
        ({**HOUSES, "area": ["x"] * N}, "column 'area': 'x' is not a number"),
        ({**HOUSES, "area": [np.inf] * N}, "column 'area': the number is infinite"),
        ((INPUTS, KIND[:-1]), "40 rows, but 39 labels"),
    ],
)
def test_validation_rows_that_do_not_fit_are_errors(validation, message):
    with pytest.raises(DataError, match=message):
        load_dataset(HOUSES, label="kind", validation=validation)


def test_validation_rows_of_another_kind_are_an_error():
    for source, validation in (((X, Y), HOUSES), ((INPUTS, KIND), (X, Y))):
        with pytest.raises(ConfigurationError, match="not of the same kind"):
            load_dataset(source, validation=validation)


# --- mistakes in tables, in a file and in memory ---


def with_cell(columns, name, row, value):
    changed = list(columns[name])
    changed[row] = value
    return {**columns, name: changed}


LARGE = {"size": [k / 4 for k in range(10_000)], "kind": ["a", "b"] * 5_000}
TOWNS = [f"town {k % 10_000}" for k in range(25_000)]


@pytest.mark.parametrize(
    ("columns", "options", "place", "message", "hint"),
    [
        ({**HOUSES, "kind": ["flat"] * N}, {}, "column 'kind'", "the class 'flat'", "two classes"),
        (with_cell(HOUSES, "kind", 7, ""), {}, (7, "kind"), "the label is missing", "fill it in"),
        (with_cell(HOUSES, "kind", 7, "NA"), {}, (7, "kind"), "the label is missing", "rename"),
        (with_cell(HOUSES, "kind", 7, "hut"), {}, "column 'kind'", "'hut' cannot be", "merge"),
        ({**HOUSES, "none": [""] * N}, {}, "", "the column 'none' has no value", "--drop none"),
        (
            {"town": TOWNS, "size": range(25_000), "kind": ["a", "b"] * 12_500},
            *({}, "", " different texts, and each would become an input", "--categorical town"),
        ),
        (
            with_cell(LARGE, "size", 7_000, "about 3"),
            *({}, (7_000, "size"), "9,999 of the 10,000 values", "--drop size"),
        ),
        (
            with_cell(LARGE, "size", 7_000, "about 3"),
            *({"label": "size"}, (7_000, "size"), "9,999 of the 10,000 values", "classification"),
        ),
        (
            HOUSES,
            *({"task": "regression"}, (0, "kind"), "'flat' is not a number", "classification"),
        ),
        (
            with_cell(HOUSES, "area", 9, "oops"),
            *({"label": "area", "task": "regression"}, (9, "area"), "'oops' is not", "numbers"),
        ),
        *(
            (
                {**HOUSES, "kind": [f"{sign}{k + 120} {k + 100}" for k in range(N)]},
                *(options, (0, "kind"), message, hint),
            )
            for sign, options, message, hint in (
                ("", {}, "'120 100' is not a plain number", "without thousands separators"),
                ("€ ", {}, "'€ 120 100' is not a plain number", "--task classification"),
                ("$", {"task": "regression"}, "'$120 100' is not a number", "without thousands"),
            )
        ),
        (with_cell(HOUSES, "area", 9, "inf"), {}, (9, "area"), "infinite", "--drop area"),
        (with_cell(HOUSES, "area", 9, "-1e999"), {}, (9, "area"), "infinite", "--drop area"),
        (
            with_cell(HOUSES, "area", 9, "inf"),
            *({"label": "area"}, (9, "area"), "infinite", "remove the row"),
        ),
        (HOUSES, {"label": "knid"}, "", "there is no column 'knid'", "similar one is 'kind'"),
        (HOUSES, {"label": "KIND"}, "", "there is no column 'KIND'", "similar one is 'kind'"),
        (HOUSES, {"drop": "price"}, "", "there is no column 'price'", "check the names"),
        (
            {**HOUSES, "kind": ["", "", *HOUSES["kind"][2:]]},
            *({}, (0, "kind"), "the label is missing, and in 1 more row", "fill it in"),
        ),
        (HOUSES, {"label": None}, "", "which column is the label", "--label"),
        (HOUSES, {"label": "area,town"}, (0, "town"), "'York' is not a number", "name one column"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_mistake_in_a_table_is_one_error_with_its_place(
    tmp_path, columns, options, place, message, hint
):
    path = tmp_path / "rows.csv"
    path.write_text(csv_text(columns))
    in_memory = {
        name: [float(v) if str(v) in ("inf", "-1e999") else v for v in values]
        for name, values in columns.items()
    }
    for source, name, row_name in (
        (path, str(path), "line {}"),
        (in_memory, "the data", "row {} (counting from 0)"),
        (frame_of(in_memory), "the data frame", "row {} (counting from 0)"),
    ):
        with pytest.raises(DataError) as caught:
            load_dataset(source, **{"label": "kind", **options})
        text = caught.value.message
        assert text.startswith(name)
        assert message in text
        assert "\n" not in text
        assert hint in caught.value.hint
        if isinstance(place, tuple):
            row, column = place
            number = row + 2 if source is path else row
            assert f"{name}, {row_name.format(number)}, column {column!r}: " in text
        else:
            assert place in text


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "the file is empty"), ("\n \n", "the file is empty"), ("a,b\n", "has a header, but no")],
)
def test_a_file_without_rows_is_an_error(tmp_path, text, message):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"rows\.csv: {message}"):
        load_dataset(path, label="a")


def test_data_without_rows_or_columns_is_an_error():
    pandas = pytest.importorskip("pandas")
    for source, message in (
        ({}, "has no columns"),
        ({"a": [], "y": []}, "has columns, but no rows"),
        (pandas.DataFrame(), "has no columns"),
        (pandas.DataFrame({"a": [], "y": []}), "has columns, but no rows"),
        ({"y": KIND}, "no column is left for the inputs"),
    ):
        with pytest.raises(DataError, match=message):
            load_dataset(source, label="y")


@pytest.mark.parametrize(
    ("source", "label", "error", "message"),
    [
        (INPUTS, KIND[:-1], DataError, "40 rows, but 39 labels"),
        (INPUTS, ["area", "twon"], DataError, "40 rows, but 2 labels"),
        (INPUTS, "area,area", ConfigurationError, "names a column twice"),
        ((INPUTS, KIND), "kind", ConfigurationError, "given twice"),
        (X, "y", ConfigurationError, "an array has no column for the label 'y'"),
        (X, Y[:-1], DataError, "'x' has 20 rows"),
        ([], [], DataError, r"has the shape \(0,\)"),
        (None, Y, DataError, "data of the type NoneType cannot be read"),
        (INPUTS, [{"a": 1}] * N, DataError, "has values of the type dict"),
        (INPUTS, [[1, 2], [3]] * (N // 2), DataError, "different numbers of values"),
        (X, [[1, 2], [3]] * 10, DataError, "different numbers of values"),
        (INPUTS, [np.inf] * N, DataError, "the labels, row 0 .*infinite"),
        (X, None, DataError, "has inputs, but no targets"),
        (X[:, 0], Y, DataError, "expected"),
        ([[1.0, 2.0], [3.0]], [0, 1], DataError, "different numbers of values"),
        ([[1.0, "a"], [3.0]], [0, 1], DataError, "is expected"),
        (X, [None, *Y[1:].tolist()], DataError, "row 0 .*the label is missing"),
        (X, [10**400, *Y[1:].tolist()], DataError, "not a class|infinite"),
        ("digits", "kind", ConfigurationError, "'digits' has no column for the label 'kind'"),
        ("digits", [1, 2], ConfigurationError, "'digits' has its own labels"),
    ],
)
def test_labels_that_do_not_fit_the_data_are_errors(source, label, error, message):
    with pytest.raises(error, match=message):
        load_dataset(source, label=label)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_number_that_is_not_finite_in_arrays_is_named(value):
    targets = np.arange(20.0)
    targets[6] = value
    with pytest.raises(DataError, match=r"in row 6, column 0 of the arrays: 'y'"):
        load_dataset((X, targets), task="regression")
    if np.isinf(value):
        inputs = X.copy()
        inputs[6, 1] = value
        with pytest.raises(DataError, match=r"inf is in row 6, column 1 of the arrays: 'x'"):
            load_dataset((inputs, Y))


@pytest.mark.parametrize("masked", [False, True])
def test_an_array_with_missing_values_is_a_table(masked):
    inputs = X.copy()
    inputs[3, 1] = np.nan
    if masked:
        inputs = np.ma.MaskedArray(X, np.isnan(inputs))
    dataset = load_dataset((inputs, Y), validation_fraction=0)
    assert dataset.features == ("c1", "c2", "c2 missing")
    assert dataset.train.inputs[3].tolist() == [6, np.median(np.delete(X[:, 1], 3)), 1]


# --- rows of tables for a trained network ---


def test_rows_to_predict_need_no_valid_labels(tmp_path):
    preprocessing = load_dataset(HOUSES, label="kind").preprocessing
    options = {"preprocessing": preprocessing, "default_label": ("kind",)}
    for kinds in ([""] * N, ["tent"] * N, KIND):
        path = tmp_path / "rows.csv"
        path.write_text(csv_text({**HOUSES, "kind": kinds}))
        rows = load_rows(path, labeled=False, classes=("flat", "house"), **options)
        assert rows.targets is None
        assert rows.inputs.shape == (N, 4)
    assert load_rows(path, classes=("flat", "house"), **options).targets.tolist() == [0, 1] * 20
    assert load_rows("digits", labeled=False, classes=("a", "b")).targets is None


def test_what_is_wrong_with_columns_that_are_not_used_does_not_matter():
    preprocessing = load_dataset(HOUSES, label="kind").preprocessing
    rows = load_rows({**HOUSES, "other": [np.inf] * N}, preprocessing=preprocessing)
    assert rows.inputs.shape == (N, 4)
    with pytest.raises(DataError, match="column 'area': the number is infinite") as caught:
        load_rows({**HOUSES, "area": [np.inf] * N}, preprocessing=preprocessing)
    assert "--drop" not in caught.value.hint


def test_a_label_of_images_is_an_error():
    with pytest.raises(ConfigurationError, match="'digits' has no column for the label"):
        load_rows("digits", label="kind")


# --- folders and files of images, and folders of runs ---


@pytest.mark.parametrize("names", [(), ("a.png",), ("cats/a.jpg", "dogs/b.jpg")])
def test_a_folder_without_a_data_set_says_that_image_files_are_not_read(tmp_path, names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match="no data set was found in this folder") as failure:
        load_dataset(tmp_path)
    assert "save them as a .npz: backprop-xp guide images" in failure.value.hint


def test_an_image_file_is_not_taken_for_a_spreadsheet(tmp_path):
    (tmp_path / "a.PNG").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match="is not a data set") as failure:
        load_dataset(tmp_path / "a.PNG")
    assert failure.value.hint.startswith("image files are not read")


def test_the_folder_of_a_run_is_not_a_data_set(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match="this is the folder of a run") as failure:
        load_dataset(tmp_path)
    assert failure.value.hint == "use predict, evaluate or train --resume"


# --- numbers with leading zeros ---


def test_numbers_with_leading_zeros_are_noted_as_possible_codes(tmp_path):
    path = tmp_path / "a.csv"
    rows = (f"{('01234', '10115')[k % 2]},0.{k},{k % 3},{'ab'[k % 2]}" for k in range(20))
    path.write_text("\n".join(["zip,part,count,kind", *rows]))
    note = "'zip' has numbers with leading zeros; --categorical zip takes them as categories"
    assert [one for one in load_dataset(path, label="kind").notes if "zeros" in one] == [note]
    columns = {"zip": ["01234", "10115"] * 10, "part": list(range(20)), "kind": list("ab") * 10}
    assert note in load_dataset(columns, label="kind").notes
    for options in ({"categorical": "zip"}, {"numeric": "zip"}, {"drop": "zip"}):
        noted = load_dataset(path, label="kind", **options).notes
        assert not any("zeros" in one for one in noted)
