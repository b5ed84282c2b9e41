"""A step as CUDA kernels: what is noted of it, and how many launches it is, on any machine."""

import re
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from helpers import bytes_of

from backprop_xp import fit
from backprop_xp.backend.devices import select_device
from backprop_xp.data.augmentation import AUGMENTATIONS
from backprop_xp.errors import ConfigurationError
from backprop_xp.nn.activations import ACTIVATIONS
from backprop_xp.nn.losses import LOSSES, check_learnable
from backprop_xp.nn.network import Network, initial_parameters
from backprop_xp.nn.optimizers import OPTIMIZERS, initial_slots
from backprop_xp.training.execution.cuda_kernels import Kernel, Store, plan
from backprop_xp.training.execution.cuda_operations import NotTraceable, Trace
from backprop_xp.training.execution.cuda_program import Position, StepArrays, trace_step
from backprop_xp.training.settings import TrainingSettings
from backprop_xp.training.step import TrainingStep

NUMPY = select_device("cpu", "numpy")
WORKLOADS = {
    "A": (
        Network((784, 30, 10), ("sigmoid", "sigmoid")),
        {"loss": "half_squared_error", "optimizer": "sgd", "batch_size": 10},
    ),
    "C": (
        Network((784, 256, 128, 10), ("relu", "relu", "softmax")),
        {"loss": "cross_entropy", "optimizer": "adam", "batch_size": 128},
    ),
}
LAUNCHES = {"A": 14, "C": 28}
SMALL = Network((9, 6, 4), ("tanh", "softmax"))


def operations_of(network, rows=200, size=None, weighted=False, **settings):
    """Return the operations of a step of ``size`` rows, and the source of its kernels."""
    settings = TrainingSettings.of({"batch_size": 10, "seed": 0, **settings})
    size = size or settings.batch_size
    image = (3, 3) if settings.augment else None
    step = TrainingStep.of(network, settings, NUMPY, n=rows, seed=0, image_shape=image)
    parameters = initial_parameters(network, 0, xp=np, dtype=np.float32)
    n_outputs = network.sizes[-1]
    x, y = np.zeros((rows, network.sizes[0]), np.float32), np.zeros((rows, n_outputs), np.float32)
    scalars = step.optimizer.scalars(0.1, 1)
    position = Position(
        order=np.zeros(rows, np.int64),
        scalars=np.zeros((rows, len(scalars)), np.float32),
        outputs=np.zeros((rows, n_outputs), np.float32),
        index=np.zeros((), np.int64),
        number=np.zeros((), np.int32),
        total=np.zeros((), np.float32),
    )
    slots = initial_slots(step.optimizer, parameters, xp=np)
    data = x, y, np.ones(rows, np.float32) if weighted else None
    arrays = StepArrays(parameters, slots, data, position)
    _, stores = trace_step(step, size, settings.batch_size, arrays)
    return plan(stores)


# --- the number of launches --------------------------------------------------------------------


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_step_takes_so_many_launches(workload):
    network, settings = WORKLOADS[workload]
    assert len(operations_of(network, **settings)[0]) == LAUNCHES[workload]


def test_the_guide_states_the_launches():
    guide = Path(__file__).parents[3] / "backprop_xp" / "guide"
    for chapter, pattern in {
        "devices": r"SGD \| (\d+) \|\n.*Adam \| (\d+) \|",
        "performance": r"A is (\d+) launches .* C (\d+),",
    }.items():
        stated = re.search(pattern, (guide / f"{chapter}.md").read_text("utf-8"))
        assert list(map(int, stated.groups())) == list(LAUNCHES.values())


def test_the_masks_of_all_layers_take_few_launches():
    network, settings = WORKLOADS["C"]
    operations, _ = operations_of(network, **settings, dropout=0.5)
    assert len(operations) - LAUNCHES["C"] <= 5


def test_all_arrays_are_updated_by_one_kernel():
    network, settings = WORKLOADS["C"]
    operations, _ = operations_of(network, **settings)
    last, before = operations[-1], operations[-2]
    assert set(last.bodies) == {()}  # the position in the epoch, after everything has read it
    assert set(before.bodies) == {p.shape for p in shapes_of(network)}


def shapes_of(network):
    layers = initial_parameters(network, 0, xp=np, dtype=np.float32)
    return [p for layer in layers for p in layer]


# --- every step of this library can be noted ---------------------------------------------------


def learnable(loss, output):
    try:
        check_learnable(LOSSES[loss], ACTIVATIONS[output], 4)
    except ConfigurationError:
        return False
    return True


@pytest.mark.parametrize(
    ("loss", "output"), [pair for pair in product(LOSSES, ACTIVATIONS) if learnable(*pair)]
)
def test_every_loss_and_output(loss, output):
    assert operations_of(Network((9, 6, 4), ("tanh", output)), loss=loss)[0]


