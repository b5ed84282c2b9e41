"""The trace as a LaTeX document: every step of the computation with its formula and numbers."""

from __future__ import annotations

import re
from typing import Any

from backprop_xp.trace.formulas import latex, put_in, text
from backprop_xp.trace.step_trace import Trace
from backprop_xp.trace.table import View, called, entry, state_after, state_symbols, view
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
"""The number of characters that fit in a row of a matrix, with the bias beside it."""


def latex_document(trace: Trace) -> str:
    r"""Return a document for pdflatex that needs only the standard packages.

    Large networks are cut, and the document says so; all text is escaped.

    Examples
    --------
    >>> from backprop_xp.trace.examples import read_example
    >>> document = latex_document(read_example("note-001").trace())
    >>> print(next(line for line in document.split("\n") if line.startswith("a^{(1)}")))
    a^{(1)}_{1} &= 1 / (1 + \exp (-1)) = 0.731059
    """
    return _Document(trace).document()


class _Document:
    """A document: the data of a trace, and the part of it that is shown."""

    def __init__(self, trace: Trace) -> None:
        self.per_batch = bool(trace.penalty) and trace.penalty.per_batch
        self.activations = trace.model.network.activations
        self.data = trace.as_data()
        self.view: View = view(self.data)
        self.n_layers = len(self.data["layers"])
        self.batch = len(self.data["samples"])
        self.rate = self.data["optimizer"]["learning_rate"]
        self.state = [f"${latex(symbol)}$" for symbol in state_symbols(self.data)]
        # Whether a gradient is a single product with room for it beside the update.
        self.factors = self.batch == 1 and not self.data["penalty"] and not self.state

    def document(self) -> str:
        title = self.data["title"] or "One training step"
        parts = [
            PREAMBLE,
            r"\begin{document}\raggedright",
            rf"\section*{{{text(title)}}}",
            *self.setting(),
        ]
        for s in self.view.samples:
            if self.batch > 1:
                parts.append(rf"\section*{{Sample {s + 1} of {self.batch}}}")
            sample = self.data["samples"][s]
            parts += [*self.forward(sample), *self.loss(sample), *self.backward(sample)]
        parts += [*self.mean(), *self.update(), *self.again(), r"\end{document}"]
        return "\n".join(parts) + "\n"

    # --- the setting ------------------------------------------------------------------------

    def setting(self) -> list[str]:
        network, rule, penalty = (self.data[key] for key in ("network", "optimizer", "penalty"))
        biases = "" if network["bias"] else " without biases"
        lines = [
            rf"A network of the sizes {'-'.join(map(str, network['sizes']))}{biases}, "
            rf"computed in {text(self.data['dtype'])}. {text(self.view.left_out)}\par",
        ]
        for activation in dict.fromkeys(self.activations):
            places = [k for k, f in enumerate(self.activations, start=1) if f is activation]
            layers = f"layer{'s' * (len(places) > 1)} {', '.join(map(str, places))}"
            a, slope = (
                ("f(z)", "f'(z)")
                if activation.derivative
                else ("a_{i}", r"\partial a_{i} / \partial z_{j}")
            )
            formula = latex(activation.formula or f"{activation.name}(z)")
            derivative = latex(activation.derivative_formula or f"{activation.name}'(z)")
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
                f"; {' and '.join(self.state)} start{'s' * (len(self.state) == 1)} at 0."
                if self.state
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
        if not self.view.left_out:
            lines += self.matrices()
        return lines

    def matrices(self) -> list[str]:
        """Return the parameters as those matrices that fit; the sums show all of them again."""
        lines = []
        for level, layer in enumerate(self.data["layers"], start=1):
            weights, bias = layer["old"]["weights"], layer["old"]["bias"]
            if max(sum(len(number(x)) + 2 for x in row) for row in weights) > _MATRIX:
                continue
            equation = rf"W^{{({level})}} = {matrix(weights)}"
            if bias is not None:
                equation += rf",\quad b^{{({level})}} = {matrix([x] for x in bias)}"
            lines.append(rf"\[{equation}\]")
        return ["Weights and biases:", r"{\footnotesize", *lines, "}"] if lines else []

    # --- forward ----------------------------------------------------------------------------

    def forward(self, sample: dict[str, Any]) -> list[str]:
        lines = [
            r"\subsection*{Forward}",
            self.vector("x", sample["input"], 0) + self.vector("y", sample["target"], -1),
        ]
        if sample["label"] is not None:
            lines.append(
                rf"The class is `{text(sample['label'])}', predicted "
                rf"`{text(sample['predicted'])}'."
            )
        bias = r" + b^{(l)}_{j}" if self.data["network"]["bias"] else ""
        lines.append(
            rf"\[z^{{(l)}}_{{j}} = \sum_{{k}} w^{{(l)}}_{{j,k}} a^{{(l-1)}}_{{k}}{bias},"
            r"\quad a^{(l)}_{j} = f(z^{(l)}_{j}),\quad a^{(0)} = x\]"
        )
        for level in range(1, self.n_layers + 1):
            layer = self.data["layers"][level - 1]["old"]
            inputs = self.inputs(sample, level)
            z, a = (sample["layers"][level - 1][key] for key in ("z", "a"))
            formula = self.activations[level - 1].formula
            sums, values = [], []
            for j in self.view.neurons[level]:
                terms = [
                    product(layer["weights"][j][k], inputs[k]) for k in self.view.neurons[level - 1]
                ]
                terms += self.dots(level - 1)
                if layer["bias"] is not None:
                    terms.append(factor(layer["bias"][j]))
                sums.append(chain(_name("z", level, j), terms, z[j]))
                put = latex(put_in(formula, {"z": z[j], "z_i": z[j]}))
                if "Σ" in formula:
                    put = r"\textstyle " + put
                values.append(chain(_name("a", level, j), [put] if formula != "z" else [], a[j]))
            lines += [rf"\paragraph{{Layer {level}}}", align(sums, values)]
        return lines

    def vector(self, name: str, values: list[float], level: int) -> str:
        neurons = self.view.neurons[level]
        parts = [
            (rf"{name}_{{{k + 1}}} = " if len(neurons) < len(values) else "") + number(values[k])
            for k in neurons
        ]
        joined = r", \allowbreak ".join(parts)
        return (
            f"Of ${name}$: ${joined}$. "
            if len(neurons) < len(values)
            else f"${name} = ({joined})$. "
        )

    def inputs(self, sample: dict[str, Any], level: int) -> list[float]:
        values: list[float] = sample["input"] if level == 1 else sample["layers"][level - 2]["a"]
        return values

    def dots(self, level: int) -> list[str]:
        return [r"\cdots"] if len(self.view.neurons[level]) < self.size(level) else []

    def size(self, level: int) -> int:
        return int(self.data["network"]["sizes"][level])

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
        """Return the loss of the batch, if it is not that of a single sample."""
        if self.batch == 1 and not self.per_batch:
            return []
        terms = [factor(self.data["samples"][s]["loss_before"]) for s in self.view.samples]
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
        for level in range(self.n_layers, 0, -1):
            lines += [rf"\paragraph{{Layer {level}}}", *self.errors(sample, level)]
        return lines

    def errors(self, sample: dict[str, Any], level: int) -> list[str]:
        layer = sample["layers"][level - 1]
        activation = self.activations[level - 1]
        output = level == self.n_layers
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
        if activation.derivative is None and not fused:
            lines.append(
                rf"Each output of {text(activation.name)} depends on all inputs: $\delta_{{i}} = "
                rf"\sum_{{j}} e_{{j}} \cdot \partial a_{{j}} / \partial z_{{i}}$ with $"
                rf"\partial a_{{i}} / \partial z_{{j}} = {latex(activation.derivative_formula)}$."
            )
        for j in self.view.neurons[level]:
            z, a, delta = (layer[key][j] for key in ("z", "a", "delta"))
            factors = []
            if fused:
                known = {"a": a, "z": z, "y": sample["target"][j], "batch": float(self.batch)}
                known["Σ_j y_j"] = sum(sample["target"])
                factors.append(latex(put_in(fused.partition(" = ")[2], known)))
            if layer["slope"] is not None:
                incoming, slope = layer["incoming"][j], layer["slope"][j]
                factors.append(product(incoming, slope))
                put = latex(put_in(activation.derivative_formula, {"z": z, "a": a}))
                put = f"({put})" if " if " in activation.derivative_formula else put
                slopes.append(chain(rf"f'(z^{{({level})}}_{{{j + 1}}})", [put], slope))
                terms = self.arriving(sample, level, j)
                errors.append(chain(_name("e", level, j), terms, incoming))
            deltas.append(
                chain(_name(r"\delta", level, j), [" = ".join(factors)] if factors else [], delta)
            )
        return [*lines, align(errors, slopes, deltas)]

    def arriving(self, sample: dict[str, Any], level: int, j: int) -> list[str]:
        """Return the terms of the error that arrives at a neuron."""
        if level < self.n_layers:
            weights = self.data["layers"][level]["old"]["weights"]
            deltas = sample["layers"][level]["delta"]
            terms = [product(weights[i][j], deltas[i]) for i in self.view.neurons[level + 1]]
            return terms + self.dots(level + 1)
        derivative = self.data["loss"]["derivative"]
        known = {"a_j": sample["layers"][-1]["a"][j], "y_j": sample["target"][j]}
        put = put_in(derivative, {**known, "n": float(self.size(-1))})
        if self.batch > 1 and derivative:
            put = f"[{put}] / {self.batch}"
        return [latex(put)] if put else []

    # --- gradients, update, and forward again -----------------------------------------------

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
        both = [r"$\delta\,a$"] if self.factors else []
        titles = ["", *both, r"$\partial L/\partial p$", *self.state, "old", "new"]
        for level in range(1, self.n_layers + 1):
            pairs = [
                (j, k)
                for j in self.view.neurons[level]
                for k in (*self.view.neurons[level - 1], None)
                if k is not None or self.data["network"]["bias"]
            ]
            titles[0] = f"layer {level}"
            if not self.factors:
                lines.append(rf"\paragraph{{Layer {level}}}")
                lines.append(align(self.gradient(level, j, k) for j, k in pairs))
            lines += longtable(titles, (self.row(level, j, k) for j, k in pairs))
            if self.state:  # a rule with a state is too long for the table
                lines.append(align(self.new(level, j, k) for j, k in pairs))
        return lines

    def gradient(self, level: int, j: int, k: int | None) -> str:
        """Return the gradient of a parameter as a sum over the samples."""
        penalty = self.data["penalty"]
        terms = self.products(level, j, k) + [r"\cdots"] * (len(self.view.samples) < self.batch)
        if penalty and (k is not None or penalty["biases"]):
            terms += self.penalty_terms(factor(self.value("old", level, j, k)))
        elif k is None and self.batch == 1:
            terms = [_name(r"\delta", level, j)]
        name = rf"\partial L/\partial {_parameter(level, j, k)}"
        return chain(name, terms, self.value("gradient", level, j, k))

    def penalty_terms(self, p: str) -> list[str]:
        """Return the terms that the penalty adds to the gradient of a parameter ``p``."""
        l1, l2 = self.data["penalty"]["l1"], self.data["penalty"]["l2"]
        return [
            *([rf"{number(l2)} \cdot {p}"] if l2 else []),
            *([rf"{number(l1)} \cdot \operatorname{{sign}} {p}"] if l1 else []),
        ]

    def products(self, level: int, j: int, k: int | None) -> list[str]:
        """Return the product δ a of each shown sample."""
        terms = []
        for s in self.view.samples:
            sample = self.data["samples"][s]
            delta = sample["layers"][level - 1]["delta"][j]
            terms.append(
                factor(delta) if k is None else product(delta, self.inputs(sample, level)[k])
            )
        return terms

    def value(self, kind: str, level: int, j: int, k: int | None) -> float:
        return entry(self.data["layers"][level - 1][kind], j, k)

    def row(self, level: int, j: int, k: int | None) -> list[str]:
        g, old, new = (self.value(kind, level, j, k) for kind in ("gradient", "old", "new"))
        state = state_after(self.data, level, j, k)
        numbers = [number(x) for x in (g, *(state[s] for s in state_symbols(self.data)), old)]
        both = self.products(level, j, k) if self.factors else []
        rule = "" if self.state else self.rule(level, j, k)
        updated = f"{rule} = {number(new)}" if rule else number(new)
        return [_parameter(level, j, k), *both, *numbers, updated]

    def new(self, level: int, j: int, k: int | None) -> str:
        """Return the update of a parameter."""
        value = self.value("new", level, j, k)
        return chain(_parameter(level, j, k), [self.rule(level, j, k)], value, r"\leftarrow")

    def rule(self, level: int, j: int, k: int | None) -> str:
        """Return the rule with the numbers of a parameter, if all its symbols are known."""
        optimizer = self.data["optimizer"]
        rates = {"learning_rate": self.rate, **optimizer["hyperparameters"]}
        known = {
            "p": self.value("old", level, j, k),
            "g": self.value("gradient", level, j, k),
            **state_after(self.data, level, j, k),
            **{optimizer["letters"].get(name, name): value for name, value in rates.items()},
        }
        rule = optimizer["formula"].rpartition(" ← ")[2]
        symbols = set(re.findall(r"[^\W\d]\w*\u0302?", rule))
        return latex(put_in(rule, known)) if symbols <= set(known) else ""

    def again(self) -> list[str]:
        lines = [r"\section*{The step done: forward with the new weights}"]
        for s in self.view.samples:
            sample = self.data["samples"][s]
            if self.batch > 1:
                lines.append(rf"\paragraph{{Sample {s + 1}}}")
            pairs = []
            for level, layer in enumerate(sample["after"]["layers"], start=1):
                for j in self.view.neurons[level]:
                    both = (f"{_name(key, level, j)} &= {number(layer[key][j])}" for key in "za")
                    pairs.append(" & ".join(both))
            lines.append(align(pairs))
        before, after = (number(self.data[f"loss_{when}"]) for when in ("before", "after"))
        return [*lines, rf"\[L = {after}, \text{{ where it was }} {before}.\]"]


def _name(letter: str, level: int, j: int) -> str:
    return f"{letter}^{{({level})}}_{{{j + 1}}}"


def _parameter(level: int, j: int, k: int | None) -> str:
    return _name("b", level, j) if k is None else f"w^{{({level})}}_{{{j + 1},{k + 1}}}"
