"""The readers of .csv and .npz files, and the encoding of labels."""

from __future__ import annotations

import contextlib
import gzip
import re
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backprop_xp.data.readers import csv_table, pandas_csv
from backprop_xp.data.readers.csv_table import read_table
from backprop_xp.data.readers.npz import read_npz
from backprop_xp.errors import ConfigurationError, DataError

NAN = float("nan")


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


def columns_of(path, **options):
    return {k: c.tolist() for k, c in read_table(path, **options).columns.items()}


def test_columns_are_numbers_or_text_and_missing_cells_are_recognized(csv_file):
    table = read_table(csv_file('a, "b",c,d,e\n 1.5 , x y ,,NA,?\n\nNA,null,?,2e3,nan\n'))
    assert list(table.columns) == ["a", "b", "c", "d", "e"]
    assert [c.dtype for c in table.columns.values()] == [np.float64, object, *[np.float64] * 3]
    assert table.columns["b"].tolist() == ["x y", None]
    for name, expected in {
        "a": [1.5, NAN],
        "c": [NAN, NAN],
        "d": [NAN, 2000],
        "e": 2 * [NAN],
    }.items():
        np.testing.assert_array_equal(table.columns[name], expected)
    assert table.lines.tolist() == [2, 4]
    assert table.lines.dtype == np.int64
    assert table.notes == ()


@pytest.mark.parametrize("cell", ["1_000", "0x10", "1,5", "True", "12:30", "1 2", "2020-01-01"])
def test_a_column_with_a_cell_that_is_not_a_number_is_text(csv_file, cell):
    assert columns_of(csv_file(f'a,b\n1,1.50\n2,"{cell}"\n')) == {"a": [1, 2], "b": ["1.50", cell]}


def test_the_text_of_cells_before_the_first_one_that_is_not_a_number_is_kept(csv_file):
    cells = [f"{i}.0" for i in range(5000)] + ["many"]
    columns = read_table(csv_file("a,b\n" + "".join(f"{cell},1\n" for cell in cells))).columns
    assert columns["a"].tolist() == cells
    assert columns["b"].tolist() == [1.0] * 5001


def test_the_line_of_a_row_with_line_breaks_in_quotes_is_its_first_one(csv_file):
    table = read_table(csv_file('a,"b\nb"\r\n1,"x\n\ny"\r\n\r\n2,z\r\n'))
    assert table.columns["b\nb"].tolist() == ["x\n\ny", "z"]
    assert table.lines.tolist() == [3, 7]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("a;b;k\n0.5;1;x, y\n2;3;z\n", "separated by ';'"),
        ("a;b;k\n0,5;1;x, y\n2,0;3;z\n", "separated by ';', with decimal commas"),
        ("a\tb\tk\n0.5\t1\tx, y\n2\t3\tz\n", "separated by tabs"),
        ("a\tb\tk\n0,5\t1\tx, y\n2\t3\tz\n", "separated by tabs, with decimal commas"),
        ("a|b|k\n0.5|1|x, y\n2|3|z\n", "separated by '|'"),
        ('"a";"b";"k"\n"0,5";"1";"x, y"\n2;3;"z"\n', "separated by ';', with decimal commas"),
    ],
)
def test_separators_and_decimal_commas_are_detected(csv_file, text, note):
    path = csv_file(text)
    table = read_table(path)
    assert {k: c.tolist() for k, c in table.columns.items()} == {
        "a": [0.5, 2],
        "b": [1, 3],
        "k": ["x, y", "z"],
    }
    assert table.notes == (f"{path}: {note}",)


@pytest.mark.parametrize("large", [False, True])
def test_the_line_that_tells_excel_the_separator_is_not_the_header(csv_file, monkeypatch, large):
    monkeypatch.setattr(csv_table, "_LARGE_FILE", 0 if large else 2**30)
    path = csv_file("\ufeffsep=;\r\na;k\r\n0,5;x, y\r\n2,0;z\r\n")
    table = read_table(path)
    assert {k: c.tolist() for k, c in table.columns.items()} == {"a": [0.5, 2], "k": ["x, y", "z"]}
    assert table.lines.tolist() == [3, 4]
    assert csv_table.read_cells(path) == {"a": ["0.5", "2.0"], "k": ["x, y", "z"]}
    with pytest.raises(DataError, match="line 4: 1 cell, but the header names 2 columns"):
        read_table(csv_file("sep=|\na|b\n1|2\n3\n"))


