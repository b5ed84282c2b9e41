"""Backpropagation written out by hand, once, for NumPy, CuPy, JAX and PyTorch arrays.

The reading order is that of the data: `activations`, `losses`, `network`, `optimizers`,
`execution`, `training`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from backprop_xp.version import __version__

if TYPE_CHECKING:
    from backprop_xp.data.datasets import load_dataset
    from backprop_xp.data.digits import load_digits
    from backprop_xp.data.mnist import load_mnist
    from backprop_xp.devices import list_devices, select
    from backprop_xp.doctor import examine
    from backprop_xp.errors import (
        BackpropError,
        ConfigurationError,
        DataError,
        DeviceError,
        DivergenceError,
        ModelFileError,
    )
    from backprop_xp.evaluation import evaluate, predict
    from backprop_xp.gradient_check import check_gradients
    from backprop_xp.model import Model
    from backprop_xp.model_file import load_model, save_model
    from backprop_xp.network import (
        Layer,
        Network,
        backward,
        forward,
        initial_parameters,
        loss_and_gradients,
    )
    from backprop_xp.rate_finder import find_learning_rate
    from backprop_xp.run import prepare
    from backprop_xp.settings import RunSettings
    from backprop_xp.state import TrainState
    from backprop_xp.training import fit

# Loaded at first use, so that ``backprop-xp --help`` and completion need no NumPy.
_HOMES = {
    "data.datasets": ("load_dataset",),
    "data.digits": ("load_digits",),
    "data.mnist": ("load_mnist",),
    "devices": ("list_devices", "select"),
    "doctor": ("examine",),
    "errors": (
        "BackpropError",
        "ConfigurationError",
        "DataError",
        "DeviceError",
        "DivergenceError",
        "ModelFileError",
    ),
    "evaluation": ("evaluate", "predict"),
    "gradient_check": ("check_gradients",),
    "model": ("Model",),
    "model_file": ("load_model", "save_model"),
    "network": (
        "Layer",
        "Network",
        "backward",
        "forward",
        "initial_parameters",
        "loss_and_gradients",
    ),
    "rate_finder": ("find_learning_rate",),
    "run": ("prepare",),
    "settings": ("RunSettings",),
    "state": ("TrainState",),
    "training": ("fit",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BackpropError",
    "ConfigurationError",
    "DataError",
    "DeviceError",
    "DivergenceError",
    "Layer",
    "Model",
    "ModelFileError",
    "Network",
    "RunSettings",
    "TrainState",
    "__version__",
    "backward",
    "check_gradients",
    "evaluate",
    "examine",
    "find_learning_rate",
    "fit",
    "forward",
    "initial_parameters",
    "list_devices",
    "load_dataset",
    "load_digits",
    "load_mnist",
    "load_model",
    "loss_and_gradients",
    "predict",
    "prepare",
    "save_model",
    "select",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
