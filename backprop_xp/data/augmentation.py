"""Data augmentation: random shifts, rotations, scalings, shears and distortions of images.

They are drawn anew in every step, from the counter-based generator, so they are the same on every
backend; images are changed on the device of the batch. Each image is sampled at displaced
positions, and is 0 outside of its borders.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

from backprop_xp.backend import random
from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.errors import ConfigurationError, look_up


class Augmentation(NamedTuple):
    """The largest changes of an image; amounts are drawn uniformly between minus and plus these.

    Attributes
    ----------
    shift : float
        Shift in pixels, horizontally and vertically.
    whole_pixels : bool
        Whether shifts are rounded to whole pixels, which avoids blurring.
    rotation : float
        Rotation about the center, in degrees.
    scaling : float
        Change in size, as a fraction: 0.1 for 90 to 110 %. Height and width are independent.
    shear : float
        Horizontal shift in pixels per pixel of height.
    elastic : float
        Standard deviation of the displacements of an elastic distortion, in pixels.
    smoothness : float
        Standard deviation of the Gaussian that smooths these displacements, in pixels.

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
"""Presets for handwritten digits of 28 x 28 pixels, too mild to confuse 6 and 9."""

_PRESET_HEIGHT = 28


def get_augmentation(
    augmentation: str | Augmentation, image_shape: tuple[int, int] | None = None
) -> Augmentation:
    """Return the preset with the given name, with its lengths scaled to the height of the images.

    An `Augmentation` is returned unchanged.

    Raises
    ------
    ConfigurationError
        If the name is unknown; the hint suggests the nearest one.

    Examples
    --------
    >>> get_augmentation("affine").shift, get_augmentation("affine", (14, 14)).shift
    (1.5, 0.75)
    """
    preset = look_up("augmentation", augmentation, AUGMENTATIONS, Augmentation)
    if preset is augmentation or image_shape is None or preset.whole_pixels:
        return preset
    factor = image_shape[0] / _PRESET_HEIGHT
    return preset._replace(
        shift=preset.shift * factor,
        elastic=preset.elastic * factor,
        smoothness=preset.smoothness * factor,
    )


