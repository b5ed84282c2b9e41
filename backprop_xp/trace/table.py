"""The trace as tables: rows of text for the terminal, and HTML for notebooks.

Everything here is made of the plain data of `backprop_xp.trace.step_trace.Trace.as_data`. Of a
large network the same few neurons are shown everywhere, here and in LaTeX.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any, NamedTuple

_ALL, _FEW = 10, 4
"""A layer of up to ten neurons is shown whole, and of a larger one four are."""


class Table(NamedTuple):
    """A table, and the line of text above it.

    Attributes
    ----------
    text : str
    columns : tuple of str
        Empty where there is the text alone.
    rows : list of tuple of str
    """

    text: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


class View(NamedTuple):
    """What is shown of a trace.

    Attributes
    ----------
    neurons : list of list of int
        For each layer, inputs first: those of the largest input, or of the largest δ.
    samples : list of int
    left_out : str
        A sentence on what is not shown; empty where all is.
    """

    neurons: list[list[int]]
    samples: list[int]
    left_out: str


def view(data: dict[str, Any]) -> View:
    """Choose what is shown of a trace: all of a small one.

    Parameters
    ----------
    data : dict
        From `backprop_xp.trace.step_trace.Trace.as_data`.
    """
    sizes, samples = data["network"]["sizes"], data["samples"]
    neurons, cut = [], []
    for place, size in enumerate(sizes):
        if size <= _ALL:
            neurons.append(list(range(size)))
            continue
        values = [s["layers"][place - 1]["delta"] if place else s["input"] for s in samples]
        weight = [sum(abs(row[k] or 0.0) for row in values) for k in range(size)]
        neurons.append(sorted(sorted(range(size), key=lambda k: -weight[k])[:_FEW]))
        what = f"neurons of layer {place} with the largest |δ|" if place else "largest inputs"
        cut.append(f"the {_FEW} {what} out of {size:,}")
    shown = list(range(len(samples)))
    if len(shown) > _ALL:
        shown = shown[:_FEW]
        cut.append(f"the first {_FEW} of {len(samples):,} samples")
    left_out = f"Shown are {', '.join(cut)}; --json holds every number." if cut else ""
    return View(neurons, shown, left_out)


def number(x: float | None) -> str:
    """Return a number as the tables show it, to six digits."""
    return "not finite" if x is None else f"{x:.6g}"


def called(name: str, rule: dict[str, Any]) -> str:
    """Return what people call a number of an optimizer, with its letter in the formula.

    Examples
    --------
    >>> called("learning_rate", {"letters": {"learning_rate": "η"}})
    'learning rate η'
    """
    return f"{name.replace('_', ' ')} {rule['letters'].get(name, '')}".rstrip()


def headline(data: dict[str, Any]) -> list[str]:
    """Return lines that say what is traced: network, loss, rule and where the step begins."""
    network, rule = data["network"], data["optimizer"]
    sizes, activations = network["sizes"], network["activations"]
    given = {"learning_rate": rule["learning_rate"], **rule["hyperparameters"]}
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
        + ", ".join(f"{called(name, rule)} = {value:g}" for name, value in given.items()),
        f"rule: {rule['formula']}",
    ]
    if data["layers"][0]["slots"]:
        slots = data["layers"][0]["slots"]
        lines.append(f"step 1: {' and '.join(slots)} start{'s' * (len(slots) == 1)} at zero")
    if data["penalty"]:
        terms = {"Σ|w|": data["penalty"]["l1"], "½ Σw²": data["penalty"]["l2"]}
        whom = "weights and biases" if data["penalty"]["biases"] else "weights"
        value = " + ".join(f"{number(rate)} {what}" for what, rate in terms.items() if rate)
        lines.append(f"penalty on the {whom}, in each gradient: {value}")
    if data["source"].get("left_out"):
        left = ", ".join(data["source"]["left_out"])
        lines.append(f"the training had {left} as well; this step has not")
    return lines


def tables(data: dict[str, Any]) -> list[Table]:
    """Return the step in the order in which it is done.

    Parameters
    ----------
    data : dict
        From `backprop_xp.trace.step_trace.Trace.as_data`.

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
    seen = view(data)
    fused = f": {data['fused']} at the output" if data["fused"] else ""
    before, after = data["loss_before"], data["loss_after"]
    found = [
        Table(seen.left_out),
        Table("forward", *_forward(data, seen)),
        Table(f"loss {number(before)}{_verdict(data)}", *_losses(data, seen)),
        Table(f"backward{fused}", *_backward(data, seen)),
        Table(
            "update: w2[3,1] leads from neuron 1 of layer 1 to neuron 3 of layer 2",
            *_update(data, seen),
        ),
        Table("forward with the new weights", *_again(data, seen)),
        Table(f"loss {number(after)}, before {number(before)}"),
    ]
    return [table for table in found if table.text]