def test_the_hint_for_rows_of_another_length_depends_on_what_is_likely(csv_file):
    for text, hint in (
        (
            "Pets of 2024\n\nage,kind\n1,cat\n",
            "if line 3 names the columns, remove the lines above",
        ),
        ("age,kind\nAnn,1,cat\nBob,2,dog\n", "as R writes tables, add a name for it .* of line 1"),
        ("age,kind\n1,cat\nBob,2,dog\n", "^give every row one cell per column"),
        ('"age" "kind"\n1 "cat"\n', "the separator is ',' here, and --separator gives another"),
    ):
        with pytest.raises(DataError) as caught:
            read_table(csv_file(text))
        assert re.search(hint, caught.value.hint)


def test_a_separator_that_makes_numbers_of_the_cells_is_preferred(csv_file):
    # The commas split these lines into equal numbers of cells, too.
    path = csv_file("1,5;2,5\n3,5;4,5\n")
    assert columns_of(path, header=False) == {"c1": [1.5, 3.5], "c2": [2.5, 4.5]}


def test_the_separator_of_a_ragged_table_is_still_found(csv_file):
    with pytest.raises(DataError, match="line 3: 2 cells, but the header names 3 columns"):
        read_table(csv_file("a;b;c\n1;2;3\n4;5\n6;7;8\n"))
    with pytest.raises(DataError, match=r"line 2: 2 cells, but the header names 1 column\n"):
        read_table(csv_file("My pets\nage;kind\n1;cat\n"))


def test_a_table_of_one_column_is_read(csv_file):
    assert columns_of(csv_file('a\n1.5\n""\n2\n  \n\n'))["a"][::2] == [1.5, 2]
    assert columns_of(csv_file("a\nyes\nno\n")) == {"a": ["yes", "no"]}


def test_numbers_between_spaces_are_not_taken_for_one_column_of_text(csv_file):
    path = csv_file("a  b\n 1  2\n10 20\n")
    with pytest.raises(DataError, match="separated by spaces") as caught:
        read_table(path)
    assert "--separator ' '" in caught.value.hint
    assert columns_of(path, separator=" ") == {"a": [1, 10], "b": [2, 20]}


def test_a_given_separator_and_decimal_sign_are_used(csv_file):
    assert columns_of(csv_file("a;b,c\n1;2,3\n"), separator=",") == {"a;b": ["1;2"], "c": [3]}
    assert columns_of(csv_file("a\tb\n1\t2\n"), separator="tab") == {"a": [1], "b": [2]}
    assert columns_of(csv_file("a;b\n1,5;2.5\n"), decimal=".") == {"a": ["1,5"], "b": [2.5]}
    assert columns_of(csv_file("a;b\n1,5;2.5\n"), decimal=",") == {"a": [1.5], "b": ["2.5"]}
    assert columns_of(csv_file('a,b\n"1,5",2\n'), separator=",", decimal=",") == {
        "a": [1.5],
        "b": [2],
    }


