"""The bundled digits for experiments: pairs of float64 inputs and labels."""

from __future__ import annotations

from typing import Any

from backprop_xp.data.dataset import Split
from backprop_xp.data.digits import load_digits
from backprop_xp.data.scaling import scaling_for
from backprop_xp.experiments.published import Digits


def bundled_digits() -> Digits:
    """Return the 1,797 bundled digits, pixels from 0 to 1."""
    data = load_digits()
    scaling = scaling_for(data.default_scaling, data.train.inputs)

    def pair(part: Split | None) -> tuple[Any, Any]:
        assert part is not None
        return scaling.apply(part.inputs, "float64"), part.targets

    return Digits(pair(data.train), pair(data.validation), pair(data.test))
