"""Recording: run a function of arrays once, and replay its array operations without its Python.

A step of a small network is about forty calls of half a microsecond each, and nearly the same
time again passes between them, in records, loops over layers and choices of namespaces. In this
library the calls depend on shapes alone. So a function is run on arrays that record every
operation, and the record is a straight line of the same calls on the same numbers: its results
are the same to the last bit. An ``if`` on the numbers of an array raises an error. Whatever the
arrays cannot see becomes a constant of the recording: a number inside the function that changes
between calls, a shape that depends on numbers, an array that was created by another namespace and
is changed in place. So only functions that are known to be pure are recorded.

It works for libraries whose functions dispatch on their arguments (NumPy's protocols
``__array_ufunc__`` and ``__array_function__``, NEP 13 and NEP 18).
"""

from __future__ import annotations

import keyword
import operator
import re
from collections.abc import Callable, Iterable
from numbers import Number
from typing import Any

from backprop_xp.backend.arrays import Namespace

_CREATION = {"arange", "asarray", "empty", "eye", "full", "linspace", "ones", "zeros"}
"""Functions that may have no array among their arguments to dispatch on."""

_STATIC = {"device", "dtype", "flags", "itemsize", "nbytes", "ndim", "shape", "size", "strides"}
_VIEWS = {"T", "mT"}


class NotRecordable(TypeError):
    """An operation that depends on the numbers in an array, or cannot be recorded."""


def record(
    function_on: Callable[[Namespace], Callable[..., Any]], args: tuple[Any, ...], xp: Namespace
) -> tuple[Callable[..., Any], Any]:
    """Run a function once; return it as a straight line of calls, and its result.

    Parameters
    ----------
    function_on : callable ``(xp) -> function``
        Makes the function for a namespace. It must be pure, except for arrays that it consumes.
    args : tuple
        Its arguments: arrays and numbers, in lists, tuples and named tuples, nested to any depth.
        A replay accepts others of the same shapes, orders and types. Other arguments, such as
        None, a bool or a dict, become constants.
    xp : namespace
        NumPy's, or `backprop_xp.backend.fast_numpy.fast_namespace` of it.

    Returns
    -------
    replay : callable
        The recorded function, with the same arguments and results; ``replay.source`` is its text.
    result
        The result of this run.

    Raises
    ------
    NotRecordable
        If the function cannot be recorded. It may also raise other errors because of the type of
        the arrays. Arrays that it consumes may have been changed by then.

    Examples
    --------
    >>> import numpy as np
    >>> def sigmoid_on(xp):
    ...     return lambda z: 0.5 + 0.5 * xp.tanh(0.5 * z)
    >>> replay, _ = record(sigmoid_on, (np.zeros(2),), np)
    >>> replay(np.asarray([0.0, 9.0]))
    array([0.5       , 0.99987661])
    >>> print(replay.source)
    def replay(*args):
        (a1,) = args
        a2 = number * a1
        a3 = tanh(a2); del a2
        a4 = number * a3; del a3
        a5 = number + a4; del a4
        return a5
    """
    lines = _Lines(xp)
    inputs, pattern = lines.take(args)
    result = function_on(_Namespace(lines, xp))(*inputs)
    return lines.replay(pattern, result), _plain(result)


