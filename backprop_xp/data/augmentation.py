"""Data augmentation: images shifted, turned, scaled, sheared and warped anew in every step.

All draws come from the counter-based generator, so they are the same on every backend, and the
work is done where the batch is. The image is sampled at displaced places; what lies outside of
it is 0.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

from backprop_xp.backend import random
from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.errors import ConfigurationError, look_up


class Augmentation(NamedTuple):
    """How far images are changed; every amount is drawn evenly between minus and plus.

    Attributes
    ----------
    shift : float
        In pixels, in both directions.
    whole_pixels : bool
        Whether shifts are rounded to whole pixels, so that nothing is blurred.
    rotation : float
        In degrees, about the middle.
    scaling : float
        As a fraction: 0.1 for sizes from 90 to 110 %, for height and width apart.
    shear : float
        Pixels sideways for each pixel upward.
    elastic : float
        Strength of the elastic distortion in pixels: the standard deviation of the displacement.
    smoothness : float
        Standard deviation in pixels of the Gaussian that smooths the displacement.

    Source of the elastic distortion: Simard, Steinkraus and Platt (2003), "Best practices for
    convolutional neural networks applied to visual document analysis".
    """

    shift: float = 0.0
    whole_pixels: bool = False
    rotation: float = 0.0
    scaling: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    smoothness: float = 4.0


AUGMENTATIONS: dict[str, Augmentation] = {
    "shift": Augmentation(shift=1.0, whole_pixels=True),
    "affine": Augmentation(shift=1.5, rotation=10.0, scaling=0.1, shear=0.1),
    "digits": Augmentation(shift=1.5, rotation=10.0, scaling=0.12, shear=0.12, elastic=1.2),
}
"""Presets for handwritten digits of 28 by 28 pixels, mild enough for 6 and 9 to stay apart."""

_PRESET_HEIGHT = 28


def get_augmentation(
    augmentation: str | Augmentation, image_shape: tuple[int, int] | None = None
) -> Augmentation:
    """Return the preset of that name, its lengths scaled to the height of the images.

    An `Augmentation` of one's own is returned as it is.

    Raises
    ------
    ConfigurationError
        If there is none of that name; the message suggests the nearest.

    Examples
    --------
    >>> get_augmentation("affine").shift, get_augmentation("affine", (14, 14)).shift
    (1.5, 0.75)
    """
    if isinstance(augmentation, Augmentation):
        return augmentation
    preset = look_up("augmentation", augmentation, AUGMENTATIONS)
    if image_shape is None or preset.whole_pixels:
        return preset
    factor = image_shape[0] / _PRESET_HEIGHT
    return preset._replace(
        shift=preset.shift * factor,
        elastic=preset.elastic * factor,
        smoothness=preset.smoothness * factor,
    )


def check_image_shape(image_shape: tuple[int, int] | None, n_inputs: int) -> tuple[int, int]:
    """Refuse to augment inputs that are not images.

    Raises
    ------
    ConfigurationError
    """
    if image_shape is None or image_shape[0] * image_shape[1] != n_inputs:
        raise ConfigurationError(
            f"data augmentation needs images, and {n_inputs} inputs of the shape {image_shape} "
            "are none",
            "leave it out, or give the height and width of the images",
        )
    return image_shape


def augment(
    x: Array,
    image_shape: tuple[int, int],
    augmentation: Augmentation,
    seed: int,
    step: Any,
    *,
    xp: Namespace,
    device: Any = None,
) -> Array:
    """Return changed copies of a batch of images.

    Parameters
    ----------
    x : array, shape (batch, height * width)
        Not changed.
    image_shape : (int, int)
        Height and width.
    augmentation : Augmentation
    seed : int
    step : int, or integer array of shape ()
        The number of the step, from which the draws follow.
    xp, device
        Where the batch is.

    Returns
    -------
    array, of the shape of ``x``

    Examples
    --------
    >>> import numpy as np
    >>> x = np.ones((1, 9))
    >>> augment(x, (3, 3), Augmentation(), seed=0, step=0, xp=np).tolist() == x.tolist()
    True
    """
    n, (height, width) = x.shape[0], image_shape
    rows, columns = _places(x, n, image_shape, augmentation, seed, step, xp, device)
    top, left = xp.floor(rows), xp.floor(columns)
    down, right = rows - top, columns - left  # how far between two pixels, (n, height, width)
    result = _pixels(x, top, left, height, width, xp)
    result *= (1.0 - down) * (1.0 - right)
    for y_step, x_step, weight in (
        (0.0, 1.0, (1.0 - down) * right),
        (1.0, 0.0, down * (1.0 - right)),
        (1.0, 1.0, down * right),
    ):
        result += _pixels(x, top + y_step, left + x_step, height, width, xp) * weight
    return xp.reshape(result, x.shape)


def _pixels(x: Array, rows: Array, columns: Array, height: int, width: int, xp: Namespace) -> Array:
    """Return the pixels at whole places, and 0 outside of the images."""
    inside = xp.logical_and(
        xp.logical_and(rows >= 0.0, rows < height), xp.logical_and(columns >= 0.0, columns < width)
    )
    n = x.shape[0]
    row = xp.astype(xp.clip(rows, 0.0, height - 1.0), xp.int32)
    column = xp.astype(xp.clip(columns, 0.0, width - 1.0), xp.int32)
    first = xp.arange(n, dtype=xp.int32, device=getattr(x, "device", None)) * (height * width)
    places = row * width + column + first[:, None, None]
    found = xp.take(xp.reshape(x, (-1,)), xp.reshape(places, (-1,)))
    return xp.reshape(found, rows.shape) * xp.astype(inside, x.dtype)


def _places(
    x: Array,
    n: int,
    image_shape: tuple[int, int],
    augmentation: Augmentation,
    seed: int,
    step: Any,
    xp: Namespace,
    device: Any,
) -> tuple[Array, Array]:
    """Return the row and the column at which each pixel of each image is sampled."""
    height, width = image_shape

    def draws(stream: int, *shape: int) -> Array:
        key = random.key_of(seed, random.AUGMENTATION, stream)
        flat = random.uniform(key, math.prod(shape), step, xp=xp, dtype=x.dtype, device=device)
        return xp.reshape(flat, shape)

    grid = functools.partial(xp.arange, dtype=x.dtype, device=device)
    u = xp.reshape(grid(height), (1, height, 1)) - (height - 1) / 2  # from the middle, downward
    v = xp.reshape(grid(width), (1, 1, width)) - (width - 1) / 2  # and to the right
    amounts = draws(0, 6, n, 1, 1)
    down, right = amounts[0, ...] * augmentation.shift, amounts[1, ...] * augmentation.shift
    if augmentation.whole_pixels:
        down, right = xp.round(down), xp.round(right)
    angle = amounts[2, ...] * math.radians(augmentation.rotation)
    cosine, sine = xp.cos(angle), xp.sin(angle)
    tall = 1.0 + amounts[3, ...] * augmentation.scaling
    wide = 1.0 + amounts[4, ...] * augmentation.scaling
    slant = amounts[5, ...] * augmentation.shear
    rows = (cosine * u - sine * v) * tall + ((height - 1) / 2 + down)
    columns = (sine * u + cosine * v) * wide + slant * u + ((width - 1) / 2 + right)
    if augmentation.elastic:
        vertical, horizontal = (
            _smooth(height, augmentation.smoothness, x, xp, device),
            _smooth(width, augmentation.smoothness, x, xp, device),
        )
        # Even draws have the variance 1/3, and the smoothing keeps it.
        strength = augmentation.elastic * math.sqrt(3.0)
        noise = draws(1, 2, n, height, width)
        fields = xp.matmul(xp.matmul(vertical, noise), horizontal) * strength
        rows, columns = rows + fields[0, ...], columns + fields[1, ...]
    return rows, columns


def _smooth(n: int, deviation: float, x: Array, xp: Namespace, device: Any) -> Array:
    """Return the symmetric matrix that smooths a line of ``n`` numbers by a Gaussian, scaled so
    that noise keeps its variance in the middle of the line."""
    places = xp.arange(n, dtype=x.dtype, device=device)
    distance = places[:, None] - places[None, :]
    bell = xp.exp(distance * distance * (-0.5 / deviation**2))
    middle = bell[n // 2, ...]
    return bell / xp.sqrt(xp.sum(middle * middle))
