"""Learning-rate schedules: the factor by which the learning rate is multiplied at each step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from backprop_xp.errors import look_up

Schedule = Callable[[float], float]
"""``progress -> factor``: progress runs from 0 at the first step to 1 after the last."""


def constant(progress: float) -> float:
    """Return 1."""
    return 1.0


def linear(progress: float) -> float:
    """Return ``1 - progress``: a straight line down to 0.

    Examples
    --------
    >>> linear(0.25)
    0.75
    """
    return 1.0 - progress


def step(progress: float) -> float:
    """Return ``0.1 ** floor(3 progress)``: a tenth of the rate after each third of the training.

    Examples
    --------
    >>> round(step(0.5), 12)
    0.1
    """
    return float(0.1 ** min(2, math.floor(3.0 * progress + 1e-9)))


def exponential(progress: float) -> float:
    """Return ``0.01 ** progress``: a smooth decay to a hundredth.

    Examples
    --------
    >>> exponential(0.5)
    0.1
    """
    return float(0.01**progress)


def cosine(progress: float) -> float:
    """Return ``½ (1 + cos(π progress))``: half a period of a cosine, from 1 down to 0.

    Source: Loshchilov and Hutter (2017), "SGDR", without restarts.

    Examples
    --------
    >>> round(cosine(0.5), 12)
    0.5
    """
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def one_cycle(progress: float) -> float:
    """Return a factor that rises from 1/25 to 1 over the first 30 %, then falls to 1/250,000.

    Both parts are half a period of a cosine.

    Source: Smith and Topin (2018), "Super-convergence", with the usual parameters.

    Examples
    --------
    >>> round(one_cycle(0.0), 12), one_cycle(0.3)
    (0.04, 1.0)
    """
    if progress < 0.3:
        return 1.0 + (0.04 - 1.0) * cosine(progress / 0.3)
    return 4e-6 + (1.0 - 4e-6) * cosine((progress - 0.3) / 0.7)


SCHEDULES: dict[str, Schedule] = {
    schedule.__name__: schedule
    for schedule in (constant, linear, step, exponential, cosine, one_cycle)
}


def get_schedule(schedule: str | Schedule) -> Schedule:
    """Return the schedule with the given name; a function is returned unchanged.

    Raises
    ------
    ConfigurationError
        If the name is unknown; the hint suggests the nearest one.

    Examples
    --------
    >>> get_schedule("linear")(1.0)
    0.0
    """
    return look_up("schedule", schedule, SCHEDULES, Callable)


def warm_up(step: int, steps: int) -> float:
    """Return the factor of a linear warm-up: ``step / steps``, at most 1; steps count from 1.

    Examples
    --------
    >>> warm_up(1, 4), warm_up(8, 4), warm_up(1, 0)
    (0.25, 1.0, 1.0)
    """
    return min(1.0, step / steps) if steps else 1.0


class Plateau(NamedTuple):
    """The factor on the learning rate, which is halved each time the loss stalls.

    It depends on the history alone, so a run that is continued has the same learning rates.

    Attributes
    ----------
    best : float
        The lowest loss so far.
    waited : int
        Epochs since then, or since the factor was lowered.
    factor : float

    Examples
    --------
    >>> plateau = Plateau()
    >>> for loss in (3.0, 2.0, 2.1, 2.2):
    ...     plateau = plateau.after(loss, patience=2)
    >>> plateau
    Plateau(best=2.0, waited=0, factor=0.5)
    """

    best: float = math.inf
    waited: int = 0
    factor: float = 1.0

    def after(self, loss: float, patience: int) -> Plateau:
        """Return the plateau after an epoch with this loss.

        Parameters
        ----------
        loss : float
        patience : int
            Epochs without a new lowest loss after which the factor is halved.
        """
        if loss < self.best:
            return Plateau(loss, 0, self.factor)
        if self.waited + 1 >= patience:
            return Plateau(self.best, 0, self.factor * 0.5)
        return Plateau(self.best, self.waited + 1, self.factor)
