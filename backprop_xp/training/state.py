"""The state of a training run: one record of everything that is needed to continue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from backprop_xp.backend import random
from backprop_xp.backend.devices import Placement
from backprop_xp.errors import ConfigurationError, HintMixin
from backprop_xp.formatting import pluralize
from backprop_xp.nn.network import (
    Network,
    Parameters,
    check_parameters,
    initial_parameters,
    map_arrays,
)
from backprop_xp.nn.optimizers import Optimizer, Slots, initial_slots
from backprop_xp.nn.schedules import Plateau
from backprop_xp.training.history import History, as_html
from backprop_xp.training.settings import TrainingSettings


class Best(NamedTuple):
    """The best epoch so far: its number, the monitored value, and its parameters."""

    epoch: int
    value: float
    parameters: Parameters

    def __repr__(self) -> str:
        return f"Best(epoch {self.epoch}, value {self.value:.4g})"


class WithinEpoch(NamedTuple):
    """How far an epoch has come, in a state that a checkpoint holds of an epoch of many chunks.

    Attributes
    ----------
    chunks, steps, rows : int
        The numbers of chunks, updates and rows of the epoch so far.
    loss : float
        The sum of the losses of the chunks so far.
    correct : int
        The number of correct predictions so far.
    layers : dict
        The layer statistics that were measured before the epoch.
    seconds : float
    """

    chunks: int
    steps: int
    rows: int
    loss: float
    correct: int
    layers: dict[str, Any]
    seconds: float


class TrainState(NamedTuple):
    """The state of a training run after an epoch: everything that is needed to continue.

    Training never changes a state or its arrays; each epoch makes a new one. A run that continues
    from a state gives the same bits as one that was never interrupted.

    Attributes
    ----------
    parameters : list of Layer
        The weights after the epoch. With early stopping, `backprop_xp.fit` returns those of the
        best epoch.
    slots : list of tuple of arrays
        The arrays that the optimizer carries from step to step; empty to start it anew.
    epoch, step : int
        The number of epochs and of updates so far.
    seed : int
        All random draws follow from it.
    history : sequence of dict
        One record for each epoch: ``epoch``, ``step``, ``learning_rate``, ``seconds``,
        ``loss`` (the mean over the epoch, each batch measured before its update, without the
        penalty unless that is per batch), ``accuracy`` of the same predictions if there are
        classes, ``penalty`` if there is another one, and, measured after the epoch where
        requested, ``train_loss``, ``train_accuracy``, ``validation_loss``,
        ``validation_accuracy``; from time to time ``layers``, from
        `backprop_xp.training.layer_statistics`: the epoch's first step, measured beforehand.
        Dropout and augmentation affect ``loss`` and ``accuracy``, but not the others.
    best : Best or None
        The best epoch so far on the validation set, with early stopping.
    stopped : str
        Why training ended before its last epoch, ``"target_loss"``, ``"early_stopping"`` or
        ``"on_epoch"``; empty if it did not.
    last_parameters : list of Layer or None
        The weights of the last epoch, if ``parameters`` are those of the best one. Training
        continues from them.
    plateau : Plateau or None
        The factor on the learning rate, with ``plateau_patience``.
    within_epoch : WithinEpoch or None
        How far the next epoch has come, in a state from a checkpoint within an epoch.
    """

    parameters: Parameters
    slots: list[Slots]
    epoch: int
    step: int
    seed: int
    history: Sequence[dict[str, Any]] = ()
    best: Best | None = None
    stopped: str = ""
    last_parameters: Parameters | None = None
    plateau: Plateau | None = None
    within_epoch: WithinEpoch | None = None

    @property
    def first_step(self) -> int:
        """The number of updates before the next epoch."""
        return self.step if self.within_epoch is None else self.step - self.within_epoch.steps

    def __repr__(self) -> str:
        shown = ("loss", "accuracy", "validation_loss", "validation_accuracy")
        last = self.history[-1] if self.history else {}
        figures = [f"{name} {last[name]:.4g}" for name in shown if name in last]
        return f"TrainState({', '.join([self._title(), *figures])})"

    def _repr_html_(self) -> str:
        """Return the history as a notebook shows it."""
        best = None if self.best is None else self.best.epoch
        return as_html(self.history, self._title(), best)

    def _title(self) -> str:
        title = (
            f"{pluralize(self.epoch, 'epoch')}, {pluralize(self.step, 'step')}, seed {self.seed}"
        )
        return f"{title}; stopped: {self.stopped}" if self.stopped else title


class TrainingInterrupted(HintMixin, KeyboardInterrupt):
    """Ctrl-C during training.

    Attributes
    ----------
    state : TrainState
        The state after the last complete epoch.
    model : Model or None
        Its model, if `backprop_xp.train` was interrupted.
    """

    model: object = None

    def __init__(self, state: TrainState) -> None:
        done = f"after epoch {state.epoch}" if state.epoch else "before the end of the first epoch"
        super().__init__(f"interrupted {done}")
        self.state = state


def initial_state(
    network: Network,
    settings: TrainingSettings,
    placement: Placement,
    parameters: Parameters | None = None,
    state: TrainState | None = None,
) -> TrainState:
    """Return the state before the first epoch, with copies of all arrays on the device.

    Parameters
    ----------
    network : Network
    settings : TrainingSettings
    placement : Placement
    parameters : list of Layer, optional
        The initial weights; by default they are drawn from the seed.
    state : TrainState, optional
        The state to continue from.

    Raises
    ------
    ConfigurationError
        If parameters or optimizer state do not fit the network or the optimizer.

    Examples
    --------
    >>> from backprop_xp.backend.devices import placement_of
    >>> settings = TrainingSettings(seed=0, optimizer="momentum")
    >>> state = initial_state(Network((2, 1), "identity"), settings, placement_of([[0.0]]))
    >>> state.epoch, state.parameters[0].weights.shape, len(state.slots)
    (0, (1, 2), 2)
    """
    if state is None:
        seed = random.draw_seed() if settings.seed is None else settings.seed
        state = TrainState([], [], epoch=0, step=0, seed=seed)
    elif parameters is None:
        parameters = state.last_parameters or state.parameters

    def copied(array: Any) -> Any:
        return placement.asarray(array, copy=True)

    if parameters is None:
        parameters = initial_parameters(
            network,
            state.seed,
            settings.initializer,
            xp=placement.xp,
            dtype=placement.dtype,
            device=placement.device,
        )
    else:
        check_parameters(network, parameters)
        parameters = map_arrays(copied, parameters)
    optimizer = settings.resolve_optimizer()
    slots = [tuple(map(copied, arrays)) for arrays in state.slots]
    if slots:
        _check_slots(slots, parameters, optimizer)
    best = state.best
    if best is not None:
        best = best._replace(parameters=map_arrays(placement.asarray, best.parameters))
    return state._replace(
        parameters=parameters,
        slots=slots or initial_slots(optimizer, parameters, xp=placement.xp),
        history=History.of(state.history),
        best=best,
        stopped="",
        last_parameters=None,
        plateau=None,
    )


def with_best_parameters(state: TrainState) -> TrainState:
    """Return the state with the parameters of its best epoch, if early stopping recorded one."""
    if state.best is None:
        return state
    return state._replace(parameters=state.best.parameters, last_parameters=state.parameters)


def _check_slots(slots: list[Slots], parameters: Parameters, optimizer: Optimizer) -> None:
    """Raise an error if optimizer state belongs to another optimizer or network."""
    arrays = [p for layer in parameters for p in layer if p is not None]
    fits = len(slots) == len(arrays) and all(
        len(kept) == len(optimizer.slots) and all(slot.shape == p.shape for slot in kept)
        for kept, p in zip(slots, arrays, strict=True)
    )
    if not fits:
        raise ConfigurationError(
            f"the state to continue from does not hold the arrays of the optimizer "
            f"{optimizer.name!r} for this network",
            "use the optimizer that the state was trained with, or start the optimizer anew with "
            "state._replace(slots=[])",
        )
