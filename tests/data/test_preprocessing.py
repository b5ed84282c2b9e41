"""Preprocessing: columns of numbers and text as inputs, fitted on the training rows."""

import json
import warnings

import numpy as np
import pytest

from backprop_xp.data.preprocessing import (
    MAX_CATEGORIES,
    as_numbers,
    as_text,
    fit_preprocessing,
    plain_name,
    preprocessing_from_dict,
)
from backprop_xp.data.table import Table
from backprop_xp.errors import ConfigurationError, DataError


def table(lines=None, **columns):
    arrays = {
        name: np.asarray(values, dtype=object if any(isinstance(v, str) for v in values) else float)
        for name, values in columns.items()
    }
    return Table("pets.csv", arrays, None if lines is None else np.asarray(lines))


def fitted(columns, rows=None, **options):
    return fit_preprocessing(columns, list(columns.columns), rows, **options)


PETS = table(
    height=[0.5, None, 1.5, 1.0], kind=["cat", "dog", None, "dog"], tame=["True", "False"] * 2
)


# --- inputs ---


def test_numbers_stay_and_text_becomes_one_input_for_each_category():
    preprocessing = fitted(PETS)
    assert preprocessing.names == ("height", "kind", "tame")
    assert preprocessing.inputs == (
        *("height", "height missing", "kind=cat", "kind=dog", "kind missing"),
        *("tame=False", "tame=True"),
    )
    assert preprocessing.is_number.tolist() == [True] + 6 * [False]
    assert preprocessing.apply(PETS).tolist() == [
        [0.5, 0, 1, 0, 0, 0, 1],
        [1.0, 1, 0, 1, 0, 1, 0],
        [1.5, 0, 0, 1, 1, 0, 1],
        [1.0, 0, 0, 1, 0, 1, 0],
    ]


def test_only_the_training_rows_decide():
    preprocessing = fitted(PETS, np.asarray([0, 2, 0]))
    assert preprocessing.inputs == ("height", "kind=cat", "kind missing")
    assert preprocessing.columns[0].fill == 0.5
    assert "tame" in preprocessing.left_out  # constant in these rows
    assert preprocessing.apply(PETS, np.asarray([1, 3])).tolist() == [[0.5, 0, 0], [1, 0, 0]]


def test_columns_are_found_by_name_and_others_are_ignored():
    preprocessing = fitted(PETS)
    columns = {"extra": PETS.columns["kind"], **dict(reversed(PETS.columns.items()))}
    shuffled = Table("other", columns)
    assert preprocessing.apply(shuffled).tolist() == preprocessing.apply(PETS).tolist()
    with pytest.raises(DataError, match="there is no column 'kind'"):
        preprocessing.apply(table(height=[1.0], tame=["True"]))


def test_every_row_has_one_category_and_every_missing_value_is_marked():
    rng = np.random.default_rng(0)
    columns = {
        name: [None if rng.random() < 0.2 else value for value in rng.choice(["u", "v", "w"], 300)]
        for name in "abc"
    }
    data = table(**columns)
    inputs = fitted(data).apply(data).reshape(300, 3, 4)
    assert (inputs[:, :, :3].sum(axis=2) == 1).all()
    missing = [[columns[name][row] is None for name in "abc"] for row in range(300)]
    assert inputs[:, :, 3].tolist() == missing


def test_an_unseen_category_is_none_of_them_and_one_warning_counts_the_rows():
    preprocessing = fitted(table(kind=["cat", "dog", "cat"], legs=[4, 2, 3]))
    other = table(kind=["emu", "cat", "ant", None], legs=[1, 1, 1, None])
    with pytest.warns(UserWarning, match="did not occur in training") as caught:
        inputs = preprocessing.apply(other, warn=True)
    assert inputs.tolist() == [[0, 0, 1], [1, 0, 1], [0, 0, 1], [1, 0, 3]]
    (warning,) = caught
    text = str(warning.message)
    assert "2 rows of the column 'kind' have categories that did not occur in training" in text
    assert "1 row of the column 'kind' has no value" in text
    assert "the most frequent, 'cat'" in text
    assert "1 row of the column 'legs' has no value" in text
    assert "the median 3" in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        preprocessing.apply(other)
        preprocessing.apply(table(kind=["cat"], legs=[4]), warn=True)


