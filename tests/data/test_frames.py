"""Tables from data frames and columnar files."""

import datetime
import decimal
import sys
import uuid

import numpy as np
import pytest

from backprop_xp.data.readers.csv_table import read_table
from backprop_xp.data.readers.frames import is_frame, read_columnar, table_from_frame
from backprop_xp.data.table import Table
from backprop_xp.errors import DataError

NAN = float("nan")


def library(name):
    return pytest.importorskip(name, reason=f"{name} is not installed")


def assert_same(table, expected):
    assert list(table.columns) == list(expected.columns)
    for name, column in expected.columns.items():
        assert table.columns[name].dtype == column.dtype, name
        np.testing.assert_array_equal(table.columns[name], column, name)


def pandas_frame():
    pandas = library("pandas")
    return pandas.DataFrame(
        {
            "whole": [3, 1, 2],
            "float": [1.5, NAN, 0.1],
            "single": np.asarray([0.5, 1.5, 2], dtype=np.float32),
            "flag": [True, False, True],
            "text": [" a", "NA", "b c"],
            "day": pandas.to_datetime(["2020-01-01", None, "2021-02-03"]),
            "moment": pandas.to_datetime(["2020-01-01 10:00:05", None, "2021-02-03 00:00:00"]),
            "nothing": [NAN, NAN, NAN],
        }
    )


def with_extension_types(frame):
    pandas = library("pandas")
    return frame.assign(
        nullable=pandas.array([1, None, 3], dtype="Int64"),
        maybe=pandas.array([True, None, False], dtype="boolean"),
        group=pandas.Categorical(["x", None, "y"]),
        level=pandas.Categorical([3, 3, 1]),
        string=pandas.array(["p", None, "?"], dtype="string"),
        exact=[decimal.Decimal("1.5"), None, decimal.Decimal(2)],
        mixed=[None, 2, 0.5],
        none=[None, None, None],
    )


@pytest.mark.parametrize("extended", [False, True])
def test_a_pandas_frame_and_its_csv_file_give_the_same_table(tmp_path, extended):
    frame = pandas_frame()
    if extended:
        frame = with_extension_types(frame)
    frame.to_csv(tmp_path / "rows.csv")
    table = table_from_frame(frame)
    assert_same(table, read_table(tmp_path / "rows.csv"))
    assert table.columns["flag"].tolist() == ["True", "False", "True"]
    assert table.columns["text"].tolist() == ["a", None, "b c"]
    assert table.columns["day"].tolist() == ["2020-01-01", None, "2021-02-03"]
    assert table.columns["moment"].tolist()[0] == "2020-01-01 10:00:05"
    assert table.lines is None


def test_a_polars_frame_gives_the_same_table():
    polars = library("polars")
    frame = pandas_frame()
    columns = {name: polars.Series(frame[name].to_numpy(), nan_to_null=True) for name in frame}
    columns["text"] = polars.Series([" a", None, "b c"])
    assert_same(table_from_frame(polars.DataFrame(columns)), table_from_frame(frame))


def test_polars_types_become_numbers_and_text():
    polars = library("polars")
    frame = polars.DataFrame(
        {
            "nullable": [1, None, 3],
            "maybe": [True, None, False],
            "group": polars.Series(["x", None, "y"], dtype=polars.Categorical),
            "exact": [decimal.Decimal("1.5"), None, decimal.Decimal(2)],
            "day": [datetime.date(2020, 1, 1), None, datetime.date(2021, 2, 3)],
            "none": [None, None, None],
        }
    )
    expected = {
        "nullable": np.asarray([1, NAN, 3]),
        "maybe": np.asarray(["True", None, "False"], dtype=object),
        "group": np.asarray(["x", None, "y"], dtype=object),
        "exact": np.asarray([1.5, NAN, 2]),
        "day": np.asarray(["2020-01-01", None, "2021-02-03"], dtype=object),
        "none": np.asarray([NAN, NAN, NAN]),
    }
    assert_same(table_from_frame(frame), Table("expected", expected))


@pytest.mark.parametrize("suffix", [None, ".parquet", ".feather"])
def test_a_pyarrow_table_and_its_files_give_the_same_table(tmp_path, suffix):
    pyarrow = library("pyarrow")
    frame = with_extension_types(pandas_frame())
    arrow = pyarrow.Table.from_pandas(frame.sort_values("whole", ascending=False))
    if suffix is None:
        table = table_from_frame(arrow)
    else:
        import pyarrow.feather
        import pyarrow.parquet

        write = {
            ".parquet": pyarrow.parquet.write_table,
            ".feather": pyarrow.feather.write_feather,
        }
        write[suffix](arrow, tmp_path / f"rows{suffix}")
        table = read_table(tmp_path / f"rows{suffix}")
        assert table.name == str(tmp_path / f"rows{suffix}")
    assert_same(table, table_from_frame(frame.sort_values("whole", ascending=False)))
    assert "__index_level_0__" in table.notes[0]  # the shuffled index of pandas


