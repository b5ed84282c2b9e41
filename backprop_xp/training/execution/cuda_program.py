"""A compiled step: its operations are traced once, fused into kernels, and launched every time.

The arguments of a launch never change. The index of the step is an array on the device, from which
the kernels find their rows, their learning rate and their dropout masks.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from backprop_xp.backend.arrays import Array
from backprop_xp.data.batch import Batch
from backprop_xp.nn.network import Parameters, map_arrays
from backprop_xp.nn.optimizers import Slots
from backprop_xp.training.execution.cuda_kernels import THREADS, Kernel, Store, plan
from backprop_xp.training.execution.cuda_operations import Node, NotTraceable, Trace, Value
from backprop_xp.training.execution.cuda_products import products_here
from backprop_xp.training.execution.replay import as_written
from backprop_xp.training.step import TrainingStep


class Position(NamedTuple):
    """The state of an epoch on the device: arrays that every step reads, and some that it changes.

    Attributes
    ----------
    order : integer array, shape (n,)
        The rows of the epoch in their order.
    scalars : array, shape (steps, k)
        The optimizer's numbers for each step.
    outputs : array, shape (n, n_outputs), or None
        The outputs of each step before its update, in the order of the epoch, if they are counted.
    index, number : integer array, shape ()
        The number of steps before this one, in this chunk and in the training run.
    total : array, shape ()
        The sum of the losses of the steps, those of the short last batch weighted by its size.
    """

    order: Array
    scalars: Array
    outputs: Array | None
    index: Array
    number: Array
    total: Array


class StepArrays(NamedTuple):
    """All arrays that a step reads and changes."""

    parameters: Parameters
    slots: list[Slots]
    data: Batch
    position: Position

    def map(self, function: Callable[[Array], Any]) -> StepArrays:
        """Return the result of a function for each array."""
        x, y, weights = self.data
        position = (None if array is None else function(array) for array in self.position)
        return StepArrays(
            map_arrays(function, self.parameters),
            [tuple(map(function, arrays)) for arrays in self.slots],
            (function(x), function(y), None if weights is None else function(weights)),
            Position(*position),
        )

    def changed(self) -> list[Array]:
        """Return the parameters and the optimizer's arrays."""
        return [p for group in (*self.parameters, *self.slots) for p in group if p is not None]

    def flat(self) -> list[Array]:
        """Return the arrays in a fixed order."""
        others = (*self.data, *self.position)
        return [*self.changed(), *(array for array in others if array is not None)]


class CudaProgram:
    """A step of a fixed number of rows, compiled.

    Parameters
    ----------
    step : TrainingStep
    size, batch_size : int
        The number of rows in this step, and in the steps before it.
    arrays : StepArrays
        As in `bind`; here only their shapes and data types count.

    Attributes
    ----------
    source : str
        The kernels in CUDA C++.

    Raises
    ------
    NotTraceable
        If an operation of the step cannot be made into a kernel.
    """

    def __init__(self, step: TrainingStep, size: int, batch_size: int, arrays: StepArrays) -> None:
        import cupy

        self._inputs, stores = trace_step(step, size, batch_size, arrays)
        self._operations, self.source = plan(stores)
        # Without fused multiply-add every operation is rounded as it is by CuPy's own kernels.
        self._module = cupy.RawModule(code=self.source, options=("--std=c++17", "--fmad=false"))
        self._products = products_here()
        self._bound: list[Array] = []

    def bind(self, arrays: StepArrays) -> bool:
        """Let the step read and change these arrays; return whether they were others before.

        They are contiguous and have the shapes of those that it was compiled for, except that the
        data may have another number of rows.
        """
        bound = arrays.flat()
        if len(bound) == len(self._bound) and all(map(operator.is_, bound, self._bound)):
            return False
        self._bound = bound
        self._buffers: dict[Node, Array] = dict(zip(self._inputs, bound, strict=True))
        self._launches: list[Callable[[], object]] = []
        for operation in self._operations:
            if isinstance(operation, Kernel):
                kernel = self._module.get_function(operation.name)
                arguments = tuple(self._buffer(node) for node in operation.buffers)
                self._launches.append(_launch(kernel, operation.blocks, arguments))
            elif operation.kind == "matmul":
                product = self._products.product(operation, lambda node: self._view(node).data.ptr)
                self._launches.append(product)
            else:
                function, axis, keepdims = operation.detail
                reduce = getattr(self._view(operation.operands[0]), function)
                out = self._buffer(operation).reshape(operation.shape)
                self._launches.append(_reduction(reduce, axis, keepdims, out))
        return True

    def run(self) -> None:
        """Compute one step on the current stream, on which `begin` was called."""
        for launch in self._launches:
            launch()

    def begin(self) -> None:
        """Let the matrix products run on the current stream."""
        import cupy

        self._products.use_stream(cupy.cuda.get_current_stream().ptr)

    def _buffer(self, node: Node) -> Array:
        """Return the memory of a node, allocated when it is first asked for."""
        import cupy

        if node not in self._buffers:
            self._buffers[node] = cupy.empty(math.prod(node.shape), dtype=node.dtype)
        return self._buffers[node]

    def _view(self, node: Node) -> Array:
        """Return the array of a node in its layout."""
        import cupy

        buffer = self._buffer(node.operands[0] if node.kind == "view" else node)
        offset, strides = node.layout
        size = buffer.itemsize
        return cupy.ndarray(
            node.shape,
            dtype=buffer.dtype,
            memptr=buffer.data + offset * size,
            strides=tuple(stride * size for stride in strides),
        )


