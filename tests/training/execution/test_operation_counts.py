"""How many array operations a training step is made of: on CuPy each one is a kernel launch.

The steps are those of two workloads of the benchmark, gathered, computed and applied by the runner
as in every training, on NumPy arrays whose every operation is counted. The runner takes them for
CuPy's, so no update is cut into slices. Views (transposes, slices) are free.
"""

import functools
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Network, initial_parameters, map_arrays
from backprop_xp.nn.optimizers import get_optimizer, initial_slots, update
from backprop_xp.training.execution.eager import EagerExecutor
from backprop_xp.training.execution.executor import EpochPlan
from backprop_xp.training.step import TrainingStep

KINDS = {"matmul": "products", "sum": "reductions", "max": "reductions", "take": "gathers"}
DONE: Counter = Counter()


class Counted(np.ndarray):
    """An array whose operators are counted."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        assert method == "__call__", f"{ufunc.__name__}.{method}: call it by the namespace"
        DONE["elementwise"] += 1
        if out is not None:  # an operator in place
            ufunc(*map(plain, inputs), out=tuple(map(plain, out)), **options)
            return out[0]
        return counted(ufunc(*map(plain, inputs), **options))


def plain(x):
    return x.view(np.ndarray) if isinstance(x, Counted) else x


def counted(x):
    return np.asarray(x).view(Counted)


class Counting:
    """NumPy's functions for counted arrays; each call counts as one operation."""

    __name__ = "counting.cupy"

    def __getattr__(self, name):
        function = getattr(np, name)

        @functools.wraps(function)
        def counting(*args, **options):
            DONE[KINDS.get(name, "elementwise")] += 1
            options.pop("device", None)
            return counted(function(*map(plain, args), **options))

        return counting


def operations(sizes, activations, loss, optimizer, batch_size, steps):
    """Return how many operations an epoch of some steps takes, those of the optimizer apart."""
    xp, network = Counting(), Network(sizes, activations)
    optimizer = get_optimizer(optimizer)
    step = TrainingStep(network, get_loss(loss), optimizer, xp, device=None)
    parameters = initial_parameters(network, 0, xp=np, dtype=np.float32)
    slots = [tuple(map(counted, kept)) for kept in initial_slots(optimizer, parameters, xp=np)]
    rows = steps * batch_size
    x, y = np.ones((rows, sizes[0]), np.float32), np.eye(sizes[-1], dtype=np.float32)
    data = counted(x), counted(y[np.arange(rows) % sizes[-1]]), None
    in_apply = Counter()

    def counting_update(*args, **options):
        before = DONE.copy()
        updated = update(*args, **options)
        in_apply.update(DONE - before)
        return updated

    DONE.clear()
    scalars = [optimizer.scalars(0.1, number) for number in range(1, steps + 1)]
    order = counted(np.arange(rows))
    executor = EagerExecutor(step._replace(update_parameters=counting_update))
    layers = map_arrays(counted, parameters)
    executor.run_epoch(layers, slots, [(data, order)], EpochPlan(batch_size, scalars, 0))
    return DONE - in_apply + Counter(optimizer=in_apply.total())


WORKLOADS = {
    "A": ((784, 30, 10), ["sigmoid", "sigmoid"], "half_squared_error", "sgd", 10),
    "C": ((784, 256, 128, 10), ["relu", "relu", "softmax"], "cross_entropy", "adam", 128),
}
HELD = {
    "A": {"gathers": 2, "products": 5, "reductions": 3, "elementwise": 22, "optimizer": 4},
    "C": {"gathers": 2, "products": 8, "reductions": 9, "elementwise": 23, "optimizer": 60},
}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_step_takes_so_many_operations(workload):
    three, two = (operations(*WORKLOADS[workload], steps=steps) for steps in (3, 2))
    assert dict(three - two) == HELD[workload]


def test_the_readme_states_the_counts():
    text = (Path(__file__).parents[3] / "README.md").read_text("utf-8")
    stated = re.search(r"is (\d+) array operations, (\d+) of .* C (\d+), (\d+) of them", text)
    held = [(sum(counts.values()), counts["optimizer"]) for counts in HELD.values()]
    assert tuple(map(int, stated.groups())) == (*held[0], *held[1])
