"""The trainer: what an epoch needs besides the state, and how one is run and measured."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from backprop_xp.backend import arrays, random
from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.backend.devices import Placement
from backprop_xp.backend.host import few_threads, quiet, reads_freely
from backprop_xp.data.augmentation import check_image_shape, get_augmentation
from backprop_xp.data.device_data import Placed
from backprop_xp.data.loader import Feed, Shuffle
from backprop_xp.data.streaming import Streamed, hold
from backprop_xp.errors import ConfigurationError, DivergenceError
from backprop_xp.nn.losses import check_pair
from backprop_xp.nn.network import (
    Network,
    Parameters,
    Step,
    check_parameters,
    initial_parameters,
    map_arrays,
)
from backprop_xp.nn.regularizers import penalty_value
from backprop_xp.nn.schedules import get_schedule, plateau_factor, warm_up
from backprop_xp.training import layer_statistics
from backprop_xp.training.evaluation import evaluate_parts
from backprop_xp.training.execution.eager import Epoch, Runner, Watch, compiled, initial_slots
from backprop_xp.training.settings import TrainingSettings
from backprop_xp.training.state import Best, TrainState
from backprop_xp.training.step import StepRule

Rates = Callable[[TrainState, int], list[float]]
"""``(state, steps) -> rates``: the learning rate of each step of the next epoch."""


class Trainer:
    """A network and its data on a device: what an epoch needs besides the state."""

    def __init__(
        self,
        network: Network,
        train: tuple[Any, Any],
        validation: tuple[Any, Any] | None,
        placement: Placement,
        dtype: Any,
        options: TrainingSettings,
    ) -> None:
        output = network.activations[-1]
        self.network = network
        self.options = options
        self.loss = options.loss_record(output)
        check_pair(self.loss, output)
        self.optimizer = options.optimizer_record()
        self.learning_rate = options.eta()
        self.xp, self.device, self.dtype = arrays.direct(placement.xp), placement.device, dtype
        self.train = self._place(train, "the training data")
        self.validation = (
            None if validation is None else self._place(validation, "the validation data")
        )
        if options.patience is not None and self.validation is None:
            raise ConfigurationError(
                "early stopping (patience) needs a validation set",
                "give validation data, or leave patience out",
            )
        self.n = self.train.n
        self.batch_size = options.batch_size_for(self.n)
        self.steps = -(-self.n // self.batch_size)
        self.penalty = options.penalty_record(self.n)

    def _place(self, data: tuple[Any, Any], what: str) -> Placed | Streamed:
        return hold(
            data,
            self.network.sizes[0],
            self.network.sizes[-1],
            self.loss,
            xp=self.xp,
            dtype=self.dtype,
            device=self.device,
            what=what,
        )

    def take(
        self,
        shuffle: bool | Shuffle,
        sample_weight: Any,
        image_shape: tuple[int, int] | None,
        rates: Rates | None = None,
    ) -> None:
        """Take what belongs to the rows: their order, weights, shape, and learning rates."""
        self.rates = rates
        self.feed = Feed(
            self.train,
            self.batch_size,
            shuffle,
            sample_weight,
            self.options,
            xp=self.xp,
            dtype=self.dtype,
            device=self.device,
        )
        self.image_shape = image_shape
        self.augmentation = None
        if self.options.augment is not None:
            self.image_shape = check_image_shape(image_shape, self.network.sizes[0])
            self.augmentation = get_augmentation(self.options.augment, self.image_shape)

    def start(self, parameters: Parameters | None, state: TrainState | None) -> TrainState:
        """Return the state before the first epoch, in arrays of its own."""
        if state is None:
            seed = random.draw_seed() if self.options.seed is None else self.options.seed
            state = TrainState([], [], epoch=0, step=0, seed=seed)
        elif parameters is None:
            parameters = state.parameters
        if parameters is None:
            parameters = initial_parameters(
                self.network,
                state.seed,
                self.options.initializer,
                xp=self.xp,
                dtype=self.dtype,
                device=self.device,
            )
        else:
            check_parameters(self.network, parameters)
            parameters = map_arrays(self._own, parameters)
        slots = [tuple(map(self._own, kept)) for kept in state.slots]
        rule = StepRule(
            network=self.network,
            loss=self.loss,
            optimizer=self.optimizer,
            xp=self.xp,
            device=self.device,
            penalty=self.penalty,
            dropout=self._dropout_rates(),
            augmentation=self.augmentation,
            image_shape=self.image_shape,
            clip_norm=self.options.clip_norm,
            max_norm=self.options.max_norm,
            seed=state.seed,
        )
        self.rule = rule
        self.runner = Runner(lambda xp: rule._replace(xp=xp), self.xp)
        if self.options.diagnostics:
            self.sample = self.feed.sample(state.seed, layer_statistics.SAMPLE)
            self._preview = compiled(functools.partial(layer_statistics.preview, rule), self.xp)
        return state._replace(
            parameters=parameters,
            slots=slots or initial_slots(self.optimizer, parameters, xp=self.xp),
            stopped="",
        )

    def _dropout_rates(self) -> tuple[float, ...]:
        rates, hidden = self.options.dropout, len(self.network.sizes) - 2
        if len(rates) == 1:
            rates = rates * hidden
        if len(rates) not in (0, hidden):
            raise ConfigurationError(
                f"{len(rates)} dropout rates were given for {hidden} hidden layers",
                "give one for each hidden layer, or a single one for all",
            )
        return rates

    def _own(self, array: Any) -> Array:
        return arrays.asarray(array, xp=self.xp, dtype=self.dtype, device=self.device, copy=True)

    def kept(self, state: TrainState) -> TrainState:
        """Return the state with a copy of its parameters, which the next epoch leaves alone."""
        return state._replace(parameters=map_arrays(self._own, state.parameters))

    def epoch(self, state: TrainState, good: TrainState) -> tuple[TrainState, TrainState]:
        """Train on every row once and measure; the arrays of ``state`` are consumed.

        ``good`` is the same state with parameters that are left alone. Returns the new state,
        and the new one with parameters that the next epoch leaves alone.
        """
        started = time.perf_counter()
        rates = self._learning_rates(state)
        measured = self._diagnose(state, rates[0])
        result = self._run(state, good, rates)
        self._check_weights(result.parameters, state.step + result.steps, state.epoch + 1)
        record: dict[str, Any] = {
            "epoch": state.epoch + 1,
            "step": state.step + result.steps,
            "learning_rate": rates[max(0, result.steps - 1)],
            "loss": float(result.loss),
            **self._measure(result.parameters),
            **measured,
            "seconds": time.perf_counter() - started,
        }
        state = state._replace(
            parameters=result.parameters,
            slots=result.slots,
            epoch=record["epoch"],
            step=record["step"],
            history=(*state.history, record),
            stopped="target_loss" if result.steps < self.steps else "",
        )
        good = self.kept(state)
        if self.options.patience is not None:
            best = self._best(state, record, good.parameters)
            late = state.epoch - best.epoch >= self.options.patience
            stopped = state.stopped or ("early_stopping" if late else "")
            state, good = (s._replace(best=best, stopped=stopped) for s in (state, good))
        return state, good

    def _best(self, state: TrainState, record: dict[str, Any], parameters: Parameters) -> Best:
        """Return the best epoch so far, the one of ``record`` included."""
        name = f"validation_{self.options.monitor}"
        if name not in record:
            raise ConfigurationError(
                "a regression has no accuracy to monitor", "monitor the loss instead"
            )
        sign = -1.0 if self.options.monitor == "loss" else 1.0
        value, best = record[name], state.best
        if best is None or sign * (value - best.value) > self.options.min_improvement:
            return Best(state.epoch, value, parameters)
        return best

    def _learning_rates(self, state: TrainState) -> list[float]:
        """Return the learning rate of each step of the next epoch."""
        if self.rates is not None:
            return self.rates(state, self.steps)
        schedule, total = get_schedule(self.options.schedule), self.steps * self.options.epochs
        eta = self.learning_rate
        if self.options.plateau_patience is not None:
            name = "loss" if self.validation is None else "validation_loss"
            losses = [record[name] for record in state.history]
            eta *= plateau_factor(losses, self.options.plateau_patience)
        numbers = range(state.step, state.step + self.steps)
        return [
            eta * schedule(number / total) * warm_up(number + 1, self.options.warm_up)
            for number in numbers
        ]

    def _run(self, state: TrainState, good: TrainState, rates: list[float]) -> Epoch:
        watch = self._watch(state)
        if reads_freely(self.xp) or self.options.target_loss is not None:
            return self.run(state, rates, watch)
        # Here the host runs ahead of the device and reads the loss once, after the epoch. If it
        # is not finite, the epoch is run again from its start, and each step is looked at.
        slots = [tuple(map(self._own, kept)) for kept in state.slots]
        result = self.run(state, rates)
        if not math.isfinite(float(result.loss)):
            result = self.run(self.kept(good)._replace(slots=slots), rates, watch)
        return result

    def run(self, state: TrainState, rates: Sequence[float], watch: Watch | None = None) -> Epoch:
        """Run the steps of the next epoch with the given learning rates, one for each step; the
        arrays of ``state`` are consumed."""
        scalars = [
            self.optimizer.scalars(rate, state.step + index + 1) for index, rate in enumerate(rates)
        ]
        windows = self.feed.windows(state.seed, state.epoch)
        return self.runner.windows(
            state.parameters, state.slots, windows, self.batch_size, scalars, state.step, watch
        )

    def _watch(self, state: TrainState) -> Watch:
        target = self.options.target_loss

        def watch(place: int, loss: Any, look: Callable[[], Step]) -> bool:
            value = float(loss)
            if not math.isfinite(value):
                where = f"step {state.step + place + 1} (epoch {state.epoch + 1})"
                raise self._diverged(f"the loss is {value} at {where}", self._culprit(look()))
            return target is not None and value <= target

        return watch

    def _culprit(self, step: Step) -> str:
        for index, z in enumerate(step.tape.z):
            if not _all_finite(z, self.xp):
                return f": the weighted inputs of layer {index + 1} are no longer finite"
        return f": the error of the outputs of layer {len(step.tape.z)} is too large"

    def _check_weights(self, parameters: Parameters, step: int, epoch: int) -> None:
        for index, layer in enumerate(parameters):
            if not all(_all_finite(p, self.xp) for p in layer if p is not None):
                raise self._diverged(
                    f"weights of layer {index + 1} are no longer finite",
                    f" after step {step} (epoch {epoch})",
                )

    def _diverged(self, what: str, where: str) -> DivergenceError:
        return DivergenceError(
            f"training diverged: {what}{where}",
            f"lower the learning rate (it is {self.learning_rate:g}), or scale the inputs",
        )

    def _diagnose(self, state: TrainState, rate: float) -> dict[str, Any]:
        """Measure the step that comes next, layer by layer, where it is due."""
        due = layer_statistics.is_due(state.step, self.steps, self.batch_size)
        if not (self.options.diagnostics and due):
            return {}
        scalars = self.optimizer.scalars(rate, state.step + 1)
        with quiet(self.xp), few_threads(state.parameters, layer_statistics.SAMPLE, xp=self.xp):
            measured = self._preview(
                state.parameters, state.slots, self.sample, state.step, scalars
            )
            return {"layers": layer_statistics.describe(measured)}

    def _measure(self, parameters: Parameters) -> dict[str, float]:
        sets = {"train": self.train if self.options.evaluate_training else None}
        sets["validation"] = self.validation
        record = {}
        if self.penalty and not self.penalty.per_batch:
            record["penalty"] = float(penalty_value(self.penalty, parameters, xp=self.xp))
        with quiet(self.xp):
            for name, data in sets.items():
                if data is None:
                    continue
                measured = evaluate_parts(
                    self.network, self.loss, parameters, data.parts(), xp=self.xp
                )
                record[f"{name}_loss"] = measured["loss"]
                if data.labelled or self.loss.of_probabilities:
                    record[f"{name}_accuracy"] = measured["accuracy"]
        return record


def _all_finite(x: Array, xp: Namespace) -> bool:
    return bool(xp.all(xp.isfinite(x)))
