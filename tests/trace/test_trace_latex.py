"""The LaTeX document and the tables of a trace: their numbers, escaping, and compilation."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from helpers import smooth_case
from pages import trace_network

from backprop_xp.nn.activations import ACTIVATIONS, elementwise
from backprop_xp.nn.losses import LOSSES, check_pair
from backprop_xp.nn.network import Layer, Network
from backprop_xp.nn.optimizers import OPTIMIZERS
from backprop_xp.nn.regularizers import Penalty
from backprop_xp.trace.examples import EXAMPLES, read_example
from backprop_xp.trace.formulas import latex, number, put_in, text
from backprop_xp.trace.latex import latex_document
from backprop_xp.trace.table import headline, tables, view

HOSTILE = (r"\input{/etc/passwd}", "<script>&#1 100% $x$ _a_ ^^M ~ --- '' ?`", "中文 ½ é \x00\x07")


def named():
    """Return a trace with hostile names."""
    return trace_network(
        Network((2, 2, 3), ("tanh", "softmax")),
        "cross_entropy",
        [Layer([[1.0, 2.0], [3.0, 4.0]], [0.0, 1.0]), Layer([[1.0, -2.0]] * 3, [0.0] * 3)],
        [[1.0, 2.0]],
        [2],
        title="".join(HOSTILE),
        classes=HOSTILE,
        features=HOSTILE[:2],
    )


def large(**given):
    network = Network((40, 20, 12), ("relu", "softmax"))
    parameters, x = smooth_case(network, 1, margin=0.0)
    return trace_network(network, "cross_entropy", parameters, x, [3], **given)


# --- the numbers ---------------------------------------------------------------------------


def value(shown):
    """Return the value of a number in LaTeX."""
    power = re.fullmatch(r"(?:(\S+) \\cdot )?10\^\{(-?\d+)\}", shown)
    return float(f"{power[1] or 1}e{power[2]}") if power else float(shown)


def equations(document, name):
    """Return the values of the symbol ``name`` in the document, by layer and neuron."""
    lines = document.replace("\\\\\n&\\quad", "")
    found = re.findall(rf"^{name}\^\{{\((\d+)\)\}}_\{{(\d+)\}}\)? &= (.*)$", lines, re.MULTILINE)
    return {
        (int(layer), int(j)): value(
            line.removesuffix(r" \\").removesuffix(r" \\[6pt]").split(" = ")[-1]
        )
        for layer, j, line in found
    }


def six(x):
    """Return a number rounded to the six digits that are shown."""
    return float(f"{x:.6g}")


@pytest.mark.parametrize("example", ["note-000", "note-001"])
def test_the_document_shows_the_numbers_of_the_trace(example):
    trace = read_example(example).trace()
    data, document = trace.as_data(), latex_document(trace)
    before, after = document.split("The step done")
    (sample,) = data["samples"]
    wanted = {"z": "z", "a": "a", "e": "incoming", r"f'\(z": "slope", r"\\delta": "delta"}
    for name, key in wanted.items():
        found = equations(before, name)
        assert found == {
            (place, j): six(x)
            for place, layer in enumerate(sample["layers"], start=1)
            for j, x in enumerate(layer[key], start=1)
        }, name
    for place, layer in enumerate(sample["after"]["layers"], start=1):
        for j, (z, a) in enumerate(zip(layer["z"], layer["a"], strict=True), start=1):
            pair = (f"{name}^{{({place})}}_{{{j}}} &= {x:.6g}" for name, x in (("z", z), ("a", a)))
            assert " & ".join(pair) in after
    assert f"= {data['loss_before']:.6g}\n" in before
    assert f"L = {data['loss_after']:.6g}," in after


@pytest.mark.parametrize("example", ["note-000", "note-001"])
def test_the_document_shows_each_gradient_and_update(example):
    trace = read_example(example).trace()
    data, document = trace.as_data(), latex_document(trace)
    (sample,) = data["samples"]
    for place, layer in enumerate(data["layers"], start=1):
        fed = sample["layers"][place - 2]["a"] if place > 1 else sample["input"]
        for j, row in enumerate(layer["new"]["weights"]):
            delta = sample["layers"][place - 1]["delta"][j]
            for k, new in enumerate(row):
                line = next(
                    line
                    for line in document.split("\n")
                    if line.startswith(f"$w^{{({place})}}_{{{j + 1},{k + 1}}}$")
                )
                product, gradient, old, update = re.findall(r"\$([^$]*)\$", line)[1:]
                factors = [value(part.strip("()")) for part in product.split(r" \cdot ")]
                assert factors == [six(delta), six(fed[k])]
                assert value(gradient) == six(layer["gradient"]["weights"][j][k])
                assert value(old) == six(layer["old"]["weights"][j][k])
                assert value(update.split(" = ")[-1]) == six(new)


def test_the_document_of_a_batch_adds_its_samples_up():
    trace = read_example("xor").trace()
    document = latex_document(trace).replace("\\\\\n&\\quad", "")
    for place, layer in enumerate(trace.as_data()["layers"], start=1):
        for j, row in enumerate(layer["gradient"]["weights"], start=1):
            for k, g in enumerate(row, start=1):
                name = f"\\partial L/\\partial w^{{({place})}}_{{{j},{k}}} &= "
                (line,) = (one for one in document.split("\n") if one.startswith(name))
                assert value(line.removesuffix(r" \\").split(" = ")[-1]) == six(g)
                assert line.count(r"\cdot") == 4


def test_the_tables_show_every_number_of_a_small_network():
    data = read_example("note-000").trace().as_data()
    shown = {table.text.split(":")[0]: table for table in tables(data)}
    assert [row[2:] for row in shown["backward"].rows] == [
        (number(e), number(s), number(d))
        for layer in data["samples"][0]["layers"]
        for e, s, d in zip(layer["incoming"], layer["slope"], layer["delta"], strict=True)
    ]
    assert len(shown["update"].rows) == 55
    assert shown["update"].rows[0] == (
        *("w1[1,1]", "0.00120527", "4", "0.00482108", "0.01", "0.00517892"),
    )
    assert [row[2:] for row in shown["forward with the new weights"].rows] == [
        (number(z), number(a))
        for layer in data["samples"][0]["after"]["layers"]
        for z, a in zip(layer["z"], layer["a"], strict=True)
    ]


# --- large networks ----------------------------------------------------------------------------


def test_of_a_large_network_the_most_telling_neurons_are_shown_and_the_rest_is_named():
    trace = large()
    data = trace.as_data()
    seen = view(data)
    assert [len(layer) for layer in seen.neurons] == [4, 4, 4]
    deltas = np.abs(trace.deltas[0][0])
    assert set(seen.neurons[1]) == set(np.argsort(deltas)[-4:].tolist())
    for size in ("40", "20", "12"):
        assert f"out of {size}" in seen.left_out
    assert "the 4 largest inputs out of 40" in latex_document(trace)
    assert tables(data)[0].text == seen.left_out
    updates = next(table for table in tables(data) if table.text.startswith("update"))
    assert len(updates.rows) == 2 * (4 * 4 + 4)


def test_of_a_large_batch_the_first_samples_are_shown():
    network = Network((2, 1), "identity")
    rows = np.arange(24.0).reshape(12, 2)
    trace = trace_network(network, "squared_error", [Layer([[1.0, 2.0]], [0.0])], rows, rows[:, :1])
    assert view(trace.as_data()).samples == [0, 1, 2, 3]
    document = latex_document(trace)
    assert "the first 4 of 12 samples" in document
    assert document.count(r"\section*{Sample ") == 4


def test_what_belongs_to_a_step_is_said_above_its_tables():
    data = large(optimizer="momentum", penalty=Penalty(l2=0.5), source={"left_out": ["dropout"]})
    said = "\n".join(headline(data.as_data()))
    for part in (
        "40-20-12, relu-softmax",
        "learning rate η = 0.01, momentum μ = 0.9",
        "v starts at zero",
        "0.5 ½ Σw²",
        "dropout",
    ):
        assert part in said


def one_step(**given):
    """Return the document of a step on one sample by a neuron of two weights and a bias."""
    given = {"learning_rate": 0.5, **given}
    neuron = Network((2, 1), "identity"), "half_squared_error", [Layer([[0.5, -0.25]], [1.0])]
    return latex_document(trace_network(*neuron, [[2.0, 4.0]], [[0.5]], **given)).replace("  ", " ")


def test_the_document_works_out_a_rule_whose_numbers_it_has():
    # The gradient is 0.5 · 2, so that m̂ and v̂ are 1; the velocity is -η g.
    for optimizer, worked in (
        ("momentum", r"0.5 + (-0.5) = 0"),
        ("nesterov", r"0.5 + 0.9 \cdot (-0.5) - 0.5 \cdot 1 = -0.45"),
        ("rmsprop", r"0.5 - 0.5 \cdot 1 / (\sqrt{0.01} + 10^{-8}) = -4.5"),
        ("adam", r"0.5 - 0.5 \cdot 1 / (\sqrt{1} + 10^{-8}) = 5 \cdot 10^{-9}"),
        ("adamw", r"(1 - 0.5 \cdot 0.01) \cdot 0.5 - 0.5 \cdot 1 / (\sqrt{1} + 10^{-8}) = -0.0025"),
    ):
        assert rf"w^{{(1)}}_{{1,1}} &\leftarrow {worked}" in one_step(optimizer=optimizer)
    # The gradient, m, v, the old and the new weight
    row = r"$w^{(1)}_{1,2}$ & $2$ & $0.2$ & $0.004$ & $-0.25$ & $-0.75$ \\"
    assert row in one_step(optimizer="adam")
    gradient = r"\partial L/\partial w^{(1)}_{1,1} &= 0.5 \cdot 2 = 1"
    assert gradient in one_step(optimizer="adam")


def test_the_document_gives_the_numbers_of_a_rule_by_their_letters():
    said = r"learning rate $\eta$ = $0.5$, momentum $\mu$ = $0.9$"
    assert said in one_step(optimizer="nesterov")


def test_the_document_shows_what_a_penalty_adds_to_each_gradient():
    document = one_step(penalty=Penalty(l1=0.01, l2=0.1))
    assert r"adds $0.1 \cdot p$ and $0.01 \cdot \operatorname{sign} p$" in document
    terms = r"0.5 \cdot 4 + 0.1 \cdot (-0.25) + 0.01 \cdot \operatorname{sign} (-0.25) = 1.965"
    assert rf"\partial L/\partial w^{{(1)}}_{{1,2}} &= {terms}" in document
    assert r"\partial L/\partial b^{(1)}_{1} &= \delta^{(1)}_{1} = 0.5" in document


def test_an_activation_of_single_numbers_is_not_said_to_take_all_of_a_layer():
    given = ("squared_error", [Layer([[1e200, 0.0]], [0.0])], [[1e200, 0.0]], [[0.0]])
    document = latex_document(trace_network(Network((2, 1), "identity"), *given))
    assert "not finite" in document
    assert "depends on all inputs" not in document


def test_an_activation_of_ones_own_needs_no_formula():
    square = elementwise("square", lambda z, xp: z * z, lambda z, a, xp: 2 * z)
    given = ("half_squared_error", [Layer([[3.0]], None)], [[1.0]], [[5.0]])
    document = latex_document(trace_network(Network((1, 1), square, bias=False), *given))
    assert "= \\text{square}(z)" in document
    assert "a^{(1)}_{1} &= 9\n" in document
    assert "f'(z^{(1)}_{1}) &= 6 " in document


# --- formulas, and hostile text ------------------------------------------------------------


@pytest.mark.parametrize(
    "formula",
    [
        *(f.formula for f in ACTIVATIONS.values()),
        *(f.derivative_formula for f in ACTIVATIONS.values()),
        *(loss.formula for loss in LOSSES.values()),
        *(make().formula for make in OPTIMIZERS.values()),
    ],
)
def test_every_formula_becomes_plain_latex(formula):
    assert formula
    shown = latex(formula)
    assert shown.isascii()
    assert "U+" not in shown
    assert shown.count("{") == shown.count("}")
    assert not re.search(r"(?<!\\)[#$%&]", shown)


def test_a_hat_and_a_root_become_latex():
    assert latex("√v̂ m̂") == r"\sqrt{\hat{v}} \hat{m}"
    assert put_in("m - η m̂ / √v̂", {"η": 0.5, "m̂": -2.0, "v̂": 1e-9}) == ("m - 0.5 · (-2) / √1e-09")
    assert latex("√1e-09 √0.25") == r"\sqrt{10^{-9}} \sqrt{0.25}"


def test_numbers_are_put_in_for_letters_only():
    assert put_in("½ z (1 + t²) + exp(-z)", {"z": -0.5}) == "½ · (-0.5) · (1 + t²) + exp(-(-0.5))"
    assert put_in("exp(z) z_i", {"z": -1.0, "z_i": 2.0}) == "exp(-1) · 2"


@pytest.mark.parametrize("given", HOSTILE)
def test_text_is_escaped_for_latex(given):
    shown = text(given)
    commands = r"\\text(?:backslash|asciitilde|asciicircum|less|greater|asciigrave)\{\}"
    rest = re.sub(rf"{commands}|\\[#$%&_{{}}]|\$\\tfrac\{{1\}}\{{2\}}\$|-\{{\}}|'\{{\}}", "", shown)
    assert not re.search(r"[\\{}$%&#_^~<>`\x00-\x1f]", rest)


# --- compiling -----------------------------------------------------------------------------


def compiled(folder, trace):
    """Compile the document of a trace with pdflatex and return its output."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed (Debian: texlive-latex-recommended)")
    (folder / "trace.tex").write_text(latex_document(trace), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "trace.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-2000:]
    assert (folder / "trace.pdf").stat().st_size > 1000
    return said


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_document_of_an_example_compiles_without_a_line_too_wide(example, tmp_path):
    assert "Overfull" not in compiled(tmp_path, read_example(example).trace())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_document_of_a_large_network_compiles_without_a_line_too_wide(optimizer, tmp_path):
    assert "Overfull" not in compiled(tmp_path, large(optimizer=optimizer, penalty=Penalty(0.1)))


def test_hostile_names_compile_and_do_nothing(tmp_path):
    said = compiled(tmp_path, named())
    assert "passwd" not in said.split("trace.aux")[0]


def test_a_name_of_one_long_word_fits_into_the_lines(tmp_path):
    names = tuple(letter * 200 for letter in "abc")
    given = ("cross_entropy", [Layer([[1.0], [2.0], [3.0]], None)], [[1.0]], [2])
    trace = trace_network(Network((1, 3), "softmax", bias=False), *given, classes=names)
    assert "Overfull" not in compiled(tmp_path, trace)


def test_every_activation_and_every_loss_compiles(tmp_path):
    for place, name in enumerate(LOSSES):
        hidden = list(ACTIVATIONS)[place]
        output = next(iter(LOSSES[name].fused), "tanh")
        check_pair(LOSSES[name], ACTIVATIONS[output])
        network = Network((3, 2, 2), (hidden, output))
        parameters, x = smooth_case(network, 2, margin=0.0)
        y = np.asarray([[0.0, 1.0], [1.0, 0.0]])
        compiled(tmp_path, trace_network(network, name, parameters, x, y, optimizer="rmsprop"))
