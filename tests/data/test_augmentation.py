"""Data augmentation: positions of pixels, the same draws on every backend, training rows only."""

import math

import numpy as np
import pytest
from helpers import bytes_of, error

from backprop_xp.backend import random
from backprop_xp.data import augmentation
from backprop_xp.data.augmentation import AUGMENTATIONS, Augmentation, augment, get_augmentation
from backprop_xp.errors import ConfigurationError
from backprop_xp.nn.network import Network
from backprop_xp.training import step
from backprop_xp.training.fit import fit

SHAPE = (9, 7)
X = np.random.default_rng(0).random((5, 63))


def augmented(amounts, monkeypatch, **options):
    """Return an image augmented with the given draws: shifts down and right, angle, height, width,
    shear."""
    monkeypatch.setattr(
        random, "uniform", lambda key, n, step, *, xp, dtype, device: np.asarray(amounts, dtype)
    )
    return augment(X[:1], SHAPE, Augmentation(**options), 0, 0, xp=np).reshape(SHAPE)


IMAGE = X[0].reshape(SHAPE)


@pytest.mark.parametrize(("down", "right"), [(1, 0), (-2, 0), (0, 1), (0, -3), (2, -1)])
def test_a_shift_moves_every_pixel_and_leaves_zeros_behind(monkeypatch, down, right):
    # The sampled position moves, so the image moves the other way.
    got = augmented((-down / 4, -right / 4, 0, 0, 0, 0), monkeypatch, shift=4.0)
    wanted = np.zeros(SHAPE)
    rows, columns = np.indices(SHAPE)
    inside = (rows - down >= 0) & (rows - down < 9) & (columns - right >= 0) & (columns - right < 7)
    wanted[inside] = IMAGE[rows[inside] - down, columns[inside] - right]
    assert np.max(np.abs(got - wanted)) < 1e-12


def test_half_a_pixel_is_the_mean_of_both_neighbours(monkeypatch):
    got = augmented((0, 1, 0, 0, 0, 0), monkeypatch, shift=0.5)
    wanted = (IMAGE + np.pad(IMAGE, ((0, 0), (0, 1)))[:, 1:]) / 2
    assert np.max(np.abs(got - wanted)) < 1e-12


def test_half_a_turn_turns_the_picture_over(monkeypatch):
    got = augmented((0, 0, 1, 0, 0, 0), monkeypatch, rotation=180.0)
    assert np.max(np.abs(got - IMAGE[::-1, ::-1])) < 1e-12


def test_scaling_is_about_the_middle(monkeypatch):
    got = augmented((0, 0, 0, 1, 1, 0), monkeypatch, scaling=1.0)  # every second pixel is sampled
    assert np.max(np.abs(got[2:7, 2:5] - IMAGE[0:9:2, 1:6:2])) < 1e-12
    assert got[0].max() == 0.0


def test_shear_moves_rows_sideways_by_their_distance_from_the_middle(monkeypatch):
    got = augmented((0, 0, 0, 0, 0, 1), monkeypatch, shear=1.0)
    assert np.array_equal(got[4], IMAGE[4])
    assert np.max(np.abs(got[5, :-1] - IMAGE[5, 1:])) < 1e-12


def test_elastic_displacements_have_the_strength_that_was_asked_for_and_are_smooth():
    shape, n = (40, 40), 60
    rows, columns = augmentation._positions(
        np.zeros((n, 1600)), shape, Augmentation(elastic=2.0, smoothness=3.0), 1, 0, np, None
    )
    for positions, pixels in zip((rows, columns), np.indices(shape, dtype=float), strict=True):
        moved = (positions - pixels)[:, 10:30, 10:30]
        assert abs(moved.std() / 2.0 - 1.0) < 0.15
        assert abs(moved.mean()) < 0.2
        # A Gaussian of deviation s correlates neighbors by exp(-1 / 4 s²).
        correlation = np.mean(moved[:, 1:] * moved[:, :-1]) / np.mean(moved**2)
        assert abs(correlation - math.exp(-1 / 36)) < 0.02


