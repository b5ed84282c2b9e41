"""Charts: matplotlib's drawings as SVG elements in the colors and font of the page."""

from __future__ import annotations

import importlib
import io
import re
import warnings
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from backprop_xp.errors import ConfigurationError
from backprop_xp.formatting import printable

INK, LINE = "#010101", "#020202"
"""Placeholders for the page's colors of text and lines."""

SERIES = tuple(f"#0300{index:02x}" for index in range(8))
"""Placeholders for the page's colors of series; see `color`."""

DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 1.5, 1.5, 1.5)))

_VARIABLES = {
    INK: "var(--quiet)",
    LINE: "var(--line)",
    **{name: f"var(--series-{index})" for index, name in enumerate(SERIES)},
}

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text, for screen readers, search and the page's font
    "svg.hashsalt": "backprop_xp",
    "text.parse_math": False,  # a $ in a column name is a $
    "font.size": 9.0,
    "axes.unicode_minus": True,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


def color(index: int) -> str:
    """Return the color of a series by its index; the colors repeat after the last one."""
    return SERIES[index % len(SERIES)]


def dash(index: int) -> Any:
    """Return the dash pattern of a line by its index, so that lines differ by more than color."""
    return DASHES[index % len(DASHES)]


def need_libraries() -> None:
    """Raise an error with a hint if a library of the extra ``report`` is not installed."""
    try:
        importlib.import_module("jinja2")
        importlib.import_module("matplotlib.figure")
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        raise ConfigurationError(
            f"a report needs {library}, which is not installed",
            "pip install 'backprop-xp[report]'",
        ) from error


def draw(
    name: str,
    plot: Callable[[Any], object],
    *,
    label: str,
    size: tuple[float, float] = (5.0, 2.7),
    left: float = 0.62,
) -> str:
    """Return a chart, drawn by ``plot`` on matplotlib's axes, as an SVG element.

    The ids that it defines start with ``name``, which is unique on the page. ``label`` describes
    the chart for screen readers. ``size`` and the space ``left`` for labels are in inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    file = io.StringIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # ignore the user's style
        matplotlib.rcParams.update(_STYLE)
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has it
        figure = Figure(figsize=size)
        width, height = size
        figure.subplots_adjust(left / width, 0.46 / height, 1.0 - 0.12 / width, 1.0 - 0.08 / height)
        axes = figure.add_subplot()
        plot(axes)
        for text in (axes.xaxis.label, axes.yaxis.label, *axes.texts):
            text.set_text(printable(text.get_text()))  # XML has no control characters
        figure.savefig(file, format="svg", metadata={"Date": None})
    return _embedded(file.getvalue(), name, label)


def _embedded(document: str, name: str, label: str) -> str:
    """Return an SVG document as an element of a page: without metadata and styles, with ids that
    are unique on the page, and in the page's colors."""
    root = ElementTree.fromstring(document)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', document))
    for element in root.iter():
        element.tag = element.tag.partition("}")[2]
        attributes = {key.partition("}")[2] or key: v for key, v in element.attrib.items()}
        if attributes.get("id") not in used:
            attributes.pop("id", None)
        element.attrib.clear()
        element.attrib.update({key: _localized(key, v, name) for key, v in attributes.items()})
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update(
        {"class": "chart", "viewBox": box, "role": "img", "aria-label": printable(label)}
    )
    return ElementTree.tostring(root, encoding="unicode")


def _localized(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href" and not value.startswith("#"):
        return value  # an image, embedded in its address
    if key in ("href", "clip-path", "mask"):
        return value.replace("#", f"#{name}-")
    value = re.sub(r" ?font-family: [^;]*;", "", value)
    return re.sub(r"#[0-9a-f]{6}", lambda hit: _VARIABLES.get(hit[0], hit[0]), value)
