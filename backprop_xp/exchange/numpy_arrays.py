"""NumPy: a model as named arrays, in a .npz file that ``numpy.load`` reads without pickle."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.files import atomic_write
from backprop_xp.models.model import Model
from backprop_xp.models.model_file import tensors_of


def to_numpy_arrays(model: Model) -> dict[str, Array]:
    """Return everything that the predictions of a model need, as named NumPy arrays.

    Parameters
    ----------
    model : Model

    Returns
    -------
    dict of numpy.ndarray
        Arrays of numbers and text, never of objects:

        - ``layers.0.weights`` of shape (n_out, n_in) and ``layers.0.bias`` of shape (n_out,), and
          so on for each layer after the input; no bias for a network without biases;
        - ``activations``: the name of the activation of each layer;
        - ``scaling.offset`` and ``scaling.divisor`` of shape (n_inputs,), float64: the network
          takes (x - offset) / divisor. Missing if inputs are not scaled;
        - ``target_scaling.offset`` and ``target_scaling.divisor`` of shape (n_outputs,), float64:
          the prediction of a regression is output * divisor + offset. Missing if targets were not
          scaled;
        - ``classes``: the names of the classes, in the order of the outputs. A single output is the
          probability of the second of two classes. Missing for a regression;
        - ``features``: the names of the inputs. Missing if they have none;
        - ``preprocessing``: a text of JSON, of shape (): how the columns of a table become inputs.
          Its list ``columns`` has the ``name`` of each column, its ``categories`` (null for
          numbers; otherwise each category is one input, 0 or 1), ``fill``, which replaces missing
          values, and ``indicator``, whether one more input is 1 where a value is missing. Missing
          if the model was not trained on a table.

    Examples
    --------
    >>> from backprop_xp import from_torch_state
    >>> state = {"0.weight": np.asarray([[1.0, 2.0]]), "0.bias": np.asarray([0.5])}
    >>> saved = to_numpy_arrays(from_torch_state(state, "tanh"))
    >>> {name: array.tolist() for name, array in saved.items()}
    {'layers.0.weights': [[1.0, 2.0]], 'layers.0.bias': [0.5], 'activations': ['tanh']}
    >>> a = np.asarray([[3.0, -1.0]])  # a prediction by hand
    >>> np.tanh(a @ saved["layers.0.weights"].T + saved["layers.0.bias"])
    array([[0.90514825]])
    """
    named = tensors_of(model)
    named["activations"] = np.asarray([f.name for f in model.network.activations])
    for name in ("classes", "features"):
        if (texts := getattr(model, name)) is not None:
            named[name] = np.asarray(texts)
    if model.preprocessing is not None:
        text = json.dumps(model.preprocessing.as_dict(), ensure_ascii=False)
        named["preprocessing"] = np.asarray(text)
    return named


def write_numpy_arrays(path: str | os.PathLike[str], model: Model) -> dict[str, Any]:
    """Write the arrays of `to_numpy_arrays` to a file; see `backprop_xp.export_model`."""
    named = to_numpy_arrays(model)
    atomic_write(path, lambda file: np.savez(file, **named))
    return {"arrays": list(named), "notes": []}
