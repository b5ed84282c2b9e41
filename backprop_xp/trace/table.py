"""The trace as tables: rows of text for the terminal, and HTML for notebooks.

Everything here is made from the data of `backprop_xp.trace.step_trace.Trace.as_data`. The tables
and the LaTeX document show the same few neurons of a large network.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from html import escape as escape_markup
from typing import Any, NamedTuple

from backprop_xp.formatting import printable
from backprop_xp.trace.formulas import number

_ALL, _FEW = 10, 4
"""A layer of up to ten neurons is shown in full; of a larger one, four neurons are shown."""


class Table(NamedTuple):
    """A table with a line of text above it, or the text alone."""

    text: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


class View(NamedTuple):
    """The part of a trace that is shown.

    Attributes
    ----------
    neurons : list of list of int
        For each layer, inputs first: those with the largest input or the largest δ.
    samples : list of int
    left_out : str
        A sentence on what is not shown; empty if nothing is left out.
    """

    neurons: list[list[int]]
    samples: list[int]
    left_out: str


def view(data: dict[str, Any]) -> View:
    """Choose the part of a trace to show: all of a small one."""
    sizes, samples = data["network"]["sizes"], data["samples"]
    neurons, cut = [], []
    for level, size in enumerate(sizes):
        if size <= _ALL:
            neurons.append(list(range(size)))
            continue
        values = [s["layers"][level - 1]["delta"] if level else s["input"] for s in samples]
        weight = [sum(abs(row[k] or 0.0) for row in values) for k in range(size)]
        neurons.append(sorted(sorted(range(size), key=lambda k: -weight[k])[:_FEW]))
        what = f"neurons of layer {level} with the largest |δ|" if level else "largest inputs"
        cut.append(f"the {_FEW} {what} out of {size:,}")
    shown = list(range(len(samples)))
    if len(shown) > _ALL:
        shown = shown[:_FEW]
        cut.append(f"the first {_FEW} of {len(samples):,} samples")
    left_out = f"Shown: {', '.join(cut)}. --json has every number." if cut else ""
    return View(neurons, shown, left_out)


def called(name: str, rule: dict[str, Any]) -> str:
    """Return the name of an optimizer's number, with its letter in the formula.

    Examples
    --------
    >>> called("learning_rate", {"letters": {"learning_rate": "η"}})
    'learning rate η'
    """
    return f"{name.replace('_', ' ')} {rule['letters'].get(name, '')}".rstrip()


def entry(layer: dict[str, Any], j: int, k: int | None) -> float:
    """Return a weight into neuron ``j`` from unit ``k``; the bias of the neuron if k is None."""
    value: float = layer["bias"][j] if k is None else layer["weights"][j][k]
    return value


def state_symbols(data: dict[str, Any]) -> list[str]:
    """Return the symbols of the optimizer's state, as m and v, one for each slot."""
    return list(data["optimizer"]["symbols"])[: len(data["layers"][0]["slots"])]


def state_after(data: dict[str, Any], level: int, j: int, k: int | None) -> dict[str, float | None]:
    """Return the textbook's state of one parameter after the step, by its symbols."""
    slots = data["layers"][level - 1]["slots"]
    values = {}
    for symbol, source in data["optimizer"]["symbols"].items():
        stored = entry(slots[source["slot"]]["after"], j, k)
        values[symbol] = None if stored is None else source["factor"] * stored
    return values


