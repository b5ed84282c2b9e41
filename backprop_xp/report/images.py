"""The images of a report: inputs, weights, large confusion matrices and decision boundaries."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import Array
from backprop_xp.models.model import Model
from backprop_xp.nn.metrics import classes_of
from backprop_xp.report.charts import INK, LINE, color, draw

UNITS = 64
"""The largest number of first-layer neurons that are shown."""

_POSITIVE, _NEGATIVE = (35, 118, 199), (214, 96, 20)
"""Blue and orange, which color-blind readers can tell apart, on light and dark backgrounds."""

_CLASSES = np.asarray(
    [
        *((35, 118, 199), (214, 96, 20), (20, 150, 110), (190, 90, 160)),
        *((90, 170, 220), (220, 165, 20), (120, 120, 120), (130, 90, 200)),
    ]
)
_MARKERS, _SIGNS = "os^Dv*PX", "●■▲◆▼★✚✖"
_GRID = 160


def png(pixels: Array) -> str:
    """Return an image of uint8, gray or red, green, blue and opacity, as a data URL."""
    from matplotlib.image import imsave

    if pixels.ndim == 2:
        pixels = np.stack([pixels, pixels, pixels, np.full_like(pixels, 255)], axis=-1)
    file = io.BytesIO()
    nothing: Any = {"Software": None}  # it would name a version and an address
    imsave(file, np.ascontiguousarray(pixels), format="png", metadata=nothing)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def input_images(rows: list[list[float]], shape: tuple[int, int]) -> list[str]:
    """Return rows of inputs as images on one scale, from white for the smallest to black."""
    values = np.asarray(rows, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    gray = 255.0 - (values - low) * (235.0 / (high - low or 1.0))
    return [png(row.reshape(shape).round().astype(np.uint8)) for row in gray]


def weight_images(model: Model) -> list[tuple[str, float, float]]:
    """Return the incoming weights of each first-layer neuron as an image, with the smallest and
    the largest of them: blue above 0, orange below 0, opaque for the largest of all."""
    weights = arrays.to_numpy(model.parameters[0].weights).astype(np.float64)[:UNITS]
    largest = float(np.quantile(np.abs(weights), 0.998)) or 1.0
    shown = []
    for row in weights:
        strength = np.minimum(np.abs(row) / largest, 1.0)
        colors = np.where(row[:, None] > 0.0, _POSITIVE, _NEGATIVE)
        pixels = np.concatenate([colors, 255.0 * strength[:, None]], axis=1).round()
        image = png(pixels.astype(np.uint8).reshape(*(model.image_shape or ()), 4))
        shown.append((image, float(row.min()), float(row.max())))
    return shown


def matrix_chart(matrix: list[list[int]], part: str) -> str:
    """Return a confusion matrix that is too large for a table as an image of the shares of each
    actual class."""
    counts = np.asarray(matrix, dtype=np.float64)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    n = len(matrix)
    pixels = np.empty((n, n, 4))
    pixels[..., :3] = np.where(np.eye(n, dtype=bool)[..., None], _POSITIVE, _NEGATIVE)
    pixels[..., 3] = 255.0 * np.sqrt(share)

    def plot(axes: Any) -> None:
        axes.imshow(pixels.astype(np.uint8), interpolation="nearest")
        axes.set_xlabel("predicted class, by its index")
        axes.set_ylabel("actual class")
        axes.grid(False)

    label = f"Confusion matrix of {n} classes on the {part} set, summarized in the table"
    return draw("matrix", plot, label=label, size=(5.0, 4.6))


def plane(
    model: Model, points: dict[str, Any], names: tuple[str, str]
) -> tuple[str, list[tuple[str, str, str]]]:
    """Draw the predictions of a model over the plane of its two inputs, with training rows; return
    the SVG element, and each class with its color and its marker."""
    inputs = np.asarray(points["inputs"], dtype=np.float64)
    targets = np.asarray(points["targets"])
    low, high = inputs.min(axis=0), inputs.max(axis=0)
    room = np.where(high > low, 0.08 * (high - low), 1.0)
    low, high = low - room, high + room
    steps = [np.linspace(low[k], high[k], _GRID) for k in (0, 1)]
    grid = np.stack(np.meshgrid(*steps), axis=-1).reshape(-1, 2)
    outputs = arrays.to_numpy(model.outputs(grid))
    extent = (low[0], high[0], low[1], high[1])

    def classes(axes: Any) -> None:
        taken = classes_of(outputs, xp=np)
        confidence = (
            np.max(outputs, axis=1) if outputs.shape[1] > 1 else np.abs(2.0 * outputs[:, 0] - 1)
        )
        opacity = 20.0 + 110.0 * np.clip(confidence, 0.0, 1.0)
        pixels = np.concatenate([_CLASSES[taken % len(_CLASSES)], opacity[:, None]], axis=1)
        shown = pixels.reshape(_GRID, _GRID, 4).astype(np.uint8)
        axes.imshow(shown, extent=extent, origin="lower", aspect="auto", interpolation="nearest")
        for k in np.unique(targets).tolist():
            axes.scatter(
                *inputs[targets == k].T,
                s=14,
                marker=_MARKERS[k % len(_MARKERS)],
                color=_css(k),
                edgecolors="white",
                linewidths=0.5,
            )

    def values(axes: Any) -> None:
        surface = outputs[:, 0].reshape(_GRID, _GRID)
        low, high = min(surface.min(), targets.min()), max(surface.max(), targets.max())
        scale: dict[str, Any] = {"vmin": float(low), "vmax": float(high), "cmap": "cividis"}
        shown = axes.imshow(
            surface, extent=extent, origin="lower", aspect="auto", alpha=0.85, **scale
        )
        axes.scatter(*inputs.T, c=targets, s=16, edgecolors="white", linewidths=0.6, **scale)
        axes.figure.subplots_adjust(right=0.98)
        axes.figure.colorbar(shown, ax=axes).outline.set_edgecolor(LINE)

    x, y = names
    draw_outputs, what = classes, "Predicted class"
    if model.classes is None:
        draw_outputs, what = values, "Output of the model"

    def plot(axes: Any) -> None:
        axes.grid(False)
        axes.set_xlabel(x[:60])
        axes.set_ylabel(y[:60])
        draw_outputs(axes)

    label = f"{what} over {x} (horizontal) and {y} (vertical)"
    legend = [
        (name, _css(k), _SIGNS[k % len(_SIGNS)]) for k, name in enumerate(model.classes or ())
    ]
    return draw("plane", plot, label=label, size=(6.4, 4.4), left=0.72), legend


def pairs_chart(pairs: list[list[list[float]]], output: int, deviation: float) -> str:
    """Draw predictions over targets, for one output of a regression."""
    drawn = np.asarray([row[output] for row in pairs], dtype=np.float64)
    drawn = drawn[np.isfinite(drawn).all(axis=1)]

    def plot(axes: Any) -> None:
        from matplotlib.ticker import FuncFormatter

        if len(drawn):
            ends = [float(drawn.min()), float(drawn.max())]
            axes.plot(ends, ends, color=INK, linewidth=1.0, linestyle="dashed")
        axes.scatter(drawn[:, 0], drawn[:, 1], s=12, color=color(0), alpha=0.55, linewidths=0)
        axes.locator_params(nbins=5)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        axes.set_xlabel("target")
        axes.set_ylabel("prediction")

    label = (
        f"Predictions over targets of {len(drawn)} rows; the standard deviation of the targets is "
        f"{deviation:.4g}, and a perfect prediction lies on the dashed line"
    )
    return draw(f"pairs-{output}", plot, label=label, size=(5.0, 3.8), left=0.9)


def _css(index: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*_CLASSES[index % len(_CLASSES)].tolist())