def check_image_shape(image_shape: tuple[int, int] | None, n_inputs: int) -> tuple[int, int]:
    """Return the image shape, and raise a `ConfigurationError` for inputs without one."""
    if image_shape is None:
        raise ConfigurationError(
            "augment needs gray images (an array x of shape n, height, width); these are rows of "
            f"{n_inputs} numbers",
            "leave --augment out, or give the height and width of the images "
            "(in Python, image_shape)",
        )
    if image_shape[0] * image_shape[1] != n_inputs:
        raise ConfigurationError(
            f"data augmentation needs images, but the image shape of the {n_inputs} inputs is "
            f"{image_shape}",
            "turn it off, or give the height and width of the images",
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
    """Return randomly changed copies of a batch of images.

    Parameters
    ----------
    x : array, shape (batch, height * width)
        Not modified.
    image_shape : (int, int)
        Height and width.
    augmentation : Augmentation
    seed : int
    step : int, or integer array of shape ()
        The number of the step; with the seed, it determines the changes.
    xp, device
        The library and device of the batch.

    Returns
    -------
    array, shape (batch, height * width)

    Examples
    --------
    >>> import numpy as np
    >>> x = np.ones((1, 9))
    >>> augment(x, (3, 3), Augmentation(), seed=0, step=0, xp=np).tolist() == x.tolist()
    True
    """
    rows, columns = _positions(x, image_shape, augmentation, seed, step, xp, device)
    top, left = xp.floor(rows), xp.floor(columns)
    # The distances from the upper left one of the four pixels around a position, from 0 to 1.
    down, right = rows - top, columns - left
    result = _pixels(x, top, left, image_shape, xp)
    result *= (1.0 - down) * (1.0 - right)
    for y_step, x_step, weight in (
        (0.0, 1.0, (1.0 - down) * right),
        (1.0, 0.0, down * (1.0 - right)),
        (1.0, 1.0, down * right),
    ):
        result += _pixels(x, top + y_step, left + x_step, image_shape, xp) * weight
    return xp.reshape(result, x.shape)


def _pixels(
    x: Array, rows: Array, columns: Array, image_shape: tuple[int, int], xp: Namespace
) -> Array:
    """Return the pixels at integer positions, and 0 outside of the images."""
    height, width = image_shape
    inside = xp.logical_and(
        xp.logical_and(rows >= 0.0, rows < height), xp.logical_and(columns >= 0.0, columns < width)
    )
    n = x.shape[0]
    row = xp.astype(xp.clip(rows, 0.0, height - 1.0), xp.int32)
    column = xp.astype(xp.clip(columns, 0.0, width - 1.0), xp.int32)
    first = xp.arange(n, dtype=xp.int32, device=getattr(x, "device", None)) * (height * width)
    index = row * width + column + first[:, None, None]
    pixels = xp.take(xp.reshape(x, (-1,)), xp.reshape(index, (-1,)))
    return xp.reshape(pixels, rows.shape) * xp.astype(inside, x.dtype)


def _positions(
    x: Array,
    image_shape: tuple[int, int],
    augmentation: Augmentation,
    seed: int,
    step: Any,
    xp: Namespace,
    device: Any,
) -> tuple[Array, Array]:
    """Return the row and column at which each pixel is sampled, both (n, height, width)."""
    n, (height, width) = x.shape[0], image_shape

    def draws(stream: int, *shape: int) -> Array:
        key = random.key_of(seed, random.AUGMENTATION, stream)
        flat = random.uniform(key, math.prod(shape), step, xp=xp, dtype=x.dtype, device=device)
        return xp.reshape(flat, shape)

    grid = functools.partial(xp.arange, dtype=x.dtype, device=device)
    u = xp.reshape(grid(height), (1, height, 1)) - (height - 1) / 2  # down from the center
    v = xp.reshape(grid(width), (1, 1, width)) - (width - 1) / 2  # right from the center
    amounts = draws(0, 6, n, 1, 1)
    down, right = amounts[0, ...] * augmentation.shift, amounts[1, ...] * augmentation.shift
    if augmentation.whole_pixels:
        down, right = xp.round(down), xp.round(right)
    angle = amounts[2, ...] * math.radians(augmentation.rotation)
    cosine, sine = xp.cos(angle), xp.sin(angle)
    row_scale = 1.0 + amounts[3, ...] * augmentation.scaling
    column_scale = 1.0 + amounts[4, ...] * augmentation.scaling
    shear = amounts[5, ...] * augmentation.shear
    rows = (cosine * u - sine * v) * row_scale + ((height - 1) / 2 + down)
    columns = (sine * u + cosine * v) * column_scale + shear * u + ((width - 1) / 2 + right)
    if augmentation.elastic:
        vertical = _smooth(grid(height), augmentation.smoothness, xp)
        horizontal = _smooth(grid(width), augmentation.smoothness, xp)
        # Uniform draws from -1 to 1 have the variance 1/3, and smoothing preserves it.
        strength = augmentation.elastic * math.sqrt(3.0)
        noise = draws(1, 2, n, height, width)
        displacements = xp.matmul(xp.matmul(vertical, noise), horizontal) * strength
        rows, columns = rows + displacements[0, ...], columns + displacements[1, ...]
    return rows, columns


def _smooth(positions: Array, deviation: float, xp: Namespace) -> Array:
    """Return the symmetric matrix that smooths numbers at these positions by a Gaussian, scaled so
    that the variance of noise is preserved at the center of the line."""
    distance = positions[:, None] - positions[None, :]
    gaussian = xp.exp(distance * distance * (-0.5 / deviation**2))
    center = gaussian[positions.shape[0] // 2, ...]
    return gaussian / xp.sqrt(xp.sum(center * center))
