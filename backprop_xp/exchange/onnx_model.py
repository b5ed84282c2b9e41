"""ONNX: a model as a graph that takes raw rows, for ONNX Runtime and other programs.

The operators are those of opset 17 of ONNX and, for categories, of opset 3 of ONNX-ML; the version
of the file format (IR) is 8. ONNX Runtime reads these since version 1.12 of 2022.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.data.labels import from_names
from backprop_xp.data.preprocessing import Column, spellings
from backprop_xp.data.readers.cells import MISSING
from backprop_xp.errors import ConfigurationError
from backprop_xp.files import atomic_write
from backprop_xp.models.model import Model
from backprop_xp.nn.activations import OUTPUTS
from backprop_xp.version import __version__

OPSET, ML_OPSET, IR_VERSION = 17, 3, 8
"""The versions of the operators, of those of ONNX-ML, and of the file format."""

_OUTPUT_NAMES = ("label", "probabilities", "scores", "variable")
_LARGEST = 2**31 - 2**20  # a file of protobuf has less than 2 GiB
_DOMAIN = "ai.onnx.ml"


def to_onnx(model: Model) -> Any:
    """Return a model as ONNX: a graph from raw rows to labels and probabilities, or to numbers.

    Missing values are filled in, categories become inputs, and inputs are scaled within the graph,
    as `Model.predict` does it. It needs the package ``onnx``: ``pip install 'backprop-xp[onnx]'``.
    The operators are of opset 17 (and 3 of ``ai.onnx.ml``), the IR version is 8.

    *Inputs.* ``X``, of shape (N, n_columns): the columns of the training data in their order, for
    any number N of rows. If a column has categories, there is an input of shape (N, 1) for each
    column instead, with the name of the column (``label_1`` for ``label``, and so on, if it is the
    name of an output). The names of the columns are in the metadata, under ``columns``.

    Numbers are ``double`` if the model is float64 or subtracts an offset from its inputs, as it
    does where they were standardized: in ``float``, a column far from 0 would lose its digits.
    Otherwise they are ``float``. A missing number is NaN.

    Categories are ``string``, also where they are numbers or booleans. They have to be spelled as
    in training (numbers also as 3 or 3.0, booleans in any case, without spaces around them); all
    other text is a category that did not occur in training. Missing text is empty, or what is
    missing in a file, such as ``NA``.

    *Outputs*, under the names that sklearn-onnx uses (with its option ``zipmap=False``):

    - ``label``, shape (N,): the predicted class, int64 for whole numbers, otherwise string, bool or
      double, as the labels were in training;
    - ``probabilities``, shape (N, n_classes), in the order of `Model.classes`. Where the outputs
      are not probabilities, because the output activation is not softmax or sigmoid, they are named
      ``scores``;
    - ``variable``, shape (N, n_outputs): the prediction of a regression, in the units of the
      targets; double if these were standardized.

    A graph cannot raise errors as `Model.predict` does: for NaN in a model without preprocessing,
    and for infinity, its outputs have no meaning.

    Parameters
    ----------
    model : Model

    Returns
    -------
    onnx.ModelProto
        ``SerializeToString()`` returns the content of a file, which
        ``onnxruntime.InferenceSession`` accepts too.

    Raises
    ------
    ConfigurationError
        If the package ``onnx`` is missing, an activation is a custom one or is not known in ONNX,
        or the model is larger than 2 GB.

    Examples
    --------
    >>> import pytest
    >>> onnx = pytest.importorskip("onnx")
    >>> from backprop_xp import from_torch_state
    >>> model = from_torch_state({"0.weight": np.eye(3)}, "softmax", classes=["a", "b", "c"])
    >>> [output.name for output in to_onnx(model).graph.output]
    ['label', 'probabilities']
    """
    onnx = _library()
    for activation in model.network.activations:
        if OUTPUTS.get(activation.name) is not activation:
            raise ConfigurationError(
                f"the activation {activation.name!r} is a custom one, and only those of the "
                "package can be written as ONNX",
                "export the weights with --format torch or numpy",
            )
        if activation.name not in _ACTIVATIONS:
            raise ConfigurationError(
                f"the activation {activation.name!r} cannot be written as ONNX yet",
                "add it to backprop_xp/exchange/onnx_model.py, or export the weights with "
                "--format torch or numpy",
            )
    size = model.network.n_parameters * np.dtype(model.dtype).itemsize
    if size > _LARGEST:
        raise ConfigurationError(
            f"the weights take {size / 2**30:.1f} GiB, but an ONNX file has at most 2 GiB",
            "export the weights with --format torch or numpy",
        )
    graph = _Graph(onnx, model.dtype)
    a = _layers(graph, model, _scaled(graph, model, _inputs(graph, model)))
    if model.classes is None:
        _numbers(graph, model, a)
    else:
        _classes(graph, model, a)
    inputs, outputs = (
        [onnx.helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in values]
        for values in (graph.inputs, graph.outputs)
    )
    task = "classification" if model.classes is not None else "regression"
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, task, inputs, outputs, graph.constants),
        producer_name="backprop_xp",
        producer_version=__version__,
        ir_version=IR_VERSION,
        opset_imports=[
            onnx.helper.make_opsetid("", OPSET),
            *([onnx.helper.make_opsetid(_DOMAIN, ML_OPSET)] if graph.uses_ml else []),
        ],
    )
    onnx.helper.set_model_props(proto, _metadata(model))
    return proto


def write_onnx(path: str | os.PathLike[str], model: Model) -> dict[str, Any]:
    """Write the model of `to_onnx` to a file; see `backprop_xp.export_model`."""
    onnx, proto = _library(), to_onnx(model)
    content = proto.SerializeToString(deterministic=True)
    atomic_write(path, lambda file: file.write(content))
    notes = []
    if any(column.categories is not None for column in _columns(model)):
        notes.append("text must be spelled as in training; other text is an unknown category")
    return {
        "opset": OPSET,
        "ml_opset": ML_OPSET,
        "ir_version": IR_VERSION,
        "inputs": [_described(onnx, value) for value in proto.graph.input],
        "outputs": [_described(onnx, value) for value in proto.graph.output],
        "notes": notes,
    }


def _library() -> Any:
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise ConfigurationError(
            "the format ONNX needs onnx, which is not installed", "pip install 'backprop-xp[onnx]'"
        ) from error
    return onnx


class _Graph:
    """The inputs, outputs, nodes and constants of a graph that is being written.

    Values are referred to by their names. Those of the outputs are reserved from the beginning.
    """

    def __init__(self, onnx: Any, dtype: str) -> None:
        self.onnx = onnx
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: list[tuple[str, int, list[Any]]] = []
        self.outputs: list[tuple[str, int, list[Any]]] = []
        self.uses_ml = False
        self._taken = set(_OUTPUT_NAMES)

    def kind(self, dtype: Any) -> int:
        """Return the number that ONNX has for a data type of NumPy."""
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def input(self, name: str, dtype: Any, width: int) -> str:
        """Add an input of shape (N, width) and return its name."""
        name = self._free(name)
        self.inputs.append((name, self.kind(dtype), ["N", width]))
        return name

    def output(self, name: str, value: str, dtype: Any, *shape: int) -> None:
        """Make a value an output of shape (N, *shape)."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [value], [name]))
        self.outputs.append((name, self.kind(dtype), ["N", *shape]))

    def constant(self, array: Array, name: str = "constant") -> str:
        """Add an array of numbers or text and return its name."""
        array = array.astype(object) if array.dtype.kind == "U" else np.ascontiguousarray(array)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name := self._free(name)))
        return name

    def add(self, operator: str, *values: Any, domain: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its result.

        Values are names, arrays, or numbers in the data type of the network.
        """
        names = []
        for value in values:
            if isinstance(value, float):
                value = np.asarray(value, self.dtype)
            names.append(value if isinstance(value, str) else self.constant(value))
        result = self._free(operator)
        node = self.onnx.helper.make_node(operator, names, [result], domain=domain, **attributes)
        self.nodes.append(node)
        self.uses_ml = self.uses_ml or domain == _DOMAIN
        return result

    def cast(self, value: str, dtype: Any) -> str:
        """Add a conversion to a data type and return the name of its result."""
        return self.add("Cast", value, to=self.kind(dtype))

    def _free(self, name: str) -> str:
        wanted, number = name, 1
        while name in self._taken:
            name, number = f"{wanted}_{number}", number + 1
        self._taken.add(name)
        return name


# --- raw rows ------------------------------------------------------------------------------


def _columns(model: Model) -> tuple[Column, ...]:
    return () if model.preprocessing is None else model.preprocessing.columns


def _dtype(model: Model) -> str:
    """Return the data type of the numbers in raw rows; see `to_onnx`."""
    shifted = model.scaling is not None and bool(model.scaling.offset.any())
    return "float64" if shifted else model.dtype


def _inputs(graph: _Graph, model: Model) -> str:
    """Return raw rows as inputs of the network that are not scaled, as in `Preprocessing.apply`."""
    dtype, columns = _dtype(model), _columns(model)
    if not columns:
        return graph.input("X", dtype, model.network.sizes[0])
    numbers = [column for column in columns if column.categories is None]
    if len(numbers) == len(columns):
        blocks, names = _filled(graph, graph.input("X", dtype, len(columns)), numbers, dtype)
    else:
        inputs = {
            column.name: graph.input(
                column.name, dtype if column.categories is None else np.str_, 1
            )
            for column in columns
        }
        blocks, names = [], []
        if numbers:
            together = graph.add("Concat", *(inputs[c.name] for c in numbers), axis=1)
            blocks, names = _filled(graph, together, numbers, dtype)
        for column in columns:
            if column.categories is not None:
                more, named = _one_hot(graph, inputs[column.name], column, dtype)
                blocks, names = blocks + more, names + named
    rows = blocks[0] if len(blocks) == 1 else graph.add("Concat", *blocks, axis=1)
    wanted = [(column.name, place) for column in columns for place in range(len(column.inputs))]
    if names == wanted:
        return rows
    positions = {name: position for position, name in enumerate(names)}
    order = np.asarray([positions[name] for name in wanted], dtype=np.int64)
    return graph.add("Gather", rows, order, axis=1)


_Named = list[tuple[str, int]]
"""The inputs of the network that a block has: the column, and the place among its inputs."""


def _filled(
    graph: _Graph, rows: str, columns: list[Column], dtype: str
) -> tuple[list[str], _Named]:
    """Return blocks of numbers without NaN, and of marks of those that were NaN."""
    missing = graph.add("IsNaN", rows)
    fill = np.asarray([[column.fill for column in columns]], dtype)
    blocks, names = [graph.add("Where", missing, fill, rows)], [(c.name, 0) for c in columns]
    marked = [position for position, column in enumerate(columns) if column.indicator]
    if marked:
        marks = graph.add("Gather", missing, np.asarray(marked, dtype=np.int64), axis=1)
        blocks.append(graph.cast(marks, dtype))
        names += [(columns[position].name, 1) for position in marked]
    return blocks, names


def _one_hot(graph: _Graph, texts: str, column: Column, dtype: str) -> tuple[list[str], _Named]:
    """Return blocks with a 1 for the category of each text, and of marks of missing text."""
    categories = column.categories or ()
    n = len(categories)
    codes = _spelled(categories) | {text: n for text in MISSING if text not in categories}
    code = graph.add(
        "LabelEncoder",
        texts,
        domain=_DOMAIN,
        keys_strings=list(codes),
        values_int64s=list(codes.values()),
        default_int64=-1,
    )
    missing = graph.add("Equal", code, np.asarray(n))
    code = graph.add("Where", missing, np.asarray(categories.index(str(column.fill))), code)
    blocks = [graph.cast(graph.add("Equal", code, np.arange(n)[None]), dtype)]
    if column.indicator:
        blocks.append(graph.cast(missing, dtype))
    return blocks, [(column.name, place) for place in range(n + column.indicator)]


def _spelled(categories: tuple[str, ...]) -> dict[str, int]:
    """Return the code of each text that counts as a category.

    Examples
    --------
    >>> _spelled(("3", "x")), sorted(_spelled(("False",)))
    ({'3': 0, 'x': 1, '3.0': 0}, ['0', 'FALSE', 'False', 'false'])
    """
    codes = spellings(categories)
    for text, code in list(codes.items()):
        if text in ("false", "true"):
            others = [text.upper(), text.capitalize()]
            if set(categories) <= {"False", "True"}:
                others.append(str(int(text == "true")))
        else:
            try:
                others = [repr(float(text))]
            except ValueError:
                continue
        for other in others:
            codes.setdefault(other, code)
    return codes


def _scaled(graph: _Graph, model: Model, rows: str) -> str:
    """Return the inputs of the network, with the operations of `Scaling.apply` in their order."""
    dtype, scaling = _dtype(model), model.scaling
    if scaling is not None and scaling.offset.any():
        rows = graph.add("Sub", rows, scaling.offset.astype(dtype))
    if dtype != model.dtype:
        rows = graph.cast(rows, model.dtype)
    if scaling is not None and (scaling.divisor != 1.0).any():
        rows = graph.add("Div", rows, scaling.divisor.astype(model.dtype))
    return rows


# --- the network ---------------------------------------------------------------------------


def _layers(graph: _Graph, model: Model, a: str) -> str:
    layers = zip(model.parameters, model.network.activations, strict=True)
    for index, ((weights, bias), activation) in enumerate(layers):
        named = [graph.constant(arrays.to_numpy(weights), f"layers.{index}.weights")]
        if bias is not None:
            named.append(graph.constant(arrays.to_numpy(bias), f"layers.{index}.bias"))
        a = _ACTIVATIONS[activation.name](graph, graph.add("Gemm", a, *named, transB=1))
    return a


def _elu(graph: _Graph, z: str) -> str:
    below = graph.add("Sub", graph.add("Exp", graph.add("Min", z, 0.0)), 1.0)
    return graph.add("Add", below, graph.add("Max", z, 0.0))


def _gelu(graph: _Graph, z: str) -> str:
    # The same approximation by tanh as that of the package.
    root = (2.0 / np.pi) ** 0.5
    inner = graph.add("Mul", graph.add("Mul", z, z), 0.044715 * root)
    inner = graph.add("Mul", graph.add("Add", inner, root), z)
    factor = graph.add("Add", graph.add("Tanh", inner), 1.0)
    return graph.add("Mul", graph.add("Mul", factor, z), 0.5)


def _softplus(graph: _Graph, z: str) -> str:
    if graph.dtype == "float32":
        return graph.add("Softplus", z)
    # ONNX Runtime has no Softplus for double. There, log(1 + x) is accurate enough without log1p.
    power = graph.add("Exp", graph.add("Neg", graph.add("Abs", z)))
    return graph.add(
        "Add", graph.add("Max", z, 0.0), graph.add("Log", graph.add("Add", power, 1.0))
    )


_ACTIVATIONS: Mapping[str, Callable[[_Graph, str], str]] = {
    "step": lambda graph, z: graph.cast(graph.add("Greater", z, 0.0), graph.dtype),
    "identity": lambda graph, z: z,
    "sigmoid": lambda graph, z: graph.add("Sigmoid", z),
    "tanh": lambda graph, z: graph.add("Tanh", z),
    "relu": lambda graph, z: graph.add("Relu", z),
    # ONNX Runtime has no Elu for double, and the attribute of LeakyRelu would be a float.
    "leaky_relu": lambda graph, z: graph.add("Max", z, graph.add("Mul", z, 0.01)),
    "elu": _elu,
    "gelu": _gelu,
    "silu": lambda graph, z: graph.add("Mul", z, graph.add("Sigmoid", z)),
    "softplus": _softplus,
    "softmax": lambda graph, z: graph.add("Softmax", z, axis=-1),
    "exp": lambda graph, z: graph.add("Exp", z),
}
"""How each activation is written. Those without an entry are an error that names this file."""


# --- predictions ---------------------------------------------------------------------------


def _numbers(graph: _Graph, model: Model, outputs: str) -> None:
    """Add the output of a regression, in the units of the targets."""
    dtype = model.dtype
    if model.target_scaling is not None:
        dtype, (offset, divisor) = "float64", model.target_scaling
        outputs = graph.add("Mul", graph.cast(outputs, dtype), divisor.astype(dtype))
        outputs = graph.add("Add", outputs, offset.astype(dtype))
    graph.output("variable", outputs, dtype, model.network.sizes[-1])


def _classes(graph: _Graph, model: Model, outputs: str) -> None:
    """Add the outputs of a classification, as in `classes_of` and `by_class`."""
    classes = model.classes or ()
    if model.network.sizes[-1] == 1:
        second = graph.cast(graph.add("GreaterOrEqual", outputs, 0.5), np.int64)
        index = graph.add("Squeeze", second, np.asarray([1]))
        outputs = graph.add("Concat", graph.add("Sub", 1.0, outputs), outputs, axis=1)
    else:
        index = graph.add("ArgMax", outputs, axis=1, keepdims=0)
    labels = from_names(classes, model.label_type)
    if labels.dtype.kind == "O":  # integers too large for 64 bits
        labels = np.asarray(classes)
    graph.output("label", graph.add("Gather", labels, index, axis=0), labels.dtype)
    probable = model.network.activations[-1].name in ("softmax", "sigmoid")
    name = "probabilities" if probable else "scores"
    graph.output(name, outputs, model.dtype, len(classes))


def _metadata(model: Model) -> dict[str, str]:
    columns: tuple[str, ...] | None = model.features
    if model.preprocessing is not None:
        columns = model.preprocessing.names
    described = {
        "columns": columns,
        "classes": model.classes,
        "targets": model.target_names if model.classes is None else None,
    }
    return {
        name: json.dumps(texts, ensure_ascii=False)
        for name, texts in described.items()
        if texts is not None
    }


def _described(onnx: Any, value: Any) -> dict[str, Any]:
    """Return the name, type and shape of an input or output; None is the number of rows."""
    tensor = value.type.tensor_type
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    shape = [None if one.dim_param else one.dim_value for one in tensor.shape.dim]
    return {"name": value.name, "type": kind, "shape": shape}
