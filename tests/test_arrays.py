"""The door to the array libraries: what goes in comes out, in place and type."""

import numpy as np
import pytest

from backprop_xp import arrays


def test_numbers_survive_the_way_to_a_device_and_back(backend, dtype):
    data = np.linspace(-1.0, 1.0, 12).astype(dtype).reshape(3, 4)
    back = arrays.to_numpy(backend.array(data, dtype))
    assert type(back) is np.ndarray
    assert back.dtype == data.dtype
    assert back.tobytes() == data.tobytes()


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
    with pytest.raises(TypeError):
        arrays.namespace(backend.array([1.0]), np.ones(1))


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
