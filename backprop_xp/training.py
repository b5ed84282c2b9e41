"""The training loop: epochs of steps from a seed, with a history, and a stop when it must.

The state of a training is one record. Every random draw follows from the seed and the epoch,
so nothing else is needed to go on from it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from backprop_xp import arrays, random
from backprop_xp.arrays import Array, Namespace
from backprop_xp.data.placing import Placed, place
from backprop_xp.devices import Placement, select
from backprop_xp.errors import ConfigurationError, DivergenceError
from backprop_xp.evaluation import evaluate
from backprop_xp.execution import Epoch, Runner, Watch, initial_slots, quiet, reads_freely
from backprop_xp.losses import check_pair, default_loss, get_loss
from backprop_xp.network import (
    Network,
    Parameters,
    Step,
    check_parameters,
    initial_parameters,
    loss_and_gradients,
    map_arrays,
)
from backprop_xp.optimizers import Slots
from backprop_xp.settings import TrainingSettings

Shuffle = Callable[[int, int], Sequence[int]]
"""``(epoch, n) -> order``: the rows of the training set in the order of one epoch."""


class TrainState(NamedTuple):
    """The state of a training after an epoch: all that is needed to go on.

    Attributes
    ----------
    parameters : list of Layer
    slots : list of tuple of arrays
        What the optimizer keeps from step to step; the next epoch consumes these arrays.
        Empty for an optimizer that starts anew.
    epoch, step : int
        Epochs and updates done.
    seed : int
        All random draws follow from it.
    history : tuple of dict
        One record for each epoch: ``epoch``, ``step``, ``learning_rate``, ``seconds``,
        ``loss`` (mean over the epoch, each batch as it was before its update), and, measured
        after the epoch as far as asked for, ``train_loss``, ``train_accuracy``,
        ``validation_loss``, ``validation_accuracy``.
    stopped : str
        Why the training ended before its last epoch; empty if it did not.
    """

    parameters: Parameters
    slots: list[Slots]
    epoch: int
    step: int
    seed: int
    history: tuple[dict[str, Any], ...] = ()
    stopped: str = ""


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during a training; ``state`` is that of the last complete epoch."""

    def __init__(self, state: TrainState) -> None:
        super().__init__(f"interrupted after epoch {state.epoch}")
        self.state = state
        self.hint: str | None = None


def fit(
    network: Network,
    train: tuple[Any, Any],
    validation: tuple[Any, Any] | None = None,
    *,
    device: str | Placement | None = None,
    dtype: str | None = None,
    state: TrainState | None = None,
    parameters: Parameters | None = None,
    shuffle: bool | Shuffle = True,
    on_epoch: Callable[[TrainState], None] | None = None,
    **settings: Any,
) -> TrainState:
    """Train a network by backpropagation.

    Parameters
    ----------
    network : Network
    train : pair of arrays
        Inputs, shape (n, n_inputs), and targets: class indices, shape (n,), or values, shape
        (n, n_outputs). Arrays of any library; not changed.
    validation : pair of arrays, optional
        Measured after each epoch, never trained on.
    device : str or Placement, optional
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or a placement from
        `backprop_xp.devices.select`. By default the work is done where the inputs live.
    dtype : {"float32", "float64"}, optional
        By default that of the inputs where they stay if they are real numbers, else float32.
    state : TrainState, optional
        Go on from there, for the epochs that are missing to ``epochs``.
    parameters : list of Layer, optional
        Initial weights, copied; by default they are drawn from the seed.
    shuffle : bool or callable ``(epoch, n) -> order``
        Whether the rows are shuffled in each epoch, or the order itself.
    on_epoch : callable, optional
        Called with the `TrainState` after each epoch. Its parameters are a copy.
    **settings
        The fields of `backprop_xp.settings.TrainingSettings`: ``loss``, ``optimizer``,
        ``learning_rate``, ``batch_size``, ``epochs``, ``seed``, and so on.

    Returns
    -------
    TrainState

    Raises
    ------
    ConfigurationError
        For settings that are unknown, out of range or contradict each other.
    DataError
        For data that does not fit the network or holds NaN or infinity.
    DeviceError
        For a device that cannot be used.
    DivergenceError
        If a loss or a weight is no longer finite; its ``state`` is the last good one.
    TrainingInterrupted
        On Ctrl-C; its ``state`` is that of the last complete epoch.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.asarray([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> xor = np.asarray([0, 1, 1, 0])
    >>> network = Network((2, 8, 2), ("tanh", "softmax"))
    >>> state = fit(network, (x, xor), epochs=200, batch_size=4, learning_rate=0.05, seed=0)
    >>> state.history[-1]["train_accuracy"]
    1.0
    """
    options = TrainingSettings.of(settings)
    place_on, real = _where(device, dtype, train[0])
    with place_on.activate():
        training = _Training(network, train, validation, place_on, real, shuffle, options)
        state = training.start(parameters, state)
        good = training.kept(state)
        try:
            while state.epoch < options.epochs and not state.stopped:
                state = training.epoch(state)
                good = training.kept(state)
                if on_epoch is not None:
                    on_epoch(good)
        except DivergenceError as error:
            error.state = good._replace(slots=[])  # the optimizer's arrays were consumed
            raise
        except KeyboardInterrupt as interrupt:
            raise TrainingInterrupted(good._replace(slots=[])) from interrupt
        return state


