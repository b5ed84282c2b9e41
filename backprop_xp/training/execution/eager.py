"""How a training step is run on each backend; the mathematics never knows.

A step is a pure function from parameters and a batch to a loss and gradients, then an
optimizer's rule on every parameter array. Here it is decided how a whole epoch of them is run:
step by step on NumPy, CuPy, PyTorch and array_api_strict, in one compiled loop on JAX. How one
step is run, as written or as recorded, `backprop_xp.training.execution.replay` decides.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from backprop_xp.backend.arrays import Array, Namespace, backend_name
from backprop_xp.backend.host import few_threads, keep_freed_memory, quiet, reads_freely
from backprop_xp.data.sparse import SparseRows
from backprop_xp.nn.network import Layer, Parameters, Step
from backprop_xp.nn.optimizers import Optimizer, Scalars, Slots
from backprop_xp.training.execution.replay import Batch, Rule, RuleOn, Steps, rows_of

Watch = Callable[[int, Any, Callable[[], Step]], bool]
"""``(place of the step in the epoch, loss, look) -> stop``: is told the loss of a step before its
update; ``look()`` returns all that was computed for it."""

_SLICE = 32_768
"""Elements in a slice of an eager CPU update: so small that all its temporaries stay in cache."""


class Epoch(NamedTuple):
    """What an epoch leaves.

    Attributes
    ----------
    parameters : list of Layer
    slots : list
        The optimizer's arrays, in the order of the parameter arrays.
    loss : array, shape (), or float
        The mean over the epoch's samples of the loss as it was before each step's update.
    steps : int
        Updates made.
    """

    parameters: Parameters
    slots: list[Slots]
    loss: Any
    steps: int


def compiled(function: Callable[..., Any], xp: Namespace) -> Callable[..., Any]:
    """Return a pure function of arrays as it is run best: compiled on JAX, else as it is."""
    if backend_name(xp) != "jax":
        return function
    import jax

    result: Callable[..., Any] = jax.jit(function)
    return result


def initial_slots(optimizer: Optimizer, parameters: Parameters, *, xp: Namespace) -> list[Slots]:
    """Return the optimizer's arrays before the first step: zeros, for every parameter array."""
    return [
        tuple(xp.zeros_like(p) for _ in optimizer.slots)
        for layer in parameters
        for p in layer
        if p is not None
    ]


def update(
    optimizer: Optimizer,
    parameters: Parameters,
    gradients: Parameters,
    slots: list[Slots],
    scalars: Scalars,
    *,
    xp: Namespace,
) -> tuple[Parameters, list[Slots]]:
    """Apply an optimizer's rule to every parameter array; all arrays are consumed.

    Parameters
    ----------
    optimizer : Optimizer
    parameters, gradients : list of Layer
        The gradients times η where the rule is linear.
    slots : list of tuple of arrays
        From `initial_slots`, or from the step before.
    scalars : tuple
        From ``optimizer.scalars(learning_rate, step)``.
    xp : namespace

    Returns
    -------
    parameters, slots
    """
    rule, remaining = optimizer.rule, iter(slots)
    if backend_name(xp) == "numpy" and optimizer.slots:
        # Slices pay where a rule passes over several arrays several times: not for plain descent.
        rule = functools.partial(_in_slices, rule)
        # NumPy takes half as long for a number in an array as for one it must find the type of.
        scalars = tuple(xp.asarray(number, dtype=slots[0][0].dtype) for number in scalars)
    new_layers, new_slots = [], []
    for layer, gradient in zip(parameters, gradients, strict=True):
        arrays = []
        for p, g in zip(layer, gradient, strict=True):
            if p is not None:
                p, kept = rule(p, g, next(remaining), scalars, xp)
                new_slots.append(kept)
            arrays.append(p)
        new_layers.append(Layer(*arrays))
    return new_layers, new_slots


