"""The trace page: one HTML file that shows every number of a training step.

Style, scripts, texts and data are inserted into a static page. The data is JSON, escaped so that
an HTML parser cannot read it as markup; the scripts add it to the page as text only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import operator
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from typing import Any

from backprop_xp.backend.arrays import Array, backend_namespace
from backprop_xp.backend.host import ignore_overflow
from backprop_xp.formatting import printable
from backprop_xp.nn.activations import Activation
from backprop_xp.nn.network import Layer, Parameters, map_arrays
from backprop_xp.trace.step_trace import Trace

MAX_NEURONS = 32
"""The number of neurons of a layer that can be told apart in a drawing."""

MAX_WEIGHTS = 784 * 32
"""The number of weights of a layer with which a page still opens at once."""

_STYLES = ("page.css", "drawing.css", "reading.css")

_SCRIPTS = (
    *("format.js", "data.js", "elements.js", "steps.js", "numbers.js", "equations.js"),
    *("image.js", "drawing.js", "pointing.js", "rows.js", "curves.js", "details.js", "tables.js"),
    "main.js",
)

_CURVE_POINTS = 241  # odd, so that the jump or the kink at 0 is one of them


def trace_page(trace: Trace) -> str:
    """Return a training step as one self-contained HTML page, which loads nothing else.

    Layers that are too wide to draw are cut to the neurons with the largest errors. The page says
    what was left out; the JSON has everything.

    Examples
    --------
    >>> from backprop_xp.trace.examples import read_example
    >>> page = trace_page(read_example("xor").trace())
    >>> page.splitlines()[0], "http" in page.partition("<body>")[2]
    ('<!DOCTYPE html>', False)
    """
    folder = files("backprop_xp.trace") / "assets"
    style = "\n".join((folder / name).read_text("utf-8") for name in _STYLES)
    parts = [(folder / name).read_text("utf-8") for name in _SCRIPTS]
    script = "\n".join(('"use strict";\n(() => {', *parts, "})();\n"))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; "
        f"script-src {_digest(script)}; base-uri 'none'; form-action 'none'"
    )
    page = (folder / "page.html").read_text("utf-8")
    # The data comes last, so that a mark in it is not replaced.
    for mark, text in (
        ("{{policy}}", policy),
        ("{{style}}", style),
        ("{{script}}", script),
        ("{{texts}}", _embedded(json.loads((folder / "texts.json").read_text("utf-8")))),
        ("{{data}}", _embedded(_printable(_page_data(trace)))),
    ):
        before, _, after = page.partition(mark)
        page = f"{before}{text}{after}"
    return page


def _digest(source: str) -> str:
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _printable(value: Any) -> Any:
    """Return data with every text in it as a page shows it."""
    if isinstance(value, str):
        return printable(value, keep="\u2028\u2029")  # spaces, on a page
    if isinstance(value, dict):
        return {key: _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, (list, tuple)) else value


def _embedded(value: object) -> str:
    """Return JSON that cannot end the element it is in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


# --- the data of the page ----------------------------------------------------------------------


def _shown(trace: Trace) -> list[list[int]]:
    """Return the indices of the units that are shown of each layer, the inputs first."""
    sizes = trace.model.network.sizes
    most = sizes[0] if trace.model.image_shape else MAX_NEURONS  # an image is shown in full
    shown = [_largest(trace.gradients[0].weights, most)]
    for deltas in trace.deltas:
        most = min(MAX_NEURONS, max(2, MAX_WEIGHTS // len(shown[-1])))
        shown.append(_largest(deltas, most))
    return shown


def _largest(rows: Array, most: int) -> list[int]:
    """Return the indices of the columns with the largest numbers, in order; of equals the first."""
    sizes = [size if size == size else 0.0 for size in abs(rows).sum(axis=0).tolist()]
    return sorted(sorted(range(len(sizes)), key=lambda index: -sizes[index])[:most])


def _page_data(trace: Trace) -> dict[str, Any]:
    """Return the part of a trace that the page shows, with packed arrays."""
    data, activations = trace.summary(), trace.model.network.activations
    with ignore_overflow(backend_namespace("numpy")):  # a step that diverged is shown as well
        shown = _shown(trace)
        curves = [_curve(f, _reach(trace, index)) for index, f in enumerate(activations)]
    kind = "<f4" if trace.model.dtype == "float32" else "<f8"

    def units(values: dict[str, list[float | None] | None], layer: int) -> dict[str, str | None]:
        return {
            name: None if row is None else _packed([row[index] for index in shown[layer]], kind)
            for name, row in values.items()
        }

    for sample in data["samples"]:
        sample |= units({"input": sample["input"]}, 0) | units({"target": sample["target"]}, -1)
        for tape in (sample["layers"], sample["after"]["layers"]):
            tape[:] = [units(values, layer) for layer, values in enumerate(tape, start=1)]
    network = data["network"]
    for key, layer in (("features", 0), ("classes", -1)):
        network[key] = network[key] and [network[key][index] for index in shown[layer]]
    layers = []
    for index, activation in enumerate(activations):
        cut = shown[index + 1], shown[index]
        states = {"old": trace.old, "gradient": trace.gradients, "new": trace.new}
        layers.append(
            {
                "activation": activation.name,
                "formula": activation.formula,
                "derivative": activation.derivative_formula,
                "curve": curves[index],
                **{name: _parameters(of[index], *cut, kind) for name, of in states.items()},
                "slots": [
                    {
                        "name": symbol,
                        "before": _parameters(before, *cut, kind),
                        "after": _parameters(after, *cut, kind),
                    }
                    for symbol, (before, after) in _state(trace, index).items()
                ],
            }
        )
    return {**data, "layers": layers, "shown": shown}


def _state(trace: Trace, index: int) -> dict[str, Parameters]:
    """Return the optimizer's state of a layer before and after the step, by its symbols."""
    slots = trace.slots[index]
    symbols = list(trace.optimizer.textbook(step=1).items())[: len(slots)]
    return {
        symbol: map_arrays(partial(operator.mul, factor), list(slots[slot]))
        for symbol, (slot, factor) in symbols
    }


def _parameters(
    layer: Layer, outputs: Sequence[int], inputs: Sequence[int], kind: str
) -> dict[str, str | None]:
    weights = layer.weights[outputs][:, inputs]
    return {
        # Most optimizers start from zeros, of which there may be many.
        "weights": _packed(weights, kind) if weights.any() else None,
        "bias": None if layer.bias is None else _packed(layer.bias[outputs], kind),
    }


def _packed(values: Array | list[float | None], kind: str) -> str:
    """Return numbers as base64 of their bytes, which is exact and shorter than text."""
    numbers = backend_namespace("numpy").asarray(values, dtype=kind)  # None becomes NaN
    return base64.b64encode(numbers.tobytes()).decode()


# --- activation curves -------------------------------------------------------------------------


def _reach(trace: Trace, index: int) -> float:
    """Return the distance from 0 up to which a layer's curve shows each of its z."""
    largest = max(float(abs(passed.z[index]).max()) for passed in (trace.before, trace.after))
    return max(4.0, 1.1 * largest) if largest < float("inf") else 4.0


def _curve(activation: Activation, reach: float) -> dict[str, Any] | None:
    """Return points of an activation and its derivative, computed as in training."""
    if activation.derivative is None:
        return None
    xp = backend_namespace("numpy")
    z = xp.linspace(-reach, reach, _CURVE_POINTS, dtype=xp.float64)
    a = activation.forward(z, xp)
    return {
        "reach": reach,
        "function": _packed(a, "<f8"),
        "slope": _packed(activation.derivative(z, a, xp), "<f8"),
    }
