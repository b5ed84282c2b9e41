"""The interface of an executor: the plan of an epoch, and its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from backprop_xp.nn.backpropagation import StepResult
from backprop_xp.nn.network import Parameters
from backprop_xp.nn.optimizers import Scalars, Slots
from backprop_xp.training.state import WithinEpoch

OnStep = Callable[[int, Any, Callable[[], StepResult]], bool]
"""``(index of the step in the epoch, loss, inspect) -> stop``: called with the loss of each step
before its update; ``inspect()`` returns everything that was computed for it."""


AfterChunk = Callable[[int, "EpochResult"], object]
"""``(chunks, result)``: called between the chunks of an epoch, with the number of chunks so far;
``result.loss`` is the sum of the losses of the chunks. Its arrays change later."""


class EpochPlan(NamedTuple):
    """The steps of an epoch.

    Attributes
    ----------
    batch_size : int
        The last batch of an epoch has the rows that remain.
    scalars : sequence of tuple of float
        The optimizer's numbers for each step.
    first_step : int
        The number of updates before this epoch.
    on_step : callable, optional
        Called at each step before its update, and may stop the epoch there. The host then waits
        for the device at every step.
    after_chunk : callable, optional
        Called after each chunk except the last one.
    within : WithinEpoch, optional
        How far the epoch has come, if it is continued.
    counts_correct : bool
        Whether correct predictions are counted.
    on_steps : callable ``(done)``, optional
        Called with the number of steps of the epoch that were started, by executors that run a
        chunk step by step. It does not wait for the device.
    """

    batch_size: int
    scalars: Sequence[Scalars]
    first_step: int
    on_step: OnStep | None = None
    after_chunk: AfterChunk | None = None
    within: WithinEpoch | None = None
    counts_correct: bool = False
    on_steps: Callable[[int], object] | None = None


class EpochResult(NamedTuple):
    """The result of an epoch.

    Attributes
    ----------
    parameters : list of Layer
    slots : list of tuple of arrays
        The optimizer's arrays, in the order of the parameter arrays.
    loss : array, shape (), or float
        The mean over the samples of the epoch; each loss is from before the update of its step.
    steps : int
        The number of updates.
    rows : int
        The number of rows that the loss was measured on.
    correct : array, shape (), or int
        The number of rows whose class was predicted correctly before the update of their step, if
        the plan counts them.
    """

    parameters: Parameters
    slots: list[Slots]
    loss: Any
    steps: int
    rows: int
    correct: Any = 0