def trace_step(
    step: TrainingStep, size: int, batch_size: int, arrays: StepArrays
) -> tuple[list[Node], list[Store]]:
    """Trace a step.

    Parameters
    ----------
    step : TrainingStep
    size, batch_size : int
        The number of rows in this step, and in the steps before it.
    arrays : StepArrays
        Of any library; only their shapes and data types count.

    Returns
    -------
    inputs : list of Node
        The nodes of the arrays, in the order of `StepArrays.flat`.
    stores : list of Store
        The results, and where they are written.

    Raises
    ------
    NotTraceable
        If an operation of the step cannot be made into a kernel.
    """
    trace = Trace()
    inputs: list[Node] = []

    def traced(array: Array) -> Value:
        if not array.flags.c_contiguous:
            raise NotTraceable("an array whose rows do not follow each other")
        value = trace.input(array.shape, array.dtype.name)
        inputs.append(value.node)
        return value

    values = arrays.map(traced)
    parameters, slots, data, position = values
    index, order, scalars = position.index, position.order, position.scalars
    first = index * batch_size
    rows = None
    if size < arrays.data[0].shape[0]:
        rows = trace.take(order, first + trace.arange(size, dtype=order.dtype))
    k = scalars.shape[1]
    flat = trace.reshape(scalars, (-1,))
    numbers = tuple(trace.take(flat, index * k + column) for column in range(k))
    functions = as_written(step._replace(xp=trace))
    loss, outputs, gradients = functions.gradients(parameters, data, rows, position.number, numbers)
    parameters, slots = functions.update(parameters, gradients, slots, numbers)
    values = StepArrays(
        parameters,
        slots,
        data,
        position._replace(
            index=index + 1,
            number=position.number + 1,
            total=position.total + loss * (size / batch_size),
        ),
    )
    stores = [
        Store(_written(trace, value), target)
        for value, target in zip(values.flat(), inputs, strict=True)
        if value.node is not target
    ]
    if position.outputs is not None:
        stores.append(Store(_written(trace, outputs), position.outputs.node, first.node))
    return inputs, stores


def _written(trace: Trace, value: Value) -> Node:
    node = value.read()
    return node if node.inline else trace.elementwise("copy", value).read()


def _launch(kernel: Any, blocks: int, arguments: tuple[Array, ...]) -> Callable[[], object]:
    grid, block = (blocks,), (THREADS,)
    return lambda: kernel(grid, block, arguments)


def _reduction(reduce: Any, axis: int | None, keepdims: bool, out: Array) -> Callable[[], object]:
    return lambda: reduce(axis=axis, out=out, keepdims=keepdims)