class _Lines:
    """The lines recorded so far, and the constants that they name."""

    def __init__(self, xp: Namespace) -> None:
        self._lines: list[str] = []
        self._constants: dict[str, Any] = {"args": None, "replay": None, "slice": slice, "abs": abs}
        self._names: dict[int, str] = {}
        self._numbers: dict[Any, Any] = {}
        self._count = 0
        self._asarray = xp.asarray
        self._array = type(xp.asarray(0.0))

    def take(self, tree: Any) -> tuple[Any, str]:
        """Return arguments that record the operations on them, and their names."""
        if isinstance(tree, (list, tuple)):
            parts = [self.take(part) for part in tree]
            return _like(tree, [part for part, _ in parts]), _tuple(name for _, name in parts)
        if isinstance(tree, (self._array, Number)) and not isinstance(tree, bool):
            recorded = self._new(tree)
            return recorded, recorded.name
        return tree, "_"

    def _new(self, value: Any) -> _Recorded:
        self._count += 1
        return _Recorded(self, f"a{self._count}", value)

    def text(self, value: Any, beside: Any = None) -> str:
        """Return the text of a value; ``beside`` is the other operand, if there is one."""
        if isinstance(value, _Recorded):
            return value.name
        if type(value) is list:
            return f"[{', '.join(map(self.text, value))}]"
        if type(value) is tuple:
            return _tuple(map(self.text, value))
        if isinstance(value, tuple):  # a named tuple
            return self.text(type(value)) + _tuple(map(self.text, value))
        if isinstance(value, slice):
            return "slice" + _tuple(map(self.text, (value.start, value.stop, value.step)))
        if value is None or type(value) in (bool, int):
            return f"({value!r})"  # (-1) ** n is not -1 ** n
        if type(value) is float and isinstance(beside, self._array) and beside.dtype.kind == "f":
            # For an array of shape () NumPy need not find a type: half the time of the call.
            key = str(value), beside.dtype  # 0.0 equals -0.0
            if key not in self._numbers:
                self._numbers[key] = self._asarray(value, dtype=beside.dtype)
            value = self._numbers[key]
        return self._constant(value)

    def _constant(self, value: Any) -> str:
        """Return the name of a constant: a function, a type or a number."""
        if id(value) not in self._names:
            stem = re.sub(r"\W", "", getattr(value, "__name__", "number"))
            if keyword.iskeyword(stem) or _NAMES.fullmatch(stem) or not stem.isidentifier():
                stem = f"function_{stem}"
            name = stem
            while name in self._constants:
                name = f"{stem}_{len(self._constants)}"
            self._constants[name], self._names[id(value)] = value, name
        return self._names[id(value)]

    def operation(self, left: Any, sign: str, right: Any) -> str:
        """Return the text of an operation on two values."""
        # NumPy computes x**2 in another way if the exponent is an array.
        values = (None, None) if "**" in sign else (_plain(left), _plain(right))
        return f"{self.text(left, values[1])} {sign} {self.text(right, values[0])}"

    def call(
        self,
        function: Any,
        args: tuple[Any, ...],
        options: dict[str, Any],
        name: str = "",
        changes: bool = False,
    ) -> Any:
        """Call a function and record it; ``changes`` if it writes its result into an argument."""
        value = function(*_plain(args), **_plain(options))
        texts = [*map(self.text, args), *(f"{key}={self.text(v)}" for key, v in options.items())]
        text = f"{name or self._constant(function)}({', '.join(texts)})"
        return self.made(text, None if changes else value)

    def made(self, text: str, value: Any) -> Any:
        """Record an expression, and return an array that records operations on its value."""
        if value is None:
            self._lines.append(text)
            return None
        if type(value) not in (int, float) and not hasattr(value, "dtype"):
            raise NotRecordable(f"an array was converted to {type(value).__name__}")
        result = self._new(value)
        self._lines.append(f"{result.name} = {text}")
        return result

    def is_array(self, value: Any) -> bool:
        """Return whether a value can be changed in place."""
        return isinstance(value, self._array)

    def replay(self, pattern: str, result: Any) -> Any:
        """Return a function that makes the recorded calls."""
        last = f"return {self.text(result)}"
        used_later = set(_NAMES.findall(last)) | set(_NAMES.findall(pattern))
        lines = [last]
        for line in reversed(self._lines):  # an array is freed after its last use
            unused = sorted(set(_NAMES.findall(line)) - used_later)
            used_later.update(unused)
            lines.append(f"{line}; del {', '.join(unused)}" if unused else line)
        body = "".join(f"    {line}\n" for line in [f"{pattern} = args", *reversed(lines)])
        source = f"def replay(*args):\n{body}"
        scope = dict(self._constants)
        # The source contains no text from outside: names are generated here or taken from the
        # word characters of function names, and of values only int, bool and None are written out.
        exec(compile(source, "<recording>", "exec"), scope)
        replay: Any = scope["replay"]
        replay.source = source.rstrip("\n")
        return replay


_NAMES = re.compile(r"\ba\d+\b")


class _Namespace:
    """A namespace whose new arrays are recorded too."""

    def __init__(self, lines: _Lines, xp: Namespace) -> None:
        self._lines, self._xp = lines, xp
        self.__name__ = xp.__name__

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._xp, name)
        if name in _CREATION:
            return lambda *args, **options: self._lines.call(function, args, options)
        return function


