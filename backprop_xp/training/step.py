"""One training step: dropout, forward, loss, backward and penalty; then clipping and update.

Both halves are pure functions of arrays; how many of them are run, and how, is decided in
`backprop_xp.training.execution.eager`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from backprop_xp.backend import random
from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.data.augmentation import Augmentation, augment
from backprop_xp.nn.dropout import dropout_mask
from backprop_xp.nn.losses import Loss
from backprop_xp.nn.network import Gradients, Network, Parameters, Step, loss_and_gradients
from backprop_xp.nn.optimizers import Optimizer, Scalars, Slots, eta_of
from backprop_xp.nn.regularizers import (
    Penalty,
    add_penalty,
    bound_norms,
    clip_by_norm,
    penalty_value,
)
from backprop_xp.training.execution.eager import update
from backprop_xp.training.execution.replay import Batch


class StepRule(NamedTuple):
    """What is done in every step of a training.

    Attributes
    ----------
    network : Network
    loss : Loss
    optimizer : Optimizer
    xp, device
        Where the step is done.
    penalty : Penalty
    dropout : tuple of float
        The rate of each hidden layer; empty for no dropout.
    augmentation : Augmentation or None
        How images are changed before each step, and their height and width.
    image_shape : (int, int) or None
    clip_norm, max_norm : float or None
        Bounds on the norm of all gradients together, and of each neuron's incoming weights.
    seed : int
        From which the dropout masks follow.
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

    @property
    def recordable(self) -> bool:
        """Whether all functions of the step are this library's own, which are pure."""
        parts = (*self.network.activations, self.loss, self.optimizer, self.loss.fused.values())
        functions = (part for record in parts for part in record if callable(part))
        return all(str(getattr(f, "__module__", "")).startswith("backprop_xp.") for f in functions)

    def compute(
        self, parameters: Parameters, batch: Batch, number: Any, scalars: Scalars | None = None
    ) -> Step:
        """Return the loss of a batch, and the gradients of loss and penalty.

        A penalty per batch is part of the loss.

        Parameters
        ----------
        parameters : list of Layer
        batch : (x, y, weights)
        number : int, or integer array of shape ()
            The number of the step, from which the dropout masks follow.
        scalars : tuple, optional
            The optimizer's numbers of this step: then every δ and gradient comes as `apply` takes
            it, times η if the optimizer's rule is linear and nothing is to be clipped.
        """
        x, y, weights = batch
        scale = 1.0
        if scalars is not None and self.clip_norm is None:
            scale = eta_of(self.optimizer, scalars)
        if self.augmentation is not None and self.image_shape is not None:
            x = augment(
                x,
                self.image_shape,
                self.augmentation,
                self.seed,
                number,
                xp=self.xp,
                device=self.device,
            )
        step = loss_and_gradients(
            self.network,
            self.loss,
            parameters,
            x,
            y,
            weights=weights,
            masks=self._masks(x, number),
            scale=scale,
            xp=self.xp,
        )
        if not self.penalty:
            return step
        (value, tape, gradients), share = step, 1.0
        if self.penalty.per_batch:
            share = 1.0 / (x.shape[0] if weights is None else self.xp.sum(weights))
            value = value + penalty_value(self.penalty, parameters, xp=self.xp) * share
        layers = add_penalty(self.penalty, gradients.layers, parameters, share * scale, xp=self.xp)
        return Step(value, tape, Gradients(layers, gradients.deltas))

    def apply(
        self, parameters: Parameters, gradients: Parameters, slots: list[Slots], scalars: Scalars
    ) -> tuple[Parameters, list[Slots]]:
        """Return the parameters and the optimizer's arrays after the update; all are consumed.

        The gradients are those of `compute` with the same ``scalars``.
        """
        xp = self.xp
        if self.clip_norm is not None:
            eta = eta_of(self.optimizer, scalars)
            gradients = clip_by_norm(gradients, self.clip_norm, eta, xp=xp)
        parameters, slots = update(self.optimizer, parameters, gradients, slots, scalars, xp=xp)
        if self.max_norm is not None:
            parameters = bound_norms(parameters, self.max_norm, xp=xp)
        return parameters, slots

    def _masks(self, x: Array, number: Any) -> list[Array | None] | None:
        """Return the dropout mask of what each layer is fed; the inputs are never dropped."""
        if not any(self.dropout):
            return None
        masks: list[Array | None] = [None]
        for layer, rate in enumerate(self.dropout, start=1):
            key = random.key_of(self.seed, random.DROPOUT, layer)
            shape = (x.shape[0], self.network.sizes[layer])
            masks.append(
                dropout_mask(
                    shape, rate, key, number, xp=self.xp, dtype=x.dtype, device=self.device
                )
                if rate
                else None
            )
        return masks
