"""Step by step: an epoch on NumPy, CuPy, PyTorch and array-api-strict."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from backprop_xp.backend.arrays import Array, backend_name
from backprop_xp.backend.host import (
    ignore_overflow,
    is_synchronous,
    keep_freed_memory,
    limit_threads,
)
from backprop_xp.data.batch import Batch, take_rows
from backprop_xp.data.sparse import SparseRows
from backprop_xp.nn.backpropagation import StepResult
from backprop_xp.nn.network import Parameters
from backprop_xp.nn.optimizers import Scalars, Slots
from backprop_xp.training.execution.executor import EpochPlan, EpochResult
from backprop_xp.training.execution.replay import StepInputs, StepReplayer, copies
from backprop_xp.training.execution.slices import update_in_slices
from backprop_xp.training.step import TrainingStep


class EagerExecutor:
    """Runs epochs step by step.

    Parameters
    ----------
    step : TrainingStep
    **recording
        When a step is recorded; see `backprop_xp.training.execution.replay.StepReplayer`.
    """

    def __init__(self, step: TrainingStep, **recording: int) -> None:
        if backend_name(step.xp) == "numpy":
            keep_freed_memory()
            step = step._replace(update_parameters=update_in_slices)
        self.step = step
        self._replayer = StepReplayer(step, **recording)

    def run_epoch(
        self,
        parameters: Parameters,
        slots: list[Slots],
        chunks: Iterable[tuple[Batch, Array]],
        plan: EpochPlan,
    ) -> EpochResult:
        """Train on every row once.

        Parameters
        ----------
        parameters, slots
            As after the previous epoch. Not changed.
        chunks : iterable of (batch, order)
            The training rows on the device, and the order in which to take them. Every chunk
            except the last consists of complete batches. If the epoch is continued, the chunks
            that are left.
        plan : EpochPlan
        """
        if backend_name(self.step.xp) != "jax":  # whose arrays cannot be changed
            parameters, slots = copies(parameters, slots, self.step)
        total: Any = 0.0
        chunk, rows, done, unit = 0, 0, 0, 0
        if plan.within is not None:
            chunk, done, rows, total = plan.within[:4]
            unit = rows // chunk
        products = plan.batch_size * self.step.network.largest_layer
        with ignore_overflow(self.step.xp), limit_threads(products, xp=self.step.xp):
            for data, order in chunks:
                if chunk and plan.after_chunk is not None:
                    plan.after_chunk(chunk, rows, EpochResult(parameters, slots, total, done))
                n, chunk = order.shape[0], chunk + 1
                unit = unit or n  # with a single chunk its mean stays the same to the last bit
                result = self._run_chunk(parameters, slots, data, order, plan, done)
                parameters, slots = result.parameters, result.slots
                stopped = result.steps < -(-n // plan.batch_size)
                count = min((result.steps + 1) * plan.batch_size, n) if stopped else n
                total = result.loss * (count / unit) + total
                rows, done = rows + count, done + result.steps
                if stopped:
                    break
        return EpochResult(parameters, slots, total / (rows / unit), done)

    def gradients(
        self, parameters: Parameters, slots: list[Slots], data: Batch, scalars: Scalars
    ) -> tuple[Any, Parameters]:
        """Return the loss of a complete data set and its gradients; nothing is changed."""
        inputs = parameters, data, None, 0, scalars
        return self._replayer.functions_for(data[0].shape[0], slots, inputs).gradients(*inputs)

    def _run_chunk(
        self,
        parameters: Parameters,
        slots: list[Slots],
        data: Batch,
        order: Array,
        plan: EpochPlan,
        done: int,
    ) -> EpochResult:
        """Run the steps of a chunk, before which ``done`` steps of the epoch were run; parameters
        and slots are consumed."""
        n, batch_size = data[0].shape[0], plan.batch_size
        read: Callable[[Array], Any] = float if is_synchronous(self.step.xp) else _unread
        total: Any = 0.0  # of the means of the batches
        inputs: StepInputs

        def inspect() -> StepResult:
            parameters, data, rows, step, scalars = inputs  # of the step that is being run
            batch = take_rows(data, rows, self.step.xp)
            return self.step.gradients(parameters, batch, step, scalars)

        for index, start in enumerate(range(0, n, batch_size)):
            size = min(batch_size, n - start)
            # All rows in one step need neither a copy nor an order.
            in_order = size == n and not isinstance(data[0], SparseRows)
            rows = None if in_order else order[start : start + size]
            scalars = plan.scalars[done + index]
            inputs = parameters, data, rows, plan.first_step + done + index, scalars
            functions = self._replayer.functions_for(size, slots, inputs)
            loss, gradients = functions.gradients(*inputs)
            loss = read(loss)
            if plan.on_step is not None and plan.on_step(done + index, loss, inspect):
                mean = (total * batch_size + loss * size) / (start + size)
                return EpochResult(parameters, slots, mean, index)
            if size < batch_size:  # the last batch counts for as many samples as it has
                loss = loss * (size / batch_size)
            total = loss + total
            parameters, slots = functions.update(parameters, gradients, slots, scalars)
            del gradients  # frees their memory before the next ones are computed
        return EpochResult(parameters, slots, total / (n / batch_size), -(-n // batch_size))


def _unread(x: Array) -> Array:
    return x
