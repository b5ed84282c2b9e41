"""The training loop: epochs of steps from a seed, until the last one or until it must stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backprop_xp.backend import arrays
from backprop_xp.backend.devices import Placement, select
from backprop_xp.data.loader import Shuffle
from backprop_xp.errors import DivergenceError
from backprop_xp.nn.network import (
    Network,
    Parameters,
)
from backprop_xp.training.settings import TrainingSettings
from backprop_xp.training.state import TrainingInterrupted, TrainState
from backprop_xp.training.trainer import Rates, Trainer


def fit(
    network: Network,
    train: tuple[Any, Any],
    validation: tuple[Any, Any] | None = None,
    *,
    device: str | Placement | None = None,
    dtype: str | None = None,
    sample_weight: Any = None,
    image_shape: tuple[int, int] | None = None,
    state: TrainState | None = None,
    parameters: Parameters | None = None,
    shuffle: bool | Shuffle = True,
    rates: Rates | None = None,
    on_epoch: Callable[[TrainState], object] | None = None,
    **settings: Any,
) -> TrainState:
    """Train a network by backpropagation.

    Parameters
    ----------
    network : Network
    train : pair of arrays
        Inputs, shape (n, n_inputs), and targets: class indices, shape (n,), or values, shape
        (n, n_outputs). Arrays of any library; not changed. Memory-mapped inputs of more than
        `backprop_xp.data.streaming.WINDOW` bytes stay in their file: they are read window by
        window, and shuffled as `backprop_xp.data.streaming.shuffled` says.
    validation : pair of arrays, optional
        Measured after each epoch, never trained on.
    device : str or Placement, optional
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or a placement from
        `backprop_xp.backend.devices.select`. By default the work is done where the inputs live.
    dtype : {"float32", "float64"}, optional
        By default that of the inputs where they stay if they are real numbers, else float32.
    sample_weight : array, shape (n,), optional
        How much each training sample counts; weight 2 counts as the row twice.
    image_shape : (int, int), optional
        Height and width, where the inputs are images that shall be augmented.
    state : TrainState, optional
        Go on from there, for the epochs that are missing to ``epochs``.
    parameters : list of Layer, optional
        Initial weights, copied; by default they are drawn from the seed.
    shuffle : bool or callable ``(epoch, n) -> order``
        Whether the rows are shuffled in each epoch, or the order itself.
    rates : callable ``(state, steps) -> list of float``, optional
        The learning rate of each step of the next epoch, in place of that of the settings.
    on_epoch : callable, optional
        Called with the `TrainState` after each epoch. Its parameters are a copy. The training
        stops there if something true is returned.
    **settings
        The fields of `backprop_xp.training.settings.TrainingSettings`: ``loss``, ``optimizer``,
        ``learning_rate``, ``batch_size``, ``epochs``, ``seed``, and so on.

    Returns
    -------
    TrainState
        With early stopping, its parameters are those of the best epoch.

    Raises
    ------
    ConfigurationError
        For settings that are unknown, out of range or contradict each other.
    DataError
        For data that does not fit the network or the loss, or holds NaN or infinity.
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
    place_on, real = where(device, dtype, train[0])
    with place_on.activate():
        training = Trainer(network, train, validation, place_on, real, options)
        training.take(shuffle, sample_weight, image_shape, rates)
        state = training.start(parameters, state)
        good = training.kept(state)
        try:
            while state.epoch < options.epochs and not state.stopped:
                state, good = training.epoch(state, good)
                if on_epoch is not None and on_epoch(good):
                    state = state._replace(stopped=state.stopped or "on_epoch")
        except DivergenceError as error:
            error.state = good._replace(slots=[])  # the optimizer's arrays were consumed
            raise
        except KeyboardInterrupt as interrupt:
            raise TrainingInterrupted(good._replace(slots=[])) from interrupt
        if state.best is not None:
            state = state._replace(parameters=state.best.parameters)
        return state


def where(device: str | Placement | None, dtype: str | None, inputs: Any) -> tuple[Placement, Any]:
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
