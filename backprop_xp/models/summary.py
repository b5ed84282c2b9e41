"""A summary of a network or a model, layer by layer, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from backprop_xp.data.scaling import Scaling
from backprop_xp.formatting import listed, printable, quoted, shorten
from backprop_xp.nn.losses import LOSSES
from backprop_xp.nn.network import Network

_NAMES_SHOWN, _COLUMNS_SHOWN, _WIDTH = 12, 50, 30
_BYTES = {"float32": 4, "float64": 8}


class LayerSummary(NamedTuple):
    """One layer of a network.

    Attributes
    ----------
    name : str
        ``"hidden 1"`` and so on, and ``"output"``.
    activation : str
    shape : (int, int)
        The shape of its weights, (n_out, n_in).
    biases, parameters : int
        Their number; ``parameters`` counts weights and biases.
    bytes : int
        The memory that the parameters take.
    """

    name: str
    activation: str
    shape: tuple[int, int]
    biases: int
    parameters: int
    bytes: int


def summary(network: Network, dtype: str = "float32") -> list[LayerSummary]:
    """Return a row for each layer of weights, from the first hidden layer to the output.

    Parameters
    ----------
    network : Network
    dtype : {"float32", "float64"}
        The data type of the parameters, which determines their bytes.

    Examples
    --------
    >>> for row in summary(Network((784, 30, 10), ("sigmoid", "softmax"))):
    ...     print(*row)
    hidden 1 sigmoid (30, 784) 30 23550 94200
    output softmax (10, 30) 10 310 1240
    """
    rows = []
    for index, activation in enumerate(network.activations, start=1):
        n_in, n_out = network.sizes[index - 1], network.sizes[index]
        name = "output" if index == len(network.activations) else f"hidden {index}"
        biases = n_out if network.bias else 0
        parameters = n_out * n_in + biases
        size = parameters * _BYTES[dtype]
        rows.append(LayerSummary(name, activation.name, (n_out, n_in), biases, parameters, size))
    return rows


def describe(model: Any) -> dict[str, Any]:
    """Return a description of a model, without its weights, as data that JSON can hold.

    Parameters
    ----------
    model : `backprop_xp.Model`

    Returns
    -------
    dict
        ``layers`` (the rows of `summary`), ``parameters`` and ``bytes`` of all of them, ``dtype``,
        ``inputs`` (their ``number``, ``features`` and ``image_shape``), ``columns`` (each column
        of a table in words) and ``left_out``, ``scaling`` in words, ``label``, ``classes``,
        ``targets`` (how they were scaled, in words), ``loss``, ``seed`` and ``version``.
    """
    layers = summary(model.network, model.dtype)
    return {
        "layers": [layer._asdict() for layer in layers],
        "parameters": sum(layer.parameters for layer in layers),
        "bytes": sum(layer.bytes for layer in layers),
        "dtype": model.dtype,
        "inputs": {
            "number": model.network.sizes[0],
            "features": model.features,
            "image_shape": model.image_shape,
        },
        "columns": None
        if model.preprocessing is None
        else {column.name: column.describe() for column in model.preprocessing.columns},
        "left_out": None if model.preprocessing is None else model.preprocessing.left_out,
        "scaling": _scaling(model.scaling),
        "label": model.label,
        "classes": model.classes,
        "targets": _targets(model),
        "loss": model.loss.name,
        "seed": model.seed,
        "version": model.version,
    }


def in_words(description: dict[str, Any]) -> str:
    """Return the description of a model from `describe` as text, in lines."""
    rows, fields = _tables(description)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    width = min(max(len(printable(name)) for name, _ in fields), _WIDTH)
    lines += ["", *(f"{printable(name):<{width}}  {printable(text)}" for name, text in fields)]
    return "\n".join(line.rstrip() for line in lines)


def as_html(description: dict[str, Any]) -> str:
    """Return the description of a model from `describe` as two tables for a notebook."""
    rows, fields = _tables(description)

    def cells(tag: str, texts: Sequence[str]) -> str:
        # Notebooks align cells to the right by default.
        style = ' style="text-align:left;white-space:pre-wrap"'
        shown = "".join(f"<{tag}{style}>{escape(printable(text))}</{tag}>" for text in texts)
        return f"<tr>{shown}</tr>"

    layers = [cells("th" if index == 0 else "td", row) for index, row in enumerate(rows)]
    others = [cells("td", field) for field in fields]
    return "".join(f"<table>{''.join(table)}</table>" for table in (layers, others))


def _tables(description: dict[str, Any]) -> tuple[list[tuple[str, ...]], list[tuple[str, str]]]:
    """Return the rows of the table of layers, and what else is known by name."""
    titles = ("layer", "activation", "weights", "biases", "parameters", "bytes")
    rows = [
        (
            *(layer["name"], layer["activation"], f"{layer['shape'][0]} x {layer['shape'][1]}"),
            *(f"{layer[key]:,}" for key in ("biases", "parameters", "bytes")),
        )
        for layer in description["layers"]
    ]
    total = (f"{description[key]:,}" for key in ("parameters", "bytes"))
    rows = [titles, *rows, ("total", "", "", "", *total)]

    classes = description["classes"]
    columns = list((description["columns"] or {}).items())
    columns += [(name, f"left out: {why}") for name, why in (description["left_out"] or {}).items()]
    more = len(columns) - _COLUMNS_SHOWN
    fields = [
        ("inputs", _inputs(description["inputs"])),
        *((f"  {shorten(name, 80)}", text) for name, text in columns[:_COLUMNS_SHOWN]),
        *((("", f"and {more} more columns"),) if more > 0 else ()),
        ("scaling", description["scaling"]),
        ("label", listed(description["label"] or ("without a name",), _NAMES_SHOWN)),
        ("classes", "none: a regression" if classes is None else _listed(classes)),
        *((("targets", description["targets"]),) if classes is None else ()),
        ("loss", f"{description['loss']}: {LOSSES[description['loss']].formula}"),
        ("data type", description["dtype"]),
        ("seed", str(description["seed"])),
        ("version", description["version"]),
    ]
    return rows, fields


def _inputs(inputs: dict[str, Any]) -> str:
    if inputs["image_shape"] is not None:
        height, width = inputs["image_shape"]
        return f"{inputs['number']}: images of {height} x {width} pixels"
    if inputs["features"] is not None:
        return _listed(inputs["features"])
    return f"{inputs['number']} numbers"


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)}: {listed(quoted(names), _NAMES_SHOWN)}"


def _targets(model: Any) -> str:
    if model.target_scaling is None:
        return "as they are"
    parts = zip(model.target_names, *model.target_scaling, strict=True)
    return "; ".join(f"({name} - {offset:g}) / {divisor:g}" for name, offset, divisor in parts)


def _scaling(scaling: Scaling | None) -> str:
    if scaling is None:
        return "none"
    offset, divisor = scaling
    if offset.any() or (divisor != divisor[0]).any():
        return "a shift and a divisor for each input"
    return "none" if divisor[0] == 1.0 else f"divided by {divisor[0]:g}"
