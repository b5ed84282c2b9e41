"""The learning rate of each step: schedule times warm-up times reduction on a plateau."""

from __future__ import annotations

from collections.abc import Callable

from backprop_xp.nn.schedules import get_schedule, plateau_factor, warm_up
from backprop_xp.training.settings import TrainingSettings
from backprop_xp.training.state import TrainState

LearningRates = Callable[[TrainState, int], list[float]]
"""``(state, steps) -> rates``: the learning rate of each step of the next epoch."""


def learning_rates(
    settings: TrainingSettings, state: TrainState, steps: int, *, validated: bool
) -> list[float]:
    """Return the learning rate of each step of the next epoch.

    Parameters
    ----------
    settings : TrainingSettings
    state : TrainState
        Before the epoch.
    steps : int
        The number of steps in an epoch.
    validated : bool
        Whether a plateau is one of the validation loss, or of the training loss.

    Examples
    --------
    >>> state = TrainState([], [], epoch=0, step=0, seed=0)
    >>> learning_rates(TrainingSettings(learning_rate=0.1), state, 2, validated=False)
    [0.1, 0.1]
    """
    schedule, total = get_schedule(settings.schedule), steps * settings.epochs
    rate = settings.resolve_learning_rate()
    if settings.plateau_patience is not None:
        name = "validation_loss" if validated else "loss"
        losses = [record[name] for record in state.history]
        rate *= plateau_factor(losses, settings.plateau_patience)
    return [
        rate * schedule(number / total) * warm_up(number + 1, settings.warm_up)
        for number in range(state.step, state.step + steps)
    ]