def _where(device: str | Placement | None, dtype: str | None, inputs: Any) -> tuple[Placement, Any]:
    """Return where to work and in which data type: as told, else as the inputs are."""
    own = None
    if device is None and arrays.is_array(inputs):
        xp, home = arrays.namespace(inputs), arrays.device(inputs)
        device = Placement(arrays.backend_name(xp), str(home), xp, home)
        own = inputs.dtype if xp.isdtype(inputs.dtype, "real floating") else None
    if not isinstance(device, Placement):
        device = select(device or "cpu", dtype=dtype or "float32")
    if dtype is None and own is not None:
        return device, own
    return device, device.dtype(dtype or "float32")


class _Training:
    """A network and its data on a device: what an epoch needs besides the state."""

    def __init__(
        self,
        network: Network,
        train: tuple[Any, Any],
        validation: tuple[Any, Any] | None,
        placement: Placement,
        dtype: Any,
        shuffle: bool | Shuffle,
        options: TrainingSettings,
    ) -> None:
        output = network.activations[-1]
        self.network = network
        self.options = options
        self.loss = default_loss(output) if options.loss is None else get_loss(options.loss)
        check_pair(self.loss, output)
        self.optimizer = options.optimizer_record()
        self.learning_rate = (
            self.optimizer.learning_rate if options.learning_rate is None else options.learning_rate
        )
        self.xp, self.device, self.dtype = placement.xp, placement.device, dtype
        self.train = self._place(train, "the training data")
        self.validation = (
            None if validation is None else self._place(validation, "the validation data")
        )
        n = self.train.x.shape[0]
        self.batch_size = options.batch_size or n
        if self.batch_size > n:
            raise ConfigurationError(
                f"batch_size is {self.batch_size}, and the training data has {n} rows",
                f"give at most {n}, or 0 to take them all in every step",
            )
        self.order = shuffle if callable(shuffle) else None
        self.shuffled = bool(shuffle)
        self.runner = Runner(self._compute, self.optimizer, self.xp)

    def _place(self, data: tuple[Any, Any], what: str) -> Placed:
        return place(
            data,
            self.network.sizes[0],
            self.network.sizes[-1],
            xp=self.xp,
            dtype=self.dtype,
            device=self.device,
            what=what,
        )

    def _compute(self, parameters: Parameters, x: Array, y: Array) -> Step:
        return loss_and_gradients(self.network, self.loss, parameters, x, y, xp=self.xp)

    def start(self, parameters: Parameters | None, state: TrainState | None) -> TrainState:
        """Return the state before the first epoch, in arrays of its own."""
        if state is None:
            seed = random.draw_seed() if self.options.seed is None else self.options.seed
            state = TrainState([], [], epoch=0, step=0, seed=seed)
        else:
            parameters = state.parameters if parameters is None else parameters
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
        slots = [tuple(self._own(slot) for slot in kept) for kept in state.slots]
        return state._replace(
            parameters=parameters,
            slots=slots or initial_slots(self.optimizer, parameters, xp=self.xp),
            stopped="",
        )

    def _own(self, array: Any) -> Array:
        x = arrays.asarray(array, xp=self.xp, dtype=self.dtype, device=self.device)
        return arrays.copy(x, xp=self.xp)

    def kept(self, state: TrainState) -> TrainState:
        """Return the state with a copy of its parameters, which the next epoch leaves alone."""
        return state._replace(parameters=map_arrays(self._own, state.parameters))

    def epoch(self, state: TrainState) -> TrainState:
        """Train on every row once and measure; the arrays of ``state`` are consumed."""
        started = time.perf_counter()
        result = self._run(state)
        self._check_weights(result.parameters, state.step + result.steps, state.epoch + 1)
        steps_wanted = -(-self.train.x.shape[0] // self.batch_size)
        record: dict[str, Any] = {
            "epoch": state.epoch + 1,
            "step": state.step + result.steps,
            "learning_rate": self.learning_rate,
            "loss": float(result.loss),
            **self._measure(result.parameters),
            "seconds": time.perf_counter() - started,
        }
        return state._replace(
            parameters=result.parameters,
            slots=result.slots,
            epoch=record["epoch"],
            step=record["step"],
            history=(*state.history, record),
            stopped="target_loss" if result.steps < steps_wanted else "",
        )

    def _run(self, state: TrainState) -> Epoch:
        n = self.train.x.shape[0]
        order = self._order(state, n)
        scalars = [
            self.optimizer.scalars(self.learning_rate, state.step + place + 1)
            for place in range(-(-n // self.batch_size))
        ]
        data = (self.train.x, self.train.y, order, self.batch_size, scalars)
        watch = self._watch(state)
        if reads_freely(self.xp) or self.options.target_loss is not None:
            return self.runner.epoch(state.parameters, state.slots, *data, watch=watch)
        # Here the host runs ahead of the device and reads the loss once, after the epoch. If it
        # is not finite, the epoch is run again from its start, and each step is looked at.
        before = self.kept(state)
        slots = [tuple(arrays.copy(slot, xp=self.xp) for slot in kept) for kept in state.slots]
        result = self.runner.epoch(state.parameters, state.slots, *data)
        if not math.isfinite(float(result.loss)):
            result = self.runner.epoch(before.parameters, slots, *data, watch=watch)
        return result

    def _order(self, state: TrainState, n: int) -> Array:
        if self.order is not None:
            rows = self.order(state.epoch, n)
        elif self.shuffled:
            rows = random.permutation(state.seed, state.epoch, n)
        else:
            return self.xp.arange(n, dtype=arrays.index_dtype(self.xp), device=self.device)
        return arrays.asarray(
            rows, xp=self.xp, dtype=arrays.index_dtype(self.xp), device=self.device
        )

    def _watch(self, state: TrainState) -> Watch:
        target = self.options.target_loss

        def watch(place: int, step: Step) -> bool:
            value = float(step.loss)
            if not math.isfinite(value):
                where = f"step {state.step + place + 1} (epoch {state.epoch + 1})"
                raise self._diverged(f"the loss is {value} at {where}", self._culprit(step))
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

    def _measure(self, parameters: Parameters) -> dict[str, float]:
        sets = {"train": self.train if self.options.evaluate_training else None}
        sets["validation"] = self.validation
        record = {}
        with quiet(self.xp):
            for name, data in sets.items():
                if data is None:
                    continue
                measured = evaluate(self.network, self.loss, parameters, data.x, data.y, xp=self.xp)
                record[f"{name}_loss"] = measured["loss"]
                if data.labelled or self.loss.of_probabilities:
                    record[f"{name}_accuracy"] = measured["accuracy"]
        return record


def _all_finite(x: Array, xp: Namespace) -> bool:
    return bool(xp.all(xp.isfinite(x)))
