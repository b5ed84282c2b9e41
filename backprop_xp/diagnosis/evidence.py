"""Evidence: the numbers of a training run from which the doctor draws its conclusions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.backend.devices import placement_of
from backprop_xp.backend.host import ignore_overflow
from backprop_xp.data.device_data import DeviceData, to_device
from backprop_xp.data.streaming import sample_rows
from backprop_xp.nn.backpropagation import loss_and_gradients
from backprop_xp.nn.losses import Loss
from backprop_xp.nn.metrics import classes_of
from backprop_xp.nn.network import Network
from backprop_xp.training.data_scale import DataScale
from backprop_xp.training.evaluation import evaluate
from backprop_xp.training.layer_statistics import SAMPLE, describe, measure
from backprop_xp.training.state import TrainState


class Evidence(NamedTuple):
    """The numbers of a training run that the doctor inspects.

    All losses are relative to that of perfect predictions.

    Attributes
    ----------
    diverged : bool
        Whether a loss or a weight was no longer finite.
    stopped_early : bool
        Whether early stopping was on, so that the weights are those of the best epoch.
    steps : int
    scale : DataScale
        The scale of the inputs and of the targets.
    unscaled_targets : str
        The targets of a regression that are far from 1; empty if they are not.
    baseline : float
        The training loss of the best constant prediction, the mean of the targets.
    loss : float
        The training loss of the current weights, without dropout and augmentation.
    validation_baseline : float or None
        The loss of the same constant on the validation set.
    losses, validation_losses : list of float
        The training loss during each epoch, with dropout and augmentation and each batch before
        its update, and the validation loss after it. The first ones are not compared with the
        others: in the first epochs, and with dropout in all of them, they are higher.
    counts, predicted : list of int
        Training samples of each class, and how many are predicted as it; empty for regression.
    layers : list of dict
        `backprop_xp.training.layer_statistics` of a step from the current weights.
    measured_steps : list of lists of dict
        The same of the steps that were measured during training.
    classes, features : sequence of str or None
        Names of the classes and of the input columns.
    """

    diverged: bool
    stopped_early: bool
    steps: int
    scale: DataScale
    unscaled_targets: str
    baseline: float
    loss: float
    validation_baseline: float | None
    losses: list[float]
    validation_losses: list[float]
    counts: list[int]
    predicted: list[int]
    layers: list[dict[str, float | None]]
    measured_steps: list[list[dict[str, float | None]]]
    classes: Sequence[str] | None = None
    features: Sequence[str] | None = None

    @property
    def gradient_ratio(self) -> float:
        """The error that reaches the first layer, relative to that at the output."""
        return _gradient_ratio(self.layers)

    @property
    def largest_gradient_ratio(self) -> float:
        """The largest `gradient_ratio` of all measured steps."""
        return max(map(_gradient_ratio, [self.layers, *self.measured_steps]))

    @property
    def still_falls(self) -> bool:
        """Whether the loss fell clearly below that of a constant prediction and was lowest in the
        last fifth of the epochs; on the validation set where there is one."""
        losses, baseline = self.losses, self.baseline
        if self.validation_losses and self.validation_baseline is not None:
            losses, baseline = self.validation_losses, self.validation_baseline
        late = len(losses) - len(losses) // 5 - 1
        return bool(losses) and min(losses) < 0.995 * baseline and losses.index(min(losses)) >= late

    @property
    def explained_validation_loss(self) -> float | None:
        """The largest `explained_loss` after any epoch on the validation set; None without one."""
        if not self.validation_losses or self.validation_baseline is None:
            return None
        return _share(min(self.validation_losses), self.validation_baseline)

    @property
    def updates(self) -> list[float]:
        """The largest relative update of a layer in each measured step."""
        return [max(row["update"] or 0.0 for row in layers) for layers in self.measured_steps]

    @property
    def relative_change(self) -> float:
        """The most that all steps can have changed the weights, relative to their size."""
        return median(self.updates) * self.steps if self.updates else math.inf

    @property
    def explained_loss(self) -> float:
        """The share of the loss of a constant prediction that training removed."""
        return _share(self.loss, self.baseline)

    @property
    def best_explained_loss(self) -> float:
        """The largest `explained_loss`, also during an epoch whose weights were not kept."""
        return _share(min([self.loss, *self.losses]), self.baseline)

    def worst(self, name: str) -> tuple[float, int]:
        """Return the largest share of dead or saturated units, and its hidden layer from 1."""
        shares = [row[name] or 0.0 for row in self.layers[:-1]]
        worst = max(shares, default=0.0)
        return worst, shares.index(worst) + 1 if shares else 0


def collect(
    network: Network,
    state: TrainState,
    train: tuple[Any, Any],
    validation: tuple[Any, Any] | None = None,
    *,
    loss: Loss,
    diverged: bool = False,
) -> Evidence:
    """Collect the evidence on a training run; the parameters are those of `doctor.diagnose`."""
    parameters = state.parameters
    weights = parameters[0].weights
    xp = arrays.namespace(weights)

    def placed(data: tuple[Any, Any]) -> DeviceData:
        sizes = network.sizes[0], network.sizes[-1]
        return to_device(sample_rows(data), *sizes, placement_of(weights))

    with arrays.on_device_of(weights), ignore_overflow(xp):
        known = placed(train)
        constant = xp.mean(known.y, axis=0)
        scale = DataScale.of(known.x, known.y)
        x, y = known.x[:SAMPLE, ...], known.y[:SAMPLE, ...]
        step = loss_and_gradients(network, loss, parameters, x, y, xp=xp)
        outputs: list[Array] = []
        measured = evaluate(
            network, loss, parameters, known.x, known.y, xp=xp, on_outputs=outputs.append
        )
        others = None if validation is None else placed(validation).y
        floor = _smallest_loss(loss, known.y, xp)
        validation_floor = 0.0 if others is None else _smallest_loss(loss, others, xp)
        return Evidence(
            diverged=diverged,
            stopped_early=state.best is not None,
            steps=state.step,
            scale=scale,
            unscaled_targets=scale.unscaled_targets(loss),
            baseline=_constant_loss(loss, constant, known.y, xp) - floor,
            loss=measured["loss"] - floor,
            validation_baseline=(
                None
                if others is None
                else _constant_loss(loss, constant, others, xp) - validation_floor
            ),
            losses=[record["loss"] - floor for record in state.history],
            validation_losses=[
                record["validation_loss"] - validation_floor
                for record in state.history
                if "validation_loss" in record
            ],
            counts=_counts(known.y, xp) if known.labeled else [],
            predicted=_counts(xp.concat(outputs), xp) if known.labeled else [],
            layers=describe(measure(network, step, parameters, [0.0] * len(parameters), xp=xp)),
            measured_steps=[record["layers"] for record in state.history if "layers" in record],
        )


def _constant_loss(loss: Loss, outputs: Array, y: Array, xp: Namespace) -> float:
    terms, _ = loss.value_and_gradient(outputs + xp.zeros_like(y), y, xp)
    return float(xp.sum(terms) / y.shape[0])


def _smallest_loss(loss: Loss, y: Array, xp: Namespace) -> float:
    """Return the loss of perfect predictions, which is 0 for all losses but that of counts."""
    return _constant_loss(loss, y, y, xp) if loss.needs_positive else 0.0


def _counts(outputs: Array, xp: Namespace) -> list[int]:
    classes = arrays.to_numpy(classes_of(outputs, xp=xp)).tolist()
    return [classes.count(k) for k in range(max(2, outputs.shape[1]))]


def _share(loss: float, baseline: float) -> float:
    return 1.0 - loss / baseline if baseline else 0.0


def _gradient_ratio(layers: list[dict[str, float | None]]) -> float:
    first, last = layers[0]["delta"], layers[-1]["delta"]
    if first is None or last is None:
        return math.inf
    return first / last if last else 1.0