class _Recorded:
    """An array, or a number, that records the operations on it."""

    __slots__ = ("T", "lines", "mT", "name", "value")  # no other attribute can be set
    __iter__ = __contains__ = None

    def __init__(self, lines: _Lines, name: str, value: Any) -> None:
        self.lines, self.name, self.value = lines, name, value

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **options: Any) -> Any:
        function, name = getattr(ufunc, method), self.lines.text(ufunc)
        if method != "__call__":
            name += f".{method}"
        if out := options.pop("out", None):
            [target] = out if len(out) == 1 else [None]
            if options or method != "__call__" or not isinstance(target, _Recorded):
                raise NotRecordable("a result was written to an array that cannot be recorded")
            self.lines.call(function, (*args, target), {}, name, changes=True)
            return target
        if method == "reduce" and options.keys() == {"axis", "dtype", "keepdims"}:
            # NumPy reads positional arguments faster.
            args = (*args, options["axis"], options["dtype"], None, options["keepdims"])
            options = {}
        return self.lines.call(function, args, options, name)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return self.lines.call(function, args, options)

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise NotRecordable("the numbers of an array were read")

    def __bool__(self) -> bool:
        raise NotRecordable("a condition depends on the numbers of an array")

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, index: Any) -> Any:
        return self.lines.made(f"{self.name}[{self.lines.text(index)}]", self.value[_plain(index)])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self.value, name)
        if name in _STATIC:
            return value
        if name in _VIEWS:
            view = self.lines.made(f"{self.name}.{name}", value)
            setattr(self, name, view)  # a view shows all changes, so one is enough
            return view
        if not callable(value):
            raise NotRecordable(f"the attribute {name!r} of an array was read")
        method = f"{self.name}.{name}"
        return lambda *args, **options: self.lines.call(value, args, options, method)


def _operator(name: str, sign: str, *, reflected: bool = False) -> Any:
    function = getattr(operator, name)

    def method(self: _Recorded, other: Any) -> Any:
        left, right = (other, self) if reflected else (self, other)
        value = function(_plain(left), _plain(right))
        return self.lines.made(self.lines.operation(left, sign, right), value)

    return method


def _operator_in_place(name: str, sign: str) -> Any:
    function, replace = getattr(operator, name), _operator(name.replace("i", "", 1), sign)

    def method(self: _Recorded, other: Any) -> Any:
        if not self.lines.is_array(self.value):  # a number cannot be changed, only replaced
            return replace(self, other)
        function(self.value, _plain(other))
        self.lines.made(self.lines.operation(self, f"{sign}=", other), None)
        return self

    return method


def _operator_of_one(name: str, sign: str) -> Any:
    function = getattr(operator, name)
    return lambda self: self.lines.made(f"{sign}({self.name})", function(self.value))


for _name, _sign in {
    **{"add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%"},
    **{"pow": "**", "matmul": "@", "and": "&", "or": "|", "xor": "^"},
    **{"lshift": "<<", "rshift": ">>"},
}.items():
    setattr(_Recorded, f"__{_name}__", _operator(f"__{_name}__", _sign))
    setattr(_Recorded, f"__r{_name}__", _operator(f"__{_name}__", _sign, reflected=True))
    setattr(_Recorded, f"__i{_name}__", _operator_in_place(f"__i{_name}__", _sign))
for _name, _sign in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
    setattr(_Recorded, f"__{_name}__", _operator(f"__{_name}__", _sign))
for _name, _sign in {"neg": "-", "pos": "+", "invert": "~", "abs": "abs"}.items():
    setattr(_Recorded, f"__{_name}__", _operator_of_one(f"__{_name}__", _sign))


def _plain(tree: Any) -> Any:
    """Return a tree with the arrays and numbers themselves."""
    if isinstance(tree, _Recorded):
        return tree.value
    if isinstance(tree, (list, tuple)):
        return _like(tree, [_plain(part) for part in tree])
    if isinstance(tree, dict):
        return {key: _plain(part) for key, part in tree.items()}
    if isinstance(tree, slice):
        return slice(_plain(tree.start), _plain(tree.stop), _plain(tree.step))
    return tree


def _like(tree: Any, parts: list[Any]) -> Any:
    """Return parts as a list, tuple or named tuple: the type of ``tree``."""
    return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)


def _tuple(texts: Iterable[str]) -> str:
    texts = list(texts)
    return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"
