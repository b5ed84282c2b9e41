"""The tensor file: the bytes of the safetensors library, and no header that asks for nonsense."""

import hashlib
import json
import struct
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy

from backprop_xp import ConfigurationError, ModelFileError
from backprop_xp.tensor_file import read_tensors, write_tensors

RNG = np.random.default_rng(0)

ARRAYS = {
    "scalar": np.asarray(2.5),
    "empty": np.zeros((0, 3), np.float32),
    "bool": np.asarray([True, False, True]),
    "Fortran": np.asfortranarray(RNG.normal(size=(3, 5))),
    "every second": np.arange(20, dtype=np.int16)[::2],
    "reversed": RNG.normal(size=(4, 3)).astype(np.float32)[::-1, ::-1],
    "big-endian": np.arange(5, dtype=">i4"),
    "ähre": np.ones(1, np.uint8),
    **{
        f"a {kind}": np.arange(7).astype(kind)
        for kind in (
            *("u1", "i1", "i2", "u2", "f2", "i4", "u4", "f4", "c8", "f8", "i8", "u8", "bool"),
        )
    },
    **{f"z{n}": RNG.integers(0, 2**63, n, dtype=np.uint64) for n in (3, 1, 2)},
}
"""Arrays of every kind that a file can hold."""


def by_the_library(tensors, metadata):
    """Return the file that the safetensors library writes, with the keys of its header sorted, and
    with its hash."""
    copies = {
        name: np.array(tensor, dtype=tensor.dtype.newbyteorder("<"), order="C")
        for name, tensor in tensors.items()
    }
    content = safetensors.numpy.save(copies, {**metadata, "sha256": "0" * 64})
    (length,) = struct.unpack_from("<Q", content)
    return with_header(json.loads(content[8 : 8 + length]), content[8 + length :])


def with_header(header, data):
    """Return a file with a header, whose hash is filled in, and data."""
    head = json.dumps(header, sort_keys=True).encode()
    head += b" " * (-len(head) % 8)
    content = struct.pack("<Q", len(head)) + head + data
    return content.replace(b"0" * 64, hashlib.sha256(content).hexdigest().encode())


def described(data=b"", metadata=None, **tensors):
    """Return a file with the format "f" whose header describes tensors in some way."""
    return with_header(
        {"__metadata__": {"format": "f", "sha256": "0" * 64, **(metadata or {})}, **tensors}, data
    )


def tensor(dtype="U8", shape=(2,), offsets=(0, 2)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize("names", [[], *([name] for name in ARRAYS), list(ARRAYS)], ids=str)
def test_the_bytes_are_those_of_the_library(names, tmp_path):
    path, tensors = tmp_path / "f", {name: ARRAYS[name] for name in names}
    before = {name: array.copy() for name, array in tensors.items()}
    write_tensors(path, "some.format", tensors, {"text": 'ä "sha256": "\\\n'})
    assert path.read_bytes() == by_the_library(
        tensors, {"format": "some.format", "text": 'ä "sha256": "\\\n'}
    )
    by_library = safetensors.numpy.load_file(path)
    read, metadata = read_tensors(path, "some.format")
    assert metadata == {"text": 'ä "sha256": "\\\n'}
    assert set(read) == set(by_library) == set(tensors)
    for name, array in tensors.items():
        for one in (read[name], by_library[name]):
            assert (one.dtype, one.shape) == (array.dtype.newbyteorder("="), array.shape)
            np.testing.assert_array_equal(one, array)
        assert read[name].flags.writeable
        assert read[name].flags.aligned
        np.testing.assert_array_equal(array, before[name])


def test_a_text_may_look_like_the_hash(tmp_path):
    texts = {"a": "0" * 64, "zeros": '"sha256": "' + "0" * 64}
    write_tensors(tmp_path / "f", "f", {}, texts)
    assert read_tensors(tmp_path / "f", "f") == ({}, texts)


def test_half_of_a_surrogate_pair_is_named(tmp_path):
    for tensors, metadata in (({}, {"a": "the \ud800"}), ({"the \ud800": np.ones(1)}, {})):
        with pytest.raises(ConfigurationError, match=r"'\\ud800', is in the text 'the \\ud800'"):
            write_tensors(tmp_path / "f", "f", tensors, metadata)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "f").write_bytes(described(metadata={"a": "the \ud800"}))
    with pytest.raises(ModelFileError):
        read_tensors(tmp_path / "f", "f")


