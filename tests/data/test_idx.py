"""The reader of IDX files: round trips, and every way in which a file can be wrong."""

from __future__ import annotations

import contextlib
import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backprop_xp.data.readers.idx import read_idx
from backprop_xp.errors import DataError

IMAGES = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, max_side=6))


def idx_bytes(array, *, shape=None, type_code=8):
    shape = array.shape if shape is None else shape
    header = struct.pack(f">HBB{len(shape)}I", 0, type_code, len(shape), *shape)
    return header + array.tobytes()


@pytest.fixture
def write(tmp_path):
    def write(content, name="train-images-idx3-ubyte"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.fixture(scope="session")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "file"


@given(array=IMAGES, packed=st.booleans())
def test_what_was_written_is_read_back_packed_or_not(scratch, array, packed):
    content = idx_bytes(array)
    scratch.write_bytes(gzip.compress(content) if packed else content)
    read = read_idx(scratch)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


@given(array=IMAGES, packed=st.booleans(), data=st.data())
def test_a_file_cut_off_anywhere_is_refused(scratch, array, packed, data):
    content = idx_bytes(array)
    content = gzip.compress(content) if packed else content
    scratch.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(DataError, match=str(scratch)):
        read_idx(scratch)


@given(content=st.binary(max_size=64), packed=st.booleans())
def test_any_bytes_at_all_give_an_array_or_a_data_error(scratch, content, packed):
    scratch.write_bytes(gzip.compress(content) if packed else content)
    with contextlib.suppress(DataError):  # any other error fails the test
        assert read_idx(scratch).size > 0


def test_packing_is_told_by_the_content_not_by_the_name(write):
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    np.testing.assert_array_equal(read_idx(write(idx_bytes(array), "plain.gz")), array)
    np.testing.assert_array_equal(read_idx(write(gzip.compress(idx_bytes(array)), "x")), array)


def test_an_idx_file_that_is_cut_off_names_both_lengths(write):
    path = write(idx_bytes(np.zeros((2, 3, 3), np.uint8))[:-5])
    with pytest.raises(
        DataError, match=r"promises 18 bytes \(2 x 3 x 3\), but .* holds 13"
    ) as caught:
        read_idx(path)
    assert str(path) in caught.value.message
    assert "download it again" in caught.value.hint


def test_bytes_after_the_last_one_promised_are_refused(write):
    path = write(idx_bytes(np.zeros((2, 2), np.uint8)) + b"\0")
    with pytest.raises(DataError, match=r"more bytes follow the 4 \(2 x 2\)"):
        read_idx(path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_header_that_promises_exabytes_allocates_nothing(write, pack):
    path = write(pack(idx_bytes(np.zeros(3, np.uint8), shape=(2**32 - 1,) * 4)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=rf"promises {(2**32 - 1) ** 4} bytes"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_a_packed_file_is_unpacked_no_further_than_promised(write):
    path = write(gzip.compress(idx_bytes(np.zeros(1 << 25, np.uint8), shape=(4,))))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="more bytes follow"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_reading_holds_no_more_than_two_copies(write):
    path = write(gzip.compress(idx_bytes(np.zeros((1 << 12, 1 << 11), np.uint8))))
    tracemalloc.start()
    try:
        read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 2 * (1 << 23)
    finally:
        tracemalloc.stop()


def test_a_wrong_magic_number_is_shown(write):
    with pytest.raises(DataError, match="begins with 0x89504e47") as caught:
        read_idx(write(b"\x89PNG\r\n\x1a\n"))
    assert "0x00000803" in caught.value.hint


def test_another_type_of_number_is_named(write):
    path = write(idx_bytes(np.zeros(4, np.uint8), shape=(1,), type_code=0x0D))
    with pytest.raises(DataError, match=r"type code 0x0d \(32-bit floats\)"):
        read_idx(path)


@pytest.mark.parametrize(
    ("content", "needed", "held"), [(b"", 4, 0), (b"\0\0\x08", 4, 3), (b"\0\0\x08\x03\0\0", 16, 6)]
)
def test_a_header_that_is_cut_off_names_both_lengths(write, content, needed, held):
    with pytest.raises(
        DataError, match=f"cut off: it needs {needed} bytes, but the file holds {held}"
    ):
        read_idx(write(content))


def test_a_dimension_of_size_zero_is_refused(write):
    with pytest.raises(DataError, match="size 0 for dimension 1"):
        read_idx(write(idx_bytes(np.zeros((2, 0, 3), np.uint8))))


def test_a_damaged_packing_is_refused(write):
    content = bytearray(gzip.compress(idx_bytes(np.arange(250, dtype=np.uint8))))
    content[-8] ^= 1  # the checksum
    with pytest.raises(DataError, match="gzip data is damaged"):
        read_idx(write(bytes(content)))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"labels-idx1-ubyte: there is no such file"):
        read_idx(tmp_path / "labels-idx1-ubyte")


def test_a_folder_is_no_idx_file(tmp_path):
    with pytest.raises(DataError, match="is a folder, not a file"):
        read_idx(tmp_path)
