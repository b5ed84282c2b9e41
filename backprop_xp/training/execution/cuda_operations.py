"""Tracing: the operations of a step as a graph, from which kernels are made.

A function of arrays is called once with values in place of arrays. A value has a shape and a data
type, but no numbers; it refers to the operation and to the values that it is computed from. The
function uses an array namespace as usual. `backprop_xp.training.execution.cuda_kernels` makes
kernels of the resulting graph.

Operations that are not in this file raise `NotTraceable`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Shape = tuple[int, ...]


class NotTraceable(TypeError):
    """A function uses an operation for which there is no kernel."""


class Layout(NamedTuple):
    """Where the entries of an array are in its buffer; offset and strides count entries."""

    offset: int
    strides: tuple[int, ...]


class Node:
    """An operation with its result.

    Attributes
    ----------
    kind : str
        ``"input"`` (a buffer that exists), ``"elementwise"``, ``"take"``, ``"matmul"``,
        ``"reduce"``, ``"concat"`` or ``"view"``.
    operands : tuple of Node or number
    shape, dtype
        Of the result; the data type is a name, such as ``"float32"``.
    detail : object
        What else defines the operation, such as the name of a function, or an axis.
    layout : Layout
        Of the result in its buffer, if it has one.
    number : int
        Its place in the order in which nodes are created.
    """

    __slots__ = ("detail", "dtype", "kind", "layout", "number", "operands", "shape")

    def __init__(
        self,
        kind: str,
        operands: tuple[Any, ...],
        shape: Shape,
        dtype: str,
        detail: Any,
        layout: Layout,
        number: int,
    ) -> None:
        self.kind, self.operands, self.shape, self.dtype = kind, operands, shape, dtype
        self.detail, self.layout, self.number = detail, layout, number

    @property
    def inline(self) -> bool:
        """Whether a thread can compute one entry of the result by itself."""
        return self.kind in ("elementwise", "take")


def contiguous(shape: Shape) -> Layout:
    """Return the layout of an array whose rows follow each other.

    Examples
    --------
    >>> contiguous((2, 3))
    Layout(offset=0, strides=(3, 1))
    """
    strides = [1]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * size)
    return Layout(0, tuple(reversed(strides[: len(shape)])))


class Trace:
    """An array namespace that records the operations.

    Parameters
    ----------
    name : str
        The name of the namespace, by which the library is recognized.
    """

    def __init__(self, name: str = "cupy") -> None:
        self.__name__ = name
        self._nodes: dict[Any, Node] = {}
        self._inputs = itertools.count()
        self._storages = itertools.count()

    # --- values ----------------------------------------------------------------------------

    def input(self, shape: Shape, dtype: str) -> Value:
        """Return a new value for an existing array in C order."""
        node = self.node("input", (), tuple(shape), dtype, next(self._inputs))
        return Value(self, node)

    def node(
        self,
        kind: str,
        operands: tuple[Any, ...],
        shape: Shape,
        dtype: str,
        detail: Any = None,
        layout: Layout | None = None,
    ) -> Node:
        """Return the node of an operation; it is the same one for the same operation."""
        # 1, 1.0 and True are equal, and so are 0.0 and -0.0.
        keys = [x.number if isinstance(x, Node) else (type(x), repr(x)) for x in operands]
        key = kind, tuple(keys), shape, dtype, detail, layout
        if key not in self._nodes:
            node = Node(
                *(kind, operands, shape, dtype, detail),
                layout or contiguous(shape),
                len(self._nodes),
            )
            self._nodes[key] = node
        return self._nodes[key]

    def elementwise(self, function: str, *operands: Any, dtype: str = "") -> Value:
        """Return the value of an elementwise function."""
        read = [x.read() if isinstance(x, Value) else x for x in operands]
        nodes = [x for x in read if isinstance(x, Node)]
        kinds = {x.dtype for x in nodes}
        if len(kinds) > 1:
            raise NotTraceable(f"{function} of {' and '.join(sorted(kinds))}")
        (kind,) = kinds
        for x in read:
            if not isinstance(x, Node) and (
                not isinstance(x, (int, float))
                or (isinstance(x, float) and not kind.startswith("float"))
            ):
                raise NotTraceable(f"{function} of {kind} and {type(x).__name__}")
        shape = broadcast([x.shape for x in nodes])
        return Value(self, self.node("elementwise", tuple(read), shape, dtype or kind, function))

    # --- the functions of the standard that steps use --------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name in DTYPES:
            return name
        if name in FUNCTIONS:
            dtype = "bool" if name.startswith(("logical_", "is")) else ""
            return lambda *operands: self.elementwise(name, *operands, dtype=dtype)
        raise NotTraceable(f"the function {name!r}")

    def astype(self, x: Value, dtype: Any, *, copy: bool = True) -> Value:
        return self.elementwise("astype", x, dtype=name_of(dtype))

    def clip(self, x: Value, low: float, high: float) -> Value:
        return self.minimum(self.maximum(x, low), high)  # type: ignore[no-any-return]

    def arange(self, n: int, *, dtype: Any, device: Any = None) -> Value:
        return Value(self, self.node("elementwise", (), (n,), name_of(dtype), "arange"))

    def full(self, shape: int | Shape, value: Any, *, dtype: Any, device: Any = None) -> Value:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        return Value(self, self.node("elementwise", (value,), shape, name_of(dtype), "full"))

    def zeros(self, shape: int | Shape, *, dtype: Any, device: Any = None) -> Value:
        return self.full(shape, 0, dtype=dtype)

    def zeros_like(self, x: Value) -> Value:
        return self.full(x.shape, 0, dtype=x.dtype)

    def ones_like(self, x: Value) -> Value:
        return self.full(x.shape, 1, dtype=x.dtype)

    def asarray(self, x: Any, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Value:
        if not isinstance(x, Value) or (dtype is not None and name_of(dtype) != x.dtype):
            raise NotTraceable("a new array")
        return Value(self, x.read()) if copy else x

    def take(self, x: Value, indices: Value, *, axis: int = 0) -> Value:
        if axis != 0 or len(indices.shape) > 1:
            raise NotTraceable("take along another axis")
        operands = x.read(), indices.read()
        shape = indices.shape + x.shape[1:]
        return Value(self, self.node("take", operands, shape, x.dtype))

    def concat(self, parts: Sequence[Value], *, axis: int = 0) -> Value:
        if axis != 0:
            raise NotTraceable("concat along another axis")
        nodes = tuple(
            part.read() if part.read().inline else self.elementwise("copy", part).read()
            for part in parts
        )
        shape = (sum(node.shape[0] for node in nodes), *nodes[0].shape[1:])
        return Value(self, self.node("concat", nodes, shape, nodes[0].dtype))

    def matmul(self, a: Value, b: Value) -> Value:
        left, right = a.read(), b.read()
        if len(left.shape) != 2 or len(right.shape) != 2 or left.shape[1] != right.shape[0]:
            raise NotTraceable(f"matmul of {left.shape} and {right.shape}")
        shape = left.shape[0], right.shape[1]
        layout = contiguous(shape)
        if right.layout.strides[0] == 1 != right.layout.strides[1]:
            layout = Layout(0, (1, shape[0]))  # of a transposed array, as the one on the right is
        return Value(self, self.node("matmul", (left, right), shape, left.dtype, None, layout))

    def sum(self, x: Value, *, axis: int | None = None, keepdims: bool = False) -> Value:
        return self._reduce("sum", x, axis, keepdims)

    def max(self, x: Value, *, axis: int | None = None, keepdims: bool = False) -> Value:
        return self._reduce("max", x, axis, keepdims)

    def vecdot(self, a: Value, b: Value) -> Value:
        return self.sum(self.elementwise("*", a, b), axis=-1)

    def _reduce(self, function: str, x: Value, axis: int | None, keepdims: bool) -> Value:
        node = x.read()
        axis = axis if axis is None else axis % len(node.shape)
        over = range(len(node.shape)) if axis is None else (axis,)
        shape = tuple(
            1 if index in over else size
            for index, size in enumerate(node.shape)
            if keepdims or index not in over
        )
        detail = function, axis, keepdims
        return Value(self, self.node("reduce", (node,), shape, node.dtype, detail))

    def reshape(self, x: Value, shape: Shape) -> Value:
        shape = tuple(shape)
        if -1 in shape:
            rest = -math.prod(shape)
            shape = tuple(math.prod(x.shape) // rest if size == -1 else size for size in shape)
        if x.read().layout != contiguous(x.shape)._replace(offset=x.read().layout.offset):
            raise NotTraceable("the reshaping of a transposed array")
        return x.view(shape, Layout(x.read().layout.offset, contiguous(shape).strides))

    def expand_dims(self, x: Value, *, axis: int) -> Value:
        index: list[Any] = [slice(None)] * len(x.shape)
        index.insert(axis % (len(x.shape) + 1), None)
        return x[tuple(index)]


_OPERATORS = {
    **{"add": "+", "sub": "-", "mul": "*", "truediv": "/"},
    **{"and": "&", "or": "|", "xor": "^", "lshift": "<<", "rshift": ">>"},
}
_COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}

DTYPES = ("float32", "float64", "int32", "int64", "bool")

FUNCTIONS = {
    *("abs", "cos", "exp", "expm1", "floor", "isfinite", "log", "log1p", "logical_and"),
    *("logical_or", "maximum", "minimum", "round", "sign", "sin", "sqrt", "tanh"),
}
"""Elementwise functions, by their names in the standard."""


class Value:
    """An array without numbers: it refers to a node, and to another one after a change in place.

    Views share their storage. After a change in place through one value, reading the others raises
    `NotTraceable`, because they still refer to the nodes from before the change.
    """

    __slots__ = ("_storage", "_trace", "_version", "node")
    __iter__ = __contains__ = __bool__ = __array__ = None
    __hash__ = object.__hash__
    device = None

    def __init__(self, trace: Trace, node: Node, storage: list[int] | None = None) -> None:
        self._trace, self.node = trace, node
        self._storage = [0] if storage is None else storage
        self._version = self._storage[0]

    @property
    def shape(self) -> Shape:
        return self.node.shape

    @property
    def ndim(self) -> int:
        return len(self.node.shape)

    @property
    def dtype(self) -> str:
        return self.node.dtype

    @property
    def T(self) -> Value:
        offset, strides = self.read().layout
        return self.view(self.shape[::-1], Layout(offset, strides[::-1]))

    def read(self) -> Node:
        """Return the node, unless it is out of date."""
        if self._version != self._storage[0]:
            raise NotTraceable("an array that was changed in place through a view")
        return self.node

    def view(self, shape: Shape, layout: Layout) -> Value:
        """Return a view of the same storage."""
        node = self.read()
        base = node.operands[0] if node.kind == "view" else node
        viewed = self._trace.node("view", (base,), shape, node.dtype, None, layout)
        return Value(self._trace, viewed, self._storage)

    def __getitem__(self, index: Any) -> Value:
        index = index if isinstance(index, tuple) else (index,)
        index = tuple(x for x in index if x is not Ellipsis)
        node = self.read()
        offset, strides, shape = node.layout.offset, [], []
        remaining = iter(zip(node.shape, node.layout.strides, strict=True))
        for x in index:
            if x is None:
                shape.append(1)
                strides.append(0)
                continue
            size, stride = next(remaining)
            if isinstance(x, slice) and x.step in (None, 1):
                start, stop, _ = x.indices(size)
                offset += start * stride
                shape.append(stop - start)
                strides.append(stride)
            elif isinstance(x, int):
                offset += (x % size) * stride
            else:
                raise NotTraceable(f"the index {x!r}")
        for size, stride in remaining:
            shape.append(size)
            strides.append(stride)
        return self.view(tuple(shape), Layout(offset, tuple(strides)))

    def __neg__(self) -> Value:
        return self._trace.elementwise("*", self, -1)

    def __abs__(self) -> Value:
        return self._trace.elementwise("abs", self)

    def _change(self, result: Value) -> Value:
        if result.shape != self.shape or result.dtype != self.dtype:
            raise NotTraceable("a change in place of the shape or the data type")
        self._storage[0] += 1
        self._version, self.node = self._storage[0], result.node
        return self


def _method(sign: str, dtype: str, *, reflected: bool, in_place: bool) -> Callable[..., Value]:
    def method(self: Value, other: Any) -> Any:
        operands = (other, self) if reflected else (self, other)
        if not isinstance(other, (Value, int, float)):
            return NotImplemented
        result = self._trace.elementwise(sign, *operands, dtype=dtype)
        return self._change(result) if in_place else result

    return method


for _name, _sign in _OPERATORS.items():
    setattr(Value, f"__{_name}__", _method(_sign, "", reflected=False, in_place=False))
    setattr(Value, f"__r{_name}__", _method(_sign, "", reflected=True, in_place=False))
    setattr(Value, f"__i{_name}__", _method(_sign, "", reflected=False, in_place=True))
for _name, _sign in _COMPARISONS.items():
    setattr(Value, f"__{_name}__", _method(_sign, "bool", reflected=False, in_place=False))


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """Return the common shape of arrays.

    Examples
    --------
    >>> broadcast([(3, 1), (2,)])
    (3, 2)
    """
    found: list[int] = []
    for sizes in itertools.zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        (size,) = {size for size in sizes if size != 1} or {1}
        found.append(size)
    return tuple(reversed(found))


def name_of(dtype: Any) -> str:
    """Return the name of a data type, given as a name, a type or a dtype.

    Examples
    --------
    >>> import numpy as np
    >>> name_of("float32"), name_of(np.int32), name_of(np.dtype("bool"))
    ('float32', 'int32', 'bool')
    """
    return str(getattr(dtype, "name", None) or getattr(dtype, "__name__", dtype))