@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_every_hidden_activation(hidden):
    assert operations_of(Network((9, 6, 4), (hidden, "softmax")))[0]


OPTIONS = {
    "l1 and l2": {"l1": 0.1, "l2": 0.1},
    "penalty per batch": {"l2": 0.1, "penalty": "per_batch"},
    "clipped": {"clip_norm": 1.0},
    "max-norm": {"max_norm": 1.0},
    "dropout": {"dropout": 0.3},
    "sample weights": {"weighted": True},
    "all rows": {"size": 200},
    "everything": {"l2": 0.1, "clip_norm": 1.0, "max_norm": 2.0, "dropout": 0.3, "weighted": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_and_option(optimizer, options):
    assert operations_of(SMALL, optimizer=optimizer, **options)[0]


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_augmentation(augment):
    if AUGMENTATIONS[augment].elastic:  # its products are of three dimensions
        with pytest.raises(NotTraceable, match="matmul"):
            operations_of(SMALL, augment=augment)
    else:
        assert operations_of(SMALL, augment=augment)[0]


# --- what is noted -----------------------------------------------------------------------------


def planned(function, *shapes, dtype="float32"):
    """Return the operations of a function of arrays, which replaces its first argument."""
    trace = Trace()
    arrays = [trace.input(shape, dtype) for shape in shapes]
    target = arrays[0].node
    result = function(trace, *arrays)
    return plan([Store(trace.elementwise("copy", result).read(), target)])


def test_a_chain_of_elementwise_operations_is_one_kernel():
    def chain(xp, x, y):
        z = xp.tanh(x * 0.5) + y
        z *= z
        return xp.maximum(z, 0.0)

    operations, source = planned(chain, (3, 4), (4,))
    assert len(operations) == 1
    assert source.count("tanh(") == 1  # an operation that is used twice is computed once


def test_the_same_operation_is_noted_once():
    trace = Trace()
    x = trace.input((2,), "float32")
    assert (x + 1.0).node is (x + 1.0).node
    assert (x + 1.0).node is not (x + 1).node
    assert (x * 0.0).node is not (x * -0.0).node


def test_a_change_in_place_is_seen_through_the_same_name_only():
    trace = Trace()
    x = trace.input((2, 3), "float32")
    same, view = x, x.T
    before = x.node
    x += 1.0
    assert same is x
    assert x.node is not before
    with pytest.raises(NotTraceable, match="through a view"):
        view * 2.0
    copied = trace.asarray(x, copy=True)
    x += 1.0
    assert (copied * 2.0).node is not (x * 2.0).node


def test_an_input_is_read_before_it_is_replaced():
    def reversed_rows(xp, x):
        return xp.take(x, xp.arange(3, dtype="int64") * -1 + 2)

    with pytest.raises(NotTraceable, match="after it was replaced"):
        planned(reversed_rows, (3, 4))


def test_products_of_transposed_arrays_need_no_copies():
    def layer(xp, x, w):
        return xp.matmul(w, x.T).T

    operations, source = planned(layer, (5, 4), (4, 4))
    product, copy = operations
    assert product.kind == "matmul"
    assert isinstance(copy, Kernel)
    assert "[i] = " in source  # by rows, as the result is stored


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda xp, x: xp.sort(x), "sort"),
        (lambda xp, x: xp.matmul(x[None, ...], x), "matmul"),
        (lambda xp, x: xp.reshape(x.T, (-1,)), "transposed"),
        (lambda xp, x: xp.take(x, xp.arange(2, dtype="int64"), axis=1), "another axis"),
        (lambda xp, x: x[::2, :], "index"),
        (lambda xp, x: x + xp.arange(4, dtype="int32"), "float32 and int32"),
        (lambda xp, x: xp.arange(4, dtype="int32") * 0.5, "int32 and float"),
    ],
)
def test_other_operations_are_errors(function, reason):
    with pytest.raises(NotTraceable, match=reason):
        planned(function, (4, 4))


def test_a_graph_needs_cupy():
    data = np.zeros((4, 9)), np.arange(4)
    with pytest.warns(UserWarning, match="cuda_graph has no effect"):
        graph = fit(SMALL, data, epochs=1, seed=0, cuda_graph=True, diagnostics=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        usual = fit(SMALL, data, epochs=1, seed=0, diagnostics=False)
    assert bytes_of(graph.parameters) == bytes_of(usual.parameters)


def test_a_condition_on_numbers_is_an_error():
    x = Trace().input((2,), "float32")
    with pytest.raises(TypeError):
        bool(x > 0.0)
    with pytest.raises(TypeError):
        list(x)
