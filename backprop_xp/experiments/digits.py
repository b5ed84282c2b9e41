"""The digits of the experiments: pairs of float64 inputs and labels."""

from __future__ import annotations

from typing import Any, NamedTuple

from backprop_xp.data.dataset import Dataset
from backprop_xp.data.digits import load_digits
from backprop_xp.data.mnist import load_mnist
from backprop_xp.data.scaling import scaling_for


class Digits(NamedTuple):
    """Digits as pairs of inputs in float64 and labels."""

    train: tuple[Any, Any]
    validation: tuple[Any, Any]
    test: tuple[Any, Any]


def bundled_digits() -> Digits:
    """Return the 1,797 bundled digits, pixels from 0 to 1."""
    data = load_digits()
    return _scaled(data, data.default_scaling)


def published_digits(data_dir: str | None) -> Digits:
    """Return MNIST with pixels divided by 256, exact in float64."""
    return _scaled(load_mnist(data_dir), "256")


def _scaled(data: Dataset, name: str) -> Digits:
    scaling = scaling_for(name, data.train.inputs)
    splits = filter(None, (data.train, data.validation, data.test))
    return Digits(*((scaling.apply(split.inputs, "float64"), split.targets) for split in splits))


def first(data: tuple[Any, Any], n: int) -> tuple[Any, Any]:
    """Return the first ``n`` samples."""
    return data[0][:n], data[1][:n]