@pytest.mark.parametrize(
    ("trained", "predicted"),
    [
        (["TRUE", "FALSE", "unknown"], ["true", "False", "unknown"]),
        (["True", "False", "True"], ["TRUE", "FALSE", "true"]),
        (["True", "False", "True"], [1, 0, 1]),
        (["1.0", "2.0", "x"], ["1", "2.00", "x"]),
        (["1", "2", "x"], ["01", "2.0", "x"]),
    ],
)
def test_other_spellings_of_a_category_are_recognized(trained, predicted):
    preprocessing = fitted(table(a=trained * 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inputs = preprocessing.apply(table(a=predicted), warn=True)
        one_by_one = [preprocessing.apply(table(a=[value]), warn=True)[0] for value in predicted]
    assert inputs.tolist() == preprocessing.apply(table(a=trained)).tolist()
    assert np.asarray(one_by_one).tolist() == inputs.tolist()


def test_a_category_that_is_written_in_two_ways_stays_two():
    preprocessing = fitted(table(a=["01", "1", "x", "x"]))
    assert preprocessing.apply(table(a=["1", "01", "x"])).argmax(axis=1).tolist() == [1, 0, 2]


def test_inputs_of_equal_names_do_not_get_mixed_up():
    columns = {"sex": ["f", "m", None, "f"], "sex=f": [7, 8, 9, 9], "sex missing": [5, 6, 4, 4]}
    data = table(**columns)
    preprocessing = fitted(data)
    assert preprocessing.inputs == ("sex=f", "sex=m", "sex missing", "sex=f", "sex missing")
    assert preprocessing.apply(data).tolist() == [
        [1, 0, 0, 7, 5],
        [0, 1, 0, 8, 6],
        [1, 0, 1, 9, 4],
        [1, 0, 0, 9, 4],
    ]
    assert preprocessing.is_number.tolist() == [False, False, False, True, True]


def test_categories_can_be_any_text():
    texts = ["=", "a=b", " ", "a,b\n", "類", "missing"]
    data = table(a=texts)
    assert fitted(data, categorical=["a"]).apply(data).sum(axis=0).tolist() == [1] * 6


def test_numbers_of_a_column_that_the_user_calls_categorical_are_categories():
    data = table(rank=[3, 1, 2.5, None, 1])
    preprocessing = fitted(data, categorical=["rank"])
    assert preprocessing.columns[0].categories == ("1", "2.5", "3")
    assert fitted(data).columns[0].categories is None
    declared = data._replace(categorical=frozenset({"rank"}))
    assert fitted(declared) == preprocessing
    assert fitted(declared, numeric=["rank"]) == fitted(data)


def test_numbers_written_as_text_are_numbers():
    data = table(a=["1.5", "2", None, "1e3"])
    preprocessing = fitted(data)
    assert preprocessing.columns[0].categories is None
    assert preprocessing.apply(data)[:, 0].tolist() == [1.5, 2, 2, 1000]


def test_a_free_table_loses_its_columns():
    data = PETS._replace(columns=dict(PETS.columns))
    wanted = fitted(data).apply(PETS).tolist()
    assert fitted(data).apply(data, free=True).tolist() == wanted
    assert data.columns == {}


# --- columns that are left out or look wrong ---


N = 40
OK = list(range(0, 2 * N, 2))


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("a", [3.0] * N, "every training row has the value 3"),
        ("a", ["x"] * N, "every training row has the value 'x'"),
        ("PassengerId", list(range(1, N + 1)), "only name the rows"),
        ("row", list(range(N))[::-1], "only name the rows"),
        (
            "name",
            [f"person {k}" for k in range(N)],
            "almost every row has a different text: 40 in 40 rows",
        ),
        ("a", [f"2020-01-{k % 28 + 1:02}" for k in range(N)], "dates"),
        ("a", [f"{k % 28 + 1}.1.2020" for k in range(N)], "dates"),
        ("a", ["2020-01-01 10:00:00", "2021-01-01T11:00"] * (N // 2), "dates"),
        ("a", ["12/31/1999", None] * (N // 2), "dates"),
    ],
)
def test_columns_that_cannot_help_are_left_out_with_a_reason(name, values, reason):
    data = table(**{name: values, "ok": [k % 7 for k in OK]})
    preprocessing = fitted(data)
    assert preprocessing.names == ("ok",)
    assert reason in preprocessing.left_out[name]


def test_columns_that_are_named_explicitly_are_kept():
    names = [f"person {k}" for k in range(N)]
    data = table(name=names, id=range(N), flat=[1] * N, day=["2020-01-01", "2020-01-02"] * 20)
    preprocessing = fitted(data, categorical=["name", "day"], numeric=["id", "flat"])
    assert preprocessing.names == ("name", "id", "flat", "day")
    assert preprocessing.left_out == {}
    assert preprocessing.notes == ()


@pytest.mark.parametrize(
    "values",
    [
        [3.0, None] * (N // 2),
        ["x", None] * (N // 2),
        [k * 2.5 for k in range(N)],
        [f"town {k % 20}" for k in range(N)],
        ["12:30", "2020"] * (N // 2),
    ],
)
def test_other_columns_are_kept(values):
    assert fitted(table(a=values)).left_out == {}


@pytest.mark.parametrize(
    ("name", "values", "note"),
    [
        ("count", list(range(N)), "counts the rows"),
        ("customer_id", [k * k for k in range(N)], "a different whole number in every row"),
    ],
)
def test_a_column_that_may_be_a_row_number_is_noted_with_the_option(name, values, note):
    preprocessing = fitted(table(**{name: values}))
    assert preprocessing.names == (name,)
    (text,) = preprocessing.notes
    assert note in text
    assert f"--drop {name}" in text


def test_a_name_with_spaces_is_quoted_in_a_suggested_option():
    with pytest.raises(DataError) as caught:
        fitted(table(**{"no value": [None] * 3}))
    assert "--drop 'no value'" in caught.value.hint


# --- errors ---


@pytest.mark.parametrize("options", [{}, {"numeric": ["a"]}, {"categorical": ["a"]}])
def test_a_column_without_values_in_the_training_rows_is_named(options):
    for data, rows in (
        (table(a=[None] * 4, ok=[1, 2, 3, 5]), None),
        (table(a=[1, 2, None, None], ok=[1, 2, 3, 5]), np.asarray([2, 3])),
        (table(a=["x", "y", None, None], ok=[1, 2, 3, 5]), np.asarray([2, 3])),
    ):
        if "numeric" in options and data.columns["a"].dtype == object:
            continue
        with pytest.raises(DataError, match=r"pets\.csv: the column 'a' has no value") as caught:
            fitted(data, rows, **options)
        assert "--drop a" in caught.value.hint


def one_text(n=10_000, position=7_000):
    values = [str(k / 2) for k in range(n)]
    values[position] = "about 3"
    return table(lines=range(2, n + 2), a=values)


def test_one_text_among_ten_thousand_numbers_is_located_with_the_options():
    with pytest.raises(DataError) as caught:
        fitted(one_text())
    assert caught.value.message == (
        "pets.csv, line 7002, column 'a': 'about 3' is not a number, and 9,999 of the 10,000 "
        "values of this column are numbers"
    )
    for option in ("--categorical a", "--drop a"):
        assert option in caught.value.hint
    with pytest.raises(DataError, match="line 7002, column 'a': 'about 3' is not a number"):
        fitted(one_text(), numeric=["a"])
    assert len(fitted(one_text(), categorical=["a"]).inputs) == 10_000


def test_a_few_numbers_of_which_some_are_text_are_located_too():
    values = [str(k / 3) for k in range(30)]
    values[4] = values[9] = values[11] = "unknown"
    with pytest.raises(DataError, match=r"row 4 .*column 'a': 'unknown' is not a number"):
        fitted(table(a=values))


def test_codes_of_which_some_are_numbers_are_categories():
    assert fitted(table(a=["1", "2", "A", "3"] * 50)).columns[0].categories == ("1", "2", "3", "A")


@pytest.mark.parametrize("text", ["1_000", "inf", "-Infinity"])
def test_what_only_python_reads_as_a_number_is_text(text):
    with pytest.raises(DataError, match=f"row 1 .*: '{text}' is not a number"):
        as_numbers(table(a=["1", text]), "a")
    assert plain_name(text) == text


@pytest.mark.parametrize("form", ["${:,}", "{:,}", "{:,}.50", "{}%", "{} €", "£{}", "-{} %"])
def test_numbers_with_signs_are_an_error_and_not_categories(form):
    values = ["7", None, *(form.format(1000 + 37 * k) for k in range(20))]
    with pytest.raises(DataError, match=r"row 2 .*is not a plain number") as caught:
        fitted(table(a=values))
    assert "--categorical a" in caught.value.hint
    assert fitted(table(a=values), categorical=["a"]).names == ("a",)


@pytest.mark.parametrize("form", ["{}-{}", "{}:{}", "{}.{}.1", "{} to {}", "#{}{}"])
def test_other_texts_with_digits_are_categories(form):
    values = [form.format(k % 4, k % 3) for k in range(40)]
    assert fitted(table(a=values)).columns[0].categories is not None


def test_more_categories_than_inputs_are_made_without_asking_is_an_error():
    n = 4 * MAX_CATEGORIES
    data = table(town=[f"town {k % (MAX_CATEGORIES + 1)}" for k in range(n)])
    with pytest.raises(DataError, match=r"'town' has 1,001 different texts") as caught:
        fitted(data)
    assert "--drop town" in caught.value.hint
    assert "--categorical town" in caught.value.hint
    assert len(fitted(data, categorical=["town"]).inputs) == MAX_CATEGORIES + 1
    with pytest.raises(DataError, match="'town' has 1,001"):
        fitted(data._replace(categorical=frozenset({"town"})))


def test_no_column_left_is_an_error_that_says_why():
    with pytest.raises(DataError, match=r"no column is left .*'a': every training row") as caught:
        fitted(table(a=[1.0, 1.0]))
    assert "--numeric" in caught.value.hint


def test_names_that_contradict_each_other_or_the_table_are_errors():
    with pytest.raises(ConfigurationError, match="'height' is named both"):
        fitted(PETS, categorical=["height"], numeric=["height"])
    with pytest.raises(DataError, match="there is no column 'hieght'; the columns are: height"):
        fitted(PETS, categorical=["hieght"])


# --- files ---


def test_it_comes_back_from_json():
    day = ["2020-01-01"] * 4
    data = Table("it", {**PETS.columns, "day": np.asarray(day, dtype=object)})
    preprocessing = fitted(data)
    assert preprocessing.left_out
    again = preprocessing_from_dict(json.loads(json.dumps(preprocessing.as_dict())))
    assert again == preprocessing
    assert again.apply(PETS).tolist() == preprocessing.apply(PETS).tolist()


# --- text ---


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([3.0, None, 0.5, -0.0, 1e300], ["3", None, "0.5", "0", "1e+300"]),
        (["TRUE", "false", None], ["True", "False", None]),
        (["TRUE", "maybe"], ["TRUE", "maybe"]),
    ],
)
def test_a_column_as_text(values, texts):
    assert as_text(table(a=values).columns["a"]).tolist() == texts


def test_a_column_in_words():
    words = {column.name: column.describe() for column in fitted(PETS).columns}
    assert words == {
        "height": "a number; missing values become 1, and one input marks them",
        "kind": "2 categories: cat, dog; missing values become 'dog', and one input marks them",
        "tame": "2 categories: False, True",
    }


def test_a_date_among_few_numbers_makes_a_column_of_text():
    cells = [*(str(row) for row in range(15)), "1979-05-27"]
    found = fitted(table(a=cells, b=np.arange(16.0)))
    assert found.names == ("b",)
    assert "different text" in found.left_out["a"]
