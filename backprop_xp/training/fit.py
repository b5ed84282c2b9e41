"""The training loop: from a seed, or from a state, to the last epoch."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Unpack

from backprop_xp.backend.devices import Placement, placement_of
from backprop_xp.data.loader import Shuffle
from backprop_xp.errors import ConfigurationError, DivergenceError
from backprop_xp.nn.network import Network, Parameters
from backprop_xp.training.checkpoint import Checkpoint, about_run
from backprop_xp.training.learning_rate import LearningRates
from backprop_xp.training.settings import TrainingOptions, TrainingSettings, list_settings
from backprop_xp.training.state import (
    TrainingInterrupted,
    TrainState,
    initial_state,
    with_best_parameters,
)
from backprop_xp.training.step import TrainingStep
from backprop_xp.training.trainer import Trainer
from backprop_xp.training.training_data import TrainingData


@list_settings
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
    learning_rates: LearningRates | None = None,
    loss_unit: float = 1.0,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    resume: bool = False,
    on_epoch: Callable[[TrainState], object] | None = None,
    on_steps: Callable[[int, int], object] | None = None,
    **settings: Unpack[TrainingOptions],
) -> TrainState:
    """Train a network by backpropagation.

    Parameters
    ----------
    network : Network
    train : pair of arrays
        Inputs, shape (n, n_inputs), and targets: class indices, shape (n,), or numbers, shape
        (n, n_outputs). Arrays of any library; not changed. Memory-mapped inputs larger than
        `backprop_xp.data.streaming.CHUNK_BYTES` stay in their file: they are read one chunk at a
        time, and shuffled as `backprop_xp.data.streaming.shuffled_chunks` describes.
    validation : pair of arrays, optional
        Measured after each epoch, never trained on.
    device : str or Placement, optional
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or a placement from
        `backprop_xp.select_device`. By default the device of the inputs.
    dtype : {"float32", "float64"}, optional
        By default that of real inputs that stay where they are, otherwise float32.
    sample_weight : array, shape (n,), optional
        How much each training sample counts; weight 2 counts as the row twice.
    image_shape : (int, int), optional
        Height and width, if the inputs are images to be augmented.
    state : TrainState, optional
        The state to continue from, until ``epochs`` epochs are done in total.
    parameters : list of Layer, optional
        Initial weights, copied; by default they are drawn from the seed.
    shuffle : bool or callable ``(epoch, n) -> order``
        Whether the rows are shuffled in each epoch, or the order itself.
    learning_rates : callable ``(state, steps) -> list of float``, optional
        Returns the learning rate of each step of the next epoch, instead of the settings.
    loss_unit : float
        A factor of all losses that are recorded and compared with ``target_loss``, but not of
        their gradients: for targets that were divided by their standard deviation, it gives the
        losses in the units of the targets.
    checkpoint : path or Checkpoint, optional
        A file to which the complete state is written after the first epoch, then every 30 seconds,
        and at the end, however the training ends. A `backprop_xp.Checkpoint` sets another interval.
    resume : bool
        Whether to continue from the checkpoint, if it exists. The result is the same, bit for bit,
        as that of a run that was never interrupted, on the same machine and backend.
    on_epoch : callable, optional
        Called with the `TrainState` after each epoch, whose arrays it must not change. Training
        stops if it returns something true.
    on_steps : callable ``(done, steps)``, optional
        Called within each epoch with the number of steps that were started, and the number of
        steps of the epoch, to show progress: after each step, or between chunks of the data where
        several steps are compiled together. It must return quickly.
    **settings
        {settings}

    Returns
    -------
    TrainState
        With early stopping, its ``parameters`` are those of the best epoch, and its
        ``last_parameters`` those of the last one.

    Raises
    ------
    ConfigurationError
        For settings that are unknown, out of range or contradict each other, and for a checkpoint
        of another run.
    DataError
        For data that does not fit the network or the loss, or contains NaN or infinity.
    ModelFileError
        If the checkpoint to continue from is damaged, and so is the one before it.
    DeviceError
        For a device that cannot be used.
    DivergenceError
        If a loss or a weight is no longer finite; its ``state`` is that of the last complete epoch.
    TrainingInterrupted
        On Ctrl-C; its ``state`` is that of the last complete epoch.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.asarray([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> xor = np.asarray([0, 1, 1, 0])
    >>> network = Network((2, 8, 2), ("tanh", "softmax"))
    >>> state = fit(network, (x, xor), epochs=200, batch_size=4, learning_rate=0.05, seed=0)
    >>> state.history[-1]["accuracy"]
    1.0
    """
    options = TrainingSettings.of(settings)
    if resume and checkpoint is None:
        raise ConfigurationError(
            "there is no checkpoint to resume from", "give its path as checkpoint="
        )
    placement = placement_of(train[0], device, dtype)
    with placement.activate():
        data = TrainingData.of(
            network,
            options,
            placement,
            train,
            validation,
            shuffle=shuffle,
            sample_weight=sample_weight,
        )
        file = None if checkpoint is None else Checkpoint.of(checkpoint)
        stopped = ""
        if file is not None:
            about = about_run(network, options, data, placement)
            stored = file.begin(about, resume=resume)
            if stored is not None:
                state, parameters, stopped = stored, None, stored.stopped
        state = initial_state(network, options, placement, parameters, state)
        state = state._replace(stopped=stopped)
        step = TrainingStep.of(
            network, options, placement, n=data.n, seed=state.seed, image_shape=image_shape
        )
        trainer = Trainer(step, data, options, learning_rates, loss_unit, on_steps)
        try:
            while state.epoch < options.epochs and not state.stopped:
                state = trainer.run_epoch(state, file)
                if file is not None:
                    file.latest = state
                if on_epoch is not None and on_epoch(state):
                    state = state._replace(stopped=state.stopped or "on_epoch")
                if file is not None:
                    file.update(state)
            if file is not None:
                file.write_latest()  # here, so that Ctrl-C during it is handled as before it
        except DivergenceError as error:
            error.state = state
            if advice := data.scale().advice(step.loss):
                error.hint = f"{advice}; otherwise {error.hint}"
            raise
        except KeyboardInterrupt as interrupt:
            raise TrainingInterrupted(state) from interrupt
        finally:
            if file is not None:
                if state.epoch:  # Ctrl-C can come before the epoch is noted above
                    file.latest = state
                file.write_latest()
    return with_best_parameters(state)