@pytest.mark.parametrize("cells", ["1,234;x", "1,5;2.5"])
def test_a_comma_that_may_mean_two_things_is_reported(csv_file, cells):
    table = read_table(csv_file(f"a;b\n{cells}\n"))
    assert table.columns["a"].tolist() == [cells.partition(";")[0]]
    assert "read as text" in table.notes[1]
    assert "--decimal ," in table.notes[1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_unicode_is_read_by_its_byte_order_mark(csv_file, encoding):
    text = "größe,猫\n1,🦉\n"
    if encoding in ("utf-16-le", "utf-16-be"):
        text = "\ufeff" + text
    for option in (None, encoding):
        table = read_table(csv_file(text, encoding), encoding=option)
        assert {k: c.tolist() for k, c in table.columns.items()} == {"größe": [1], "猫": ["🦉"]}
        assert bool(table.notes) == encoding.startswith("utf-16")


def test_another_encoding_is_an_error_that_names_the_option(csv_file):
    path = csv_file("a,kind\n1,cat\n2,Hündin\n", "cp1252")
    with pytest.raises(DataError, match=r"rows\.csv, line 3: is not UTF-8 text") as caught:
        read_table(path)
    assert "--encoding cp1252" in caught.value.hint
    assert columns_of(path, encoding="cp1252")["kind"] == ["cat", "Hündin"]
    with pytest.raises(DataError, match="line 3: is not text in the encoding ascii"):
        read_table(path, encoding="ascii")


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (b"a,b\n1,x\0\n", None, "line 2: contains a NUL character"),
        ("a,b\n1,x\n".encode("utf-16-le"), None, "line 1: contains a NUL character"),
        (b"a,b\n1,\xed\xa0\x80\n", None, "line 2: is not UTF-8 text"),
        (b"a,b\n1,\\ud800\n", "unicode_escape", "line 2: contains half of a surrogate pair"),
        (b"\xff\xfea\0,\0b\0\n\0001\0,\0\0\xd8\n\0", None, "line 2: is not UTF-16 text"),
        (gzip.compress(b"a,b\n1,2\n" * 50, mtime=0)[:-12], None, "the compressed file is damaged"),
        (b"\x1f\x8b", None, "the compressed file is damaged"),
        (gzip.compress(b"a\n\xff\n", mtime=0)[:-8] + bytes(8), None, "compressed file is damaged"),
    ],
)
def test_content_that_is_not_text_is_an_error(csv_file, content, encoding, message):
    with pytest.raises(DataError, match=message) as caught:
        read_table(csv_file(content), encoding=encoding)
    assert caught.value.hint


def test_files_that_only_have_the_name_of_a_text_file_are_recognized(csv_file, tmp_path):
    with zipfile.ZipFile(tmp_path / "rows.csv", "w") as archive:
        archive.writestr("rows.csv", "a,b\n1,2\n")
    with pytest.raises(DataError, match="is an Excel file or a ZIP archive, and not text"):
        read_table(tmp_path / "rows.csv")
    with pytest.raises(DataError, match="is a Parquet file, and not text") as caught:
        read_table(csv_file(b"PAR1\x15\x04"))
    assert ".parquet" in caught.value.hint
    assert columns_of(csv_file("PAR1,b\n1,2\n")) == {"PAR1": [1], "b": [2]}


def test_compressed_files_are_read(tmp_path):
    path = tmp_path / "rows.tsv.gz"
    path.write_bytes(gzip.compress(b"a\tb\n1\tx\n"))
    assert columns_of(path) == {"a": [1], "b": ["x"]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1,2.5,cat\n3,4,dog\n", "the number 2.5"),
        ("1;2,5;cat\n3;4;dog\n", "the number 2,5"),
        ("-1,cat\n3,dog\n", "the number -1"),
        ("cat,0,0\ndog,1,2\n", "the number 0 repeats"),
        ("1,2\n3,4\n", "nothing but numbers"),
        ("7\n8\n", "nothing but numbers"),
        ("0,1,cat\n2,3,cat\n", "'cat' is also in line 2 of the same column"),
    ],
)
def test_a_first_line_that_looks_like_data_is_an_error(csv_file, text, reason):
    path = csv_file(text)
    with pytest.raises(DataError, match=f"looks like data: .*{reason}") as caught:
        read_table(path)
    for option in ("--no-header", "--header", "header=False", "header=True"):
        assert option in caught.value.hint
    table = read_table(path, header=False)
    assert list(table.columns) == ["c1", "c2", "c3"][: len(table.columns)]
    assert table.lines.tolist() == [1, 2]


def test_names_may_be_numbers(csv_file):
    assert columns_of(csv_file("1,2\n3,4\n"), header=True) == {"1": [3], "2": [4]}
    assert columns_of(csv_file("label,0,1,2\nx,4,5,6\n"))["2"] == [6]
    assert columns_of(csv_file(",0,1\n0,4,5\n1,6,7\n")) == {"0": [4, 6], "1": [5, 7]}  # by pandas


@pytest.mark.parametrize("first", [0, 1])
def test_a_column_without_a_name_that_counts_the_rows_is_left_out(csv_file, first):
    path = csv_file(f'"",a\n{first},5\n{first + 1},6\n')
    table = read_table(path)
    assert list(table.columns) == ["a"]
    assert table.notes == (f"{path}: left out column 1, which has row numbers and has no name",)