def html(data: dict[str, Any]) -> str:
    """Return the tables as HTML, as Jupyter shows them; all text is escaped."""
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
    """Return columns and rows, without that of the sample's number where there is one alone."""
    if len(data["samples"]) > 1:
        return columns, tuple(rows)
    return columns[1:], tuple(row[1:] for row in rows)


def _places(data: dict[str, Any], seen: View, first: int) -> Iterator[tuple[Any, ...]]:
    """Yield sample, layer and neuron of all that is shown: their texts, then their numbers."""
    last = len(data["layers"])
    for s in seen.samples:
        for place in range(first, last + 1):
            ends = {0: data["network"]["features"], last: data["network"]["classes"]}
            names = ends.get(place) or ()
            for j in seen.neurons[place]:
                # Two classes may share one output, which then has no name.
                named = len(names) == data["network"]["sizes"][place]
                label = f"{j + 1} ({names[j]})" if named else str(j + 1)
                yield (str(s + 1), str(place), label), data["samples"][s], place, j


def _forward(data: dict[str, Any], seen: View) -> _Rows:
    rows = []
    for labels, sample, place, j in _places(data, seen, 0):
        if place == 0:
            rows.append((*labels, "", number(sample["input"][j])))
        else:
            layer = sample["layers"][place - 1]
            rows.append((*labels, number(layer["z"][j]), number(layer["a"][j])))
    return _table(data, ("sample", "layer", "neuron", "z", "a"), rows)


def _verdict(data: dict[str, Any]) -> str:
    sample = data["samples"][0]
    if len(data["samples"]) > 1 or sample["label"] is None:
        return ""
    return f": the sample is of the class {sample['label']}, and taken for {sample['predicted']}"


def _losses(data: dict[str, Any], seen: View) -> _Rows:
    """Return outputs and targets, and with several samples the loss of each."""
    columns: tuple[str, ...] = ("sample", "output", "a", "target")
    several, classes = len(data["samples"]) > 1, data["network"]["classes"] is not None
    if several:
        columns += ("loss", *(("class", "taken for") if classes else ()))
    rows = []
    for labels, sample, _, j in _places(data, seen, len(data["layers"])):
        a, y = sample["layers"][-1]["a"][j], sample["target"][j]
        row: tuple[str, ...] = (labels[0], labels[2], number(a), number(y))
        if several:
            row += (number(sample["loss_before"]),)
            row += (sample["label"], sample["predicted"]) if classes else ()
        rows.append(row)
    return _table(data, columns, rows)


def _backward(data: dict[str, Any], seen: View) -> _Rows:
    rows = []
    for labels, sample, place, j in _places(data, seen, 1):
        layer = sample["layers"][place - 1]
        factors = ("-", "-")
        if layer["slope"] is not None:
            factors = (number(layer["incoming"][j]), number(layer["slope"][j]))
        rows.append((*labels, *factors, number(layer["delta"][j])))
    return _table(data, ("sample", "layer", "neuron", "∂L/∂a", "f'(z)", "δ = ∂L/∂z"), rows)


def _update(data: dict[str, Any], seen: View) -> _Rows:
    """Return the parameters; for one sample and no slots with the factors of each gradient."""
    slots = tuple(data["layers"][0]["slots"])
    factors = len(data["samples"]) == 1 and not slots
    columns = ("weight", *(("δ", "a") if factors else ()), "∂L/∂w", *slots, "old", "new")
    rows = []
    for place, layer in enumerate(data["layers"], start=1):
        held = [layer["gradient"], *(slot["after"] for slot in layer["slots"].values())]
        held += [layer["old"], layer["new"]]
        for j in seen.neurons[place]:
            for k in seen.neurons[place - 1]:
                numbers = [values["weights"][j][k] for values in held]
                rows.append((f"w{place}[{j + 1},{k + 1}]", *_factors(data, place, j, k), *numbers))
            if layer["old"]["bias"] is not None:
                numbers = [values["bias"][j] for values in held]
                rows.append((f"b{place}[{j + 1}]", *_factors(data, place, j, None), *numbers))
    return columns, tuple((row[0], *map(number, row[1:] if factors else row[3:])) for row in rows)


def _factors(data: dict[str, Any], place: int, j: int, k: int | None) -> tuple[float, float]:
    """Return δ and a of the first sample: the factors of a gradient; a is 1 for a bias."""
    sample = data["samples"][0]
    fed = sample["input"] if place == 1 else sample["layers"][place - 2]["a"]
    return sample["layers"][place - 1]["delta"][j], 1.0 if k is None else fed[k]


def _again(data: dict[str, Any], seen: View) -> _Rows:
    rows = []
    for labels, sample, place, j in _places(data, seen, 1):
        layer = sample["after"]["layers"][place - 1]
        rows.append((*labels, number(layer["z"][j]), number(layer["a"][j])))
    return _table(data, ("sample", "layer", "neuron", "z", "a"), rows)
