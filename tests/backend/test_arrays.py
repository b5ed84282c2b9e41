"""The interface to the array libraries: conversions keep values, devices and data types."""

import numpy as np
import pytest

from backprop_xp.backend import arrays
from backprop_xp.backend.fast_numpy import fast_namespace
from backprop_xp.errors import ConfigurationError


def test_numbers_survive_the_way_to_a_device_and_back(backend, dtype):
    data = np.linspace(-1.0, 1.0, 12).astype(dtype).reshape(3, 4)
    back = arrays.to_numpy(backend.array(data, dtype))
    assert type(back) is np.ndarray
    assert back.dtype == data.dtype
    assert back.tobytes() == data.tobytes()


def test_masked_values_become_nan():
    masked = np.ma.MaskedArray([1, 2, 3], [False, True, False])
    np.testing.assert_array_equal(arrays.to_numpy(masked), [1.0, np.nan, 3.0])
    assert arrays.to_numpy(np.ma.MaskedArray([1, 2], False)).dtype == np.int64


def test_numbers_that_numpy_has_no_type_for_become_float32():
    torch = pytest.importorskip("torch")
    back = arrays.to_numpy(torch.asarray([0.5, -3.0], dtype=torch.bfloat16))
    assert back.dtype == np.float32
    assert back.tolist() == [0.5, -3.0]


def test_an_array_of_any_library_becomes_one_of_another(backend, dtype):
    data = np.linspace(-1.0, 1.0, 6).astype(dtype).reshape(2, 3)
    here = arrays.asarray(
        data, xp=backend.xp, dtype=backend.dtype(dtype), device=backend.placement.device
    )
    assert arrays.device(here) == backend.placement.device
    assert arrays.backend_name(arrays.namespace(here)) == backend.placement.backend
    there = arrays.asarray(here, xp=np)
    assert type(there) is np.ndarray
    assert there.tobytes() == data.tobytes()


def test_a_namespace_is_known_by_the_name_of_its_library(backend):
    assert arrays.backend_name(backend.xp) == backend.placement.backend
    x = backend.array([1.0])
    assert arrays.backend_name(arrays.namespace(x, None)) == backend.placement.backend
    assert arrays.is_array(x)
    assert not arrays.is_array([1.0])


def test_what_is_no_array_has_no_namespace():
    with pytest.raises(TypeError):
        arrays.namespace([1.0, 2.0])


def test_arrays_of_two_libraries_share_no_namespace(backend):
    if backend.placement.backend == "numpy":
        assert arrays.namespace(backend.array([1.0]), np.ones(1)) is backend.xp
        return
    with pytest.raises(ConfigurationError, match=r"several libraries: \w+, numpy") as caught:
        arrays.namespace(backend.array([1.0]), np.ones(1))
    assert "convert" in caught.value.hint


def test_a_copy_has_memory_of_its_own(backend):
    x = backend._replace(readonly=False).array([1.0, 2.0])
    y = arrays.asarray(x, xp=backend.xp, copy=True)
    y *= 2.0
    assert backend.numpy(x).tolist() == [1.0, 2.0]
    assert backend.numpy(y).tolist() == [2.0, 4.0]
    assert arrays.device(y) == arrays.device(x)


def test_positions_are_counted_in_an_integer_type_of_the_library(backend, dtype):
    places = backend.xp.arange(3, dtype=arrays.index_dtype(backend.xp))
    assert backend.xp.isdtype(places.dtype, "integral")


def test_an_unknown_library_cannot_be_imported():
    with pytest.raises(ImportError):
        arrays.backend_namespace("no_such_library")


@pytest.mark.parametrize(
    "call",
    [
        *(lambda xp, x, axis=axis: xp.sum(x, axis=axis) for axis in (None, 0, -1, (0, 1))),
        lambda xp, x: xp.sum(x, axis=1, keepdims=True),
        lambda xp, x: xp.max(x, axis=1, keepdims=True),
        lambda xp, x: xp.max(x),
        *(lambda xp, x, y=y: xp.maximum(x, y) for y in (0.0, -1.5)),
        lambda xp, x: xp.minimum(x.T, 0.5),
        lambda xp, x: xp.maximum(x, x[:1, ...]),
        lambda xp, x: xp.matmul(x.T, x),
        lambda xp, x: xp.matmul(x[:9, ...], x[9:50, ...].T),
        lambda xp, x: xp.matmul(x[:, :1], x[:1, :]),
        lambda xp, x: xp.matmul(x[:, 1:2], x.T[:1, :]),
        lambda xp, x: xp.matmul(x, x.T),
        lambda xp, x: xp.matmul(x[0, :], x.T),
        lambda xp, x: xp.matmul(x, x[0, :]),
        lambda xp, x: xp.matmul(xp.reshape(x, (30, 10, 7)), x[:7, :]),
        lambda xp, x: xp.reshape(x, (-1,)),
        lambda xp, x: xp.reshape(x.T, (-1,), copy=True),
        lambda xp, x: xp.astype(x, xp.float32),
        lambda xp, x: xp.astype(x, x.dtype, copy=False),
        lambda xp, x: xp.take(x, xp.asarray([2, 0, 2]), axis=0),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
def test_numpy_without_its_detours_gives_the_same_to_the_last_bit(call, dtype):
    x = (np.random.default_rng(0).normal(size=(300, 7)) * 3.0).astype(dtype)
    direct, usual = call(fast_namespace(np), x), call(np, x)
    np.testing.assert_array_equal(direct, usual, strict=True)
    assert np.shares_memory(direct, x) == np.shares_memory(usual, x)


def test_only_numpy_has_detours_to_leave_out(backend):
    is_numpy = arrays.backend_name(backend.xp) == "numpy"
    assert (fast_namespace(backend.xp) is backend.xp) != is_numpy
