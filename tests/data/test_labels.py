"""Labels: their classes, the task that they are for, and their types."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backprop_xp.data.labels import (
    class_labels,
    encode_labels,
    from_names,
    infer_task,
    label_type,
    regression_targets,
)
from backprop_xp.errors import DataError


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


def test_fractions_can_be_classes_but_infinity_and_missing_labels_cannot():
    assert class_labels(np.asarray([1.0, 3.0]), "y").tolist() == [1, 3]
    assert encode_labels(np.asarray([1.0, 0.5]))[1] == ("0.5", "1")
    with pytest.raises(DataError, match=r"y, row 1: inf is not a class"):
        class_labels(np.asarray([1.0, np.inf]), "y")
    for labels in (np.asarray([1.0, np.nan]), np.asarray(["a", None], dtype=object)):
        with pytest.raises(DataError, match="row 1: the label is missing"):
            encode_labels(labels)


@pytest.mark.parametrize("y", [np.zeros((3, 2)), np.zeros(3, dtype=complex), np.asarray([b"a"])])
def test_what_is_no_class_per_row_is_refused(y):
    with pytest.raises(DataError, match=r"y: the (shape|type) is"):
        class_labels(y, "y")


def test_targets_of_a_regression_are_columns_of_finite_numbers():
    assert regression_targets(np.asarray([1, 2]), "y").tolist() == [[1.0], [2.0]]
    assert regression_targets(np.ones((2, 3)), "y").shape == (2, 3)
    with pytest.raises(DataError, match="nan is in row 1, column 0 of y"):
        regression_targets(np.asarray([1.0, np.nan]), "y")
    with pytest.raises(DataError, match="the targets are text") as caught:
        regression_targets(np.asarray(["a"]), "y")
    assert "--task classification" in caught.value.hint
    with pytest.raises(DataError, match="shape"):
        regression_targets(np.ones((2, 2, 2)), "y")
    with pytest.raises(DataError, match="the type complex128"):
        regression_targets(np.ones(2, dtype=complex), "y")


# --- one class in several spellings ---


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["1.0", "2.0", "NR"], ("1", "2", "NR")),
        (np.asarray([1.0, 2.0]), ("1.0", "2.0", "NR")),
        (np.asarray([1, 2]), ("1.00", "2", "NR")),
        (np.asarray([True, False]), ("true", "false", "unknown")),
        (["TRUE", "FALSE"], ("True", "False")),
        (["1", "2"], ("01", "2")),
    ],
)
def test_the_labels_of_another_file_are_the_same_classes_however_they_are_written(labels, classes):
    indices, _ = encode_labels(labels, classes)
    assert indices.tolist() == list(range(len(labels)))


def test_an_exact_spelling_wins_over_another_spelling_of_the_same_number():
    assert encode_labels(["1", "01", "1.0"], ("01", "1", "1.0"))[0].tolist() == [1, 0, 2]


@pytest.mark.parametrize("label", ["nan", "inf", "1_0", "10"])
def test_text_is_not_taken_for_another_class(label):
    with pytest.raises(DataError, match=f"the label '{label}' is not a known class"):
        encode_labels([label], ("0", "1", "x"))


# --- the task ---


@pytest.mark.parametrize(
    ("y", "task", "reason"),
    [
        (np.asarray(["a", "b"]), "classification", "text"),
        (np.asarray([True, False]), "classification", "true or false"),
        (np.asarray([0, 1, 2, 0]), "classification", "3 different whole numbers"),
        (np.asarray([1.0, 2.0, np.nan]), "classification", "2 different whole numbers"),
        (np.asarray([0.5, 1.0]), "regression", "fractions"),
        (np.arange(1000) * 10, "regression", "1,000 different numbers"),
        (np.ones((4, 2)), "regression", "several targets"),
        (np.asarray([100, 130, 150, 160, 190, 190]), "regression", "5 different numbers in 6 rows"),
        (np.asarray([100, 130, 150, 100, 130, 150]), "classification", "3 different"),
        (np.asarray([7, 200, 7]), "classification", "2 different"),
        (np.asarray([3, 1, 2]), "classification", "3 different"),
        (np.arange(4).reshape(4, 1), "classification", "4 different whole numbers"),
        (np.repeat(np.arange(50), 20), "classification", "50 different whole numbers"),
    ],
)
def test_the_task_follows_from_the_labels(y, task, reason):
    found, why = infer_task(y)
    assert found == task
    assert reason in why


def test_one_hot_rows_are_classes_and_not_several_targets():
    for kind in (float, np.uint8, bool):
        with pytest.raises(
            DataError, match="one-hot: each row has one 1 among 3 targets"
        ) as caught:
            infer_task(np.eye(3, dtype=kind))
        assert "argmax" in caught.value.hint
    for several in (np.eye(3) * 2, np.asarray([[1, 0], [1, 1]])):
        assert infer_task(several)[0] == "regression"


# --- types ---


@pytest.mark.parametrize(
    "labels",
    [
        np.asarray([3, 1, 2]),
        np.asarray([3, 1], dtype=np.uint8),
        np.asarray([0.5, 2.0]),
        np.asarray([True, False]),
        np.asarray(["True", "x"]),
        np.asarray(["1", "2"]),
        np.asarray([1e300, 1.0]),
        np.asarray([2.0**53, 1.0]),
    ],
    ids=str,
)
def test_classes_come_back_in_the_type_of_the_labels(labels):
    indices, classes = encode_labels(labels)
    found = from_names([classes[index] for index in indices], label_type(labels))
    assert found.tolist() == labels.tolist()
    assert found.dtype.kind == {"u": "i"}.get(labels.dtype.kind, labels.dtype.kind)


def test_whole_numbers_of_a_table_come_back_as_integers():
    found = from_names(["-1", "2"], label_type(np.asarray([-1.0, 2.0])))
    assert (found.tolist(), found.dtype.kind) == ([-1, 2], "i")