def headline(data: dict[str, Any]) -> list[str]:
    """Return lines that describe the step: network, loss, optimizer and initial state."""
    network, rule = data["network"], data["optimizer"]
    sizes, activations = network["sizes"], network["activations"]
    numbers = {"learning_rate": rule["learning_rate"], **rule["hyperparameters"]}
    names = (
        ", ".join(dict.fromkeys(activations))
        if len(set(activations)) == 1
        else "-".join(activations)
    )
    lines = [
        f"network: {'-'.join(map(str, sizes))}, {names}"
        f"{'' if network['bias'] else ', without biases'}, "
        f"{network['parameters']:,} parameters, {data['dtype']}",
        f"loss: {data['loss']['name']}, {data['loss']['formula']}",
        f"optimizer: {rule['name']}, "
        + ", ".join(f"{called(name, rule)} = {value:g}" for name, value in numbers.items()),
        f"rule: {rule['formula']}",
    ]
    if symbols := state_symbols(data):
        lines.append(f"step 1: {' and '.join(symbols)} start{'s' * (len(symbols) == 1)} at zero")
    if data["penalty"]:
        terms = {"Σ|w|": data["penalty"]["l1"], "½ Σw²": data["penalty"]["l2"]}
        whom = "weights and biases" if data["penalty"]["biases"] else "weights"
        value = " + ".join(f"{number(rate)} {what}" for what, rate in terms.items() if rate)
        lines.append(f"penalty on the {whom}, in each gradient: {value}")
    if data["source"].get("left_out"):
        left = ", ".join(data["source"]["left_out"])
        lines.append(f"the training run also used {left}; this step does not")
    return lines


def tables(data: dict[str, Any]) -> list[Table]:
    """Return the tables of a step, in the order of computation.

    Examples
    --------
    >>> from backprop_xp.trace.examples import read_example
    >>> [table.text for table in tables(read_example("note-001").trace().as_data())]
    ... # doctest: +NORMALIZE_WHITESPACE
    ['forward', 'loss 0.0361647', 'backward',
     'update: w2[3,1] leads from neuron 1 of layer 1 to neuron 3 of layer 2',
     'forward with the new weights',
     'loss 0.0254384, before 0.0361647']
    """
    shown = view(data)
    fused = f": {data['fused']} at the output" if data["fused"] else ""
    before, after = data["loss_before"], data["loss_after"]
    every_table = [
        Table(shown.left_out),
        Table("forward", *_forward(data, shown)),
        Table(f"loss {number(before)}{_verdict(data)}", *_losses(data, shown)),
        Table(f"backward{fused}", *_backward(data, shown)),
        Table(
            "update: w2[3,1] leads from neuron 1 of layer 1 to neuron 3 of layer 2",
            *_update(data, shown),
        ),
        Table("forward with the new weights", *_forward(data, shown, after=True)),
        Table(f"loss {number(after)}, before {number(before)}"),
    ]
    return [table for table in every_table if table.text]


def html(data: dict[str, Any]) -> str:
    """Return the tables as HTML for Jupyter; all text is escaped."""

    def escape(text: str) -> str:
        return escape_markup(printable(text))

    parts = [f"<p><b>{escape(data['title'])}</b><br>"]
    parts.append("<br>".join(map(escape, headline(data))) + "</p>")
    for text, columns, rows in tables(data):
        parts.append(f"<p>{escape(text)}</p>")
        if not rows:
            continue
        parts.append("<table><thead><tr>")
        parts += [f'<th scope="col">{escape(column)}</th>' for column in columns]
        parts.append("</tr></thead><tbody>")
        for row in rows:
            parts.append("<tr>" + "".join(f"<td>{escape(entry)}</td>" for entry in row) + "</tr>")
        parts.append("</tbody></table>")
    return "".join(parts)


_Rows = tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]