def test_neither_writing_nor_reading_copies_the_tensors(tmp_path):
    tensors = {name: RNG.normal(size=(500, 500)) for name in "abcd"}
    size = sum(array.nbytes for array in tensors.values())
    tracemalloc.start()
    try:
        write_tensors(tmp_path / "f", "f", tensors, {})
        assert tracemalloc.get_traced_memory()[1] < 0.1 * size
        tracemalloc.reset_peak()
        read, _ = read_tensors(tmp_path / "f", "f")
        assert tracemalloc.get_traced_memory()[1] < 1.1 * size
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(read["c"], tensors["c"])


@pytest.mark.parametrize(
    "content",
    [
        described(b"ab", t=tensor("BF16")),
        described(b"ab", t=tensor(["U8"])),
        described(b"ab", t=tensor(shape=2)),
        described(b"ab", t=tensor(shape=[2.0])),
        described(b"ab", t=tensor(shape=[True, 2])),
        described(b"ab", t=tensor(shape=[-2])),
        described(b"ab", t=tensor(shape=[-2, -1])),
        described(b"ab", t=tensor(shape=[3])),
        described(b"ab", t=tensor(shape=[2] + [1] * 40)),
        described(b"", t=tensor(shape=[0, 2**63], offsets=[0, 0])),
        described(b"ab", t=tensor(shape=[2**63] * 10_000)),
        described(b"ab", t=tensor(offsets=[1, 3])),
        described(b"ab", t=tensor(offsets=[-2, 0])),
        described(b"ab", t=tensor(offsets=[0, 2, 4])),
        described(b"ab", t=tensor(offsets="ab")),
        described(b"ab", t=tensor(offsets=[0])),
        described(b"abc", t=tensor()),
        described(b"a", t=tensor()),
        described(b"ab", t=tensor(), u=tensor()),
        described(b"abcd", t=tensor(), u=tensor(offsets=[1, 3])),
        described(b"abcdef", t=tensor(), u=tensor(offsets=[4, 6])),
        described(b"ab", t=tensor("BOOL")),
        described(b"ab", t={**tensor(), "more": 1}),
        described(b"ab", t=[1, 2]),
        described(b"ab", t="ab"),
        described(metadata={"a": 3}),
        described(metadata={"a": None}),
        described(metadata={"sha256": 0}),
        described(metadata={"format": ["f"]}),
        with_header({"__metadata__": "f"}, b""),
        described().replace(b'"format": "f"', b'"format": NaN'),
    ],
)
def test_a_header_that_describes_no_tensors_is_an_error(content, tmp_path):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(ModelFileError) as failure:
        read_tensors(tmp_path / "f", "f", "checkpoint")
    assert str(tmp_path / "f") in failure.value.message
    assert "checkpoint" in failure.value.message
    assert len(failure.value.message) < 300 + len(str(tmp_path))


def test_what_these_headers_are_made_of_is_read(tmp_path):
    (tmp_path / "f").write_bytes(described(b"ab", t=tensor()))
    tensors, metadata = read_tensors(tmp_path / "f", "f")
    assert (tensors["t"].tolist(), metadata) == ([97, 98], {})
    twice = described(b"ab", t=tensor()).replace(b'"shape"', b'"dtype"')
    (tmp_path / "f").write_bytes(twice)
    with pytest.raises(ModelFileError, match="header cannot be read"):
        read_tensors(tmp_path / "f", "f")


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_tensors(path, "f", {"a": np.ones(100_000)}, {})
    allocate = bytearray

    def cut_first(size):
        with open(path, "r+b") as file:
            file.truncate(100_000)
        return allocate(size)

    monkeypatch.setattr("backprop_xp.tensor_file.bytearray", cut_first, raising=False)
    with pytest.raises(ModelFileError, match="became shorter while it was read"):
        read_tensors(path, "f")
