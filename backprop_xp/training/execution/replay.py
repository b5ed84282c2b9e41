"""How one step is run: as it is written, compiled (JAX), or recorded (NumPy, once that pays)."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from backprop_xp.backend.arrays import Array, Namespace, backend_name
from backprop_xp.data.sparse import SparseRows
from backprop_xp.nn.network import Parameters, Step, map_arrays
from backprop_xp.nn.optimizers import Scalars, Slots
from backprop_xp.training.execution.recording import record

Batch = tuple[Array, Array, Array | None]
"""Inputs, targets and weights of samples; None where all weigh the same."""

Now = tuple[Parameters, Batch, Array | None, Any, Scalars]
"""``(parameters, data, rows, number, scalars)``: what a step starts from. Those rows of the data
are its batch, all of them for None; its number is that in the training."""

_RECORD_AFTER = 50
"""Steps of one size that are run as written. A recording takes some 2.5 ms and saves 15 to 50 µs a
step; so it is made for trainings that will probably gain by it, and costs the others little."""

_RECORD_UP_TO = 300_000
"""Parameters in a network beyond which Python's share of a step is not seen, and a recording,
which is made on copies, would need memory."""


class Rule(Protocol):
    """The two halves of a training step, on one namespace."""

    @property
    def recordable(self) -> bool:
        """Whether both are known to be pure, but for arrays that they consume."""

    def compute(self, parameters: Parameters, batch: Batch, number: Any, scalars: Scalars) -> Step:
        """Return the loss of a batch and its gradients, as the optimizer's rule takes them;
        ``number`` is that of the step."""

    def apply(
        self, parameters: Parameters, gradients: Parameters, slots: list[Slots], scalars: Scalars
    ) -> tuple[Parameters, list[Slots]]:
        """Return parameters and slots after the update; all arrays are consumed."""


RuleOn = Callable[[Namespace], Rule]
"""``(xp) -> rule``: makes the halves of a step for a namespace."""


class Way(NamedTuple):
    """The two halves of a step as they are run.

    Attributes
    ----------
    compute : callable ``(parameters, data, rows, number, scalars) -> (loss, gradients)``
    apply : callable ``(parameters, gradients, slots, scalars) -> (parameters, slots)``
    """

    compute: Callable[..., tuple[Any, Parameters]]
    apply: Callable[..., tuple[Parameters, list[Slots]]]


class Steps:
    """The steps of one training, each size of batch by itself.

    Parameters
    ----------
    rule_on : callable ``(xp) -> Rule``
    xp : namespace
    compiled : callable ``(function) -> function``
        What makes of a pure function of arrays one that does the same, and takes less time.

    Attributes
    ----------
    rule : Rule
        On the namespace itself.
    recorded : dict of (int, bool) to Way
        How batches of a size are run for good; True where a batch is all of the data.
    """

    def __init__(
        self, rule_on: RuleOn, xp: Namespace, compiled: Callable[[Callable[..., Any]], Any]
    ) -> None:
        self.rule = rule_on(xp)
        self._rule_on = rule_on
        self._xp = xp
        self._written = Way(*map(compiled, _as_written(self.rule, xp)))
        self.recorded: dict[tuple[int, bool], Way] = {}
        self._seen: Counter[tuple[int, bool]] = Counter()

    def way(self, size: int, slots: list[Slots], now: Now) -> Way:
        """Return how the step of a batch of ``size`` rows is run; nothing is consumed."""
        parameters, _, rows, *_ = now
        kind = size, rows is None
        if kind in self.recorded:
            return self.recorded[kind]
        self._seen[kind] += 1
        if self._seen[kind] <= _RECORD_AFTER:
            return self._written
        self.recorded[kind] = self._written
        if backend_name(self._xp) == "numpy" and self.rule.recordable:
            total = sum(p.size for layer in parameters for p in layer if p is not None)
            if total <= _RECORD_UP_TO:
                with suppress(Exception):  # what cannot be recorded, as batches of sparse rows
                    self.recorded[kind] = self._record(slots, now)
        return self.recorded[kind]

    def look(self, now: Now) -> Step:
        """Return all that a step computes before its update."""
        parameters, data, rows, number, scalars = now
        return self.rule.compute(parameters, rows_of(data, rows, self._xp), number, scalars)

    def _record(self, slots: list[Slots], now: Now) -> Way:
        """Return the step as recorded, if it does the same as the one as written."""
        parameters, data, rows, number, scalars = now
        xp = self._xp
        parameters, slots = _copies(parameters, slots, xp)

        def way_on(xp: Namespace) -> Way:
            return _as_written(self._rule_on(xp), xp)

        compute, (_, gradients) = record(
            lambda xp: way_on(xp).compute, (parameters, data, rows, number, scalars), xp
        )
        apply, (parameters, slots) = record(
            lambda xp: way_on(xp).apply, (parameters, gradients, slots, scalars), xp
        )
        recorded = Way(compute, apply)

        def run(way: Way, parameters: Parameters, slots: list[Slots]) -> list[Array]:
            loss, gradients = way.compute(parameters, data, rows, number + 1, scalars)
            layers, slots = way.apply(parameters, gradients, slots, scalars)
            return [loss, *(p for kept in (*layers, *slots) for p in kept if p is not None)]

        # It is trusted once it has done another step to the last bit.
        pairs = zip(
            run(self._written, *_copies(parameters, slots, xp)),
            run(recorded, parameters, slots),
            strict=True,
        )
        return recorded if all(xp.all(a == b) for a, b in pairs) else self._written


def _as_written(rule: Rule, xp: Namespace) -> Way:
    """Return the halves of a rule, the first of which takes its batch from the data and leaves the
    tape behind."""

    def compute(
        parameters: Parameters, data: Batch, rows: Array | None, number: Any, scalars: Scalars
    ) -> tuple[Any, Parameters]:
        step = rule.compute(parameters, rows_of(data, rows, xp), number, scalars)
        return step.loss, step.gradients.layers

    return Way(compute, rule.apply)


def _copies(
    parameters: Parameters, slots: list[Slots], xp: Namespace
) -> tuple[Parameters, list[Slots]]:
    copy = functools.partial(xp.asarray, copy=True)
    return map_arrays(copy, parameters), [tuple(map(copy, kept)) for kept in slots]


def rows_of(data: Batch, rows: Array | None, xp: Namespace) -> Batch:
    """Return the given rows of a data set, or the set itself where none are given."""
    if rows is None:
        return data
    x, y, weights = data
    return (
        x.take(rows) if isinstance(x, SparseRows) else xp.take(x, rows, axis=0),
        xp.take(y, rows, axis=0),
        None if weights is None else xp.take(weights, rows, axis=0),
    )
