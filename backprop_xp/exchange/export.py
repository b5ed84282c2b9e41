"""Export: a model in a file that other programs read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from backprop_xp.errors import ConfigurationError, check_name

if TYPE_CHECKING:
    from backprop_xp.models.model import Model

FORMATS = {"onnx": ".onnx", "torch": ".safetensors", "numpy": ".npz"}
"""The formats, and how the names of their files end."""


def export_model(model: Model, path: str | os.PathLike[str], file_format: str) -> dict[str, Any]:
    """Write a model to a file for another program.

    Parameters
    ----------
    model : Model
    path : path
        Ends in ``.onnx``, ``.safetensors`` or ``.npz``, as the format requires. An existing file is
        replaced.
    file_format : {"onnx", "torch", "numpy"}
        - ``"onnx"``: the model of `to_onnx`, which takes raw rows;
        - ``"torch"``: the weights of `to_torch_state`, in the safetensors format;
        - ``"numpy"``: the arrays of `to_numpy_arrays`, for ``numpy.load``.

    Returns
    -------
    dict
        ``notes``, a list of what the user of the file has to know, such as the preprocessing that
        it does not contain; and for each format:

        - onnx: ``inputs`` and ``outputs``, each a list of dicts with ``name``, ``type`` and
          ``shape`` (None for the number of rows); ``opset``, ``ml_opset`` and ``ir_version``;
        - torch: ``tensors`` (their names) and ``module``, the Python code of the ``nn.Sequential``
          that loads them, or None;
        - numpy: ``arrays``, their names.

    Raises
    ------
    ConfigurationError
        If the format is unknown, the path has another ending, the model cannot be written in this
        format, or the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from backprop_xp import from_torch_state
    >>> model = from_torch_state({"0.weight": np.ones((1, 2)), "0.bias": np.zeros(1)}, "tanh")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = export_model(model, os.path.join(folder, "m.safetensors"), "torch")
    >>> written["module"]
    'nn.Sequential(nn.Linear(2, 1), nn.Tanh())'
    """
    check_name("format", file_format, FORMATS)
    ending = FORMATS[file_format]
    if not os.fspath(path).lower().endswith(ending):
        raise ConfigurationError(
            f"{os.fspath(path)}: a file of the format {file_format} ends in {ending}",
            f"name a file that ends in {ending}, or choose another format",
        )
    # Each format is imported where it is needed: ONNX is optional.
    if file_format == "onnx":
        from backprop_xp.exchange.onnx_model import write_onnx

        return write_onnx(path, model)
    if file_format == "torch":
        from backprop_xp.exchange.torch_state import write_torch_state

        return write_torch_state(path, model)
    from backprop_xp.exchange.numpy_arrays import write_numpy_arrays

    return write_numpy_arrays(path, model)
