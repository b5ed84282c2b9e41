"""The trainer: one epoch from a state to the next one."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from backprop_xp.backend.arrays import compiled, read_numbers
from backprop_xp.backend.host import ignore_overflow, is_synchronous, limit_threads
from backprop_xp.nn.backpropagation import StepResult
from backprop_xp.nn.regularizers import penalty_value
from backprop_xp.training import divergence, layer_statistics
from backprop_xp.training.checkpoint import Checkpoint
from backprop_xp.training.early_stopping import update_best
from backprop_xp.training.evaluation import measure_epoch
from backprop_xp.training.execution import make_executor
from backprop_xp.training.execution.executor import AfterChunk, EpochPlan, EpochResult, OnStep
from backprop_xp.training.history import History
from backprop_xp.training.learning_rate import LearningRates, learning_rates, update_plateau
from backprop_xp.training.settings import TrainingSettings
from backprop_xp.training.state import TrainState, WithinEpoch
from backprop_xp.training.step import TrainingStep
from backprop_xp.training.training_data import TrainingData, has_classes


class Trainer:
    """Runs and measures epochs.

    Parameters
    ----------
    step : TrainingStep
    data : TrainingData
    settings : TrainingSettings
    learning_rates : callable ``(state, steps) -> list of float``, optional
        By default the learning rates follow from the settings.
    loss_unit : float
        A factor of the recorded losses; see `backprop_xp.fit`.
    on_steps : callable ``(done, steps)``, optional
        See `backprop_xp.fit`.
    """

    def __init__(
        self,
        step: TrainingStep,
        data: TrainingData,
        settings: TrainingSettings,
        learning_rates: LearningRates | None = None,
        loss_unit: float = 1.0,
        on_steps: Callable[[int, int], object] | None = None,
    ) -> None:
        self.step = step
        self.data = data
        self.settings = settings
        self.executor = make_executor(step, cuda_graph=settings.cuda_graph)
        self._custom_rates = learning_rates
        self._loss_unit = loss_unit
        self._on_steps = on_steps
        self._learning_rate = settings.resolve_learning_rate()
        if settings.diagnostics:
            self._sample = data.loader.sample(step.seed, layer_statistics.SAMPLE)
            self._preview = compiled(functools.partial(layer_statistics.preview, step), step.xp)

    def run_epoch(self, state: TrainState, checkpoint: Checkpoint | None = None) -> TrainState:
        """Return the state after the next epoch; ``state`` and its arrays do not change.

        Parameters
        ----------
        state : TrainState
        checkpoint : Checkpoint, optional
            Written between the chunks of the epoch whenever it is due.

        Raises
        ------
        DivergenceError
            If a loss or a weight is no longer finite.
        """
        within = state.within_epoch
        started = time.perf_counter() - (0.0 if within is None else within.seconds)
        if state.plateau is None and self.settings.plateau_patience is not None:
            state = update_plateau(self.settings, state, validated=self._validated)
        rates = self._rates(state)
        layers = self._measure_layers(state, rates[0]) if within is None else within.layers

        def after_chunk(chunk: int, result: EpochResult) -> None:
            if self._on_steps is not None:
                self._on_steps(result.steps, self.data.steps)
            if checkpoint is not None and checkpoint.is_due(state):
                seconds = time.perf_counter() - started
                loss, correct = float(result.loss), int(result.correct)
                checkpoint.write(
                    state._replace(
                        parameters=result.parameters,
                        slots=result.slots,
                        step=state.first_step + result.steps,
                        within_epoch=WithinEpoch(
                            chunk, result.steps, result.rows, loss, correct, layers, seconds
                        ),
                    )
                )

        result, (loss, correct, penalty, *finite) = self._run(state, rates, after_chunk)
        epoch, step = state.epoch + 1, state.first_step + result.steps
        divergence.check_weights(finite, step=step, epoch=epoch, learning_rate=self._learning_rate)
        losses = {"loss": loss}
        if self._has_classes:
            losses["accuracy"] = correct / result.rows
        if self._reports_penalty:
            losses["penalty"] = penalty
        losses |= measure_epoch(self.step, self.data, self.settings, result.parameters)
        record: dict[str, Any] = {
            "epoch": epoch,
            "step": step,
            "learning_rate": rates[max(0, result.steps - 1)],
            **{
                name: value if name.endswith("accuracy") else value * self._loss_unit
                for name, value in losses.items()
            },
            **layers,
            "seconds": time.perf_counter() - started,
        }
        state = state._replace(
            parameters=result.parameters,
            slots=result.slots,
            epoch=epoch,
            step=step,
            history=History.of(state.history).after(record),
            stopped="target_loss" if result.steps < self.data.steps else "",
            within_epoch=None,
        )
        if self.settings.plateau_patience is not None:
            state = update_plateau(self.settings, state, validated=self._validated)
        return state if self.settings.patience is None else update_best(self.settings, state)

    def run_steps(
        self,
        state: TrainState,
        rates: Sequence[float],
        on_step: OnStep | None = None,
        after_chunk: AfterChunk | None = None,
    ) -> EpochResult:
        """Run the steps of the next epoch with these learning rates, without measuring it."""
        first, within = state.first_step, state.within_epoch
        scalars = [
            self.step.optimizer.scalars(rate, first + index + 1) for index, rate in enumerate(rates)
        ]
        done = (0, 0) if within is None else (within.chunks, within.rows)
        chunks = self.data.loader.chunks(state.seed, state.epoch, done)
        plan = EpochPlan(
            *(self.data.batch_size, scalars, first, on_step, after_chunk, within),
            counts_correct=self._has_classes,
            on_steps=None if self._on_steps is None else self._progress,
        )
        return self.executor.run_epoch(state.parameters, state.slots, chunks, plan)

    def _progress(self, done: int) -> None:
        assert self._on_steps is not None
        self._on_steps(done, self.data.steps)

    @property
    def _has_classes(self) -> bool:
        return has_classes(self.data.train, self.step.loss)

    @property
    def _reports_penalty(self) -> bool:
        return bool(self.step.penalty) and not self.step.penalty.per_batch

    @property
    def _validated(self) -> bool:
        return self.data.validation is not None

    def _run(
        self, state: TrainState, rates: list[float], after_chunk: AfterChunk
    ) -> tuple[EpochResult, list[float]]:
        """Run the steps of an epoch; return the result, and its numbers on the host: the loss, the
        number of correct predictions, the penalty, and for each layer whether its weights are
        finite."""
        xp, target = self.step.xp, self.settings.target_loss

        def read(result: EpochResult) -> tuple[EpochResult, list[float]]:
            with ignore_overflow(xp):
                penalty: Any = 0.0  # one per batch is part of the loss
                if self._reports_penalty:
                    penalty = penalty_value(self.step.penalty, result.parameters, xp=xp)
                finite = divergence.finite_layers(result.parameters, xp=xp)
            return result, read_numbers([result.loss, result.correct, penalty, *finite], xp=xp)

        def on_step(index: int, loss: Any, inspect: Callable[[], StepResult]) -> bool:
            value = float(loss)
            if not math.isfinite(value):
                raise divergence.of_loss(
                    value,
                    inspect,
                    step=state.step + index + 1,
                    epoch=state.epoch + 1,
                    learning_rate=self._learning_rate,
                    xp=xp,
                )
            return target is not None and value * self._loss_unit <= target

        if is_synchronous(xp) or target is not None:
            return read(self.run_steps(state, rates, on_step, after_chunk))
        # Otherwise the host runs ahead of the device and reads the numbers once, after the epoch.
        # If the loss is not finite, the epoch is run again to find the step.
        result, numbers = read(self.run_steps(state, rates, after_chunk=after_chunk))
        if not math.isfinite(numbers[0]):
            return read(self.run_steps(state, rates, on_step))
        return result, numbers

    def _rates(self, state: TrainState) -> list[float]:
        if self._custom_rates is not None:
            return self._custom_rates(state, self.data.steps)
        return learning_rates(self.settings, state, self.data.steps)

    def _measure_layers(self, state: TrainState, rate: float) -> dict[str, Any]:
        """Measure the next step, layer by layer, if it is due."""
        due = layer_statistics.is_due(state.step, self.data.steps, self.data.batch_size)
        if not (self.settings.diagnostics and due):
            return {}
        xp = self.step.xp
        scalars = self.step.optimizer.scalars(rate, state.step + 1)
        # With as many threads as the steps: if these use one, others would have to wake up for
        # this, and then wait busily on a core that other work may need.
        products = self.data.batch_size * self.step.network.largest_layer
        with ignore_overflow(xp), limit_threads(products, xp=xp):
            measured = self._preview(
                state.parameters, state.slots, self._sample, state.step, scalars
            )
            return {"layers": layer_statistics.describe(measured)}
