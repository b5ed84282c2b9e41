"""How steps are run: an epoch on every backend against a plain loop, and what it must not do."""

import contextlib
import functools
import importlib
import math
import tracemalloc
import warnings
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import threadpoolctl
from helpers import Backend, bytes_of, error, errors, plain_epoch, smooth_case
from hypothesis import given
from hypothesis import strategies as st

from backprop_xp.backend import host
from backprop_xp.backend.arrays import backend_name
from backprop_xp.backend.devices import select_device
from backprop_xp.backend.host import ignore_overflow, is_synchronous, limit_threads
from backprop_xp.nn.backpropagation import StepResult, forward, loss_and_gradients
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Layer, Network, map_arrays
from backprop_xp.nn.optimizers import initial_slots, momentum, sgd, update
from backprop_xp.training.execution import make_executor
from backprop_xp.training.execution.executor import EpochPlan
from backprop_xp.training.fit import fit

N, BATCH, MU = 25, 10, 0.8
ETAS = [0.05 / place for place in range(1, N + 1)]
NETWORK = Network((6, 5, 3), ("tanh", "softmax"))
PARAMETERS, X = smooth_case(NETWORK, N, margin=0.0)
Y = np.eye(3)[np.arange(N) % 3]
ORDER = np.random.default_rng(5).permutation(N)
NUMPY = Backend("numpy", select_device("cpu", "numpy"))


class FakeStep(SimpleNamespace):
    """A training step of two given functions."""

    def _replace(self, **changes):
        return FakeStep(**{**vars(self), **changes})


def compute_with(xp):
    loss = get_loss("cross_entropy")
    return lambda p, batch, number, scalars: loss_and_gradients(
        NETWORK, loss, p, *batch[:2], loss_scale=scalars[0], xp=xp
    )


def apply_with(optimizer, xp):
    return functools.partial(update_by, optimizer, xp)


def update_by(optimizer, xp, parameters, gradients, slots, scalars):
    return update(optimizer, parameters, gradients, slots, scalars, xp=xp)


def look_at(index, loss, inspect):
    return False


def run_epoch(
    compute, apply, like, parameters, slots, data, order, batch_size, scalars, first, on_step=None
):
    """Run an epoch of two functions on the backend of ``like``."""
    step = FakeStep(
        gradients=compute,
        update=apply,
        recordable=False,
        network=NETWORK,
        xp=like.xp,
        device=like.placement.device,
    )
    plan = EpochPlan(batch_size, scalars, first, on_step)
    return make_executor(step).run_epoch(parameters, slots, [(data, order)], plan)


