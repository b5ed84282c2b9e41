"""Early stopping: the best epoch on the validation set, and when to stop after it."""

from __future__ import annotations

from backprop_xp.errors import ConfigurationError
from backprop_xp.training.settings import TrainingSettings
from backprop_xp.training.state import Best, TrainState


def update_best(settings: TrainingSettings, state: TrainState) -> TrainState:
    """Return a state that knows the best epoch so far, and stops after ``patience`` epochs
    without improvement.

    Raises
    ------
    ConfigurationError
        If the accuracy of a regression is to be monitored.
    """
    assert settings.patience is not None
    record, name = state.history[-1], f"validation_{settings.monitor}"
    if name not in record:
        raise ConfigurationError(
            "a regression has no accuracy to monitor", "monitor the loss instead"
        )
    sign = -1.0 if settings.monitor == "loss" else 1.0
    value, best = record[name], state.best
    if best is None or sign * (value - best.value) > settings.min_improvement:
        best = Best(state.epoch, value, state.parameters)
    late = state.epoch - best.epoch >= settings.patience
    return state._replace(best=best, stopped=state.stopped or ("early_stopping" if late else ""))