def test_empty_columns_after_the_last_one_are_left_out(csv_file):
    table = read_table(csv_file("a,b,,\n1,,,\n2,,,\n"))
    assert list(table.columns) == ["a", "b"]
    assert len(table.notes) == 2
    assert list(read_table(csv_file("1,2,\n3,4,\n"), header=False).columns) == ["c1", "c2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,y\n1,2,p\n3,4\n", r"line 3: 2 cells, but the header names 3 columns"),
        ("a,b,y\n1,2,p\n\n3,4,5,6\n", r"line 4: 4 cells, but the header names 3 columns"),
        ("a,b,a\n1,2,p\n", r"columns 1 and 3 are both named 'a'"),
        ("a,,y\n1,2,p\n2,4,p\n", r"column 2 has no name"),
        ("", r"the file is empty"),
        ("\n \n\n", r"the file is empty"),
        ("a,b,y\n", r"has a header, but no rows"),
        ("a,b,y\n\n\n", r"has a header, but no rows"),
        ('a,b,y\n1,2,p\n1,"2"x,p\n', r"line 3: .* expected after"),
        ('a,b,y\n1,2,"p\n1,2,p\n', r"line 2: unexpected end of data"),
        ("a,b,y\n1,2,p\n-inf,2,p\n", r"line 3, column 'a': the number is infinite"),
        ("a,b,y\n1,1e999,p\n", r"line 2, column 'b': the number is infinite or too large"),
        ("a,b\n1,2\n3,Infinity\ninf,5\n", r"line 3, column 'b': the number is infinite"),
    ],
)
def test_a_mistake_in_a_table_is_named_with_its_place(csv_file, text, message):
    path = csv_file(text)
    with pytest.raises(DataError, match=message) as caught:
        read_table(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_row_of_another_length_without_a_header_is_compared_to_the_first(csv_file):
    with pytest.raises(DataError, match=r"line 3: 1 cell, but line 2 has 2\n"):
        read_table(csv_file("\n1,2\n3\n"), header=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"separator": ";;"}, "the separator is ';;'"),
        ({"separator": "a"}, "the separator is 'a'"),
        ({"separator": '"'}, "the separator is"),
        ({"separator": ""}, "the separator is ''"),
        ({"decimal": ";"}, "the decimal sign is ';'"),
        ({"encoding": "klingon"}, "unknown encoding 'klingon'"),
        ({"encoding": "base64"}, "unknown encoding 'base64'"),
    ],
)
def test_an_invalid_option_is_a_configuration_error(csv_file, options, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_table(csv_file("a,b\n1,2\n"), **options)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["absent.csv", ".", "absent.parquet"])
def test_a_table_that_cannot_be_opened_is_a_data_error(tmp_path, name):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="pyarrow reads .parquet files")
    with pytest.raises(DataError, match=r"no such file|is a folder"):
        read_table(tmp_path / name)


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
    table = read_table(path)
    assert np.stack(list(table.columns.values()), axis=1).tolist() == values


# --- the fast reader of large files ---

ODD_CELLS = (
    *(
        "",
        "NA",
        " NA",
        "?",
        "NAN",
        "inf",
        "1_0",
        "1e",
        "1e-5",
        "+5",
        "--5",
        "5.",
        ".5",
        ".",
        "1e400",
    ),
    *("4.9e-324", "True", "a", "1 2", " 1 ", "1\t", "\x1c1", "\xa01", "١", "1,5", "1.5", "-0.0"),
    *("9007199254740993", "123456789012345678901234567890", "0.30000000000000004", "1d5", "1.#IND"),
    *("1,#IND", "ä", "\ufeff5", '"5"', '"', '"a\nb"', '""', "\r", "\x1a", "1\0", "# 1", "\x85"),
)


def described(path, **options):
    """Return a table, or the error for it, as something that can be compared."""
    try:
        table = read_table(path, **options)
    except DataError as error:
        return str(error), error.hint
    columns = [(name, c.dtype, [repr(cell) for cell in c]) for name, c in table.columns.items()]
    return columns, table.lines.tolist(), table.notes


