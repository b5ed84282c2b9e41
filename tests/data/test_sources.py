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
    with pytest.raises(DataError, match=r"other\.csv, line 3: the label 'tulip'"):
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


def test_pictures_in_an_archive_are_divided_by_255(npz_file):
    images = np.zeros((20, 3, 4), dtype=np.uint8)
    dataset = load_dataset(npz_file(x=images, y=Y))
    assert dataset.default_scaling == "255"
    assert dataset.image_shape == (3, 4)
    assert dataset.n_inputs == 12


def test_a_regression_on_an_archive_may_have_several_targets(npz_file):
    dataset = load_dataset(npz_file(x=X, y=X * 2), task="regression")
    assert dataset.n_outputs == 2
    assert dataset.train.targets.tolist() == (dataset.train.inputs * 2).tolist()


def test_real_numbers_as_classes_hint_at_regression(npz_file):
    with pytest.raises(DataError, match="is not a class") as caught:
        load_dataset(npz_file(x=X, y=Y + 0.5))
    assert "--task regression" in caught.value.hint


def test_a_table_without_a_label_column_named_lists_its_columns(csv_file):
    with pytest.raises(DataError, match="The columns are: width, kind, length") as caught:
        load_dataset(csv_file())
    assert "--label NAME" in caught.value.hint


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "has inputs, but no targets"),
        ({"x": X, "y": Y * 0}, "every row has the class '0'"),
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
def test_options_that_do_not_go_together_are_refused(source, options):
    with pytest.raises(ConfigurationError):
        load_dataset(source, **options)


# --- rows for a trained network ---


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_set_with_parts_gives_the_part_asked_for(split):
    inputs, targets = load_rows("digits", split=split)
    wanted = getattr(load_digits(), split)
    assert inputs.tolist() == wanted.inputs.tolist()
    assert targets.tolist() == wanted.targets.tolist()


def test_labels_become_indices_into_the_classes_of_the_network(idx_folder):
    _, targets = load_rows(idx_folder, classes=("2", "1", "0"))
    assert targets.tolist() == [2, 1, 0]
    with pytest.raises(DataError, match="label '2' is not a known class"):
        load_rows(idx_folder, classes=("0", "1"))


def test_the_columns_of_the_network_are_picked_from_a_table(csv_file):
    inputs, targets = load_rows(csv_file(), features=("length",))
    assert inputs.shape == (20, 1)
    assert targets is None
    _, targets = load_rows(csv_file(), label="kind", classes=("rose", "iris"))
    assert targets[:2].tolist() == [0, 1]


def test_a_label_unknown_to_the_network_is_named_with_its_line(csv_file):
    with pytest.raises(DataError, match=r"flowers\.csv, line 3: the label 'iris'"):
        load_rows(csv_file(), label="kind", classes=("rose",))


def test_a_label_column_asked_for_must_be_there(csv_file):
    with pytest.raises(DataError, match="no column 'species'"):
        load_rows(csv_file(), label="species", features=("width",))


def test_a_regression_reads_numbers(csv_file):
    _, targets = load_rows(csv_file(), label="length", features=("width",), task="regression")
    assert targets.shape == (20, 1)


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
    inputs, targets = load_rows(npz_file(x=X))
    assert inputs.tolist() == X.tolist()
    assert targets is None


def test_an_unknown_split_is_refused():
    with pytest.raises(ConfigurationError, match="unknown split 'tests'"):
        load_rows("digits", split="tests")
