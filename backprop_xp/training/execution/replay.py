"""How one step is run: as written, compiled (JAX), or replayed (NumPy, once that pays)."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from backprop_xp.backend.arrays import Array, Namespace, backend_name, compiled
from backprop_xp.data.batch import Batch, take_rows
from backprop_xp.nn.network import Parameters, map_arrays
from backprop_xp.nn.optimizers import Scalars, Slots
from backprop_xp.training.execution.recording import record
from backprop_xp.training.step import TrainingStep

StepInputs = tuple[Parameters, Batch, Array | None, Any, Scalars]
"""``(parameters, data, rows, step, scalars)``: the inputs of a step. The batch is those rows of the
data, or all of them for None; ``step`` is the number of updates before it."""

RECORD_AFTER = 50
"""Steps of one batch size that are run as written. A recording takes some 2.5 ms and saves 15 to
50 µs a step, so it is made for training runs that will probably gain by it."""

RECORD_UP_TO = 300_000
"""The largest number of parameters for which a step is recorded. In larger networks the time that
Python takes is not noticeable, and a recording, which is made on copies, would need memory."""


class StepFunctions(NamedTuple):
    """The two halves of a step as they are run.

    Attributes
    ----------
    gradients : callable ``(parameters, data, rows, step, scalars) -> (loss, outputs, gradients)``
    update : callable ``(parameters, gradients, slots, scalars) -> (parameters, slots)``
    """

    gradients: Callable[..., tuple[Any, Array, Parameters]]
    update: Callable[..., tuple[Parameters, list[Slots]]]


class StepReplayer:
    """Chooses how the steps of a training run are run, for each batch size.

    Parameters
    ----------
    step : TrainingStep
    record_after : int
        Steps of one batch size that are run as written before one is recorded.
    record_up_to : int
        The largest number of parameters for which a step is recorded.

    Attributes
    ----------
    recorded : dict of (int, bool) to StepFunctions
        The final choice for each batch size; True for a batch of all the data.
    """

    def __init__(
        self,
        step: TrainingStep,
        *,
        record_after: int = RECORD_AFTER,
        record_up_to: int = RECORD_UP_TO,
    ) -> None:
        self._step = step
        self._xp = step.xp
        self._record_after = record_after
        self._records = (
            backend_name(step.xp) == "numpy"
            and step.recordable
            and step.network.n_parameters <= record_up_to
        )
        self._written = StepFunctions(*(compiled(f, step.xp) for f in as_written(step)))
        self.recorded: dict[tuple[int, bool], StepFunctions] = {}
        self._counts: Counter[tuple[int, bool]] = Counter()

    def functions_for(self, size: int, slots: list[Slots], inputs: StepInputs) -> StepFunctions:
        """Return how to run the step of a batch of ``size`` rows; nothing is consumed."""
        kind = size, inputs[2] is None
        if kind in self.recorded:
            return self.recorded[kind]
        self._counts[kind] += 1
        if self._counts[kind] <= self._record_after:
            return self._written
        self.recorded[kind] = self._written
        if self._records:
            with suppress(Exception):  # some steps cannot be recorded, such as sparse batches
                self.recorded[kind] = self._record(slots, inputs)
        return self.recorded[kind]

    def _record(self, slots: list[Slots], inputs: StepInputs) -> StepFunctions:
        """Return the step as recorded, if its results equal those of the step as written."""
        parameters, data, rows, step, scalars = inputs
        xp = self._xp
        parameters, slots = copies(parameters, slots, self._step)

        def functions_on(xp: Namespace) -> StepFunctions:
            return as_written(self._step._replace(xp=xp))

        gradients_function, (_, _, gradients) = record(
            lambda xp: functions_on(xp).gradients, (parameters, data, rows, step, scalars), xp
        )
        update_function, (parameters, slots) = record(
            lambda xp: functions_on(xp).update, (parameters, gradients, slots, scalars), xp
        )
        recorded = StepFunctions(gradients_function, update_function)

        def run(
            functions: StepFunctions, parameters: Parameters, slots: list[Slots]
        ) -> list[Array]:
            loss, outputs, gradients = functions.gradients(
                parameters, data, rows, step + 1, scalars
            )
            layers, slots = functions.update(parameters, gradients, slots, scalars)
            return [
                loss,
                outputs,
                *(p for arrays in (*layers, *slots) for p in arrays if p is not None),
            ]

        # A recording is used only if it computes another step with the same bits.
        pairs = zip(
            run(self._written, *copies(parameters, slots, self._step)),
            run(recorded, parameters, slots),
            strict=True,
        )
        return recorded if all(xp.all(a == b) for a, b in pairs) else self._written


def as_written(step: TrainingStep) -> StepFunctions:
    """Return the halves of a step; the first one gathers its batch, and keeps only the outputs of
    the tape."""

    def gradients(
        parameters: Parameters, data: Batch, rows: Array | None, number: Any, scalars: Scalars
    ) -> tuple[Any, Array, Parameters]:
        result = step.gradients(parameters, take_rows(data, rows, step.xp), number, scalars)
        return result.loss, result.tape.a[-1], result.gradients.layers

    return StepFunctions(gradients, step.update)


def copies(
    parameters: Parameters, slots: list[Slots], step: TrainingStep
) -> tuple[Parameters, list[Slots]]:
    """Return copies of parameters and optimizer state, for a step that consumes them."""
    copy = functools.partial(step.xp.asarray, device=step.device, copy=True)
    return map_arrays(copy, parameters), [tuple(map(copy, arrays)) for arrays in slots]
