"""The learning-rate finder: a short training whose rate rises shows which rate learns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from backprop_xp.backend.devices import Placement
from backprop_xp.errors import ConfigurationError
from backprop_xp.nn.network import Network, Parameters, Step
from backprop_xp.training.settings import PACE, TrainingSettings, check_whole
from backprop_xp.training.state import TrainState

if TYPE_CHECKING:
    from backprop_xp.data.loader import Shuffle

LOW, HIGH, STEPS = 1e-6, 10.0, 400
"""The usual range, and the steps from one end to the other."""

# Chosen with scripts/find_lr.py. Where the smoothed loss is lowest, the rate is about to be too
# large; where most of the fall was done long before, what came after was chance, or a network
# that the rates on the way had spoilt.
_SHARE = 0.25  # the suggestion, relative to the rate at which the smoothed loss is lowest
_BEYOND = 4.0  # the most it is, relative to the rate by which most of the fall was done
_MOST = 0.8  # of the fall
_SPAN = 0.3  # powers of ten of the learning rate over which the loss is smoothed
_GROWN = 4.0  # the test ends where the smoothed loss is that many times its lowest
_START = 10  # the first tenth of the steps shows the loss before anything is learned
_FALL = 0.1  # the share of that loss which must be lost at least

_NEVER = (
    "the loss never fell clearly; try another range, more steps or larger batches, and look "
    "whether the data can be learned at all"
)


class RateFinding(NamedTuple):
    """What a range test found.

    Attributes
    ----------
    rates : list of float
        The learning rate of each step, up to where the test ended.
    losses : list of float
        The loss of each step's batch before its update, without the penalty.
    smoothed : list of float
        The same, averaged with weights that fall off exponentially into the past.
    suggestion : float or None
        The learning rate to train with, to two digits; None if the test shows none.
    reason : str
        Why there is no suggestion; empty if there is one.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float | None
    reason: str


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
    **settings: Any,
) -> RateFinding:
    """Find a learning rate by a range test: train while it rises exponentially, and see the loss.

    The steps are those of `backprop_xp.fit` with the same settings, done in copies of the
    weights; nothing that is handed in changes, and random draws follow from the seed as ever. The
    suggestion is a quarter of the rate at which the smoothed loss is lowest, and at most four times
    the rate by which four fifths of its fall were done. There is none where the loss did not fall
    by a tenth, or by no more than single batches stray, or where it still fell at the end.

    Source: Smith (2017), "Cyclical learning rates for training neural networks", section 3.3.

    Parameters
    ----------
    network : Network
    train : pair of arrays
        As for `backprop_xp.fit`.
    low, high : float
        The first and the last learning rate.
    steps : int
        Steps from one to the other, at least 20, in as many epochs as they need; the fewer, the
        coarser the suggestion. The test ends earlier where the smoothed loss has grown to 4 times
        its lowest, or the loss is no longer finite.
    device, dtype, sample_weight, image_shape, state, parameters, shuffle
        As for `backprop_xp.fit`.
    **settings
        As for `backprop_xp.fit`, but for those that say how the learning rate changes
        or when a training ends.

    Returns
    -------
    RateFinding

    Raises
    ------
    ConfigurationError
        For a range or a number of steps that cannot be, and for settings that are unknown, out of
        range or without meaning here.
    DataError
        For data that does not fit the network or holds NaN or infinity.
    DeviceError
        For a device that cannot be used.

    Examples
    --------
    >>> from backprop_xp.data.digits import load_digits
    >>> digits = load_digits().train
    >>> network = Network((64, 30, 10), ("relu", "softmax"))
    >>> found = find_learning_rate(network, (digits.inputs / 16.0, digits.targets), seed=0)
    >>> 0.01 < found.suggestion < 0.1
    True
    """
    # Here and not above, since the command line reads the usual range without NumPy.
    from backprop_xp.training.fit import where
    from backprop_xp.training.trainer import Trainer

    check_range(low, high, steps)
    if idle := [name for name in settings if name in PACE]:
        raise ConfigurationError(
            f"{idle[0]} means nothing where a learning rate is looked for", "leave it out"
        )
    options = TrainingSettings.of({**settings, "diagnostics": False})
    test = _RangeTest(low, high, steps)
    place_on, real = where(device, dtype, train[0])
    with place_on.activate():
        training = Trainer(network, train, None, place_on, real, options)
        training.take(shuffle, sample_weight, image_shape)
        state = training.start(parameters, state)
        while not test.ended:
            result = training.run(state, test.next_rates(training.steps), test.watch)
            state = state._replace(
                parameters=result.parameters,
                slots=result.slots,
                epoch=state.epoch + 1,
                step=state.step + result.steps,
            )
    return test.finding()


def check_range(low: float, high: float, steps: int) -> None:
    """Refuse a range of learning rates, or a number of steps, that cannot be."""
    numbers = all(isinstance(rate, (int, float)) for rate in (low, high))
    if not (numbers and 0.0 < 10.0 * low <= high < math.inf):
        raise ConfigurationError(
            f"the learning rates go from {low!r} to {high!r}",
            "give two numbers above 0, the second at least 10 times the first",
        )
    check_whole("steps", steps, 20)


class _RangeTest:
    """The learning rates of a range test, and what is seen of the loss at each."""

    def __init__(self, low: float, high: float, steps: int) -> None:
        parts = [step / (steps - 1) for step in range(steps)]
        self.rates = [low ** (1.0 - part) * high**part for part in parts]
        per_power = (steps - 1) / (math.log10(high) - math.log10(low))
        self.span = math.ceil(_SPAN * per_power)
        self.memory = math.exp(-1.0 / (_SPAN * per_power))
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self.ended = False

    def next_rates(self, steps: int) -> list[float]:
        """Return the rates of the next epoch; fewer than its steps where the test ends in it."""
        done = len(self.losses)
        return self.rates[done : done + steps]

    def watch(self, place: int, loss: Any, look: Callable[[], Step]) -> bool:
        """Take the loss of a step, and say whether it was the last one."""
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
        """Return what the test found."""
        rates = self.rates[: len(self.losses)]
        return RateFinding(rates, self.losses, self.smoothed, *self._suggestion())

    def _suggestion(self) -> tuple[float | None, str]:
        """Return a learning rate and no reason, or none and why."""
        losses, smoothed = self.losses, self.smoothed
        start = len(self.rates) // _START
        if len(losses) <= start:
            return None, _NEVER
        before = sum(loss / start for loss in losses[:start])  # in shares: a sum may overflow
        lowest = min(range(start, len(losses)), key=smoothed.__getitem__)
        fall = before - smoothed[lowest]
        strays = [losses[i] - smoothed[i] for i in range(max(0, lowest - self.span), lowest)]
        noise = math.hypot(*strays) / math.sqrt(len(strays))
        if fall <= max(_FALL * before, noise):
            return None, _NEVER
        if lowest == len(self.rates) - 1:
            end = self.rates[lowest]
            return None, f"the loss still fell at {end:g}, the end of the range; take a higher one"
        most = next(i for i in range(start, lowest + 1) if before - smoothed[i] >= _MOST * fall)
        rate = min(_SHARE * self.rates[lowest], _BEYOND * self.rates[most])
        return float(f"{rate:.2g}"), ""