def test_nothing_asked_for_changes_nothing():
    assert np.array_equal(augment(X, SHAPE, Augmentation(), 3, 5, xp=np), X)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_pictures_are_changed_alike_on_every_backend(backend, dtype, name):
    options = {"xp": backend.xp, "device": backend.placement.device}
    x, preset = backend.array(X, dtype), get_augmentation(name, SHAPE)
    got = backend.jit(lambda step: augment(x, SHAPE, preset, 3, step, **options))(5)
    wanted = augment(X, SHAPE, preset, 3, 5, xp=np)
    # Positions near 10 are rounded to 1e-6 in float32, and neighboring pixels differ by up to 1.
    assert error(got, wanted, size=1.0) < {"float32": 2e-5, "float64": 1e-12}[dtype]
    assert np.abs(backend.numpy(got) - X).max() > 0.1


def test_uniform_draws_are_the_same_bits_everywhere(backend, dtype):
    options = {"dtype": backend.dtype(dtype), "xp": backend.xp, "device": backend.placement.device}
    got = backend.numpy(backend.jit(lambda step: random.uniform((1, 2), 999, step, **options))(7))
    assert got.tobytes() == random.uniform((1, 2), 999, 7, xp=np, dtype=got.dtype).tobytes()


def test_every_step_draws_anew_and_the_seed_decides():
    def image_bytes(seed, step):
        return augment(X, SHAPE, AUGMENTATIONS["affine"], seed, step, xp=np).tobytes()

    assert image_bytes(0, 1) == image_bytes(0, 1)
    assert len({image_bytes(0, 1), image_bytes(0, 2), image_bytes(1, 1)}) == 3


def test_presets_scale_with_the_pictures_but_whole_pixels_stay_whole():
    digits, half = get_augmentation("digits"), get_augmentation("digits", (14, 14))
    assert (half.shift, half.elastic) == (digits.shift / 2, digits.elastic / 2)
    assert half.smoothness == digits.smoothness / 2
    assert half.rotation == digits.rotation
    assert get_augmentation("shift", (14, 14)) == get_augmentation("shift")


LABELS = np.asarray([0, 1, 0, 1, 1])
NETWORK = Network((63, 4, 2), ("tanh", "softmax"))


def test_only_training_rows_are_augmented(monkeypatch):
    batch_sizes = []

    def spy(x, *rest, **options):
        batch_sizes.append(len(x))
        return augment(x, *rest, **options)

    monkeypatch.setattr(step, "augment", spy)
    held_out = (X[:3], LABELS[:3])
    settings = {"augment": "affine", "image_shape": SHAPE, "batch_size": 2, "epochs": 2}
    state = fit(NETWORK, (X, LABELS), held_out, diagnostics=False, **settings)
    assert batch_sizes == [2, 2, 1] * 2  # neither the validation set nor the measured training set
    assert "validation_loss" in state.history[-1]


def test_training_with_augmentation_is_the_same_everywhere(library):
    settings = {"augment": "digits", "image_shape": SHAPE, "batch_size": 2, "epochs": 3, "seed": 0}
    wanted = fit(NETWORK, (X, LABELS), dtype="float64", **settings)
    got = fit(NETWORK, (X, LABELS), dtype="float64", device=library.placement, **settings)
    assert error(got.parameters[0].weights, wanted.parameters[0].weights) < 1e-12
    assert bytes_of(wanted.parameters) != bytes_of(
        fit(NETWORK, (X, LABELS), dtype="float64", **{**settings, "augment": None}).parameters
    )


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (None, "augment needs gray images .*; these are rows of 63 numbers"),
        ((9, 9), "needs images, but the image shape of the 63 inputs is"),
    ],
)
def test_what_is_no_picture_is_not_augmented(shape, said):
    with pytest.raises(ConfigurationError, match=said):
        fit(NETWORK, (X, LABELS), augment="affine", image_shape=shape)


def test_an_unknown_augmentation_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match="unknown augmentation 'afine'") as caught:
        fit(NETWORK, (X, LABELS), augment="afine", image_shape=SHAPE)
    assert "did you mean 'affine'" in caught.value.hint
