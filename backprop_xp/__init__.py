"""Backpropagation written out by hand, once, for NumPy, CuPy, JAX and PyTorch arrays.

Read `nn` first: `activations`, `losses`, `network`, `backpropagation`, `optimizers`. Then
`training`, which runs it. The chapter how-it-works of the guide
(``backprop-xp guide how-it-works``) describes every subpackage.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from backprop_xp.version import __version__

if TYPE_CHECKING:  # "import X as X" marks X as public for type checkers
    from backprop_xp.backend.devices import list_devices as list_devices
    from backprop_xp.backend.devices import select_device as select_device
    from backprop_xp.data.digits import load_digits as load_digits
    from backprop_xp.data.mnist import load_mnist as load_mnist
    from backprop_xp.data.sources import load_dataset as load_dataset
    from backprop_xp.diagnosis.doctor import diagnose as diagnose
    from backprop_xp.diagnosis.learning_rate_finder import find_learning_rate as find_learning_rate
    from backprop_xp.errors import BackpropError as BackpropError
    from backprop_xp.errors import ConfigurationError as ConfigurationError
    from backprop_xp.errors import DataError as DataError
    from backprop_xp.errors import DeviceError as DeviceError
    from backprop_xp.errors import DivergenceError as DivergenceError
    from backprop_xp.errors import ModelFileError as ModelFileError
    from backprop_xp.exchange.export import export_model as export_model
    from backprop_xp.exchange.numpy_arrays import to_numpy_arrays as to_numpy_arrays
    from backprop_xp.exchange.onnx_model import to_onnx as to_onnx
    from backprop_xp.exchange.torch_state import from_torch_state as from_torch_state
    from backprop_xp.exchange.torch_state import to_torch_state as to_torch_state
    from backprop_xp.models.model import Model as Model
    from backprop_xp.models.model import load_model as load_model
    from backprop_xp.models.model import save_model as save_model
    from backprop_xp.nn.activations import elementwise as elementwise
    from backprop_xp.nn.backpropagation import backward as backward
    from backprop_xp.nn.backpropagation import forward as forward
    from backprop_xp.nn.backpropagation import loss_and_gradients as loss_and_gradients
    from backprop_xp.nn.gradient_check import check_gradients as check_gradients
    from backprop_xp.nn.losses import get_loss as get_loss
    from backprop_xp.nn.losses import huber as huber
    from backprop_xp.nn.losses import quantile as quantile
    from backprop_xp.nn.network import Layer as Layer
    from backprop_xp.nn.network import Network as Network
    from backprop_xp.nn.network import initial_parameters as initial_parameters
    from backprop_xp.nn.optimizers import get_optimizer as get_optimizer
    from backprop_xp.runs.run import prepare_run as prepare_run
    from backprop_xp.runs.settings import RunSettings as RunSettings
    from backprop_xp.runs.train import train as train
    from backprop_xp.training.checkpoint import Checkpoint as Checkpoint
    from backprop_xp.training.checkpoint import read_checkpoint as read_checkpoint
    from backprop_xp.training.evaluation import evaluate as evaluate
    from backprop_xp.training.evaluation import predict as predict
    from backprop_xp.training.fit import fit as fit
    from backprop_xp.training.state import TrainState as TrainState

# Where each public name is defined. A module is loaded at the first use of one of its names, so
# that ``backprop-xp --help`` and shell completion do not load NumPy.
_HOMES = {
    "BackpropError": "errors",
    "Checkpoint": "training.checkpoint",
    "ConfigurationError": "errors",
    "DataError": "errors",
    "DeviceError": "errors",
    "DivergenceError": "errors",
    "Layer": "nn.network",
    "Model": "models.model",
    "ModelFileError": "errors",
    "Network": "nn.network",
    "RunSettings": "runs.settings",
    "TrainState": "training.state",
    "backward": "nn.backpropagation",
    "check_gradients": "nn.gradient_check",
    "diagnose": "diagnosis.doctor",
    "elementwise": "nn.activations",
    "evaluate": "training.evaluation",
    "export_model": "exchange.export",
    "find_learning_rate": "diagnosis.learning_rate_finder",
    "fit": "training.fit",
    "forward": "nn.backpropagation",
    "from_torch_state": "exchange.torch_state",
    "get_loss": "nn.losses",
    "get_optimizer": "nn.optimizers",
    "huber": "nn.losses",
    "initial_parameters": "nn.network",
    "list_devices": "backend.devices",
    "load_dataset": "data.sources",
    "load_digits": "data.digits",
    "load_mnist": "data.mnist",
    "load_model": "models.model",
    "loss_and_gradients": "nn.backpropagation",
    "predict": "training.evaluation",
    "prepare_run": "runs.run",
    "quantile": "nn.losses",
    "read_checkpoint": "training.checkpoint",
    "save_model": "models.model",
    "select_device": "backend.devices",
    "to_numpy_arrays": "exchange.numpy_arrays",
    "to_onnx": "exchange.onnx_model",
    "to_torch_state": "exchange.torch_state",
    "train": "runs.train",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