def test_a_record_batch_gives_the_same_table():
    pyarrow = library("pyarrow")
    frame = with_extension_types(pandas_frame())
    batch = pyarrow.Table.from_pandas(frame).to_batches()[0]
    assert_same(table_from_frame(batch), table_from_frame(frame))


def test_masked_values_are_missing():
    mask = [False, True, False]
    masked = {
        "a": np.ma.MaskedArray([1, 2, 3], mask),
        "b": np.ma.MaskedArray(["x", "y", "z"], mask),
        "c": np.ma.MaskedArray([True, False, False], mask),
        "d": np.ma.MaskedArray([1.5, 2.5, 3.5], False),
    }
    expected = {"a": [1, NAN, 3], "b": ["x", None, "z"], "c": [True, None, False]}
    assert_same(table_from_frame(masked), table_from_frame({**expected, "d": [1.5, 2.5, 3.5]}))


@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
def test_a_damaged_columnar_file_is_a_data_error(tmp_path, suffix):
    library("pyarrow")
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(b"a,b\n1,2\n" * 10)
    with pytest.raises(DataError, match=f"is not a valid {suffix} file"):
        read_columnar(path)


def test_without_pyarrow_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match="needs pyarrow") as caught:
        read_columnar(tmp_path / "rows.parquet")
    assert "pip install 'backprop-xp[data]'" in caught.value.hint


def test_a_dict_of_columns_is_a_table():
    identity = uuid.UUID(int=1)
    table = table_from_frame(
        {
            " a ": [1, None, 3],
            2: np.asarray([1, 2, 3], dtype=np.uint8),
            "words": ("x", "", " y"),
            "array": np.asarray(["p", "q", "n/a"]),
            "mixed": ["x", 1, True],
            "bools": [True, None, np.False_],
            "dates": [datetime.date(2020, 1, 1), None, datetime.datetime(2020, 1, 1, 12)],
            "ids": [identity, identity, None],
            "nan": [decimal.Decimal("nan"), np.float32("nan"), 1],
        }
    )
    assert table.columns["a"].tolist()[::2] == [1, 3]
    assert table.columns["2"].tolist() == [1, 2, 3]
    assert {n: c.tolist() for n, c in list(table.columns.items())[2:-1]} == {
        "words": ["x", None, "y"],
        "array": ["p", "q", None],
        "mixed": ["x", "1", "True"],
        "bools": ["True", None, "False"],
        "dates": ["2020-01-01", None, "2020-01-01 12:00:00"],
        "ids": [str(identity), str(identity), None],
    }
    np.testing.assert_array_equal(table.columns["nan"], [NAN, NAN, 1])


def test_row_numbers_that_pandas_read_from_a_nameless_column_are_left_out():
    table = table_from_frame({"Unnamed: 0": [0, 1, 2], "Unnamed: 1": [5, 3, 1]})
    assert list(table.columns) == ["Unnamed: 1"]
    assert "'Unnamed: 0'" in table.notes[0]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"a": [1, 2], "b": [1, float("inf")]}, r"it, row 1 .*column 'b': the number is infinite"),
        ({"a": [1 + 2j]}, r"it, column 'a': has values of the type complex"),
        ({"a": np.asarray([1j])}, r"it, column 'a': has values of the type complex128"),
        ({"a": [None, [1, 2]]}, r"it, column 'a': has values of the type list"),
        ({"a": [{"b": 1}]}, r"it, column 'a': has values of the type dict"),
        ({"a": [b"x"]}, r"it, column 'a': has values of the type bytes"),
        ({"a": np.zeros((2, 2))}, r"it, column 'a': the shape is \(2, 2\)"),
        ({"a": 1}, r"it, column 'a': the shape is \(\)"),
        ({"a": np.asarray([1], dtype="timedelta64[s]")}, r"has values of the type timedelta64"),
        ({"a": [1], "b": [1, 2]}, r"it: column 'b' has 2 rows, but the others have 1"),
        ({1: [1], "1": [2]}, r"it: 2 columns are named '1'"),
        ({"": [1]}, r"it: column 1 has no name"),
        ({}, r"it: has no columns"),
        ({"a": []}, r"it: has columns, but no rows"),
    ],
)
def test_columns_that_are_neither_numbers_nor_text_are_named(frame, message):
    with pytest.raises(DataError, match=message) as caught:
        table_from_frame(frame, "it")
    assert caught.value.hint


def test_duplicate_names_of_a_pandas_frame_are_an_error():
    pandas = library("pandas")
    with pytest.raises(DataError, match="2 columns are named 'a'"):
        table_from_frame(pandas.DataFrame([[1, 2]], columns=["a", "a"]))


def test_only_data_frames_are_data_frames():
    assert is_frame({"a": [1]})
    assert is_frame(pandas_frame())
    for other in ("rows.csv", np.zeros((2, 2)), [[1, 2]], None, Table("it", {})):
        assert not is_frame(other)
