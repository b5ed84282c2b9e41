"""Plots of activations and losses with their derivatives, and of learning-rate schedules.

Every value comes from the function that training calls.
"""

from __future__ import annotations

import inspect
import io
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from backprop_xp.backend.arrays import Array, backend_namespace
from backprop_xp.errors import ConfigurationError, look_up
from backprop_xp.files import atomic_write
from backprop_xp.nn.activations import ACTIVATIONS, Activation
from backprop_xp.nn.losses import LOSSES, Loss
from backprop_xp.nn.schedules import SCHEDULES, Schedule, warm_up

Figure = Any
"""A ``matplotlib.figure.Figure``; matplotlib is imported when something is drawn."""

FORMATS = ("png", "svg")

_POINTS = 600
_STEPS, _WARM_UP = 600, 60  # of the training run over which schedules are drawn
_LOOK = {
    **{"font.size": 8.0, "legend.fontsize": 7.5, "axes.titlesize": 10.0},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6},
    **{"legend.frameon": False, "legend.borderaxespad": 0.3, "legend.labelspacing": 0.25},
    "svg.hashsalt": "backprop_xp",  # the same plot is the same file
}
# Two colors of Okabe and Ito's color-blind safe palette; line styles differ as well.
_BLUE, _VERMILION, _GRAY = "#0072b2", "#d55e00", "#767676"
_FUNCTION: dict[str, Any] = {"color": _BLUE, "linewidth": 1.8}
_DERIVATIVE: dict[str, Any] = {"color": _VERMILION, "linewidth": 1.5, "linestyle": (0, (4, 1.5))}


class Kind(NamedTuple):
    """A kind of plot: a registry, and the function that draws one of its records into axes."""

    noun: str
    title: str
    records: Mapping[str, Any]
    draw: Callable[[Any, Any], None]


