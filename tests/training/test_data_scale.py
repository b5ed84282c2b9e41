"""Data far from unit scale: who warns of it, when, and what it says."""

import warnings

import numpy as np
import pytest

from backprop_xp import DivergenceError, Network, find_learning_rate, fit, huber
from backprop_xp.backend.devices import placement_of
from backprop_xp.data.fingerprint import SAMPLE_ROWS
from backprop_xp.estimators import MLPClassifier, MLPRegressor
from backprop_xp.training.settings import TrainingSettings
from backprop_xp.training.training_data import TrainingData

X = np.random.default_rng(0).normal(size=(60, 3))
LABELS = np.arange(60) % 2
PRICES = 1e5 * (2.0 + X[:, :1])
CLASSIFIER = Network((3, 4, 2), ("tanh", "softmax"))
REGRESSOR = Network((3, 4, 1), ("tanh", "identity"))
SETTINGS = {"epochs": 2, "seed": 0}


def warned(call):
    """Return the text of all warnings of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert all(warning.category is UserWarning for warning in caught)
    assert all(warning.filename == __file__ for warning in caught)
    return [str(warning.message) for warning in caught]


def test_inputs_far_from_unit_scale_are_warned_of_once(library):
    x = library.array(X * [1.0, 50.0, 1.0])
    (text,) = warned(lambda: fit(CLASSIFIER, (x, library.array(LABELS, "index")), **SETTINGS))
    assert text.startswith("the inputs of column 1 have a root mean square of 4")
    assert "subtract the mean and divide by the standard deviation" in text


@pytest.mark.parametrize(
    ("factor", "far"), [(5e-3, True), (0.02, False), (1.0, False), (8.0, False), (20.0, True)]
)
def test_the_bounds_are_a_hundredth_and_ten(factor, far):
    x = factor * X / np.sqrt(np.mean(X * X, axis=0))
    assert bool(warned(lambda: fit(CLASSIFIER, (x, LABELS), **SETTINGS))) is far


def test_one_column_near_1_is_enough_for_small_ones():
    x = X * [1.0, 1e-6, 0.0]
    assert warned(lambda: fit(CLASSIFIER, (x, LABELS), **SETTINGS)) == []


def test_images_of_bytes_are_warned_of():
    x = np.random.default_rng(0).integers(0, 256, (60, 3), dtype=np.uint8)
    (text,) = warned(lambda: fit(CLASSIFIER, (x, LABELS), **SETTINGS))
    assert "divide images by their largest value" in text


def test_targets_of_a_regression_are_part_of_the_same_warning():
    (text,) = warned(lambda: fit(REGRESSOR, (100.0 * X, PRICES), **SETTINGS))
    assert text.startswith("the inputs of column")
    assert "; the targets have a mean of 1." in text
    assert "standardize them" in text
    for loss in ("mean_absolute_error", huber(2.0)):
        assert warned(lambda loss=loss: fit(REGRESSOR, (X, PRICES), loss=loss, **SETTINGS))


def test_counts_and_classes_are_not_to_be_standardized():
    rates = Network((3, 4, 1), ("tanh", "exp"))
    counts = np.full((60, 1), 40.0)
    assert warned(lambda: fit(rates, (X, counts), loss="poisson", **SETTINGS)) == []
    many = Network((3, 20_000), "identity")  # whose one-hot targets are nearly all 0
    assert warned(lambda: fit(many, (X, LABELS), **SETTINGS)) == []


def test_without_diagnostics_there_is_no_warning():
    assert warned(lambda: fit(CLASSIFIER, (100.0 * X, LABELS), **SETTINGS, diagnostics=False)) == []


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_do_not_warn_as_scikit_learn_does_not():
    for solver in ("adam", "lbfgs"):
        settings = {"solver": solver, "max_iter": 2, "random_state": 0}
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "the (inputs|targets)")
            MLPClassifier(**settings).fit(100.0 * X, LABELS)
            MLPRegressor(**settings).fit(100.0 * X, PRICES[:, 0])


def test_a_sample_of_all_rows_is_measured():
    x = np.zeros((50_000, 2))
    x[-25_000:, 1] = 3.0
    y = np.zeros((50_000, 1))
    place = placement_of(x)
    data = TrainingData.of(Network((2, 1), "identity"), TrainingSettings(), place, (x, y))
    measured = data.scale()
    assert (measured.input_column, measured.inputs) == (1, pytest.approx(3.0 / 2**0.5, rel=1e-2))
    assert SAMPLE_ROWS == 1000


def test_a_file_is_measured_by_a_sample(tmp_path, monkeypatch):
    monkeypatch.setattr("backprop_xp.data.streaming.CHUNK_BYTES", 240)
    np.save(tmp_path / "x.npy", (X * 100.0).astype(np.float32))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    (text,) = warned(lambda: fit(CLASSIFIER, (x, LABELS), **SETTINGS))
    assert "inputs of column" in text


@pytest.mark.parametrize(
    ("inputs", "targets", "said"),
    [
        (1.0, 1e6, ["the targets have a mean of"]),
        (1e6, 1.0, ["the inputs of column"]),
        (1e6, 1e6, ["the inputs of column", "the targets have a mean of"]),
        (1.0, 1.0, []),
    ],
)
def test_the_hint_of_a_divergence_names_what_is_far_from_unit_scale(inputs, targets, said):
    data = inputs * X, targets * (2.0 + X[:, :1])
    settings = {"optimizer": "sgd", "learning_rate": 1e4, "epochs": 50, "diagnostics": False}
    with pytest.raises(DivergenceError) as failure:
        fit(REGRESSOR, data, seed=0, **settings)
    hint = failure.value.hint
    assert "lower the learning rate (it is 10000)" in hint
    for text in ("the inputs of column", "the targets have a mean of"):
        assert (text in hint) == (text in said)


def test_the_learning_rate_finder_names_unscaled_targets():
    found = find_learning_rate(REGRESSOR, (X, PRICES), seed=0)
    assert found.suggestion is None
    assert found.reason.startswith("the loss never fell clearly; the targets have a mean of")
    assert "standardize them" in found.reason


def test_the_learning_rate_finder_warns_where_it_has_a_suggestion():
    call = lambda: find_learning_rate(CLASSIFIER, (15.0 * X, LABELS * 0 + (X[:, 0] > 0)), seed=0)  # noqa: E731
    assert len(warned(call)) == 1
