"""Damaged, forged and endless data files: one error that names the file, in little memory."""

import gzip
import io
import os
import struct
import tracemalloc
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from backprop_xp.backend.devices import select_device
from backprop_xp.data import memory_map
from backprop_xp.data.memory_map import MemoryMap
from backprop_xp.data.readers import binary
from backprop_xp.data.readers.csv_table import read_cells, read_table
from backprop_xp.data.readers.frames import read_columnar
from backprop_xp.data.readers.npz import read_npy_folder, read_npz
from backprop_xp.data.sources import load_dataset
from backprop_xp.data.streaming import load_data
from backprop_xp.errors import DataError

X, Y = np.arange(24.0).reshape(8, 3), np.arange(8) % 2


def npy(header, content=b"", version=1):
    """Return a .npy file with any header."""
    header = header.encode() + b"\n"
    return b"\x93NUMPY" + struct.pack("<BBH", version, 0, len(header)) + header + content


def described(descr="'<f8'", shape="(8,)", order="False"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}"


def bytes_of(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(path, compression=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


@contextmanager
def little_memory(most=1 << 24):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


FORGED = {
    "type of a list": npy(described("[]", "(8, 1000000000000)")),
    "type of no bytes": npy(described("'|V0'", "(8, 1000000000000)")),
    "text of no letters": npy(described("'<U0'", "(8, 1000000000000)")),
    "type of columns": npy(described("[('a', '<f8')]"), bytes(64)),
    "type within a type": npy(described("('<f8', (8,))", "(1,)"), bytes(64)),
    "type of a dict": npy(described("{'a': 1}"), bytes(64)),
    "unknown type": npy(described("'<q9'"), bytes(64)),
    "objects": npy(described("'|O'"), bytes(64)),
    "too many": npy(described(shape="(8, 1000000000000)"), bytes(64)),
    "far too many": npy(described(shape=f"({'9' * 100},)"), bytes(64)),
    "many of nothing": npy(described(shape=f"(0, {'9' * 100})")),
    "digits": npy(described(shape=f"({'9' * 5000},)"), bytes(64)),
    "negative": npy(described(shape="(-8,)"), bytes(64)),
    "negative twice": npy(described(shape="(-2, -4)"), bytes(64)),
    "boolean size": npy(described(shape="(True,)"), bytes(8)),
    "fraction": npy(described(shape="(8.0,)"), bytes(64)),
    "no shape": npy(described(shape="8"), bytes(64)),
    "dimensions": npy(described(shape=f"({'1,' * 100})"), bytes(8)),
    "order": npy(described(order="8"), bytes(64)),
    "keys": npy("{'descr': '<f8', 'shape': (8,)}", bytes(64)),
    "no dict": npy("8", bytes(64)),
    "call": npy("print(8)", bytes(64)),
    "deep": npy("(" * 9000, bytes(64)),
    "signs": npy("-" * 9000 + "1", bytes(64)),
    "open text": npy(described() + "'''", bytes(64)),
    "long header": npy(described() + " " * 20_000, bytes(64)),
    "header without an end": npy(described())[:20],
    "no header": b"\x93NUMPY\x01\x00",
    "version": npy(described(), bytes(64), version=9),
    "too few": npy(described(), bytes(63)),
    "more": npy(described(), bytes(72)),
    "no letters": npy(described("'<U1'"), b"\xff" * 32),
    "another format": b"height,width\n",
    "nothing": b"",
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_forged_array_is_a_data_error(tmp_path, forged):
    for name in ("x", "y"):
        members = {"x": bytes_of(X), "y": bytes_of(Y), name: forged}
        folder = tmp_path / name
        folder.mkdir()
        for member, content in members.items():
            (folder / f"{member}.npy").write_bytes(content)
        archive = npz(tmp_path / f"{name}.npz", **members)
        with pytest.raises(DataError) as caught:
            read_npy_folder(folder)
        assert str(folder / f"{name}.npy") in caught.value.message
        with pytest.raises(DataError) as caught:
            read_npz(archive)
        assert f"{archive}: '{name}'" in caught.value.message
        assert len(caught.value.message) < 500


def test_a_forged_size_takes_no_memory(tmp_path):
    forged = npy(described(shape="(8, 300000000)"), bytes(64))
    (tmp_path / "x.npy").write_bytes(forged)
    with little_memory(1 << 20):
        for read, path in (
            (read_npy_folder, tmp_path),
            (read_npz, npz(tmp_path / "a.npz", x=forged)),
        ):
            with pytest.raises(DataError, match="its header promises 19,200,000,000 bytes"):
                read(path)


def test_valid_arrays_of_every_layout_are_read(tmp_path):
    texts = np.asarray(["å", "b", ""] * 2 + ["d", "e"])
    labels = (texts, texts.astype(">U1"), Y.astype(bool), Y.astype(">i2"), Y.astype(np.float16))
    for x in (X, np.asfortranarray(X), X.astype(">f4"), X.astype(np.uint8), X[:, ::2], X > 5):
        for y in labels:
            np.savez_compressed(tmp_path / "rows.npz", x=x, y=y)
            np.save(tmp_path / "x.npy", x)
            np.save(tmp_path / "y.npy", y)
            for rows in (read_npz(tmp_path / "rows.npz"), read_npy_folder(tmp_path)):
                read = rows.splits["train"]
                np.testing.assert_array_equal(read.inputs, x)
                np.testing.assert_array_equal(read.y, y)
    version_2 = io.BytesIO()
    np.lib.format.write_array(version_2, X, version=(2, 0))
    archive = npz(tmp_path / "two.npz", x=version_2.getvalue(), y=bytes_of(Y))
    np.testing.assert_array_equal(read_npz(archive).splits["train"].inputs, X)


def test_an_archive_with_the_name_of_an_array_is_said_to_be_one(tmp_path):
    npz(tmp_path / "x.npy", x=bytes_of(X))
    with pytest.raises(DataError, match=r"x\.npy: .* it is an \.npz archive"):
        read_npy_folder(tmp_path)


def test_an_archive_of_two_arrays_of_one_name_is_ambiguous(tmp_path):
    path = tmp_path / "rows.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", bytes_of(X))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("x.npy", bytes_of(X + 1))
    with pytest.raises(DataError, match="x and x mean the same"):
        read_npz(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_any_byte_of_an_archive_may_be_wrong(tmp_path, compression):
    path = npz(tmp_path / "rows.npz", compression, x=bytes_of(X), y=bytes_of(Y))
    content = path.read_bytes()
    wanted = read_npz(path).splits["train"]
    for position in range(0, len(content), 3):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 0x81]) + content[position + 1 :]
        )
        try:
            read = read_npz(path).splits["train"]
        except DataError:
            continue
        # A changed date or comment does no harm; numbers and labels are never wrong.
        np.testing.assert_array_equal(read.inputs, wanted.inputs)
        if read.y is not None:  # the name of the labels was changed
            np.testing.assert_array_equal(read.y, wanted.y)