def plot(kind: str, names: Sequence[str] = ()) -> Figure:
    """Draw a panel for each name of a kind of plot, a key of `KINDS`; by default for all names.

    Examples
    --------
    >>> [axes.get_legend().get_title().get_text() for axes in plot("losses", ["huber"]).axes]
    ['huber']
    """
    noun, title, known, draw = look_up("kind of plot", kind, KINDS)
    records = {name: look_up(noun, name, known) for name in dict.fromkeys(names or known)}
    with _look():
        from matplotlib.figure import Figure

        columns = min(3, len(records))
        rows = -(-len(records) // columns)
        figure = Figure(figsize=(3.9 * columns, 2.75 * rows + 0.4), layout="constrained")
        figure.suptitle(textwrap.fill(title, 52 * columns), fontsize=10.0)
        for index, (name, record) in enumerate(records.items(), start=1):
            axes = figure.add_subplot(rows, columns, index)
            axes.grid(color="#e4e4e4", linewidth=0.5)
            axes.set_axisbelow(True)
            draw(axes, record)
            axes.legend(
                title=name,
                title_fontproperties={"weight": "bold", "size": 9.0},
                alignment="left",
                loc="lower left",
                bbox_to_anchor=(0.0, 1.0),
            )
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> str:
    """Write a figure to a ``.png`` or ``.svg`` file, completely or not at all, and return its
    format."""
    format_ = Path(path).suffix.lower().removeprefix(".")
    if format_ not in FORMATS:
        raise ConfigurationError(
            f"a plot cannot be written as {os.fspath(path)!r}",
            "give a name that ends in .png or .svg",
        )
    content = io.BytesIO()
    # Without a date the same plot is the same file; the other fields contain addresses.
    fields = ("Date", "Creator", "Format", "Type") if format_ == "svg" else ("Software",)
    with _look():
        figure.savefig(content, format=format_, dpi=160, metadata=dict.fromkeys(fields))
    atomic_write(path, lambda file: file.write(content.getvalue()))
    return format_


def _look() -> AbstractContextManager[None]:
    """Return a context with our matplotlib style, whatever the user's settings are."""
    try:
        from matplotlib import style
    except ImportError as error:
        raise ConfigurationError(
            "matplotlib, which draws the plots, is not installed",
            "pip install 'backprop-xp[report]'",
        ) from error
    context: AbstractContextManager[None] = style.context(["default", _LOOK])
    return context


def _typeset(formula: str) -> str:
    for plain, typeset in (
        *(("-", "−"), ("<=", "≤"), (" ** ", "^")),
        *(("_ij", "ᵢⱼ"), ("_i", "ᵢ"), ("_j", "ⱼ")),
    ):
        formula = formula.replace(plain, typeset)
    return textwrap.fill(formula, 60)


def _centers(low: float, high: float) -> Array:
    """Return the centers of small intervals from low to high; every jump is between two of them."""
    xp = backend_namespace("numpy")
    width = (high - low) / _POINTS
    return xp.arange(_POINTS, dtype=xp.float64) * width + (low + 0.5 * width)


def _curve(axes: Any, x: Array, function: Callable[[Array], Array], **look: Any) -> None:
    """Draw a function as a line that breaks at jumps, with a dot for the value at a jump and
    circles for its one-sided limits."""
    xp = backend_namespace("numpy")
    between = xp.round(0.5 * (x[1:] + x[:-1]), 9)  # exactly 0 there, not 1e-16
    before, after = function(between - 1e-9), function(between + 1e-9)
    (jumps,) = xp.nonzero(abs(after - before) > 0.1)
    dot = {"color": look["color"], "marker": "o", "markersize": 3.5, "linestyle": "", "zorder": 3}
    for jump in jumps:
        at = between[jump : jump + 1]
        axes.plot([at, at], [before[jump], after[jump]], **dot, markerfacecolor="white")
        axes.plot(at, function(at), **dot)
    y = xp.insert(function(x), jumps + 1, xp.nan)
    axes.plot(xp.insert(x, jumps + 1, between[jumps]), y, **look)


# --- how one of each kind is drawn ---------------------------------------------------------


def _draw_activation(axes: Any, activation: Activation) -> None:
    xp = backend_namespace("numpy")
    axes.set(xlim=(-4.0, 4.0), ylim=(-1.6, 2.6), xlabel="z", yticks=[-1, 0, 1, 2], aspect="equal")
    z = _centers(-4.0, 4.0)
    if activation.derivative is None:
        _draw_vector_function(axes, z, activation)
        return
    slope = activation.derivative
    formula, derivative = _typeset(activation.formula), _typeset(activation.derivative_formula)
    _curve(axes, z, lambda z: activation.forward(z, xp), label=f"a = {formula}", **_FUNCTION)
    _curve(
        *(axes, z, lambda z: slope(z, activation.forward(z, xp), xp)),
        label=f"a′ = {derivative}",
        **_DERIVATIVE,
    )


def _draw_vector_function(axes: Any, z: Array, activation: Activation) -> None:
    """Draw the outputs of an activation that is not elementwise, as the first of three z varies."""
    xp = backend_namespace("numpy")
    rows = xp.stack([z, xp.ones_like(z), -xp.ones_like(z)], axis=-1)
    a = activation.forward(rows, xp)
    formula = _typeset(activation.formula)
    others = {"color": _BLUE, "linewidth": 1.0}
    axes.plot(z, a[:, 0], label=f"a₁ of aᵢ = {formula}, as z₁ varies", **_FUNCTION)
    axes.plot(z, a[:, 1], label="a₂, where z₂ = 1 is fixed", linestyle="-.", **others)
    axes.plot(z, a[:, 2], label="a₃, where z₃ = −1 is fixed", linestyle=":", **others)
    first = xp.zeros_like(a)
    first[:, 0] = 1.0
    axes.plot(
        *(z, activation.backward(first, rows, a, xp)[:, 0]),
        label=f"∂a₁/∂z₁, only the diagonal of {_typeset(activation.derivative_formula)}",
        **_DERIVATIVE,
    )
    axes.set_xlabel("z₁")


def _draw_loss(axes: Any, loss: Loss) -> None:
    xp = backend_namespace("numpy")
    low, high, target = -3.0, 3.0, 0.0
    if loss.needs_probabilities:
        low, high, target = 0.0, 1.0, 1.0
    elif loss.needs_positive:
        low, high, target = 0.0, 6.0, 2.0
    axes.set(xlim=(low, high * 1.01), ylim=(-3.2, 4.6), xlabel="output a", yticks=range(-3, 5))

    def terms(a: Array) -> tuple[Array, Array]:
        found = loss.value_and_gradient(a[:, None], xp.full_like(a[:, None], target), xp)
        return found[0][:, 0], found[1][:, 0]

    a = _centers(low, high)
    _curve(axes, a, lambda a: terms(a)[0], label=f"L = {_typeset(loss.formula)}", **_FUNCTION)
    _curve(axes, a, lambda a: terms(a)[1], label="dL/da", **_DERIVATIVE)
    axes.axvline(target, color=_GRAY, linewidth=1.0, linestyle=":", label=f"target y = {target:g}")


def _draw_schedule(axes: Any, schedule: Schedule) -> None:
    axes.set(xlim=(0.0, 1.0), ylim=(-0.03, 1.06), ylabel="factor")
    axes.set_xlabel("progress of training")
    progress = [step / _STEPS for step in range(_STEPS)]
    factors = [schedule(x) for x in progress]
    # The first line of each docstring describes the returned factor.
    described = (inspect.getdoc(schedule) or "").split("\n")[0].removeprefix("Return ")
    axes.plot(
        progress, factors, label=_typeset(described.replace("``", "").rstrip(".")), **_FUNCTION
    )
    if factors[0] == 1.0:  # the others start low themselves
        warmed = [f * warm_up(step, _WARM_UP) for step, f in enumerate(factors, start=1)]
        axes.plot(progress, warmed, label="with a warm-up over the first tenth", **_DERIVATIVE)


KINDS = {
    "activations": Kind(
        "activation",
        "Activation functions a = f(z) and their derivatives",
        ACTIVATIONS,
        _draw_activation,
    ),
    "losses": Kind(
        "loss",
        "Losses of one output (n = 1) for a fixed target, and their derivatives dL/da",
        LOSSES,
        _draw_loss,
    ),
    "schedules": Kind(
        "schedule",
        "Learning-rate schedules: factors of the learning rate",
        SCHEDULES,
        _draw_schedule,
    ),
}
"""The kinds of plot by name."""
