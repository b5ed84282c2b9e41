"""The readers of .csv and .npz files, and the encoding of labels."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backprop_xp.data.labels import class_labels, encode_labels, regression_targets
from backprop_xp.data.readers.csv_table import column_names, read_csv
from backprop_xp.data.readers.npz import read_npz
from backprop_xp.errors import DataError


@pytest.fixture
def csv_file(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "rows.csv"
        path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
        return path

    return write


@pytest.fixture
def npz_file(tmp_path):
    def write(**arrays):
        path = tmp_path / "rows.npz"
        np.savez(path, **arrays)
        return path

    return write


def read_rows(path, **options):
    return read_csv(path, **options).splits["train"]


# --- CSV ---


def test_a_label_column_may_stand_anywhere(csv_file):
    table = read_csv(csv_file("a,kind,b\n1,x,2\n3,y,4\n"), label="kind")
    rows = table.splits["train"]
    assert table.features == ("a", "b")
    assert rows.y.tolist() == ["x", "y"]
    assert rows.inputs.dtype == np.float64
    assert rows.inputs.tolist() == [[1, 2], [3, 4]]


def test_without_a_label_every_column_is_an_input(csv_file):
    rows = read_rows(csv_file("a,b\n1,2\n"))
    assert rows.y is None
    assert rows.inputs.tolist() == [[1, 2]]


def test_the_columns_of_a_model_are_picked_by_name_and_others_passed_over(csv_file):
    path = csv_file(",b,note,a\n0,1,hello,2\n")
    assert read_rows(path, features=("a", "b")).inputs.tolist() == [[2, 1]]


def test_a_column_of_the_model_that_is_missing_is_named(csv_file):
    with pytest.raises(DataError, match=r"no column 'c'; the first line names: a, b"):
        read_csv(csv_file("a,b\n1,2\n"), features=("a", "c"))


def test_a_label_column_that_is_absent_lists_the_columns(csv_file):
    with pytest.raises(DataError, match=r"no column 'kind'; the first line names: a, b"):
        read_csv(csv_file("a,b\n1,2\n"), label="kind")


def test_a_target_of_a_regression_is_a_number(csv_file):
    path = csv_file("price,a\n1.5,2\n2.5,3\n")
    rows = read_rows(path, label="price", task="regression")
    assert rows.inputs.tolist() == [[2], [3]]
    assert rows.y.tolist() == [[1.5], [2.5]]


def test_a_byte_order_mark_spaces_quotes_and_blank_lines_do_no_harm(csv_file):
    path = csv_file('a , "b,c"\n\n 1, 2\n\n'.replace(' "', '"'), "utf-8-sig")
    assert column_names(path) == ("a", "b,c")
    assert read_rows(path).inputs.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,y\n1,2,p\n3,,q\n", r"line 3, column 'b': the value is missing"),
        ("a,b,y\n1,2,p\n3,  ,q\n", r"line 3, column 'b': the value is missing"),
        ("a,b,y\n1,2,p\n\n3,red,q\n", r"line 4, column 'b': 'red' is not a number"),
        ("a,b,y\n1,nan,p\n", r"line 2, column 'b': nan is not a finite number"),
        ("a,b,y\n1,2,p\n-inf,2,p\n", r"line 3, column 'a': -inf is not a finite number"),
        ("a,b,y\n1,2,p\n3,4, \n", r"line 3, column 'y': the value is missing"),
        ("a,b,y\n1,2,p\n3,4\n", r"line 3: 2 cells, but the header names 3 columns"),
        ("a,a,y\n1,2,p\n", r"two columns are named 'a'"),
        ("a,,y\n1,2,p\n", r"column 2 has no name"),
        ("", r"the file is empty"),
        ("a,b,y\n", r"has a header, but no rows"),
        ("y\np\n", r"no column is left for the inputs"),
        ('a,b,y\n1,2,p\n1,"2"x,p\n', r"after line 2"),
        (b"a,b,y\n1,2,p\n3,4,\xff\n", r"line 3: not UTF-8 text"),
    ],
)
def test_a_mistake_in_a_table_is_named_with_its_place(csv_file, text, message):
    path = csv_file(text)
    with pytest.raises(DataError, match=message) as caught:
        read_csv(path, label="y")
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_target_that_is_no_number_is_named_with_its_place(csv_file):
    with pytest.raises(DataError, match=r"line 3, column 'y': 'high' is not a number"):
        read_csv(csv_file("a,y\n1,2\n1,high\n"), label="y", task="regression")


@pytest.mark.parametrize("name", ["absent.csv", "."])
def test_a_table_that_cannot_be_opened_is_a_data_error(tmp_path, name):
    with pytest.raises(DataError, match=r"no such file|is a folder"):
        read_csv(tmp_path / name)


@given(
    st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
        min_size=1,
        max_size=5,
    )
)
def test_every_finite_number_is_read_back_exactly(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    path.write_text("a,b,c\n" + "".join(",".join(map(repr, row)) + "\n" for row in values))
    assert read_rows(path).inputs.tolist() == values


# --- npz ---


def test_an_archive_of_tables_is_read_as_stored(npz_file):
    x = np.asarray([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
    archive = read_npz(npz_file(x=x, y=np.asarray(["p", "q"])))
    rows = archive.splits["train"]
    assert rows.inputs.dtype == np.float32
    assert rows.inputs.tolist() == x.tolist()
    assert rows.y.tolist() == ["p", "q"]
    assert archive.image_shape is None


def test_pictures_are_flattened_and_their_shape_is_kept(npz_file):
    x = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    archive = read_npz(npz_file(X=x, Y=[0, 1]))
    assert archive.image_shape == (3, 4)
    assert archive.splits["train"].inputs.dtype == np.uint8
    assert archive.splits["train"].inputs.tolist() == x.reshape(2, 12).tolist()


def test_the_parts_of_a_keras_archive_are_told_apart(npz_file):
    x = np.zeros((3, 2))
    archive = read_npz(npz_file(x_train=x, y_train=[0, 1, 0], x_test=x + 1, x_val=x, y_val=x))
    assert list(archive.splits) == ["train", "validation", "test"]
    assert archive.splits["test"].y is None
    assert archive.splits["test"].inputs[0, 0] == 1


def test_integers_become_float64(npz_file):
    inputs = read_npz(npz_file(x=np.asarray([[1, 2]]))).splits["train"].inputs
    assert inputs.dtype == np.float64


X = np.zeros((3, 2))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": X, "b": X}, r"neither x nor x_train, only: a, b"),
        ({"x": X, "y": [0, 1]}, r"'x' has 3 rows, but 'y' has the shape \(2,\)"),
        ({"x": X[:0], "y": []}, r"'x' has the shape \(0, 2\)"),
        ({"x": X[:, 0]}, r"'x' has the shape \(3,\)"),
        ({"x": np.asarray([["a"]])}, r"'x' has the type <U1"),
        ({"x": X.astype(complex)}, r"'x' has the type complex128"),
        ({"x": np.asarray([[1.0, 2.0], [3.0, np.nan]])}, r"nan is in row 1, column 1 of .*'x'"),
        ({"x": np.asarray([[[np.inf, 2.0]]])}, r"inf is in row 0, column 0 of .*'x'"),
        ({"x": X, "X": X}, r"x and X mean the same"),
        ({"x": X, "x_test": X[:, :1]}, r"different shapes: train \(2,\), test \(1,\)"),
    ],
)
def test_a_mistake_in_an_archive_is_named(npz_file, arrays, message):
    path = npz_file(**arrays)
    with pytest.raises(DataError, match=message) as caught:
        read_npz(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_pickled_objects_are_refused_in_plain_words(npz_file):
    path = npz_file(x=X, y=np.asarray(["a", None, "b"], dtype=object))
    with pytest.raises(DataError, match=r"'y' holds Python objects, which are never loaded"):
        read_npz(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 no archive", b"\x80\x04N."])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "rows.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"rows\.npz: is not an \.npz archive"):
        read_npz(path)


def test_a_single_array_is_no_archive(tmp_path):
    path = tmp_path / "rows.npz"
    with open(path, "wb") as file:
        np.save(file, X)
    with pytest.raises(DataError, match="a single array without a name"):
        read_npz(path)


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        read_npz(tmp_path / "rows.npz")


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_gives_the_data_or_a_data_error(tmp_path_factory, position, bit):
    path = tmp_path_factory.mktemp("npz") / "rows.npz"
    np.savez_compressed(path, x=np.arange(6.0).reshape(3, 2), y=[0, 1, 0])
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 1 << bit
    path.write_bytes(content)
    with contextlib.suppress(DataError):  # any other error fails the test
        assert read_npz(path).splits["train"].inputs.tolist() == [[0, 1], [2, 3], [4, 5]]


# --- labels ---


@pytest.mark.parametrize(
    ("labels", "classes", "indices"),
    [
        (["10", "9", "10"], ("9", "10"), [1, 0, 1]),
        (["b", "10", "9"], ("10", "9", "b"), [2, 0, 1]),
        (["1", "-1", "0"], ("-1", "0", "1"), [2, 0, 1]),
        (np.asarray([7, 200, 7], dtype=np.uint8), ("7", "200"), [0, 1, 0]),
        (np.asarray([True, False]), ("False", "True"), [1, 0]),
    ],
)
def test_classes_are_in_numerical_order_if_all_are_integers(labels, classes, indices):
    encoded, names = encode_labels(labels)
    assert names == classes
    assert encoded.tolist() == indices
    assert encoded.dtype == np.int64


def test_given_classes_keep_their_order():
    assert encode_labels([3, 1], ("3", "2", "1"))[0].tolist() == [0, 2]


def test_an_unknown_label_is_named_with_its_row_and_the_known_classes():
    with pytest.raises(DataError, match="row 2: the label 'bird' is not a known class") as caught:
        encode_labels(["cat", "dog", "bird", "ant"], ("cat", "dog"))
    assert "cat, dog" in caught.value.hint


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1))
def test_encoded_labels_name_the_labels_they_came_from(labels):
    indices, classes = encode_labels(labels)
    assert [classes[index] for index in indices] == labels


def test_whole_floats_are_classes_and_others_hint_at_regression():
    assert class_labels(np.asarray([1.0, 3.0]), "y").tolist() == [1, 3]
    for value in (0.5, np.nan, np.inf):
        with pytest.raises(DataError, match=r"y, row 1: \S+ is not a class") as caught:
            class_labels(np.asarray([1.0, value]), "y")
        assert "--task regression" in caught.value.hint


@pytest.mark.parametrize("y", [np.zeros((3, 2)), np.zeros(3, dtype=complex), np.asarray([b"a"])])
def test_what_is_no_class_per_row_is_refused(y):
    with pytest.raises(DataError, match=r"y: the (shape|type) is"):
        class_labels(y, "y")


def test_targets_of_a_regression_are_columns_of_finite_numbers():
    assert regression_targets(np.asarray([1, 2]), "y").tolist() == [[1.0], [2.0]]
    assert regression_targets(np.ones((2, 3)), "y").shape == (2, 3)
    with pytest.raises(DataError, match="nan is in row 1, column 0 of y"):
        regression_targets(np.asarray([1.0, np.nan]), "y")
    with pytest.raises(DataError, match="type is <U1") as caught:
        regression_targets(np.asarray(["a"]), "y")
    assert "--task classification" in caught.value.hint
    with pytest.raises(DataError, match="shape"):
        regression_targets(np.ones((2, 2, 2)), "y")