@st.composite
def text_tables(draw):
    separator = draw(st.sampled_from(",;\t"))
    width = draw(st.integers(1, 3))
    plain = st.one_of(
        st.integers(-99, 99).map(str),
        st.floats(allow_nan=False, allow_infinity=False).map(repr),
        st.sampled_from(["x", "y z", ""]),
    )
    kinds = [st.integers(-99, 99).map(str), st.floats(-9, 9).map(repr), plain]
    cells = [draw(st.sampled_from(kinds)) for _ in range(width)]
    rows = draw(st.lists(st.tuples(*cells).map(separator.join), min_size=1, max_size=12))
    for odd in draw(st.lists(st.sampled_from(ODD_CELLS), max_size=2)):
        row = draw(st.integers(0, len(rows) - 1))
        around = rows[row].split(separator)
        around[draw(st.integers(0, len(around) - 1))] = odd
        rows[row] = separator.join(around)
    if draw(st.integers(0, 4)) == 0:
        rows.insert(
            draw(st.integers(0, len(rows))), draw(st.sampled_from(["", "  ", "1", "1,2;3\t4"]))
        )
    header = separator.join('"a"bc'[i : i + 1].replace('"', "") or "d" * i for i in range(width))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return end.join([header, *rows]) + draw(st.sampled_from(["", end, end + end]))


@given(
    text=text_tables(),
    piece=st.sampled_from([40, 4_000_000]),
    header=st.sampled_from([None, False]),
)
def test_the_fast_reader_gives_the_same_table_or_error(tmp_path_factory, text, piece, header):
    pytest.importorskip("pandas", reason="the fast reader needs pandas")
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    path.write_bytes(text.encode())
    expected = described(path, header=header)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_table, "_LARGE_FILE", 0)
        patch.setattr(pandas_csv, "_PIECE", piece)
        assert described(path, header=header) == expected


def large_table(csv_file, odd=""):
    rng = np.random.default_rng(0)
    lines = [f"{x},{x:.3f},{'red' if x > 0 else 'NA'}\n" for x in rng.normal(size=3000).tolist()]
    return csv_file('"a","b","c"\n\n' + "".join(lines[:2000]) + odd + "\n" + "".join(lines[2000:]))


def test_a_large_plain_file_is_read_by_pandas(csv_file, monkeypatch):
    pytest.importorskip("pandas", reason="the fast reader needs pandas")
    path = large_table(csv_file)
    expected = described(path)

    def fail(*args):
        raise AssertionError("the csv module reads the file")

    monkeypatch.setattr(csv_table, "_LARGE_FILE", 0)
    monkeypatch.setattr(pandas_csv, "_PIECE", 20_000)
    monkeypatch.setattr(csv_table, "_read_columns", fail)
    assert described(path) == expected


@pytest.mark.parametrize(
    "odd",
    [
        *(
            "1,2\n",
            "1,2,3,4\n",
            "\n1,2\n1,2,3,4\n",
            '1,"2",x\n',
            "many,1,x\n",
            "inf,1,x\n",
            "1_0,1,x\n",
        ),
        *("1,2,x\r3,4,y\n", "1,2,x\0\n", "\ufeff1,2,x\n", "1,2,\xff\n", f"1,2,{'x' * 140_000}\n"),
    ],
)
def test_what_pandas_reads_differently_is_left_to_the_csv_module(csv_file, monkeypatch, odd):
    pytest.importorskip("pandas", reason="the fast reader needs pandas")
    path = large_table(csv_file, odd)
    if "\xff" in odd:
        path.write_bytes(path.read_text("utf-8").encode("latin-1"))
    expected = described(path)
    monkeypatch.setattr(csv_table, "_LARGE_FILE", 0)
    assert described(path) == expected


@pytest.mark.parametrize("cut", [None, -1000])
def test_a_large_compressed_file_is_read_or_an_error(csv_file, monkeypatch, cut):
    pytest.importorskip("pandas", reason="the fast reader needs pandas")
    path = large_table(csv_file)
    path.write_bytes(gzip.compress(path.read_bytes())[:cut])
    expected = described(path)
    assert (cut is None) == isinstance(expected[0], list)
    monkeypatch.setattr(csv_table, "_LARGE_FILE", 0)
    monkeypatch.setattr(pandas_csv, "_PIECE", 20_000)
    assert described(path) == expected


def test_without_pandas_large_files_are_read_all_the_same(csv_file, monkeypatch):
    path = large_table(csv_file)
    expected = described(path)
    monkeypatch.setattr(csv_table, "_LARGE_FILE", 0)
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert described(path) == expected


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
