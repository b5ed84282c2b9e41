"""The scaling of inputs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backprop_xp.data import scaling
from backprop_xp.data.scaling import Scaling, check_finite, scaling_for
from backprop_xp.errors import ConfigurationError, DataError

TABLES = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements=st.floats(-1e6, 1e6),
)


@given(TABLES)
def test_standard_scaling_gives_mean_0_and_deviation_1_or_0(inputs):
    inputs = np.round(inputs, 3)
    scaled = scaling_for("standard", inputs).apply(inputs, "float64")
    changing = np.ptp(inputs, axis=0) > 0
    np.testing.assert_allclose(np.mean(scaled, axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.std(scaled, axis=0), changing, atol=1e-6)


def test_a_constant_column_is_shifted_but_not_divided():
    # The mean of many 0.1 is not exactly 0.1, so the deviation is tiny, but not 0.
    inputs = np.full((1001, 1), 0.1)
    computed = scaling_for("standard", inputs)
    assert computed.divisor.tolist() == [1.0]
    assert np.max(np.abs(computed.apply(inputs))) < 1e-12


def test_many_blocks_of_rows_give_what_one_gives(monkeypatch):
    inputs = np.random.default_rng(0).normal(3.0, 2.0, size=(100, 4))
    monkeypatch.setattr(scaling, "_BLOCK_ENTRIES", 28)
    computed = scaling_for("standard", inputs)
    np.testing.assert_allclose(computed.offset, inputs.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(computed.divisor, inputs.std(axis=0), rtol=1e-14)


def test_pictures_are_divided_by_the_number_asked_for():
    images = np.asarray([[0, 51, 255]], dtype=np.uint8)
    scaled = scaling_for("255", images).apply(images)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, images.astype(np.float32) / np.float32(255))


def test_none_leaves_the_numbers_as_they_are_in_a_new_array():
    inputs = np.asarray([[1.5, 2.5]])
    scaled = scaling_for("none", inputs).apply(inputs, "float64")
    assert scaled.tolist() == inputs.tolist()
    assert not np.shares_memory(scaled, inputs)


@pytest.mark.parametrize("spec", ["none", "standard", "2"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scaling_never_changes_its_input_and_lies_row_by_row(spec, dtype):
    inputs = np.asfortranarray(np.arange(12.0).reshape(4, 3))
    inputs.flags.writeable = False
    scaled = scaling_for(spec, inputs).apply(inputs, dtype)
    assert scaled.dtype == dtype
    assert scaled.flags.c_contiguous
    assert scaled.flags.writeable


@pytest.mark.parametrize("spec", ["255", "standard"])
def test_scaling_makes_one_copy_and_no_more(spec):
    images = np.random.default_rng(0).integers(0, 255, (20_000, 200), dtype=np.uint8)
    tracemalloc.start()
    try:
        scaling_for(spec, images).apply(images)
        assert tracemalloc.get_traced_memory()[1] < 1.5 * 4 * images.size
        tracemalloc.reset_peak()
        scaling_for("standard", images)
        assert tracemalloc.get_traced_memory()[1] < 6 * images.size  # float64: 8 times
    finally:
        tracemalloc.stop()


def test_a_column_far_from_0_keeps_its_digits_in_float32():
    stamps = 1.7e9 + np.arange(10.0).reshape(-1, 1)
    scaled = scaling_for("standard", stamps).apply(stamps, "float32")
    np.testing.assert_allclose(np.diff(scaled[:, 0]), scaled[1, 0] - scaled[0, 0], rtol=1e-5)


@pytest.mark.parametrize("spec", ["", "minmax", "0", "-1", "nan", "inf", "255x"])
def test_an_unknown_scaling_lists_the_choices(spec):
    with pytest.raises(ConfigurationError, match="unknown scaling") as caught:
        scaling_for(spec, np.zeros((2, 2)))
    assert "none, standard, or a positive number" in caught.value.hint


def test_rows_of_another_width_are_refused():
    with pytest.raises(DataError, match=r"shape \(1, 3\), but \(n, 2\)"):
        Scaling(np.zeros(2), np.ones(2)).apply(np.zeros((1, 3)))


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_a_value_too_large_for_the_type_is_refused(offset):
    with pytest.raises(DataError, match="too large for float32"):
        Scaling(np.full(1, offset), np.ones(1)).apply(np.asarray([[1e300]]))


@pytest.mark.parametrize("value", [1e200, np.nan])
def test_a_column_that_cannot_be_standardised_is_named(value):
    with pytest.raises(DataError, match="column 1 "):
        scaling_for("standard", np.asarray([[1.0, value], [2.0, -value]]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_value_that_is_not_finite_is_named(value, monkeypatch):
    monkeypatch.setattr(scaling, "_BLOCK_ENTRIES", 6)
    inputs = np.zeros((10, 3))
    inputs[7, 1] = inputs[9, 0] = value
    with pytest.raises(DataError, match=rf"{value} is in row 7, column 1 of rows\.csv"):
        check_finite(inputs, "rows.csv")
    check_finite(inputs[:7])
    check_finite(np.zeros((2, 2), dtype=np.uint8))
