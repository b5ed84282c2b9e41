"""The learning rate of each step: schedule times warm-up times reduction on a plateau."""

from __future__ import annotations

from collections.abc import Callable

from backprop_xp.nn.schedules import Plateau, get_schedule, warm_up
from backprop_xp.training.settings import TrainingSettings
from backprop_xp.training.state import TrainState

LearningRates = Callable[[TrainState, int], list[float]]
"""``(state, steps) -> rates``: the learning rate of each step of the next epoch."""


def learning_rates(settings: TrainingSettings, state: TrainState, steps: int) -> list[float]:
    """Return the learning rate of each step of the next epoch.

    Parameters
    ----------
    settings : TrainingSettings
    state : TrainState
        Before the epoch.
    steps : int
        The number of steps in an epoch.

    Examples
    --------
    >>> state = TrainState([], [], epoch=0, step=0, seed=0)
    >>> learning_rates(TrainingSettings(learning_rate=0.1), state, 2)
    [0.1, 0.1]
    """
    schedule, total = get_schedule(settings.schedule), steps * settings.epochs
    rate = settings.resolve_learning_rate()
    if state.plateau is not None:
        rate *= state.plateau.factor
    return [
        rate * schedule(number / total) * warm_up(number + 1, settings.warm_up)
        for number in range(state.first_step, state.first_step + steps)
    ]


def update_plateau(settings: TrainingSettings, state: TrainState, *, validated: bool) -> TrainState:
    """Return a state that knows the factor on the learning rate after its last epoch.

    Parameters
    ----------
    settings : TrainingSettings
        With a ``plateau_patience``.
    state : TrainState
        If it has no plateau yet, that follows from its history.
    validated : bool
        Whether the plateau is one of the validation loss, or of the training loss.
    """
    assert settings.plateau_patience is not None
    plateau, records = state.plateau, state.history[-1:]
    if plateau is None:
        plateau, records = Plateau(), state.history[:]
    for record in records:
        loss = record["validation_loss" if validated else "loss"]
        plateau = plateau.after(loss, settings.plateau_patience)
    return state._replace(plateau=plateau)
