"""Pieces of a LaTeX document: preamble, numbers, sums broken into lines, matrices and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable

from backprop_xp.trace.formulas import latex
from backprop_xp.trace.formulas import number as as_text

PREAMBLE = r"""\documentclass[10pt,a4paper]{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage{textcomp}
\usepackage{amsmath,longtable}
\usepackage[margin=20mm]{geometry}
\allowdisplaybreaks
\setlength{\parindent}{0pt}
\setlength{\parskip}{4pt}
\setcounter{MaxMatrixCols}{12}
\setcounter{LTchunksize}{500} % aligns the columns of a table in a single run
"""

_WIDTH = 78
"""The number of digits that fit on a line; an operator counts as two."""


def number(x: float | None) -> str:
    """Return a number with six digits."""
    return latex(as_text(x))


def factor(x: float | None) -> str:
    """Return a number for use in a formula: a negative one is in parentheses."""
    text = number(x)
    return f"({text})" if text.startswith("-") else text


def product(x: float | None, y: float | None) -> str:
    """Return the product of two numbers, written out."""
    return rf"{factor(x)} \cdot {factor(y)}"


def chain(name: str, terms: list[str], value: float | None, sign: str = "=") -> str:
    """Return ``name = sum of the terms = value``, broken into lines that fit.

    Empty terms, of formulas that are not known, are left out.
    """
    terms = [term for term in terms if term]
    result, width = f"{name} &{sign} ", _width(name)
    for index, part in enumerate([*terms, number(value)]):
        sign = " = " if index == len(terms) else " + "
        if index == 0:
            sign = ""
        elif width + _width(part) + 2 > _WIDTH:
            sign, width = f" \\\\\n&\\quad{sign}", 0
        result += sign + part
        width += _width(part) + 2
    return result


def _width(formula: str) -> int:
    """Return the approximate width of a formula in digits."""
    plain = re.sub(r"\\(cdot|[lL]eftarrow)|[-+=]", "··", formula)
    plain = re.sub(r"\\(?:log|exp|max|min|tanh)", "fun", plain)
    return len(re.sub(r"\\[a-zA-Z]+|[{}^_\\& ]", "", plain))


def align(*groups: Iterable[str]) -> str:
    """Return equations aligned at their first sign, with some space between groups."""
    joined = [" \\\\\n".join(rows) for rows in groups]
    body = " \\\\[6pt]\n".join(rows for rows in joined if rows)
    return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"


def display(rows: list[str]) -> str:
    """Return formulas, each centered on a line."""
    return "\\begin{gather*}\n" + " \\\\\n".join(rows) + "\n\\end{gather*}"


def matrix(rows: Iterable[Iterable[float]]) -> str:
    """Return a matrix of numbers."""
    text = (" & ".join(map(number, row)) for row in rows)
    return r"\begin{pmatrix}" + r" \\ ".join(text) + r"\end{pmatrix}"


def longtable(titles: list[str], rows: Iterable[list[str]]) -> list[str]:
    """Return a table of formulas that may continue on the next page."""
    head = " & ".join(titles) + r" \\ \hline \noalign{\vskip 2pt}"
    body = [" & ".join(f"${entry}$" for entry in row) + r" \\" for row in rows]
    begin = (
        r"{\small\setlength{\tabcolsep}{4pt}\renewcommand{\arraystretch}{1.3}"
        rf"\begin{{longtable}}{{{'l' * len(titles)}}}"
    )
    return [begin, head, *body, r"\end{longtable}}"]
