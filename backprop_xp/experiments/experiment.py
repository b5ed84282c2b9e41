"""What an experiment is, what it gives, and where to find the one of a name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

from backprop_xp.errors import look_up


class Outcome(NamedTuple):
    """What came out of an experiment.

    Attributes
    ----------
    published : dict
        What was published or claimed.
    measured : dict
        What came out, under the same keys.
    passed : bool
        Whether it bears the claim out.
    verdict : str
        That in a sentence.
    history : object
        All that was recorded on the way: lists of records, by run.
    """

    published: dict[str, Any]
    measured: dict[str, Any]
    passed: bool
    verdict: str
    history: Any = ()


class Experiment(NamedTuple):
    """A named experiment.

    Attributes
    ----------
    name : str
    shows : str
        What it shows, in a sentence.
    settings : str
        Network, data and hyperparameters, as text.
    source : str
        Where the claim was made.
    run : callable ``(data_dir) -> Outcome``, or ``(data_dir, placement, on_epoch) -> Outcome``
        ``data_dir`` is the folder of the MNIST files, or None for the usual place.
    needs_mnist : bool
    epochs : int
        Those of the one training of an experiment that runs on any device: its ``run`` takes the
        placement, and a function to call with the state after each of them. 0 for all others,
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
    return {found.name: found for module in modules for found in module.EXPERIMENTS}


def get_experiment(name: str) -> Experiment:
    """Return the experiment of that name.

    Raises
    ------
    ConfigurationError
        If there is none of that name; the message suggests the nearest.

    Examples
    --------
    >>> get_experiment("overfitting").needs_mnist
    True
    """
    return look_up("experiment", name, experiments())