def _in_slices(
    rule: Callable[..., Any], p: Array, g: Array, kept: Slots, scalars: Scalars, xp: Namespace
) -> tuple[Array, Slots]:
    """Apply a rule to some rows of a large array at a time, in place: each slice is a view."""
    flat = p, g, *kept
    if not all(a.flags.c_contiguous for a in flat):  # in Fortran order the columns lie together
        flat = tuple(a.T for a in flat)
    if p.size <= _SLICE or not all(a.flags.c_contiguous for a in flat):
        changed: tuple[Array, Slots] = rule(p, g, kept, scalars, xp)
        return changed
    rows = max(1, _SLICE * flat[0].shape[0] // p.size)
    for start in range(0, flat[0].shape[0], rows):
        old, gradient, *others = (a[start : start + rows] for a in flat)
        new, slots = rule(old, gradient, tuple(others), scalars, xp)
        for place, array in zip((old, *others), (new, *slots), strict=True):
            if array is not place:  # a rule of one's own may make new arrays
                place[...] = array
    return p, kept


class Runner:
    """Runs epochs of one training on the backend of ``xp``.

    Parameters
    ----------
    rule_on : callable ``(xp) -> Rule``
        Makes the halves of a step for a namespace.
    xp : namespace
    """

    def __init__(self, rule_on: RuleOn, xp: Namespace) -> None:
        self.xp = xp
        self._steps = Steps(rule_on, xp, functools.partial(compiled, xp=xp))
        self._compiled = None
        if backend_name(xp) == "jax":
            self._compiled = _compile_epoch(self._steps.rule, xp)
        if backend_name(xp) == "numpy":
            keep_freed_memory()

    def epoch(
        self,
        parameters: Parameters,
        slots: list[Slots],
        data: Batch,
        order: Array,
        batch_size: int,
        scalars: Sequence[Scalars],
        first: int,
        watch: Watch | None = None,
    ) -> Epoch:
        """Train on every row once, in the given order; parameters and slots are consumed.

        Parameters
        ----------
        parameters, slots
            As they were left by the epoch before.
        data : tuple of array
            The whole training set, on the device.
        order : integer array, shape (n,)
            The rows in the order of this epoch, on the device.
        batch_size : int
            The last batch holds what remains.
        scalars : sequence of tuple of float
            The optimizer's numbers for each step.
        first : int
            The number of the first step in the whole training.
        watch : callable, optional
            Looks at each step before its update and may stop there; makes the host wait for
            the device at every step.
        """
        xp = self.xp
        if self._compiled is not None and watch is None:
            numbers = xp.arange(first, first + len(scalars), dtype=xp.int32)
            steps = xp.asarray(scalars, dtype=data[0].dtype)
            parameters, slots, loss = self._compiled(
                parameters, slots, data, order, numbers, steps, batch_size
            )
            return Epoch(parameters, slots, loss, len(scalars))
        with quiet(xp), few_threads(parameters, batch_size, xp=xp):
            return self._step_by_step(
                parameters, slots, data, order, batch_size, scalars, first, watch
            )

    def gradients(
        self, parameters: Parameters, slots: list[Slots], data: Batch, scalars: Scalars
    ) -> tuple[Any, Parameters]:
        """Return the loss of a whole data set and its gradients, for an optimizer that takes its
        own steps; nothing is consumed."""
        now = parameters, data, None, 0, scalars
        return self._steps.way(data[0].shape[0], slots, now).compute(*now)

    def windows(
        self,
        parameters: Parameters,
        slots: list[Slots],
        windows: Iterable[tuple[Batch, Array]],
        batch_size: int,
        scalars: Sequence[Scalars],
        first: int,
        watch: Watch | None = None,
    ) -> Epoch:
        """Train on every row once where the rows come in windows, each with its own order.

        All windows but the last must be of whole batches; the rest is as for `epoch`.
        """
        total: Any = 0.0
        rows, done, unit = 0, 0, 0
        for data, order in windows:
            n = order.shape[0]
            unit = unit or n  # one window keeps its mean to the last bit
            here = scalars[done : done + -(-n // batch_size)]
            left = self.epoch(
                parameters,
                slots,
                data,
                order,
                batch_size,
                here,
                first + done,
                watch and _later(watch, done),
            )
            parameters, slots = left.parameters, left.slots
            stopped = left.steps < len(here)
            seen = min((left.steps + 1) * batch_size, n) if stopped else n
            total = left.loss * (seen / unit) + total
            rows, done = rows + seen, done + left.steps
            if stopped:
                break
        return Epoch(parameters, slots, total / (rows / unit), done)

    def _step_by_step(
        self,
        parameters: Parameters,
        slots: list[Slots],
        data: Batch,
        order: Array,
        batch_size: int,
        scalars: Sequence[Scalars],
        first: int,
        watch: Watch | None,
    ) -> Epoch:
        n = data[0].shape[0]
        read: Callable[[Array], Any] = float if reads_freely(self.xp) else _as_it_is
        total: Any = 0.0  # of the means of the batches
        steps = self._steps

        def look() -> Step:
            return steps.look(now)  # at the step that is being run

        for place, start in enumerate(range(0, n, batch_size)):
            size = min(batch_size, n - start)
            # The whole set in one step needs no copy, and no order.
            whole = size == n and not isinstance(data[0], SparseRows)
            rows = None if whole else order[start : start + size]
            now = parameters, data, rows, first + place, scalars[place]
            way = steps.way(size, slots, now)
            loss, gradients = way.compute(*now)
            loss = read(loss)
            if watch is not None and watch(place, loss, look):
                seen = start + size
                return Epoch(parameters, slots, (total * batch_size + loss * size) / seen, place)
            if size < batch_size:  # the last batch counts for as many samples as it has
                loss = loss * (size / batch_size)
            total = loss + total
            parameters, slots = way.apply(parameters, gradients, slots, scalars[place])
            del gradients  # these go before the next are made
        return Epoch(parameters, slots, total / (n / batch_size), len(scalars))


def _later(watch: Watch, done: int) -> Watch:
    """Return a watch for a window before which steps of the epoch were done."""
    return lambda place, loss, look: watch(done + place, loss, look)


def _as_it_is(x: Array) -> Array:
    return x


def _compile_epoch(rule: Rule, xp: Namespace) -> Callable[..., Any]:
    """Return a whole epoch as one compiled function of JAX: a scan over the full batches, then
    the short one. It is compiled once for each shape of the data."""
    import jax

    def epoch(
        parameters: Parameters,
        slots: list[Slots],
        data: Batch,
        order: Array,
        numbers: Array,
        scalars: Array,
        batch_size: int,
    ) -> tuple[Parameters, list[Slots], Array]:
        def step(state: Any, batch: Any) -> Any:
            rows, number, step_scalars = batch
            parameters, slots = state
            step_scalars = tuple(step_scalars)
            result = rule.compute(parameters, rows_of(data, rows, xp), number, step_scalars)
            state = rule.apply(parameters, result.gradients.layers, slots, step_scalars)
            return state, result.loss * rows.shape[0]

        n = order.shape[0]
        full = n // batch_size
        batches = xp.reshape(order[: full * batch_size], (full, batch_size))
        steps = (batches, numbers[:full], scalars[:full])
        state, losses = jax.lax.scan(step, (parameters, slots), steps)
        total = xp.sum(losses)
        if n % batch_size:
            short = (order[full * batch_size :], numbers[full], scalars[full])
            state, last = step(state, short)
            total += last
        return *state, total / n

    # The old parameters and slots are given up, so that the new ones can take their memory.
    compiled: Callable[..., Any] = jax.jit(
        epoch, static_argnames=("batch_size",), donate_argnums=(0, 1)
    )
    return compiled
