"""Step by step: an epoch on NumPy, PyTorch and array-api-strict."""

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
from backprop_xp.nn.metrics import classes_of, count_equal
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
        self._labels: tuple[Array | None, Array | None] = None, None

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
        parameters, slots = self._working_copies(parameters, slots)
        total: Any = 0.0
        correct: Any = 0
        chunk, rows, done, unit = 0, 0, 0, 0
        if plan.within is not None:
            chunk, done, rows, total, correct = plan.within[:5]
            unit = rows // chunk
        products = plan.batch_size * self.step.network.largest_layer
        with ignore_overflow(self.step.xp), limit_threads(products, xp=self.step.xp):
            for data, order in chunks:
                if chunk and plan.after_chunk is not None:
                    so_far = EpochResult(parameters, slots, total, done, rows, correct)
                    plan.after_chunk(chunk, so_far)
                n, chunk = order.shape[0], chunk + 1
                unit = unit or n  # with a single chunk its mean stays the same to the last bit
                result = self._run_chunk(parameters, slots, data, order, plan, done)
                parameters, slots = result.parameters, result.slots
                total = result.loss * (result.rows / unit) + total
                correct = result.correct + correct
                rows, done = rows + result.rows, done + result.steps
                if result.steps < -(-n // plan.batch_size):
                    break
        parameters, slots = self._results(parameters, slots)
        return EpochResult(parameters, slots, total / (rows / unit), done, rows, correct)

    def _working_copies(
        self, parameters: Parameters, slots: list[Slots]
    ) -> tuple[Parameters, list[Slots]]:
        """Return arrays that the steps of an epoch may change."""
        if backend_name(self.step.xp) == "jax":  # whose arrays cannot be changed
            return parameters, slots
        return copies(parameters, slots, self.step)

    def _results(
        self, parameters: Parameters, slots: list[Slots]
    ) -> tuple[Parameters, list[Slots]]:
        """Return the arrays after an epoch, which no later epoch changes."""
        return parameters, slots

    def gradients(
        self, parameters: Parameters, slots: list[Slots], data: Batch, scalars: Scalars
    ) -> tuple[Any, Parameters]:
        """Return the loss of a complete data set and its gradients; nothing is changed."""
        inputs = parameters, data, None, 0, scalars
        functions = self._replayer.functions_for(data[0].shape[0], slots, inputs)
        loss, _, gradients = functions.gradients(*inputs)
        return loss, gradients

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
        # The outputs of all steps are compared with their targets together: for each step it would
        # take a fifth of the time of a small one.
        kept: list[Array] = []
        chosen = self._replayer.recorded
        inputs: StepInputs

        def inspect() -> StepResult:
            parameters, data, rows, step, scalars = inputs  # of the step that is being run
            batch = take_rows(data, rows, self.step.xp)
            return self.step.gradients(parameters, batch, step, scalars)

        # All rows in one step need neither a copy nor an order.
        whole = n <= batch_size and not isinstance(data[0], SparseRows)
        for index, start in enumerate(range(0, n, batch_size)):
            size = batch_size if start + batch_size <= n else n - start
            rows = None if whole else order[start : start + size]
            scalars = plan.scalars[done + index]
            inputs = parameters, data, rows, plan.first_step + done + index, scalars
            functions = chosen.get((size, whole)) or self._replayer.functions_for(
                size, slots, inputs
            )
            loss, outputs, gradients = functions.gradients(*inputs)
            loss = read(loss)
            if plan.counts_correct:
                kept.append(outputs)
            if plan.on_step is not None and plan.on_step(done + index, loss, inspect):
                rows_done = start + size
                mean = (total * batch_size + loss * size) / rows_done
                correct = self._correct(kept, data, None if whole else order[:rows_done])
                return EpochResult(parameters, slots, mean, index, rows_done, correct)
            if size < batch_size:  # the last batch counts for as many samples as it has
                loss = loss * (size / batch_size)
            total = loss + total
            parameters, slots = functions.update(parameters, gradients, slots, scalars)
            del gradients  # frees their memory before the next ones are computed
            if plan.on_steps is not None:
                plan.on_steps(done + index + 1)
        correct = self._correct(kept, data, None if whole else order)
        mean = total / (n / batch_size)
        return EpochResult(parameters, slots, mean, -(-n // batch_size), n, correct)

    def _correct(self, outputs: list[Array], data: Batch, rows: Array | None) -> Any:
        """Return the number of correct predictions among the outputs of steps on these rows."""
        if not outputs:
            return 0
        xp = self.step.xp
        if self._labels[0] is not data[1]:  # the data of most runs is the same in every epoch
            self._labels = data[1], classes_of(data[1], xp=xp)
        labels = self._labels[1] if rows is None else xp.take(self._labels[1], rows, axis=0)
        together = outputs[0] if len(outputs) == 1 else xp.concat(outputs, axis=0)
        return count_equal(classes_of(together, xp=xp), labels, xp=xp)


def _unread(x: Array) -> Array:
    return x
