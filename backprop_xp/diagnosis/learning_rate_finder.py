"""The learning-rate finder: a short training run with a rising rate shows which rate learns."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from backprop_xp.backend.devices import Placement
from backprop_xp.errors import ConfigurationError
from backprop_xp.formatting import pluralize
from backprop_xp.nn.backpropagation import StepResult
from backprop_xp.nn.network import Network, Parameters
from backprop_xp.training.settings import (
    LEARNING_RATE_AND_STOPPING,
    TrainingOptions,
    TrainingSettings,
    check_integer,
)
from backprop_xp.training.state import TrainState

if TYPE_CHECKING:
    from backprop_xp.data.loader import Shuffle

LOW, HIGH, STEPS = 1e-6, 10.0, 400
"""The default range, and the number of steps from one end to the other."""

# Chosen with scripts/find_lr.py. Where the smoothed loss is lowest, the rate is about to become too
# large. Where most of the fall came long before, the rest was chance, or due to a network that
# the rates on the way had spoiled.
_SHARE = 0.25  # the suggestion, relative to the rate at which the smoothed loss is lowest
_BEYOND = 4.0  # the largest suggestion, relative to the rate at which most of the fall was reached
_MOST = 0.8  # of the fall
_SPAN = 0.3  # powers of ten of the learning rate over which the loss is smoothed
_GROWN = 4.0  # the test ends where the smoothed loss is this many times its lowest
_START = 10  # the first tenth of the steps shows the loss before anything is learned
_FALL = 0.1  # the smallest fall, as a share of that loss
# The loss of a small data set can fall until the end, however high: once this share of it is gone,
# there is little left to learn, and no rate does harm. The rate by which most of the fall was
# reached is then the suggestion; on 190 such tests of small tables and digits its mean score was
# 0.95 by the measure of scripts/find_lr.py, and 0.82 with four times that rate. The same holds
# where most of the fall came long before the end, and for the default range or a larger one.
_LEARNED = 0.9
_PLATEAU = 16.0


class RateFinding(NamedTuple):
    """The result of a range test.

    Attributes
    ----------
    rates : list of float
        The learning rate of each step, up to where the test ended.
    losses : list of float
        The loss of each step's batch before its update, without the penalty.
    smoothed : list of float
        The same, averaged with weights that decay exponentially into the past.
    suggestion : float or None
        The learning rate to train with, to two digits; None if the test found none.
    reason : str
        Why there is no suggestion; empty if there is one.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float | None
    reason: str

    def __repr__(self) -> str:
        reason = f", {self.reason!r}" if self.reason else ""
        return f"RateFinding({self.suggestion}, {pluralize(len(self.rates), 'step')}{reason})"


def find_learning_rate(
    network: Network,
    train: tuple[Any, Any],
    *,
    low: float = LOW,
    high: float = HIGH,
    steps: int = STEPS,
    device: str | Placement | None = None,
    dtype: str | None = None,
    sample_weight: Any = None,
    image_shape: tuple[int, int] | None = None,
    state: TrainState | None = None,
    parameters: Parameters | None = None,
    shuffle: bool | Shuffle = True,
    **settings: Unpack[TrainingOptions],
) -> RateFinding:
    """Find a learning rate by a range test: raise it exponentially while training.

    The steps are those of `backprop_xp.fit` with the same settings, on copies of the weights; no
    argument is changed. The suggestion is a quarter of the rate at which the smoothed loss is
    lowest, and at most four times the rate at which four fifths of its fall were reached, or that
    rate itself if the loss fell until the end of the range. There is none if the loss did not fall
    by a tenth, or by no more than the noise of single batches, or if it was still falling at the
    end of a range that ends below 10 or has fewer than 400 steps; the reason then says which range
    or how many steps to take instead.

    Source: Smith (2017), "Cyclical learning rates for training neural networks", section 3.3.

    Parameters
    ----------
    network : Network
    train : pair of arrays
        As for `backprop_xp.fit`.
    low, high : float
        The first and the last learning rate.
    steps : int
        Steps from one to the other, at least 20, over as many epochs as needed; fewer steps give
        a coarser suggestion. The test ends earlier if the smoothed loss grows to 4 times its
        lowest, or the loss is no longer finite.
    device, dtype, sample_weight, image_shape, state, parameters, shuffle
        As for `backprop_xp.fit`.
    **settings
        As for `backprop_xp.fit`, except those that set the learning rate or when training ends.

    Returns
    -------
    RateFinding

    Raises
    ------
    ConfigurationError
        For an invalid range or number of steps, and for settings that are unknown, out of range or
        without meaning here.
    DataError
        For data that does not fit the network or holds NaN or infinity.
    DeviceError
        For a device that cannot be used.

    Examples
    --------
    >>> from backprop_xp.data.digits import load_digits
    >>> digits = load_digits().train
    >>> network = Network((64, 30, 10), ("relu", "softmax"))
    >>> finding = find_learning_rate(network, (digits.inputs / 16.0, digits.targets), seed=0)
    >>> 0.01 < finding.suggestion < 0.1
    True
    """
    # Here and not above, since the command line reads the default range without NumPy.
    from backprop_xp.backend.devices import placement_of
    from backprop_xp.training.state import initial_state
    from backprop_xp.training.step import TrainingStep
    from backprop_xp.training.trainer import Trainer
    from backprop_xp.training.training_data import TrainingData

    check_range(low, high, steps)
    if unused := [name for name in settings if name in LEARNING_RATE_AND_STOPPING]:
        raise ConfigurationError(
            f"{unused[0]} has no meaning while a learning rate is searched for", "leave it out"
        )
    options = TrainingSettings.of({**settings, "diagnostics": False})
    test = _RangeTest(low, high, steps)
    placement = placement_of(train[0], device, dtype)
    with placement.activate():
        data = TrainingData.of(
            network, options, placement, train, shuffle=shuffle, sample_weight=sample_weight
        )
        state = initial_state(network, options, placement, parameters, state)
        step = TrainingStep.of(
            network, options, placement, n=data.n, seed=state.seed, image_shape=image_shape
        )
        trainer = Trainer(step, data, options)
        advice = data.scale().advice(step.loss)
        while not test.ended:
            done = len(test.losses)  # the last epoch may have fewer rates than steps
            result = trainer.run_steps(state, test.rates[done : done + data.steps], test.on_step)
            state = state._replace(
                parameters=result.parameters,
                slots=result.slots,
                epoch=state.epoch + 1,
                step=state.step + result.steps,
            )
    finding = test.finding()
    if advice and finding.suggestion is None:
        return finding._replace(reason=f"{finding.reason.split(';')[0]}; {advice}")
    if advice:
        warnings.warn(advice, UserWarning, stacklevel=2)
    return finding


