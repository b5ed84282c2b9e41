"""Experiments and their outcomes, and the experiments by name."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from backprop_xp.errors import look_up


class Outcome(NamedTuple):
    """The outcome of an experiment.

    Attributes
    ----------
    published : dict
        The published or claimed results.
    measured : dict
        The measured results, under the same keys.
    passed : bool
        Whether the results confirm the claim.
    verdict : str
        The comparison in a sentence.
    history : object
        Everything that was recorded during the runs: lists of records, by run.
    """

    published: dict[str, Any]
    measured: dict[str, Any]
    passed: bool
    verdict: str
    history: Any = ()


def same(published: Any, measured: Any) -> bool:
    """Return whether all counts are equal and all costs agree to a relative 1e-9."""
    if isinstance(published, dict):
        return all(same(value, measured[key]) for key, value in published.items())
    if isinstance(published, (list, tuple)):
        return len(published) == len(measured) and all(map(same, published, measured))
    if isinstance(published, float):
        return math.isclose(published, measured, rel_tol=1e-9)
    return bool(published == measured)


def compare(
    published: dict[str, Any],
    measured: dict[str, Any],
    history: Any,
    confirmed: str,
    otherwise: str = "differs from the published run",
) -> Outcome:
    """Return the outcome of results that should be the `same` as published, and its verdict."""
    passed = same(published, measured)
    return Outcome(published, measured, passed, confirmed if passed else otherwise, history)


class Experiment(NamedTuple):
    """A named experiment.

    Attributes
    ----------
    name : str
    shows : str
        The claim, in a sentence.
    settings : str
        Network, data and hyperparameters, as text.
    source : str
        The source of the claim.
    run : callable ``(data_dir) -> Outcome``, or ``(data_dir, placement, on_epoch) -> Outcome``
        ``data_dir`` is the folder of the MNIST files, or None for the default folder.
    needs_mnist : bool
    epochs : int
        The number of epochs of an experiment that runs on any device: its ``run`` also takes the
        placement and a function that is called with the state after each epoch. 0 for all others,
        which run with NumPy.
    """

    name: str
    shows: str
    settings: str
    source: str
    run: Callable[..., Outcome]
    needs_mnist: bool = False
    epochs: int = 0


_MODULES = (
    "worked_examples",
    "chain_rule",
    "linear_collapse",
    "vanishing_gradients",
    "dead_relu",
    "learning_rate_choice",
    "learning_rates",
    "perceptrons",
    "darkness",
    "digits_log",
    "slowdown",
    "overfitting",
    "generalization",
    "more_data",
    "weight_initialization",
    "records",
)


def experiments() -> dict[str, Experiment]:
    """Return all experiments by name, in the order of the notes."""
    modules = (importlib.import_module(f"backprop_xp.experiments.{name}") for name in _MODULES)
    return {one.name: one for module in modules for one in module.EXPERIMENTS}


def get_experiment(name: str) -> Experiment:
    """Return the experiment with the given name; underscores in it are read as hyphens.

    Examples
    --------
    >>> get_experiment("overfitting").needs_mnist
    True
    """
    return look_up("experiment", name.replace("_", "-"), experiments())
