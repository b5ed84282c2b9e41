"""One training step: gradients of the loss and the penalty, then the update of the parameters.

Both halves are pure functions of arrays. `backprop_xp.training.execution` decides how they are run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

from backprop_xp.backend import random
from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.backend.devices import Placement
from backprop_xp.backend.fast_numpy import fast_namespace
from backprop_xp.data.augmentation import (
    Augmentation,
    augment,
    check_image_shape,
    get_augmentation,
)
from backprop_xp.data.batch import Batch
from backprop_xp.nn.backpropagation import Gradients, StepResult, loss_and_gradients
from backprop_xp.nn.dropout import dropout_mask
from backprop_xp.nn.losses import Loss
from backprop_xp.nn.network import Network, Parameters
from backprop_xp.nn.optimizers import Optimizer, Scalars, Slots, gradient_scale, update
from backprop_xp.nn.regularizers import (
    Penalty,
    add_penalty,
    clip_by_norm,
    clip_weight_norms,
    penalty_value,
)
from backprop_xp.training.settings import TrainingSettings


class TrainingStep(NamedTuple):
    """The step of a training run.

    Attributes
    ----------
    network : Network
    loss : Loss
    optimizer : Optimizer
    xp, device
        The array library that computes the step, and its device.
    penalty : Penalty
    dropout : tuple of float
        The rate of each hidden layer; empty for no dropout.
    augmentation : Augmentation or None
        How images are changed before each step.
    image_shape : (int, int) or None
        Height and width of the images.
    clip_norm, max_norm : float or None
        Bounds on the norm of all gradients together, and of each neuron's incoming weights.
    seed : int
        Determines the dropout masks and the augmentation.
    update_parameters : callable
        Applies the optimizer to all arrays, as `backprop_xp.nn.optimizers.update` does.
    """

    network: Network
    loss: Loss
    optimizer: Optimizer
    xp: Namespace
    device: Any
    penalty: Penalty = Penalty()
    dropout: tuple[float, ...] = ()
    augmentation: Augmentation | None = None
    image_shape: tuple[int, int] | None = None
    clip_norm: float | None = None
    max_norm: float | None = None
    seed: int = 0
    update_parameters: Callable[..., tuple[Parameters, list[Slots]]] = update

    @classmethod
    def of(
        cls,
        network: Network,
        settings: TrainingSettings,
        placement: Placement,
        *,
        n: int,
        seed: int,
        image_shape: tuple[int, int] | None = None,
    ) -> Self:
        """Return the step of a training run with these settings on ``n`` rows.

        Raises
        ------
        ConfigurationError
            If the dropout rates or the augmentation do not fit the network.
        """
        augmentation = None
        if settings.augment is not None:
            image_shape = check_image_shape(image_shape, network.sizes[0])
            augmentation = get_augmentation(settings.augment, image_shape)
        return cls(
            network=network,
            loss=settings.resolve_loss(network.activations[-1]),
            optimizer=settings.resolve_optimizer(),
            xp=fast_namespace(placement.xp),
            device=placement.device,
            penalty=settings.resolve_penalty(n),
            dropout=settings.resolve_dropout(len(network.sizes) - 2),
            augmentation=augmentation,
            image_shape=image_shape,
            clip_norm=settings.clip_norm,
            max_norm=settings.max_norm,
            seed=seed,
        )

    @property
    def recordable(self) -> bool:
        """Whether all functions of the step belong to this library, and so are pure."""
        parts = (*self.network.activations, self.loss, self.optimizer, self.loss.fused.values())
        functions = (part for record in parts for part in record if callable(part))
        return all(str(getattr(f, "__module__", "")).startswith("backprop_xp.") for f in functions)

    def gradients(
        self, parameters: Parameters, batch: Batch, step: Any, scalars: Scalars | None = None
    ) -> StepResult:
        """Return the loss of a batch, and the gradients of the loss and the penalty.

        A penalty per batch is part of the loss.

        Parameters
        ----------
        parameters : list of Layer
        batch : (x, y, sample weights)
        step : int, or integer array of shape ()
            The number of updates before this step, which determines the dropout masks.
        scalars : tuple, optional
            The optimizer's numbers for this step. With them every δ and gradient is multiplied by
            the factor that `update` expects: η if the optimizer's rule is linear in the gradient
            and nothing is clipped.
        """
        x, y, weights = batch
        scale = 1.0
        if scalars is not None and self.clip_norm is None:
            scale = gradient_scale(self.optimizer, scalars)
        if self.augmentation is not None and self.image_shape is not None:
            x = augment(
                x,
                self.image_shape,
                self.augmentation,
                self.seed,
                step,
                xp=self.xp,
                device=self.device,
            )
        result = loss_and_gradients(
            self.network,
            self.loss,
            parameters,
            x,
            y,
            sample_weight=weights,
            dropout_masks=self._dropout_masks(x, step),
            loss_scale=scale,
            xp=self.xp,
        )
        if not self.penalty:
            return result
        (value, tape, gradients), factor = result, 1.0
        if self.penalty.per_batch:
            factor = 1.0 / (x.shape[0] if weights is None else self.xp.sum(weights))
            value = value + penalty_value(self.penalty, parameters, xp=self.xp) * factor
        layers = add_penalty(self.penalty, gradients.layers, parameters, factor * scale, xp=self.xp)
        return StepResult(value, tape, Gradients(layers, gradients.deltas))

    def update(
        self, parameters: Parameters, gradients: Parameters, slots: list[Slots], scalars: Scalars
    ) -> tuple[Parameters, list[Slots]]:
        """Return the parameters and the optimizer's arrays after the update; all are consumed.

        The gradients are those of `gradients` with the same ``scalars``.
        """
        xp = self.xp
        if self.clip_norm is not None:
            scale = gradient_scale(self.optimizer, scalars)
            gradients = clip_by_norm(gradients, self.clip_norm, scale, xp=xp)
        parameters, slots = self.update_parameters(
            self.optimizer, parameters, gradients, slots, scalars, xp=xp
        )
        if self.max_norm is not None:
            parameters = clip_weight_norms(parameters, self.max_norm, xp=xp)
        return parameters, slots

    def _dropout_masks(self, x: Array, step: Any) -> list[Array | None] | None:
        """Return the dropout mask of the inputs of each layer; the first one has none."""
        if not any(self.dropout):
            return None
        masks: list[Array | None] = [None]
        for layer, rate in enumerate(self.dropout, start=1):
            key = random.key_of(self.seed, random.DROPOUT, layer)
            shape = (x.shape[0], self.network.sizes[layer])
            masks.append(
                dropout_mask(shape, rate, key, step, xp=self.xp, dtype=x.dtype, device=self.device)
                if rate
                else None
            )
        return masks
