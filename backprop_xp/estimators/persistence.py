"""Saving and loading estimators as model files, the same as those of the command line."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from backprop_xp.backend import arrays
from backprop_xp.estimators.parameters import TO_SKLEARN, loss_in_a_file, network_of
from backprop_xp.models.model import Model, load_model, save_model
from backprop_xp.nn.network import Layer


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to a model file."""
    parameters = [
        Layer(arrays.to_numpy(weights).T, arrays.to_numpy(bias))
        for weights, bias in zip(estimator.coefs_, estimator.intercepts_, strict=True)
    ]
    sizes = [parameters[0].weights.shape[1], *(layer.weights.shape[0] for layer in parameters)]
    names = getattr(estimator, "feature_names_in_", None)
    model = Model(
        network=network_of(estimator, sizes),
        parameters=parameters,
        loss=loss_in_a_file(estimator),
        scaling=estimator._scaling,
        classes=estimator._class_names(),
        label_type=estimator._label_type(),
        features=None if names is None else tuple(map(str, names)),
        seed=estimator._state.seed,
    )
    save_model(model, path)


def load(cls: Any, path: str | os.PathLike[str], parameters: dict[str, Any]) -> Any:
    """Return an estimator of class ``cls`` from a model file."""
    model = load_model(path)
    if model.preprocessing is not None and len(model.preprocessing.inputs) != len(
        model.preprocessing.columns
    ):
        raise ValueError(
            "The model was trained on a table with categories or missing values, which an "
            "estimator cannot take: use backprop_xp.load_model."
        )
    network = model.network
    names = [TO_SKLEARN.get(f.name, f.name) for f in network.activations]
    settings = {
        "hidden_layer_sizes": network.sizes[1:-1],
        "activation": names[0] if len(set(names[:-1])) == 1 else names[:-1] or "relu",
        "loss": _loss(model.loss.name),
        **parameters,
    }
    estimator = cls(**settings)
    estimator._take_model(model, names[-1])
    estimator.n_outputs_ = network.sizes[-1]
    estimator.out_activation_ = names[-1]
    estimator.n_features_in_ = network.sizes[0]
    if model.features is not None:
        estimator.feature_names_in_ = np.asarray(model.features, dtype=object)
    estimator._reset(len(network.sizes), model.seed)
    estimator._scaling = model.scaling
    layers = [Layer(w, np.zeros_like(w[:, 0]) if b is None else b) for w, b in model.parameters]
    if model.target_scaling is not None:
        # Its output layer has the identity, so it can give the targets in their own units itself.
        offset, divisor = (part.astype(model.dtype) for part in model.target_scaling)
        last = layers[-1]
        layers[-1] = Layer(last.weights * divisor[:, None], last.bias * divisor + offset)
    estimator._set_coefs(layers)
    return estimator


def _loss(name: str) -> str:
    """Return scikit-learn's name of a loss, if it has one, else the name itself."""
    if name in ("cross_entropy", "binary_cross_entropy"):
        return "log_loss"
    return "squared_error" if name == "half_squared_error" else name


_TYPES = {"b": "boolean", "i": "integer", "u": "integer", "f": "number"}


def label_type(labels: Any) -> str:
    """Return the type of class labels for a model file, which has only their names."""
    return _TYPES.get(labels.dtype.kind, "text")