def check_range(low: float, high: float, steps: int) -> None:
    """Raise an error for an invalid range of learning rates or number of steps."""
    numbers = all(isinstance(rate, (int, float)) for rate in (low, high))
    if not (numbers and 0.0 < 10.0 * low <= high < math.inf):
        raise ConfigurationError(
            f"the learning rates go from {low!r} to {high!r}",
            "give two numbers above 0, the second at least 10 times the first",
        )
    check_integer("steps", steps, 20)


class _RangeTest:
    """The learning rates of a range test, and the loss measured at each."""

    def __init__(self, low: float, high: float, steps: int) -> None:
        parts = [step / (steps - 1) for step in range(steps)]
        self.rates = [low ** (1.0 - part) * high**part for part in parts]
        per_power = (steps - 1) / (math.log10(high) - math.log10(low))
        self.span = math.ceil(_SPAN * per_power)
        self.memory = math.exp(-1.0 / (_SPAN * per_power))
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self.ended = False

    def on_step(self, index: int, loss: Any, inspect: Callable[[], StepResult]) -> bool:
        """Record the loss of a step; return whether it was the last one."""
        loss = float(loss)
        grown = not math.isfinite(loss)
        if not grown:
            self.losses.append(loss)
            # The mean of all losses so far, each weighing `memory` times as much as its successor.
            gain = (1.0 - self.memory) / (1.0 - self.memory ** len(self.losses))
            before = self.smoothed[-1] if self.smoothed else 0.0
            self.smoothed.append(before + gain * (loss - before))
            grown = self.smoothed[-1] > _GROWN * min(self.smoothed)
        self.ended = grown or len(self.losses) == len(self.rates)
        return self.ended

    def finding(self) -> RateFinding:
        """Return the result of the test."""
        rates = self.rates[: len(self.losses)]
        return RateFinding(rates, self.losses, self.smoothed, *self._suggestion())

    def _suggestion(self) -> tuple[float | None, str]:
        """Return a learning rate and no reason, or None and the reason."""
        losses, smoothed, rates = self.losses, self.smoothed, self.rates
        start = len(rates) // _START
        if len(losses) <= start:
            return None, self._why_it_never_fell()
        before = sum(loss / start for loss in losses[:start])  # in shares: a sum may overflow
        lowest = min(range(start, len(losses)), key=smoothed.__getitem__)
        fall = before - smoothed[lowest]
        residuals = [losses[i] - smoothed[i] for i in range(max(0, lowest - self.span), lowest)]
        noise = math.hypot(*residuals) / math.sqrt(len(residuals))
        if fall <= max(_FALL * before, noise):
            return None, self._why_it_never_fell()
        most = next(i for i in range(start, lowest + 1) if before - smoothed[i] >= _MOST * fall)
        at_the_end = lowest == len(rates) - 1
        settled = fall >= _LEARNED * before or _PLATEAU * rates[most] <= rates[lowest]
        if at_the_end and not settled and (advice := self._more()):
            return None, f"the loss still fell at {rates[lowest]:g}, the end of the range; {advice}"
        rate = min(_SHARE * rates[lowest], rates[most] * (1.0 if at_the_end else _BEYOND))
        return float(f"{rate:.2g}"), ""

    def _why_it_never_fell(self) -> str:
        """Return the reason where the loss never fell clearly, with what to try next."""
        cut_off = len(self.losses) < len(self.rates)
        if cut_off and self.rates[0] > LOW:
            advice = f"start at a lower rate (--low {LOW:g})"
        else:
            advice = self._more() or (
                "take larger batches or more steps, and check whether the inputs predict the "
                "targets at all"
            )
        return f"the loss never fell clearly; {advice}"

    def _more(self) -> str:
        """Return how to train more than this test did; empty if it was as long as usual."""
        if self.rates[-1] < HIGH:
            return f"raise the end of the range (--high {HIGH:g})"
        if len(self.rates) < STEPS:
            return f"take more steps (--steps {STEPS})"
        return ""
