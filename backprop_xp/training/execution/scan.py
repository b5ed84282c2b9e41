"""A complete epoch as one compiled scan, for JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backprop_xp.backend.arrays import Array
from backprop_xp.data.batch import Batch, take_rows
from backprop_xp.nn.metrics import classes_of, count_equal
from backprop_xp.nn.network import Parameters
from backprop_xp.nn.optimizers import Slots
from backprop_xp.training.execution.eager import EagerExecutor
from backprop_xp.training.execution.executor import EpochPlan, EpochResult
from backprop_xp.training.step import TrainingStep


class ScanExecutor(EagerExecutor):
    """Runs epochs as one compiled scan, or step by step if ``on_step`` inspects the steps."""

    def __init__(self, step: TrainingStep) -> None:
        super().__init__(step)
        self._epoch = _compile_epoch(step)

    def _run_chunk(
        self,
        parameters: Parameters,
        slots: list[Slots],
        data: Batch,
        order: Array,
        plan: EpochPlan,
        done: int,
    ) -> EpochResult:
        if plan.on_step is not None:
            return super()._run_chunk(parameters, slots, data, order, plan, done)
        xp, count = self.step.xp, -(-order.shape[0] // plan.batch_size)
        first = plan.first_step + done
        steps = xp.arange(first, first + count, dtype=xp.int32)
        scalars = xp.asarray(plan.scalars[done : done + count], dtype=data[0].dtype)
        parameters, slots, loss, correct = self._epoch(
            *(parameters, slots, data, order, steps, scalars),
            batch_size=plan.batch_size,
            counts_correct=plan.counts_correct,
        )
        return EpochResult(parameters, slots, loss, count, order.shape[0], correct)


def _compile_epoch(training_step: TrainingStep) -> Callable[..., Any]:
    """Return an epoch as one compiled function: a scan over the full batches, then the short one.

    It is compiled once for each shape of the data.
    """
    import jax

    xp = training_step.xp

    def epoch(
        parameters: Parameters,
        slots: list[Slots],
        data: Batch,
        order: Array,
        steps: Array,
        scalars: Array,
        batch_size: int,
        counts_correct: bool,
    ) -> tuple[Parameters, list[Slots], Array, Any]:
        def run_step(carry: Any, batch: Any) -> Any:
            rows, step, step_scalars = batch
            parameters, slots = carry
            step_scalars = tuple(step_scalars)
            result = training_step.gradients(
                parameters, take_rows(data, rows, xp), step, step_scalars
            )
            carry = training_step.update(parameters, result.gradients.layers, slots, step_scalars)
            outputs = result.tape.a[-1] if counts_correct else None
            return carry, (result.loss * rows.shape[0], outputs)

        n = order.shape[0]
        full = n // batch_size
        batches = xp.reshape(order[: full * batch_size], (full, batch_size))
        full_steps = (batches, steps[:full], scalars[:full])
        carry, (losses, outputs) = jax.lax.scan(run_step, (parameters, slots), full_steps)
        total = xp.sum(losses)
        classes = [] if outputs is None else [xp.reshape(classes_of(outputs, xp=xp), (-1,))]
        if n % batch_size:
            short = (order[full * batch_size :], steps[full], scalars[full])
            carry, (last, outputs) = run_step(carry, short)
            total += last
            classes += [] if outputs is None else [classes_of(outputs, xp=xp)]
        correct: Any = 0
        if classes:
            labels = xp.take(classes_of(data[1], xp=xp), order, axis=0)
            correct = count_equal(xp.concat(classes), labels, xp=xp)
        return *carry, total / n, correct

    static = "batch_size", "counts_correct"
    compiled: Callable[..., Any] = jax.jit(epoch, static_argnames=static)
    return compiled