def run(backend, dtype="float64", *, epochs=1, batch_size=BATCH, order=ORDER, on_step=None):
    """Return the result of the last epoch; JAX compiles it only where no step is inspected."""
    optimizer = momentum(MU)
    functions = compute_with(backend.xp), apply_with(optimizer, backend.xp), backend
    parameters = backend.layers(PARAMETERS, dtype)
    slots = initial_slots(optimizer, parameters, xp=backend.xp)
    data = backend.array(X, dtype), backend.array(Y, dtype), None
    order = backend.array(order, "index")
    scalars = [(eta,) for eta in ETAS[: -(-N // batch_size)]]
    for epoch in range(epochs):
        first = epoch * len(scalars)
        left = run_epoch(
            *functions, parameters, slots, data, order, batch_size, scalars, first, on_step
        )
        parameters, slots = left.parameters, left.slots
    return left


def on_step_of(backend):
    alone = backend_name(backend.xp) == "jax" and not backend.compiled
    return look_at if alone else None


@pytest.mark.parametrize("batch_size", [1, 12, 25])
def test_two_epochs_equal_a_plain_loop(backend, dtype, tolerance, batch_size):
    left = run(backend, dtype, epochs=2, batch_size=batch_size, on_step=on_step_of(backend))
    wanted, velocities = PARAMETERS, []
    for _ in range(2):
        wanted, velocities, loss = plain_epoch(
            wanted, velocities, X, Y, ORDER, batch_size, etas=ETAS, mu=MU
        )
    assert errors(left.parameters, wanted) <= tolerance
    assert error(left.loss, loss) <= tolerance
    found = [backend.numpy(slot) for (slot,) in left.slots]
    assert all(error(*pair) <= tolerance for pair in zip(found, velocities, strict=True))
    assert left.steps == -(-N // batch_size)


def test_looking_at_each_step_changes_nothing(library, dtype, tolerance):
    alone, looked_at = run(library, dtype), run(library, dtype, on_step=look_at)
    assert errors(alone.parameters, looked_at.parameters) <= tolerance
    assert error(alone.loss, looked_at.loss) <= tolerance
    assert alone.steps == looked_at.steps == 3


def test_a_short_last_batch_counts_for_as_many_samples_as_it_has(backend):
    losses = []

    def on_step(index, loss, inspect):
        losses.append(float(loss))
        assert float(inspect().loss) == losses[-1]
        return False

    left = run(backend, on_step=on_step)
    assert len(losses) == 3
    by_hand = (10 * losses[0] + 10 * losses[1] + 5 * losses[2]) / 25
    assert abs(float(left.loss) - by_hand) <= 1e-15
    assert abs(float(run(backend).loss) - by_hand) <= 1e-12


def test_a_batch_of_all_rows_is_full_batch_descent(library):
    left = run(library, batch_size=N)
    step = loss_and_gradients(NETWORK, get_loss("cross_entropy"), PARAMETERS, X, Y)
    by_hand = [
        Layer(*(p - ETAS[0] * g for p, g in zip(layer, gradient, strict=True)))
        for layer, gradient in zip(PARAMETERS, step.gradients.layers, strict=True)
    ]
    assert left.steps == 1
    assert errors(left.parameters, by_hand) <= 1e-12
    assert error(left.loss, step.loss) <= 1e-12


def still(network, xp):
    """Return a compute that records the first column of each batch."""
    seen = []

    def compute(parameters, batch, number, scalars):
        x, y, _ = batch
        seen.append((x[:, 0].tolist(), y[:, 0].tolist(), number))
        tape = forward(network, parameters, x, xp=xp)
        nothing = map_arrays(xp.zeros_like, parameters)
        return StepResult(xp.sum(x) / x.shape[0], tape, type("G", (), {"layers": nothing}))

    return compute, seen


@given(n=st.integers(1, 30), batch_size=st.integers(1, 30), seed=st.integers(0, 9))
def test_every_row_is_used_once_with_its_own_target(n, batch_size, seed):
    batch_size = min(n, batch_size)
    x = np.arange(float(n))[:, None]
    compute, seen = still(Network((1, 1), "identity"), np)
    order = np.random.default_rng(seed).permutation(n)
    left = run_epoch(
        compute,
        apply_with(sgd(), np),
        NUMPY,
        [Layer(np.ones((1, 1)), np.zeros(1))],
        [(), ()],
        (x, x + 100.0, None),
        order,
        batch_size,
        [(0.1,)] * -(-n // batch_size),
        first=7,
    )
    rows = [row for batch, _, _ in seen for row in batch]
    assert [row for _, batch, _ in seen for row in batch] == [row + 100.0 for row in rows]
    assert sorted(rows) == list(range(n))
    assert [number for _, _, number in seen] == list(range(7, 7 + len(seen)))
    assert [len(batch) for batch, _, _ in seen[:-1]] == [batch_size] * (len(seen) - 1)
    if batch_size < n:
        assert rows == order.tolist()
    assert abs(left.loss - (n - 1) / 2.0) <= 1e-14 * n  # the mean of all rows


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_watch_stops_before_the_update_of_its_step(backend, place):
    stopped = run(backend, on_step=lambda index, *_: index == place)
    assert stopped.steps == place
    seen = (place + 1) * BATCH if place < 2 else N
    done = ORDER[: place * BATCH]
    wanted, _, _ = plain_epoch(
        PARAMETERS, [], X[done], Y[done], np.arange(len(done)), BATCH, etas=ETAS, mu=MU
    )
    assert errors(stopped.parameters, wanted) <= 1e-12
    rows = ORDER[:seen]
    _, _, loss = plain_epoch(
        PARAMETERS, [], X[rows], Y[rows], np.arange(seen), BATCH, etas=ETAS, mu=MU
    )
    assert abs(float(stopped.loss) - loss) <= 1e-12


def test_the_data_is_not_changed(library):
    x, y, order = library.array(X), library.array(Y), library.array(ORDER, "index")
    optimizer = sgd()
    parameters = library.layers(PARAMETERS)
    before = bytes_of(parameters)
    left = run_epoch(
        *(compute_with(library.xp), apply_with(optimizer, library.xp), library, parameters),
        *([()] * 4, (x, y, None), order, BATCH, [(0.05,)] * 3, 0),
    )
    assert library.numpy(x).tobytes() == X.tobytes()
    assert library.numpy(y).tobytes() == Y.tobytes()
    assert library.numpy(order).tolist() == ORDER.tolist()
    assert bytes_of(parameters) == before
    assert bytes_of(left.parameters) != before


def test_a_tape_is_let_go_before_the_next_is_made():
    tapes = []
    inner = compute_with(np)

    def compute(parameters, batch, number, scalars):
        assert [tape for tape in tapes if tape() is not None] == []
        step = inner(parameters, batch, number, scalars)
        tapes.append(weakref.ref(step.tape.z[0]))
        return step

    run_epoch(
        *(compute, apply_with(sgd(), np), NUMPY, PARAMETERS),
        *([()] * 4, (X, Y, None), ORDER, BATCH, [(0.05,)] * 3, 0),
    )
    assert len(tapes) == 3


class Number:
    """A loss that counts how often it is read."""

    read = 0

    def __float__(self):
        Number.read += 1
        return 1.0

    def __mul__(self, other):
        return self

    __add__ = __truediv__ = __mul__


def test_only_a_library_on_the_host_is_asked_for_the_loss_of_each_step(library, monkeypatch):
    monkeypatch.setattr(Number, "read", 0)
    inner = compute_with(library.xp)
    functions = (
        lambda *inputs: inner(*inputs)._replace(loss=Number()),
        apply_with(momentum(MU), library.xp),
        library,
    )
    parameters = library.layers(PARAMETERS)
    slots = initial_slots(momentum(MU), parameters, xp=library.xp)
    data, order = (library.array(X), library.array(Y), None), library.array(ORDER, "index")
    as_written = contextlib.nullcontext()
    if library.placement.backend == "jax":  # compiled steps cannot return a Number
        as_written = importlib.import_module("jax").disable_jit()
    with as_written:
        run_epoch(*functions, parameters, slots, data, order, BATCH, [(0.05,)] * 3, 0, look_at)
    on_the_host = library.placement.backend in ("numpy", "array_api_strict")
    assert is_synchronous(library.xp) is on_the_host
    assert Number.read == (3 if on_the_host else 0)


@pytest.mark.parametrize("rows", [1, 1_000_000])
def test_small_products_are_left_to_one_thread_and_large_ones_to_the_environment(rows):
    def threads():
        pools = host._blas().info()  # without libraries that other tests loaded later
        return [pool["num_threads"] for pool in pools if pool["user_api"] == "blas"]

    with threadpoolctl.threadpool_limits(limits=2, user_api="blas"):
        before = threads()
        with limit_threads(100 * rows, xp=np):
            inside = threads()
        assert inside == ([1] * len(before) if rows == 1 else before)
        assert threads() == before


def test_trainings_that_overlap_give_all_threads_back():
    def threads():
        return [library.get_num_threads() for library in host._blas().lib_controllers]

    with threadpoolctl.threadpool_limits(limits=2, user_api="blas"):
        before = threads()
        first, second = (host.one_thread(host._blas()) for _ in range(2))
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert threads() == [1] * len(before)
        second.__exit__(None, None, None)
        assert threads() == before


def test_overflow_is_quiet_inside_and_loud_outside():
    big = np.asarray([1e308])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with ignore_overflow(np):
            inside = big * 10.0, (big * 10.0) - (big * 10.0), big / 0.0
        assert seen == []
        outside = big * 10.0
    assert all(not math.isfinite(x[0]) for x in (*inside, outside))
    assert len(seen) == 1


def test_a_training_needs_little_more_memory_than_what_it_works_on():
    network = Network((784, 2048, 2048, 10), ("relu", "relu", "softmax"))
    x = np.random.default_rng(0).random((1024, 784), dtype=np.float32)
    told = {"optimizer": "adam", "batch_size": 512, "seed": 0, "dtype": "float32", "device": "cpu"}
    fit(Network((784, 2, 10), "sigmoid"), (x, np.arange(1024) % 10), epochs=1, **told)
    tracemalloc.start()
    try:
        fit(network, (x, np.arange(1024) % 10), epochs=2, **told)
        peak = tracemalloc.get_traced_memory()[1] + x.nbytes
    finally:
        tracemalloc.stop()
    parameters = 4 * network.n_parameters
    tape = 4 * 512 * 2 * sum(network.sizes[1:])  # z and a
    # Parameters and Adam's two arrays, twice: the state before the epoch stays complete. Then
    # the gradients, the data, and two tapes.
    assert peak <= 1.1 * (7 * parameters + x.nbytes + 2 * tape)
