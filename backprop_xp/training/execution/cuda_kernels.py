"""Kernel fusion: the kernels for the traced operations of a step, in CUDA C++.

All elementwise operations are fused: each thread of a kernel reads its inputs, computes one entry
of the results in registers, and writes it. An intermediate array is written to memory only if a
matrix product, a reduction or a view reads it. One kernel can compute arrays of several shapes, in
separate blocks of threads.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from backprop_xp.training.execution.cuda_operations import (
    Layout,
    Node,
    NotTraceable,
    Shape,
    contiguous,
)

THREADS = 256
"""Threads in a block."""

_MOST_ARGUMENTS = 500
"""Older GPUs accept 4 KB of arguments."""

_TYPES = {
    "float32": "float",
    "float64": "double",
    "int32": "int",
    "int64": "long long",
    "bool": "bool",
}

_FUNCTIONS = {
    "abs": "({0} < 0 ? -{0} : {0})",
    "copy": "{0}",
    "logical_and": "{0} && {1}",
    "logical_or": "{0} || {1}",
    "maximum": "larger({0}, {1})",
    "minimum": "smaller({0}, {1})",
    "round": "rint({0})",
    "sign": "sign_of({0})",
}
"""The functions that have another name, or another form, in CUDA C++."""

_HEADER = """\
// Like the functions of the array API standard, these return NaN if an argument is NaN.
template <typename T> __device__ T larger(T x, T y) { return x != x || x > y ? x : y; }
template <typename T> __device__ T smaller(T x, T y) { return x != x || x < y ? x : y; }
template <typename T> __device__ T sign_of(T x) { return x != x ? x : T(x > 0) - T(x < 0); }
"""


class Store(NamedTuple):
    """A result that is written into an array that exists.

    Attributes
    ----------
    node : Node
        What is written.
    target : Node
        The input that it is written to.
    row : Node or None
        The row of the target at which it begins; by default it replaces all of it.
    """

    node: Node
    target: Node
    row: Node | None = None


class Target(NamedTuple):
    """Where a kernel writes a node: a buffer, and the layout within it."""

    buffer: Node
    layout: Layout
    row: Node | None = None


class Kernel:
    """A kernel.

    Attributes
    ----------
    bodies : dict of shape to list of (Node, Target)
        The nodes that it computes, and where it writes each of them.
    name, source : str
    blocks : int
        The number of blocks of threads.
    buffers : list of Node
        The arrays that are its arguments.
    """

    def __init__(self) -> None:
        self.bodies: dict[Shape, list[tuple[Node, Target]]] = defaultdict(list)
        self.name, self.source, self.blocks = "", "", 0
        self.buffers: list[Node] = []


Operation = Kernel | Node
"""A kernel, or the node of a matrix product or a reduction."""


def plan(stores: Sequence[Store]) -> tuple[list[Operation], str]:
    """Return the operations that compute some results, in their order, and the kernels' source.

    Raises
    ------
    NotTraceable
        If an input would be read after it was replaced.
    """
    results = [store.node for store in stores] + [store.row for store in stores if store.row]
    nodes = _sorted_by_need(results)
    buffered = _buffered(nodes)
    targets: dict[Node, list[Target]] = defaultdict(list)
    for node in nodes:
        if node.kind == "concat":
            offset = 0
            for part in node.operands:
                layout = Layout(offset, contiguous(part.shape).strides)
                targets[part].append(Target(node, layout))
                offset += math.prod(part.shape)
    for node in buffered:
        if node.inline:
            targets[node].append(Target(node, node.layout))
    for store in stores:
        if store.row is not None:
            targets[store.node].append(Target(store.target, store.target.layout, store.row))

    operations: list[Operation] = []
    written: dict[Node, int] = {}  # the index of the operation that computes a node
    position: dict[Node, int] = {}  # the same, of the nodes that later operations can read
    for node in nodes:
        if node.kind in ("matmul", "reduce"):
            position[node] = len(operations)
            operations.append(node)
        elif node.kind == "input":
            position[node] = -1
        elif node.kind == "concat":
            position[node] = max(written[part] for part in node.operands)
        elif node in targets:
            rows = [target.row for target in targets[node] if target.row is not None]
            earliest = max(
                (
                    position[read] + (elsewhere or not read.inline or read.shape != node.shape)
                    for read, elsewhere in _reads([node, *rows], position)
                ),
                default=0,
            )
            for index in range(earliest, len(operations) + 1):
                if index == len(operations):
                    operations.append(Kernel())
                kernel = operations[index]
                if isinstance(kernel, Kernel):
                    break
            assert isinstance(kernel, Kernel)
            kernel.bodies[node.shape] += [(node, target) for target in targets[node]]
            written[node] = index
            if node in buffered:
                position[node] = index
    operations += _last_kernels(stores, position)
    text = [_HEADER]
    for index, operation in enumerate(operations):
        if isinstance(operation, Kernel):
            operation.name = f"step_{index}"
            _write(operation, index, position)
            text.append(operation.source)
    return operations, "\n".join(text)


def _sorted_by_need(results: Iterable[Node]) -> list[Node]:
    """Return the results and all that they depend on, in the order of their creation."""
    found: dict[int, Node] = {}
    waiting = list(results)
    while waiting:
        node = waiting.pop()
        if node.number not in found:
            found[node.number] = node
            waiting += [x for x in node.operands if isinstance(x, Node)]
    return [found[number] for number in sorted(found)]


def _buffered(nodes: Iterable[Node]) -> set[Node]:
    """Return the nodes that must be in memory because other operations read them there."""
    found: set[Node] = set()
    for node in nodes:
        if node.kind in ("matmul", "reduce", "view"):
            found.update(node.operands)
        elif node.kind == "take":
            found.add(node.operands[0])
    return found


def _reads(nodes: Iterable[Node], position: dict[Node, int]) -> set[tuple[Node, bool]]:
    """Return which nodes of ``position`` the kernel of some nodes reads; each with whether a thread
    reads other entries than the one that it computes, through a view or by an index."""
    found = set()
    waiting = [(x, node) for node in nodes for x in node.operands]
    seen = set()
    while waiting:
        node, reader = waiting.pop()
        if not isinstance(node, Node) or (node, reader) in seen:
            continue
        seen.add((node, reader))
        taken_from = reader.kind == "take" and node is reader.operands[0]
        if node in position:
            found.add((node, taken_from or reader.kind == "view"))
        else:
            waiting += [(x, node) for x in node.operands]
    return found


def _last_kernels(stores: Sequence[Store], position: dict[Node, int]) -> list[Operation]:
    """Return the kernels that write the results to the inputs: one for all arrays, and then one for
    the arrays of shape (), such as the index of the step, from which the others are computed."""
    final = [store for store in stores if store.row is None]
    groups = [[s for s in final if s.node.shape], [s for s in final if not s.node.shape]]
    kernels: list[Operation] = []
    replaced: set[Node] = set()
    for group in groups:
        # Threads run in any order, so each may read only the entry that it replaces itself.
        targets = {store.target for store in group}
        kernel = Kernel()
        for node, target, _ in group:
            for read, elsewhere in _reads([node], position):
                same_entry = read.shape == node.shape and not elsewhere
                if read in replaced or (read in targets and not same_entry):
                    raise NotTraceable("an input is read after it was replaced")
            kernel.bodies[node.shape].append((node, Target(target, target.layout)))
        replaced |= targets
        if group:
            kernels.append(kernel)
    return kernels


def _write(kernel: Kernel, index: int, position: dict[Node, int]) -> None:
    """Write the source of the kernel at an index of the operations."""
    lines: list[str] = ["    int block = blockIdx.x;"]
    for shape, outputs in kernel.bodies.items():
        size = math.prod(shape)
        if size >= 1 << 31:
            raise NotTraceable("an array of more than 2³¹ entries")
        blocks = -(-size // THREADS)
        body = _Body(kernel, index, position, shape)
        for node, target in outputs:
            body.store(node, target)
        lines += [
            f"    if (block < {blocks}) {{",
            f"        int i = block * {THREADS} + threadIdx.x;",
            f"        if (i >= {size}) return;",
            *(f"        {line}" for line in [*body.lines, *body.stores]),
            "        return;",
            "    }",
            f"    block -= {blocks};",
        ]
        kernel.blocks += blocks
    if len(kernel.buffers) > _MOST_ARGUMENTS:
        raise NotTraceable(f"a kernel with {len(kernel.buffers)} arguments")
    arguments = ", ".join(f"{_TYPES[x.dtype]}* b{x.number}" for x in kernel.buffers)
    head = f'extern "C" __global__ void {kernel.name}({arguments}) {{'
    kernel.source = "\n".join([head, *lines[:-1], "}\n"])


class _Body:
    """The lines of a kernel that compute its results of one shape."""

    def __init__(self, kernel: Kernel, index: int, position: dict[Node, int], shape: Shape) -> None:
        self._kernel, self._index, self._position, self._shape = kernel, index, position, shape
        self._names: dict[tuple[Node, tuple[str, ...]], str] = {}
        self.lines: list[str] = []
        self.stores: list[str] = []
        coordinates, stride = [], 1
        for axis in reversed(range(len(shape))):
            text = f"i / {stride}" if stride > 1 else "i"
            if axis:
                text = f"({text}) % {shape[axis]}"
            self.lines.append(f"int c{axis} = {text};")
            coordinates.append(f"c{axis}" if shape[axis] > 1 else "0")
            stride *= shape[axis]
        self._coordinates = tuple(reversed(coordinates))

    def store(self, node: Node, target: Target) -> None:
        """Add the lines that compute a node, and the one that writes it, after all others."""
        value = self._value(node, self._coordinates)
        place = self._place(target.layout, self._coordinates)
        if target.row is not None:
            stride = target.layout.strides[0]
            place += f" + (long long){self._value(target.row, ())} * {stride}"
        self.stores.append(f"{self._buffer(target.buffer)}[{place}] = {value};")

    def _value(self, node: Node, coordinates: tuple[str, ...]) -> str:
        """Return the name of the variable that holds the entry of a node at some coordinates."""
        key = node, coordinates
        if key not in self._names:
            text = self._text(node, coordinates)
            self._names[key] = name = f"v{len(self._names)}"
            self.lines.append(f"{_TYPES[node.dtype]} {name} = {text};")
        return self._names[key]

    def _text(self, node: Node, coordinates: tuple[str, ...]) -> str:
        if not node.inline or self._position.get(node, self._index) < self._index:
            buffer = node.operands[0] if node.kind == "view" else node
            return f"{self._buffer(buffer)}[{self._place(node.layout, coordinates)}]"
        if node.kind == "take":
            source, indices = node.operands
            split = len(indices.shape)
            row = self._value(indices, coordinates[:split])
            layout = source.layout
            place = self._place(Layout(layout.offset, layout.strides[1:]), coordinates[split:])
            base = source.operands[0] if source.kind == "view" else source
            return f"{self._buffer(base)}[(long long){row} * {layout.strides[0]} + {place}]"
        if node.detail == "arange":
            return f"({_TYPES[node.dtype]}){coordinates[0]}"
        if node.detail == "full":
            return _literal(node.operands[0], node.dtype)
        kinds = [x.dtype for x in node.operands if isinstance(x, Node)]
        values = []
        for operand in node.operands:
            if isinstance(operand, Node):
                own = coordinates[len(coordinates) - len(operand.shape) :]
                own = tuple(
                    "0" if size == 1 else c for size, c in zip(operand.shape, own, strict=True)
                )
                values.append(self._value(operand, own))
            else:
                values.append(_literal(operand, kinds[0]))
        if node.detail == "astype":
            return f"({_TYPES[node.dtype]}){values[0]}"
        if node.detail in _FUNCTIONS:
            return _FUNCTIONS[node.detail].format(*values)
        if node.detail.isidentifier():
            return f"{node.detail}({', '.join(values)})"
        return f" {node.detail} ".join(values)

    def _place(self, layout: Layout, coordinates: tuple[str, ...]) -> str:
        if layout == contiguous(self._shape) and coordinates == self._coordinates:
            return "i"
        terms = [str(layout.offset)] if layout.offset else []
        for c, stride in zip(coordinates, layout.strides, strict=True):
            if c != "0" and stride:
                terms.append(c if stride == 1 else f"{c} * {stride}")
        return " + ".join(terms) or "0"

    def _buffer(self, node: Node) -> str:
        if node not in self._kernel.buffers:
            self._kernel.buffers.append(node)
        return f"b{node.number}"


def _literal(value: float, dtype: str) -> str:
    """Return a number as C++ text, exact.

    Examples
    --------
    >>> _literal(0.5, "float32"), _literal(-3, "int32")
    ('(float)0x1.0000000000000p-1', '(int)-3LL')
    """
    if not dtype.startswith("float"):
        return f"({_TYPES[dtype]}){int(value)}LL"
    if not math.isfinite(value):
        raise NotTraceable(f"the number {value}")
    return f"({_TYPES[dtype]}){float(value).hex()}"