def test_an_encrypted_array_is_a_data_error(tmp_path):
    path = npz(tmp_path / "rows.npz", x=bytes_of(X), y=bytes_of(Y))
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"'x' cannot be read: .* is encrypted"):
        read_npz(path)


def test_compressed_content_is_bounded_by_the_size_of_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(binary, "EXPANDED_FREELY", 1 << 12)
    n = 1 << 18
    zeros = np.zeros((n, 8), dtype=np.uint8)
    np.savez_compressed(tmp_path / "rows.npz", x=zeros, y=zeros[:, 0])
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"0,0\n" * (n >> 3)))
    for name, array in (("images-idx3", zeros), ("labels-idx1", zeros[:, 0])):
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        for part in ("train", "t10k"):
            path = tmp_path / f"{part}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(header + array.tobytes()))
    for path in (tmp_path / "rows.npz", tmp_path, tmp_path / "rows.csv.gz"):
        label = "b" if path.suffix == ".gz" else None
        with (
            little_memory(zeros.nbytes),
            pytest.raises(DataError, match="too much for a compressed file of") as caught,
        ):
            load_dataset(str(path), label=label)
        assert str(path) in caught.value.message
    with pytest.raises(DataError, match="too much for a compressed file of"):
        read_cells(tmp_path / "rows.csv.gz")