def _table(data: dict[str, Any], columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> _Rows:
    """Return columns and rows, without the sample's number if there is only one sample."""
    if len(data["samples"]) > 1:
        return columns, tuple(rows)
    return columns[1:], tuple(row[1:] for row in rows)


def _units(data: dict[str, Any], shown: View, first: int) -> Iterator[tuple[Any, ...]]:
    """Yield the labels of each shown sample, layer and neuron, then sample, level and neuron."""
    last = len(data["layers"])
    for s in shown.samples:
        for level in range(first, last + 1):
            ends = {0: data["network"]["features"], last: data["network"]["classes"]}
            names = ends.get(level) or ()
            for j in shown.neurons[level]:
                # Two classes may share one output, which then has no label.
                named = len(names) == data["network"]["sizes"][level]
                label = f"{j + 1} ({names[j]})" if named else str(j + 1)
                yield (str(s + 1), str(level), label), data["samples"][s], level, j


def _forward(data: dict[str, Any], shown: View, *, after: bool = False) -> _Rows:
    rows = []
    for labels, sample, level, j in _units(data, shown, int(after)):
        if level == 0:
            rows.append((*labels, "", number(sample["input"][j])))
        else:
            layer = (sample["after"] if after else sample)["layers"][level - 1]
            rows.append((*labels, number(layer["z"][j]), number(layer["a"][j])))
    return _table(data, ("sample", "layer", "neuron", "z", "a"), rows)


def _verdict(data: dict[str, Any]) -> str:
    sample = data["samples"][0]
    if len(data["samples"]) > 1 or sample["label"] is None:
        return ""
    return f": the class is {sample['label']}, predicted {sample['predicted']}"


def _losses(data: dict[str, Any], shown: View) -> _Rows:
    """Return outputs and targets, and the loss of each sample if there are several."""
    columns: tuple[str, ...] = ("sample", "output", "a", "target")
    several, classes = len(data["samples"]) > 1, data["network"]["classes"] is not None
    if several:
        columns += ("loss", *(("class", "predicted") if classes else ()))
    rows = []
    for labels, sample, _, j in _units(data, shown, len(data["layers"])):
        a, y = sample["layers"][-1]["a"][j], sample["target"][j]
        row: tuple[str, ...] = (labels[0], labels[2], number(a), number(y))
        if several:
            row += (number(sample["loss_before"]),)
            row += (sample["label"], sample["predicted"]) if classes else ()
        rows.append(row)
    return _table(data, columns, rows)


def _backward(data: dict[str, Any], shown: View) -> _Rows:
    rows = []
    for labels, sample, level, j in _units(data, shown, 1):
        layer = sample["layers"][level - 1]
        factors = ("-", "-")
        if layer["slope"] is not None:
            factors = (number(layer["incoming"][j]), number(layer["slope"][j]))
        rows.append((*labels, *factors, number(layer["delta"][j])))
    return _table(data, ("sample", "layer", "neuron", "∂L/∂a", "f'(z)", "δ = ∂L/∂z"), rows)


def _update(data: dict[str, Any], shown: View) -> _Rows:
    """Return the parameters, with the factors of each gradient for one sample and no slots."""
    symbols = state_symbols(data)
    factors = len(data["samples"]) == 1 and not symbols
    columns = ("weight", *(("δ", "a") if factors else ()), "∂L/∂w", *symbols, "old", "new")
    rows = []
    for level, layer in enumerate(data["layers"], start=1):
        units: list[int | None] = [*shown.neurons[level - 1]]
        if layer["old"]["bias"] is not None:
            units.append(None)
        for j, k in itertools.product(shown.neurons[level], units):
            name = f"b{level}[{j + 1}]" if k is None else f"w{level}[{j + 1},{k + 1}]"
            state = state_after(data, level, j, k)
            g, old, new = (entry(layer[kind], j, k) for kind in ("gradient", "old", "new"))
            numbers = [g, *(state[symbol] for symbol in symbols), old, new]
            if factors:
                numbers = [*_factors(data, level, j, k), *numbers]
            rows.append((name, *map(number, numbers)))
    return columns, tuple(rows)


def _factors(data: dict[str, Any], level: int, j: int, k: int | None) -> tuple[float, float]:
    """Return the factors of a gradient, δ and a of the first sample; a is 1 for a bias."""
    sample = data["samples"][0]
    inputs = sample["input"] if level == 1 else sample["layers"][level - 2]["a"]
    return sample["layers"][level - 1]["delta"][j], 1.0 if k is None else inputs[k]
