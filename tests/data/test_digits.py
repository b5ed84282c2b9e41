"""The bundled digits."""

from __future__ import annotations

import hashlib
import runpy
from collections import Counter
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from backprop_xp.data.digits import load_digits

SCRIPT = Path(__file__).parents[2] / "scripts" / "export_digits.py"
SPLIT_SHA256 = "ed02edd56b07a74767fa3441b9933ebbd770aa2da4c24a8e4b6dea4e614e766e"


def splits_of(digits):
    return digits.train, digits.validation, digits.test


def test_the_digits_are_1797_pictures_of_8_by_8():
    digits = load_digits()
    assert [split.size for split in splits_of(digits)] == [1078, 362, 357]
    for split in splits_of(digits):
        assert split.inputs.dtype == np.uint8
        assert split.inputs.shape == (split.size, 64)
        assert split.inputs.max() == 16
        assert split.targets.dtype == np.int64
        assert split.targets.shape == (split.size,)
    assert digits.classes == tuple("0123456789")
    assert digits.image_shape == (8, 8)
    assert digits.default_scaling == "16"
    assert (digits.n_inputs, digits.n_outputs) == (64, 10)


def test_every_digit_has_its_share_in_every_part():
    digits = load_digits()
    counts = [Counter(split.targets.tolist()) for split in splits_of(digits)]
    for digit, count in sum(counts, Counter()).items():
        for in_split, fraction in zip(counts, (0.6, 0.2, 0.2), strict=True):
            assert abs(in_split[digit] - fraction * count) < 1


def test_the_split_is_the_same_for_ever():
    # Published results depend on it: a new version of NumPy must not change it.
    content = b"".join(
        split.inputs.tobytes() + split.targets.astype("<i8").tobytes()
        for split in splits_of(load_digits())
    )
    assert hashlib.sha256(content).hexdigest() == SPLIT_SHA256


def test_the_digits_are_those_of_scikit_learn():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: nothing to compare with")
    from sklearn.datasets import load_digits as reference

    x, y = reference(return_X_y=True)
    with resources.files("backprop_xp.data").joinpath("digits.npz").open("rb") as file:
        stored = np.load(file)
        np.testing.assert_array_equal(stored["x"], x)
        np.testing.assert_array_equal(stored["y"], y)


def test_the_export_gives_the_same_bytes_each_time(tmp_path):
    npz_bytes = runpy.run_path(str(SCRIPT))["npz_bytes"]
    content = npz_bytes(x=np.arange(5, dtype=np.uint8))
    assert content == npz_bytes(x=np.arange(5, dtype=np.uint8))
    path = tmp_path / "packed.npz"
    path.write_bytes(content)
    with np.load(path) as archive:
        assert archive["x"].tolist() == [0, 1, 2, 3, 4]


def test_the_licence_of_the_digits_travels_with_them():
    text = resources.files("backprop_xp.data").joinpath("DIGITS-LICENSE.txt").read_text("utf-8")
    assert "Alpaydin" in text
    assert "creativecommons.org/licenses/by/4.0" in text