def test_rows_that_are_mostly_zeros_may_be_compressed(tmp_path, monkeypatch):
    monkeypatch.setattr(binary, "EXPANDED_FREELY", 0)
    x = np.zeros((1000, 1000))
    x[np.arange(1000), np.random.default_rng(0).integers(0, 1000, 1000)] = 1
    np.savez_compressed(tmp_path / "rows.npz", x=x, y=np.arange(1000) % 2)
    assert read_npz(tmp_path / "rows.npz").splits["train"].inputs.sum() == 1000


def test_a_parquet_file_of_few_bytes_cannot_take_gigabytes(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    feather = pytest.importorskip("pyarrow.feather")
    rows = 20_000_000
    codes = pyarrow.array(np.zeros(rows, dtype=np.int8))
    same = pyarrow.table({"a": pyarrow.DictionaryArray.from_arrays(codes, pyarrow.array(["z"]))})
    parquet.write_table(same, tmp_path / "rows.parquet", store_schema=False)
    feather.write_feather(same, str(tmp_path / "rows.feather"), compression="zstd")
    for suffix in (".parquet", ".feather"):
        path = tmp_path / f"rows{suffix}"
        assert path.stat().st_size < 100_000
        with pytest.raises(DataError, match=r"takes 160,000,000 bytes.* too much") as caught:
            read_columnar(path)
        assert str(path) in caught.value.message


def test_long_text_that_repeats_in_a_parquet_file_is_kept_once(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    values = ["y" * 100_000, "z" * 100_000]
    codes = pyarrow.array([0, 1, None] * 10_000, pyarrow.int8())
    texts = pyarrow.DictionaryArray.from_arrays(codes, values)
    parquet.write_table(
        pyarrow.table({"a": texts, "b": np.ones(30_000)}),
        tmp_path / "rows.parquet",
        row_group_size=10_000,
        store_schema=False,
    )
    allocated = pyarrow.total_allocated_bytes()
    table = read_columnar(tmp_path / "rows.parquet")
    assert table.columns["a"][:3].tolist() == table.columns["a"][-3:].tolist() == [*values, None]
    assert not table.categorical
    assert len({id(text) for text in table.columns["a"]}) < 20
    assert pyarrow.total_allocated_bytes() - allocated < 10_000_000


def test_text_that_is_not_utf8_in_a_columnar_file_is_a_data_error(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    feather = pytest.importorskip("pyarrow.feather")
    ends = pyarrow.py_buffer(np.arange(9, dtype=np.int32))
    texts = pyarrow.StringArray.from_buffers(8, ends, pyarrow.py_buffer(b"p\xff" * 4))
    frame = pyarrow.table({"a": X[:, 0], "b": texts})
    parquet.write_table(frame, tmp_path / "rows.parquet")
    feather.write_feather(frame, str(tmp_path / "rows.feather"))
    for suffix in (".parquet", ".feather"):
        with pytest.raises(DataError, match=f"is not a valid {suffix} file"):
            read_columnar(tmp_path / f"rows{suffix}")


def test_the_first_version_of_feather_is_rejected(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    (tmp_path / "rows.feather").write_bytes(b"FEA1" + bytes(100) + b"FEA1")
    with pytest.raises(DataError, match="the first version of Feather") as caught:
        read_columnar(tmp_path / "rows.feather")
    assert caught.value.hint


NAMES = ["rows.csv", "rows.tsv", "rows.npz", "rows.parquet", "rows.feather", "x.npy"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only POSIX has named pipes")
@pytest.mark.parametrize("name", [*NAMES, "train-images-idx3-ubyte"])
def test_pipes_and_devices_are_not_read(tmp_path, name):
    if name.endswith(("parquet", "feather")):
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    in_folder = name == "x.npy" or "idx" in name
    for kind in ("pipe", "device"):
        folder = tmp_path / kind
        folder.mkdir()
        if kind == "pipe":
            os.mkfifo(folder / name)
        else:
            (folder / name).symlink_to("/dev/zero")
        message = "is a pipe or a device" if "idx" not in name else "is missing|are missing"
        with pytest.raises(DataError, match=message) as caught:
            load_dataset(
                str(folder if in_folder else folder / name),
                label="a" if name[-3:] == "csv" else None,
            )
        assert str(folder) in caught.value.message


def test_a_path_with_a_nul_character_is_a_data_error():
    for name in ("a\0b.csv", "a\0b.npz"):
        with pytest.raises(DataError, match=r"is not a path|not a data set|no such"):
            load_dataset(name, label="a")


# --- files that become shorter ---


@pytest.fixture
def mapped(tmp_path, monkeypatch):
    """Return a file and its rows, which are read in place."""
    monkeypatch.setattr(memory_map, "MAX_LOADED", 0)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((60_000, 8)))
    np.save(tmp_path / "y.npy", np.arange(60_000) % 2)
    return tmp_path / "x.npy", load_dataset(str(tmp_path)).train


def test_a_file_that_is_cut_off_while_it_is_read_is_a_data_error(mapped):
    path, split = mapped
    assert isinstance(split.inputs, MemoryMap)
    os.truncate(path, 5000)
    for rows in (slice(0, 10), np.asarray([50_000 - 1]), slice(None)):
        with pytest.raises(DataError, match=r"x\.npy was truncated while it was read") as caught:
            split.inputs[rows]
        assert "3,840,128 bytes, and 5,000 are left" in caught.value.message


def test_a_file_that_is_replaced_while_it_is_read_does_no_harm(mapped):
    path, split = mapped
    before = split.inputs[:100].copy()
    other = path.with_suffix(".tmp")
    other.write_bytes(b"")
    os.replace(other, path)
    np.testing.assert_array_equal(split.inputs[:100], before)


def test_streaming_from_a_file_that_is_cut_off_is_a_data_error(mapped):
    path, split = mapped
    placement = select_device("cpu", "numpy")
    data = load_data(split[:2], 8, 2, placement, chunk_bytes=1 << 18)
    chunks = data.chunks()
    next(chunks)
    os.truncate(path, 5000)
    with pytest.raises(DataError, match="was truncated while it was read"):
        next(chunks)


# --- names ---


NUL, HALF, LONG = "p\0", "p\ud800", "p" * 130_000


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (NUL, "contains a NUL character"),
        (HALF, "contains half a surrogate pair"),
        (LONG, "has 130,000 characters"),
    ],
    ids=["NUL", "half a pair", "long"],
)
def test_text_that_cannot_be_a_name_is_rejected_where_it_is(tmp_path, text, fault):
    numbers = [float(i % 5) for i in range(20)]
    label = ["q", "q", text, "q"] * 5
    for source, where in (
        (([[n] for n in numbers], label), "the arrays: 'y', row 2"),
        ({"a": numbers, "b": label}, "row 2 .*, column 'b': the label 'p.*'"),
        ({"a": label, "b": ["q", "r"] * 10}, "row 2 .*, column 'a': the text 'p.*'"),
        ({text: numbers, "b": ["q", "r"] * 10}, "the name of the column 'p.*'"),
    ):
        with pytest.raises(DataError, match=f"{where}.* {fault}") as caught:
            load_dataset(source, label="b" if isinstance(source, dict) else None)
        assert len(caught.value.message) < 500
    if text is not NUL:  # which NumPy drops itself
        np.savez(tmp_path / "rows.npz", x=X, y=np.asarray(["q", "q", text[:1500], "q"] * 2))
        with pytest.raises(DataError, match=r"rows\.npz: 'y', row 2.*the label"):
            load_dataset(str(tmp_path / "rows.npz"))


def test_a_long_label_or_name_of_a_text_file_is_named_by_its_line(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(f"a,b\n1,{LONG}\n" + "".join(f"{i},k{i % 2}\n" for i in range(2500)))
    with (
        little_memory(),
        pytest.raises(DataError, match=r"rows\.csv, line 2, column 'b'") as caught,
    ):
        load_dataset(str(path), label="b")
    assert len(caught.value.message) < 500
    path.write_text(f"a,{LONG}\n1,2\n")
    with pytest.raises(DataError, match="the name of column 2 has 130,000 characters"):
        read_table(path)


def test_a_folder_of_a_parquet_data_set_is_read(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    frame = pyarrow.table({"a": [1.0, 2.0], "t": ["x", None], "part": ["one", "two"]})
    folder = Path(tmp_path, "rows.parquet")
    parquet.write_to_dataset(frame, folder, partition_cols=["part"])
    (folder / "_SUCCESS").write_bytes(b"")
    table = read_columnar(folder)
    assert {name: table.columns[name].tolist() for name in table.columns} == frame.to_pydict()
