"""Metrics agree with those of scikit-learn."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backprop_xp.models.metrics import classification_metrics, regression_metrics


def sklearn_metrics():
    return pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")


def scored(seed, n=60, n_classes=4):
    """Return random labels, probabilities and predictions."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    scores = rng.random((n, n_classes)) + 0.6 * np.eye(n_classes)[y]
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    return y, probabilities, probabilities.argmax(axis=1)


# --- regression ---


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=20))
def test_figures_of_a_regression_are_those_of_scikit_learn(pairs):
    metrics = sklearn_metrics()
    y, predicted = (np.asarray(column)[:, None] for column in zip(*pairs, strict=True))
    found = regression_metrics(y, predicted, ["price"])
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, predicted))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, predicted))
    if found["r2"] is None:
        assert np.ptp(y) < 1e-100
    elif np.std(y) > 1e-3:
        assert found["r2"] == pytest.approx(metrics.r2_score(y, predicted), rel=1e-6, abs=1e-6)
    (target,) = found["targets"]
    assert target == {"name": "price", **{key: found[key] for key in ("r2", "mae", "rmse")}}


def test_each_target_has_its_own_figures():
    metrics = sklearn_metrics()
    rng = np.random.default_rng(0)
    y = rng.normal(size=(30, 2)) * [1, 1e6]
    predicted = y + rng.normal(size=(30, 2)) * [0.1, 1e5]
    found = regression_metrics(y, predicted, ["a", "b"])
    assert set(found) == {"targets"}
    assert [target["name"] for target in found["targets"]] == ["a", "b"]
    wanted = metrics.r2_score(y, predicted, multioutput="raw_values")
    assert [target["r2"] for target in found["targets"]] == pytest.approx(wanted.tolist())


def test_large_numbers_in_float32_do_not_spoil_the_figures():
    y = np.asarray([[1e8], [1e8 + 64], [1e8 + 128]], dtype=np.float32)
    found = regression_metrics(y, y + np.float32(64), ["year"])
    assert found["mae"] == found["rmse"] == 64
    assert found["r2"] == pytest.approx(-0.5)


def test_equal_targets_have_no_r2():
    assert regression_metrics(np.ones((3, 1)), np.zeros((3, 1)), ["a"])["r2"] is None


# --- classification ---


@pytest.mark.parametrize("seed", range(5))
def test_figures_of_classes_are_those_of_scikit_learn(seed):
    metrics = sklearn_metrics()
    y, probabilities, predicted = scored(seed)
    found = classification_metrics(y, predicted, probabilities, list("abcd"))
    assert found["confusion"] == metrics.confusion_matrix(y, predicted).tolist()
    precision, recall, f1, support = metrics.precision_recall_fscore_support(y, predicted)
    rows = found["classes"]
    assert [row["name"] for row in rows] == list("abcd")
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        assert [row[name] for row in rows] == pytest.approx(values.tolist())
    assert [row["support"] for row in rows] == support.tolist()
    truth = np.eye(4)[y]
    for average in ("macro", "weighted"):
        wanted = metrics.precision_recall_fscore_support(y, predicted, average=average)[:3]
        means = found[average]
        assert [means[name] for name in ("precision", "recall", "f1")] == pytest.approx(wanted)
        areas = {"multi_class": "ovr", "average": average}
        roc_auc = metrics.roc_auc_score(y, probabilities, **areas)
        assert means["roc_auc"] == pytest.approx(roc_auc)
        precision = metrics.average_precision_score(truth, probabilities, average=average)
        assert means["average_precision"] == pytest.approx(precision)


def test_a_single_output_is_the_probability_of_the_second_class():
    metrics = sklearn_metrics()
    y, probabilities, _ = scored(0, n_classes=2)
    second = probabilities[:, 1:]
    predicted = (second[:, 0] > 0.5).astype(int)
    one = classification_metrics(y, predicted, second, ["no", "yes"])
    both = classification_metrics(y, predicted, probabilities, ["no", "yes"])
    for row, same in zip(one["classes"], both["classes"], strict=True):
        assert row == pytest.approx(same)
    assert one["classes"][1]["roc_auc"] == pytest.approx(metrics.roc_auc_score(y, second[:, 0]))


def test_a_class_that_is_never_predicted_counts_as_0_as_in_scikit_learn():
    metrics = sklearn_metrics()
    y, predicted = np.asarray([0, 0, 1, 2]), np.asarray([0, 1, 1, 1])
    found = classification_metrics(y, predicted, np.eye(3)[predicted], list("abc"))
    assert found["classes"][2]["precision"] is None
    assert found["classes"][2]["f1"] == 0
    for average in ("macro", "weighted"):
        wanted = metrics.precision_recall_fscore_support(
            y, predicted, average=average, zero_division=0
        )
        means = found[average]
        assert [means[k] for k in ("precision", "recall", "f1")] == pytest.approx(wanted[:3])


def test_a_class_that_does_not_occur_is_not_averaged():
    y, predicted = np.asarray([0, 0, 1, 1]), np.asarray([0, 0, 1, 2])
    found = classification_metrics(y, predicted, np.eye(3)[predicted], list("abc"))
    absent = found["classes"][2]
    assert (absent["recall"], absent["roc_auc"], absent["support"]) == (None, None, 0)
    assert absent["precision"] == 0
    assert found["macro"]["recall"] == pytest.approx((1 + 0.5) / 2)


def test_rows_of_one_class_have_no_areas():
    y = np.zeros(3, dtype=int)
    found = classification_metrics(y, y, np.eye(2)[y], ["a", "b"])
    assert found["classes"][0]["roc_auc"] is found["macro"]["average_precision"] is None
    assert found["macro"]["recall"] == 1


def test_without_scikit_learn_there_are_no_areas(monkeypatch):
    y, probabilities, predicted = scored(0)
    wanted = classification_metrics(y, predicted, probabilities, list("abcd"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = classification_metrics(y, predicted, probabilities, list("abcd"))
    assert found["confusion"] == wanted["confusion"]
    for row, full in zip(found["classes"], wanted["classes"], strict=True):
        assert row == full | {"roc_auc": None, "average_precision": None}


def test_probabilities_that_are_not_finite_have_no_areas():
    y, probabilities, predicted = scored(0)
    probabilities[3, 1] = np.nan
    found = classification_metrics(y, predicted, probabilities, list("abcd"))
    assert found["classes"][1]["roc_auc"] is None
