"""The trace as a LaTeX document: every step with its formula and its numbers."""

from __future__ import annotations

import re
from typing import Any

from backprop_xp.trace.formulas import latex, put_in, text
from backprop_xp.trace.step_trace import Trace
from backprop_xp.trace.table import View, called, view
from backprop_xp.trace.typesetting import (
    PREAMBLE,
    align,
    chain,
    display,
    factor,
    longtable,
    matrix,
    number,
    product,
)

_MATRIX = 72
"""Characters in a row of a matrix that fits, with its bias beside it."""


def latex_document(trace: Trace) -> str:
    r"""Return a document for pdflatex, which needs no packages but the standard ones.

    Large networks are cut, which the document says; all text is escaped.

    Examples
    --------
    >>> from backprop_xp.trace.examples import read_example
    >>> document = latex_document(read_example("note-001").trace())
    >>> print(next(line for line in document.split("\n") if line.startswith("a^{(1)}")))
    a^{(1)}_{1} &= 1 / (1 + \exp (-1)) = 0.731059
    """
    return _Document(trace).whole()


class _Document:
    """One document in the making: the data of a trace, and what of it is shown."""

    def __init__(self, trace: Trace) -> None:
        self.per_batch = bool(trace.penalty) and trace.penalty.per_batch
        self.activations = trace.network.activations
        self.data = trace.as_data()
        self.seen: View = view(self.data)
        self.n_layers = len(self.data["layers"])
        self.batch = len(self.data["samples"])
        self.rate = self.data["optimizer"]["learning_rate"]
        # Whether a gradient is one product, and there is room for it beside the update.
        self.factors = (
            self.batch == 1 and not self.data["penalty"] and not self.data["layers"][0]["slots"]
        )

    def whole(self) -> str:
        title = self.data["title"] or "One training step"
        parts = [
            PREAMBLE,
            r"\begin{document}\raggedright",
            rf"\section*{{{text(title)}}}",
            *self.given(),
        ]
        for s in self.seen.samples:
            if self.batch > 1:
                parts.append(rf"\section*{{Sample {s + 1} of {self.batch}}}")
            sample = self.data["samples"][s]
            parts += [*self.forward(sample), *self.loss(sample), *self.backward(sample)]
        parts += [*self.mean(), *self.update(), *self.again(), r"\end{document}"]
        return "\n".join(parts) + "\n"

    # --- what is given ----------------------------------------------------------------------

    def given(self) -> list[str]:
        network, rule, penalty = (self.data[key] for key in ("network", "optimizer", "penalty"))
        biases = "" if network["bias"] else " without biases"
        lines = [
            rf"A network of the sizes {'-'.join(map(str, network['sizes']))}{biases}, "
            rf"computed in {text(self.data['dtype'])}. {text(self.seen.left_out)}\par",
        ]
        for activation in dict.fromkeys(self.activations):
            places = [k for k, f in enumerate(self.activations, start=1) if f is activation]
            layers = f"layer{'s' * (len(places) > 1)} {', '.join(map(str, places))}"
            a, slope = (
                ("f(z)", "f'(z)")
                if activation.slope
                else ("a_{i}", r"\partial a_{i} / \partial z_{j}")
            )
            formula = latex(activation.formula or f"{activation.name}(z)")
            derivative = latex(activation.derivative or f"{activation.name}'(z)")
            lines += [
                rf"Activation of {layers}, {text(activation.name)}:",
                display([f"{a} = {formula}", f"{slope} = {derivative}"]),
            ]
        loss = self.data["loss"]
        lines += [
            rf"Loss of a sample, {text(loss['name'].replace('_', ' '))}; "
            "that of a batch is the mean:",
            display([rf"L = {latex(loss['formula'])}"]),
            rf"Optimizer {text(rule['name'])}, step 1, for each weight and bias $p$ with the "
            r"gradient $g = \partial L / \partial p$:",
            display([latex(part) for part in rule["formula"].split(", ")]),
            "with the "
            + ", ".join(
                rf"{text(called(name, rule))} = ${number(value)}$"
                for name, value in {"learning_rate": self.rate, **rule["hyperparameters"]}.items()
            )
            + (
                "; what it keeps from step to step starts at 0."
                if self.data["layers"][0]["slots"]
                else "."
            ),
        ]
        if penalty:
            terms = [
                (penalty["l1"], r"\sum |p|"),
                (penalty["l2"], r"\cdot \tfrac{1}{2} \sum p^{2}"),
            ]
            whom = "weights and biases" if penalty["biases"] else "weights"
            lines += [
                f"Penalty on the {whom}, whose gradient is part of $g$:",
                display([" + ".join(f"{number(value)} {what}" for value, what in terms if value)]),
            ]
        if not self.seen.left_out:
            lines += self.matrices()
        return lines

    def matrices(self) -> list[str]:
        """Return the parameters as matrices, as far as they fit; the sums show them again."""
        lines = []
        for place, layer in enumerate(self.data["layers"], start=1):
            weights, bias = layer["old"]["weights"], layer["old"]["bias"]
            if max(sum(len(number(x)) + 2 for x in row) for row in weights) > _MATRIX:
                continue
            shown = rf"W^{{({place})}} = {matrix(weights)}"
            if bias is not None:
                shown += rf",\quad b^{{({place})}} = {matrix([x] for x in bias)}"
            lines.append(rf"\[{shown}\]")
        return ["Weights and biases:", r"{\footnotesize", *lines, "}"] if lines else []

    # --- forward ----------------------------------------------------------------------------

    def forward(self, sample: dict[str, Any]) -> list[str]:
        lines = [
            r"\subsection*{Forward}",
            self.vector("x", sample["input"], 0) + self.vector("y", sample["target"], -1),
        ]
        if sample["label"] is not None:
            lines.append(
                rf"The sample is of the class `{text(sample['label'])}', and taken for "
                rf"`{text(sample['predicted'])}'."
            )
        bias = r" + b^{(l)}_{j}" if self.data["network"]["bias"] else ""
        lines.append(
            rf"\[z^{{(l)}}_{{j}} = \sum_{{k}} w^{{(l)}}_{{j,k}} a^{{(l-1)}}_{{k}}{bias},"
            r"\quad a^{(l)}_{j} = f(z^{(l)}_{j}),\quad a^{(0)} = x\]"
        )
        for place in range(1, self.n_layers + 1):
            layer = self.data["layers"][place - 1]["old"]
            fed = self.fed(sample, place)
            z, a = (sample["layers"][place - 1][key] for key in ("z", "a"))
            formula = self.activations[place - 1].formula
            sums, values = [], []
            for j in self.seen.neurons[place]:
                terms = [
                    product(layer["weights"][j][k], fed[k]) for k in self.seen.neurons[place - 1]
                ]
                terms += self.dots(place - 1)
                if layer["bias"] is not None:
                    terms.append(factor(layer["bias"][j]))
                sums.append(chain(_name("z", place, j), terms, z[j]))
                put = latex(put_in(formula, {"z": z[j], "z_i": z[j]}))
                if "Σ" in formula:
                    put = r"\textstyle " + put
                values.append(chain(_name("a", place, j), [put] if formula != "z" else [], a[j]))
            lines += [rf"\paragraph{{Layer {place}}}", align(sums, values)]
        return lines

    def vector(self, name: str, values: list[float], place: int) -> str:
        shown = self.seen.neurons[place]
        parts = [
            (rf"{name}_{{{k + 1}}} = " if len(shown) < len(values) else "") + number(values[k])
            for k in shown
        ]
        joined = r", \allowbreak ".join(parts)
        return (
            f"Of ${name}$: ${joined}$. " if len(shown) < len(values) else f"${name} = ({joined})$. "
        )

    def fed(self, sample: dict[str, Any], place: int) -> list[float]:
        values: list[float] = sample["input"] if place == 1 else sample["layers"][place - 2]["a"]
        return values

    def dots(self, place: int) -> list[str]:
        return [r"\cdots"] if len(self.seen.neurons[place]) < self.size(place) else []

    def size(self, place: int) -> int:
        return int(self.data["network"]["sizes"][place])

    # --- loss -------------------------------------------------------------------------------

    def loss(self, sample: dict[str, Any]) -> list[str]:
        a, formula = sample["layers"][-1]["a"], self.data["loss"]["formula"]
        terms: list[str] = []
        head, _, body = formula.partition("Σ_j")
        if not self.dots(self.n_layers) and " if " not in body and body:
            terms = [
                latex(put_in(body.strip(), {"a_j": a[j], "y_j": sample["target"][j]}))
                for j in range(len(a))
            ]
            factor = latex(put_in(head.replace("2n", "2 n").strip(), {"n": float(len(a))}))
            if factor and len(terms) > 1:
                terms = [f"{factor} \\bigl[{terms[0]}", *terms[1:-1], f"{terms[-1]}\\bigr]"]
            elif factor:
                terms = [factor + terms[0]]
        return [r"\subsection*{Loss}", align([chain("L", terms, sample["loss_before"])])]

    def mean(self) -> list[str]:
        """Return the loss of the batch, where it is not that of its only sample."""
        if self.batch == 1 and not self.per_batch:
            return []
        terms = [factor(self.data["samples"][s]["loss_before"]) for s in self.seen.samples]
        terms += [r"\cdots"] * (len(terms) < self.batch)
        terms[0] = rf"\tfrac{{1}}{{{self.batch}}} \bigl({terms[0]}"
        terms[-1] += r"\bigr)"
        terms += [r"\text{penalty}"] * self.per_batch
        lines = align([chain("L", terms, self.data["loss_before"])])
        return [r"\section*{Loss of the batch}", lines]

    # --- backward ---------------------------------------------------------------------------

    def backward(self, sample: dict[str, Any]) -> list[str]:
        lines = [
            r"\subsection*{Backward}",
            r"\[\delta^{(l)}_{j} = \frac{\partial L}{\partial z^{(l)}_{j}} = e^{(l)}_{j} \cdot "
            r"f'(z^{(l)}_{j}),\quad e^{(l)}_{j} = \frac{\partial L}{\partial a^{(l)}_{j}} = "
            r"\sum_{i} w^{(l+1)}_{i,j} \delta^{(l+1)}_{i}\]",
        ]
        for place in range(self.n_layers, 0, -1):
            lines += [rf"\paragraph{{Layer {place}}}", *self.errors(sample, place)]
        return lines

    def errors(self, sample: dict[str, Any], place: int) -> list[str]:
        layer = sample["layers"][place - 1]
        activation = self.activations[place - 1]
        output = place == self.n_layers
        fused = self.data["fused"] if output else None
        lines, errors, slopes, deltas = [], [], [], []
        if output and fused:
            lines.append(
                rf"Loss and activation together: ${latex(fused)}$"
                + (", which is the product of its two factors." if layer["slope"] else ".")
            )
        elif output and self.data["loss"]["derivative"]:
            derivative = latex(self.data["loss"]["derivative"])
            mean = f", divided by the {self.batch} samples of the batch" if self.batch > 1 else ""
            lines.append(rf"From the loss, $e_{{j}} = {derivative}${mean}.")
        if activation.slope is None and not fused:
            lines.append(
                rf"The {text(activation.name)} takes all inputs together: $\delta_{{i}} = "
                rf"\sum_{{j}} e_{{j}} \cdot \partial a_{{j}} / \partial z_{{i}}$ with $"
                rf"\partial a_{{i}} / \partial z_{{j}} = {latex(activation.derivative)}$."
            )
        for j in self.seen.neurons[place]:
            z, a, delta = (layer[key][j] for key in ("z", "a", "delta"))
            factors = []
            if fused:
                known = {"a": a, "z": z, "y": sample["target"][j], "batch": float(self.batch)}
                known["Σ_j y_j"] = sum(sample["target"])
                factors.append(latex(put_in(fused.partition(" = ")[2], known)))
            if layer["slope"] is not None:
                incoming, slope = layer["incoming"][j], layer["slope"][j]
                factors.append(product(incoming, slope))
                put = latex(put_in(activation.derivative, {"z": z, "a": a}))
                put = f"({put})" if " if " in activation.derivative else put
                slopes.append(chain(rf"f'(z^{{({place})}}_{{{j + 1}}})", [put], slope))
                terms = self.arriving(sample, place, j)
                errors.append(chain(_name("e", place, j), terms, incoming))
            deltas.append(
                chain(_name(r"\delta", place, j), [" = ".join(factors)] if factors else [], delta)
            )
        return [*lines, align(errors, slopes, deltas)]

    def arriving(self, sample: dict[str, Any], place: int, j: int) -> list[str]:
        """Return the terms of the error that reaches a neuron."""
        if place < self.n_layers:
            weights = self.data["layers"][place]["old"]["weights"]
            deltas = sample["layers"][place]["delta"]
            terms = [product(weights[i][j], deltas[i]) for i in self.seen.neurons[place + 1]]
            return terms + self.dots(place + 1)
        derivative = self.data["loss"]["derivative"]
        known = {"a_j": sample["layers"][-1]["a"][j], "y_j": sample["target"][j]}
        put = put_in(derivative, {**known, "n": float(self.size(-1))})
        if self.batch > 1 and derivative:
            put = f"[{put}] / {self.batch}"
        return [latex(put)] if put else []

    # --- gradients, update, and the step once more ------------------------------------------

    def update(self) -> list[str]:
        sums = "" if self.batch == 1 else r"\sum_{\text{samples}} "
        lines = [
            r"\section*{Gradients and update}",
            rf"\[\frac{{\partial L}}{{\partial w^{{(l)}}_{{j,k}}}} = {sums}\delta^{{(l)}}_{{j}} "
            rf"a^{{(l-1)}}_{{k}},\quad \frac{{\partial L}}{{\partial b^{{(l)}}_{{j}}}} = "
            rf"{sums}\delta^{{(l)}}_{{j}}\]",
        ]
        if penalty := self.data["penalty"]:
            whom = "every parameter" if penalty["biases"] else "every weight"
            terms = (rf"${term}$" for term in self.penalty_terms("p"))
            lines.append(rf"The penalty adds {' and '.join(terms)} to that of {whom} $p$.")
        slots = [text(name.replace("_", " ")) for name in self.data["layers"][0]["slots"]]
        both = [r"$\delta\,a$"] if self.factors else []
        titles = ["", *both, r"$\partial L/\partial p$", *slots, "old", "new"]
        for place in range(1, self.n_layers + 1):
            pairs = [
                (j, k)
                for j in self.seen.neurons[place]
                for k in (*self.seen.neurons[place - 1], None)
                if k is not None or self.data["network"]["bias"]
            ]
            titles[0] = f"layer {place}"
            if not self.factors:
                lines.append(rf"\paragraph{{Layer {place}}}")
                lines.append(align(self.gradient(place, j, k) for j, k in pairs))
            lines += longtable(titles, (self.row(place, j, k) for j, k in pairs))
        return lines

    def gradient(self, place: int, j: int, k: int | None) -> str:
        """Return the gradient of a parameter as the sum over the samples."""
        penalty = self.data["penalty"]
        terms = self.products(place, j, k) + [r"\cdots"] * (len(self.seen.samples) < self.batch)
        if penalty and (k is not None or penalty["biases"]):
            terms += self.penalty_terms(factor(self.held("old", place, j, k)))
        elif k is None and self.batch == 1:
            terms = [_name(r"\delta", place, j)]
        name = rf"\partial L/\partial {_parameter(place, j, k)}"
        return chain(name, terms, self.held("gradient", place, j, k))

    def penalty_terms(self, p: str) -> list[str]:
        """Return what the penalty adds to the gradient of a parameter, which is given as text."""
        l1, l2 = self.data["penalty"]["l1"], self.data["penalty"]["l2"]
        return [
            *([rf"{number(l2)} \cdot {p}"] if l2 else []),
            *([rf"{number(l1)} \cdot \operatorname{{sign}} {p}"] if l1 else []),
        ]

    def products(self, place: int, j: int, k: int | None) -> list[str]:
        """Return δ a for each sample that is shown."""
        found = []
        for s in self.seen.samples:
            sample = self.data["samples"][s]
            delta = sample["layers"][place - 1]["delta"][j]
            found.append(factor(delta) if k is None else product(delta, self.fed(sample, place)[k]))
        return found

    def held(self, kind: str, place: int, j: int, k: int | None) -> float:
        return _entry(self.data["layers"][place - 1][kind], j, k)

    def row(self, place: int, j: int, k: int | None) -> list[str]:
        g, old, new = (self.held(kind, place, j, k) for kind in ("gradient", "old", "new"))
        slots = self.data["layers"][place - 1]["slots"]
        kept = {name: _entry(slot["after"], j, k) for name, slot in slots.items()}
        known = {"p": old, "η": self.rate, "g": g, **kept}
        rule = self.data["optimizer"]["formula"].rpartition(" ← ")[2]
        updated, numbers = number(new), [number(g), *map(number, kept.values())]
        if rule and set(re.findall(r"\w+", rule)) <= set(known):
            updated = f"{latex(put_in(rule, known))} = {updated}"
        both = self.products(place, j, k) if self.factors else []
        return [_parameter(place, j, k), *both, *numbers, number(old), updated]

    def again(self) -> list[str]:
        lines = [r"\section*{The step done: forward with the new weights}"]
        for s in self.seen.samples:
            sample = self.data["samples"][s]
            if self.batch > 1:
                lines.append(rf"\paragraph{{Sample {s + 1}}}")
            pairs = []
            for place, layer in enumerate(sample["after"]["layers"], start=1):
                for j in self.seen.neurons[place]:
                    both = (f"{_name(key, place, j)} &= {number(layer[key][j])}" for key in "za")
                    pairs.append(" & ".join(both))
            lines.append(align(pairs))
        before, after = (number(self.data[f"loss_{when}"]) for when in ("before", "after"))
        return [*lines, rf"\[L = {after}, \text{{ where it was }} {before}.\]"]


def _entry(layer: dict[str, Any], j: int, k: int | None) -> float:
    value: float = layer["bias"][j] if k is None else layer["weights"][j][k]
    return value


def _name(letter: str, place: int, j: int) -> str:
    return f"{letter}^{{({place})}}_{{{j + 1}}}"


def _parameter(place: int, j: int, k: int | None) -> str:
    return _name("b", place, j) if k is None else f"w^{{({place})}}_{{{j + 1},{k + 1}}}"
