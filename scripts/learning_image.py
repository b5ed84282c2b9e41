"""Draw the image in the README: a network while it learns to tell two spirals apart.

python scripts/learning_image.py scripts/images/learning.png
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from PIL import Image

from backprop_xp import Network, fit, initial_parameters, predict

EPOCHS = (0, 10, 30, 60, 200)
BLUE, ORANGE, GRAY = "#2a6fbb", "#e07b1f", "#5b6470"


def spirals(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return points of two spirals, shape (2 n, 2), and which one each belongs to."""
    t = np.sqrt(rng.uniform(0.03, 1.0, 2 * n))
    labels = np.arange(2 * n) % 2
    angle = 3.5 * np.pi * t + np.pi * labels
    points = t[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points + rng.normal(0.0, 0.02, points.shape), labels


def main() -> None:
    """Train the network and draw its output on the plane after some epochs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the PNG file to write")
    out = parser.parse_args().out
    rng = np.random.default_rng(1)
    train, validation = spirals(200, rng), spirals(200, rng)
    network = Network((2, 32, 32, 2), ("silu", "silu", "softmax"))
    axis = np.linspace(-1.2, 1.2, 160)
    plane = np.stack([one.ravel() for one in np.meshgrid(axis, axis)], axis=1)
    parameters = initial_parameters(network, seed=0, xp=np, dtype=np.float64)
    shown = {0: predict(network, parameters, plane)[:, 1]}

    def look(state) -> None:
        if state.epoch in EPOCHS:
            shown[state.epoch] = predict(network, state.parameters, plane)[:, 1]

    state = fit(
        network,
        train,
        validation,
        parameters=parameters,
        epochs=EPOCHS[-1],
        batch_size=20,
        learning_rate=0.003,
        seed=0,
        on_epoch=look,
    )
    accuracies = {record["epoch"]: record["validation_accuracy"] for record in state.history}
    plt.rcParams.update({"font.size": 9, "text.color": GRAY, "axes.edgecolor": "#c8ccd2"})
    widths = [1.0] * len(EPOCHS) + [1.25]
    figure, places = plt.subplots(1, len(widths), figsize=(11.0, 2.0), width_ratios=widths)
    colors = LinearSegmentedColormap.from_list("classes", ["#8db8e6", "#f7f7f5", "#f4b983"])
    x, labels = train
    for place, epoch in zip(places, EPOCHS, strict=False):
        place.imshow(
            shown[epoch].reshape(len(axis), -1),
            origin="lower",
            extent=(-1.2, 1.2) * 2,
            cmap=colors,
            vmin=0.0,
            vmax=1.0,
        )
        for label, color in ((0, BLUE), (1, ORANGE)):
            place.scatter(*x[labels == label].T, s=3, color=color, linewidths=0)
        words = f"epoch {epoch}: {accuracies[epoch]:.0%}" if epoch else "before training"
        place.set_title(words, fontsize=10)
        place.set(xticks=[], yticks=[])
    curves = places[-1]
    for name, color, words in (
        ("loss", GRAY, "training"),
        ("validation_loss", "#b03a6b", "validation"),
    ):
        losses = [record[name] for record in state.history]
        curves.plot(range(1, len(losses) + 1), losses, color=color, linewidth=1.2, label=words)
    curves.set_title("loss by epoch", fontsize=10)
    curves.tick_params(colors=GRAY, labelsize=8)
    curves.legend(frameon=False, fontsize=8)
    curves.spines[["top", "right"]].set_visible(False)
    figure.tight_layout(pad=0.5, w_pad=0.8)
    figure.savefig(out, dpi=110, facecolor="white")
    with Image.open(out) as image:
        image.convert("RGB").quantize(128).save(out, optimize=True)  # a third of the size
    print(f"{out}: {out.stat().st_size // 1000} kB")


main()
