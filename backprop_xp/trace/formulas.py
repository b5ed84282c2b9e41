"""Formulas as text and as LaTeX: numbers replace letters, and all text is escaped.

The records of activations, losses and optimizers hold their formulas as text, which is converted
to LaTeX here, so that no formula is written twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_SYMBOLS = {
    **{"½": r"\tfrac{1}{2}", "²": "^{2}", "³": "^{3}", "ᵗ": "^{t}", "₁": "_{1}", "₂": "_{2}"},
    **{"Σ": r"\sum", "π": r"\pi ", "σ": r"\sigma ", "δ": r"\delta ", "η": r"\eta ", "μ": r"\mu "},
    **{"ρ": r"\rho ", "ε": r"\varepsilon ", "λ": r"\lambda ", "β": r"\beta ", "√": r"\surd "},
    **{"←": r"\leftarrow ", "·": r"\cdot ", "∂": r"\partial ", "−": "-"},
}
_FUNCTIONS = {"exp", "log", "max", "min", "tanh"}
_SPECIAL = {
    **{char: f"\\{char}" for char in "#$%&_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"},
    "`": r"\textasciigrave{}",
}
_TOKEN = re.compile(
    r"(?P<root>√\((?P<inside>[^()]*)\)|√(?P<radicand>\d[\d.]*(?:e[+-]?\d+)?|not finite|\w\u0302?))"
    r"|(?P<hat>\w\u0302)"
    r"|(?P<fraction>\b1/(?:n\b|\((?P<below>[^()]*)\)))"
    r"|(?P<index>_(?P<indices>[a-z]+)\b)"
    r"|(?P<number>\d+(?:\.\d+)?(?:e(?P<power>[+-]?\d+))?)"
    r"|(?P<relation><=)"
    r"|(?P<word> ?[A-Za-z][a-z]+(?:[_ ][a-z]{2,})* ?)"
    r"|(?P<one>.)",
    re.DOTALL,
)
_PIECE = re.compile(r"\S{24}(?=\S)|.", re.DOTALL)
"""A piece at which a long word may be broken, or else a single character."""


def number(x: float | None) -> str:
    """Return a number with six digits, as in formulas and tables.

    Examples
    --------
    >>> number(0.1234567), number(-2.0), number(1.5e-9), number(None)
    ('0.123457', '-2', '1.5e-09', 'not finite')
    """
    return "not finite" if x is None else f"{x:.6g}"


def put_in(formula: str, values: Mapping[str, float | None]) -> str:
    """Return a formula with numbers in place of letters.

    Examples
    --------
    >>> put_in("½ z (1 - a_j)²", {"z": -2.0, "a_j": 0.25})
    '½ · (-2) · (1 - 0.25)²'
    """

    def value(match: re.Match[str]) -> str:
        shown = number(values[match["name"]])
        alone = match.string[: match.start()].endswith("(") and match.string.startswith(
            ")", match.end()
        )
        return f"({shown})" if shown.startswith("-") and not alone else shown

    names = "|".join(sorted(map(re.escape, values), key=len, reverse=True))
    word = "[A-Za-z0-9_\u0302]"  # without the signs of powers, and with the hat of m̂
    put = re.sub(rf"(?<!{word})(?P<name>{names})(?!{word})", value, formula)
    # Two numbers side by side are a product.
    return re.sub(r"(?<=[\d½)]) (?=[\d(]|not finite)", " · ", put)


def latex(formula: str) -> str:
    r"""Return a formula, given as text, as LaTeX for math mode.

    Examples
    --------
    >>> print(latex("½ Σ_j (a_j - y_j)²"), latex("√(2/π) 1e-05"), latex("z if z > 0 else 0"))
    \tfrac{1}{2} \sum_{j} (a_{j} - y_{j})^{2} \sqrt{2/\pi } 10^{-5} z\text{ if }z > 0\text{ else }0
    """

    def token(match: re.Match[str]) -> str:
        if match["root"]:
            return rf"\sqrt{{{latex(match['inside'] or match['radicand'])}}}"
        if match["hat"]:
            return rf"\hat{{{match['hat'][0]}}}"
        if match["fraction"]:
            return rf"\tfrac{{1}}{{{latex(match['below'] or 'n')}}}"
        if match["index"]:
            return f"_{{{match['indices']}}}"
        if match["number"]:
            return _number(match["number"])
        if match["relation"]:
            return r"\le "
        if match["word"]:
            word = match["word"].replace("_", " ")
            known = word.strip() in _FUNCTIONS
            return rf" \{word.strip()} " if known else rf"\text{{{text(word)}}}"
        char = match["one"]
        if char in _SYMBOLS or char in "<>|":
            return _SYMBOLS.get(char, char)
        return char if char.isascii() and char not in _SPECIAL else rf"\text{{{text(char)}}}"

    return _TOKEN.sub(token, formula)


def text(string: str) -> str:
    r"""Return any text as LaTeX that prints it and does nothing else.

    Letters of western Europe are kept; others, which pdflatex cannot set, become their code.

    Examples
    --------
    >>> print(text(r"\input{a} 100% é 中"))
    \textbackslash{}input\{a\} 100\% é [U+4E2D]
    """

    def char(c: str) -> str:
        if c in _SPECIAL:
            return _SPECIAL[c]
        if c in _SYMBOLS:
            return f"${_SYMBOLS[c].strip()}$"
        if " " <= c <= "~" or ("À" <= c <= "ÿ" and c not in "×÷"):
            return c
        return " " if c.isspace() else f"[U+{ord(c):04X}]"

    pieces = _PIECE.findall(string)
    shown = "".join(
        "".join(map(char, piece)) + r"\allowbreak{}" * (len(piece) > 1) for piece in pieces
    )
    return shown.replace("--", "-{}-").replace("''", "'{}'")


def _number(digits: str) -> str:
    mantissa, _, power = digits.partition("e")
    if not power:
        return mantissa
    times = "" if mantissa == "1" else rf"{mantissa} \cdot "
    return rf"{times}10^{{{int(power)}}}"
