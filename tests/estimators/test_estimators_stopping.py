"""Validation rows, early stopping, callbacks and resumed training of the estimators."""

import numpy as np
import pytest
import sklearn
from estimator_case import LABELS, NUMBERS, SMALL, X, difference, weights_of
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

from backprop_xp.estimators import MLPClassifier, MLPRegressor
from backprop_xp.training import evaluation

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("by_parts", [False, True], ids=["fit", "partial_fit"])
def test_early_stopping_restores_the_best_weights_and_goes_on_from_the_last(by_parts):
    held_out = {"X_val": X[40:], "y_val": LABELS[::-1][40:]}  # labels that get worse and worse
    told = {**SMALL, "shuffle": False, "early_stopping": True, "n_iter_no_change": 30}
    model = MLPClassifier(max_iter=12, **told)
    plain = MLPClassifier(**SMALL, shuffle=False, max_iter=12).fit(X[:40], LABELS[:40])
    if by_parts:
        for _ in range(12):
            model.partial_fit(X[:40], LABELS[:40], classes=[0, 1, 2], **held_out)
    else:
        model.fit(X[:40], LABELS[:40], **held_out)
    scores = model.validation_scores_
    assert len(scores) == len(model.validation_loss_curve_) == 12
    best = int(np.argmax(scores))
    assert best < 11
    assert model.score(held_out["X_val"], held_out["y_val"]) == scores[best]
    short = MLPClassifier(**SMALL, shuffle=False, max_iter=best + 1).fit(X[:40], LABELS[:40])
    assert difference(model, short) == 0.0
    if not by_parts:
        return
    last = [layer.weights.T for layer in model._state.parameters]
    np.testing.assert_array_equal(last[0], plain.coefs_[0])
    model.partial_fit(X[:40], LABELS[:40], **held_out)
    plain.partial_fit(X[:40], LABELS[:40])
    np.testing.assert_array_equal(model._state.parameters[0].weights.T, plain.coefs_[0])
    assert model.loss_ == plain.loss_


def shown(model):
    return [w.copy() for w in weights_of(model)]


@pytest.mark.parametrize("how", ["lbfgs", "by hand", "in place"])
def test_after_early_stopping_a_warm_start_goes_on_from_weights_that_came_since(how):
    held_out = {"X_val": X[40:], "y_val": LABELS[::-1][40:]}
    model = MLPClassifier(**SMALL, early_stopping=True, warm_start=True, max_iter=12)
    model.fit(X[:40], LABELS[:40], **held_out)
    other = MLPClassifier(**SMALL, solver="lbfgs", max_iter=50).fit(X, LABELS)
    if how == "lbfgs":
        model.set_params(solver="lbfgs", max_iter=50).fit(X, LABELS)
    elif how == "by hand":
        model.coefs_, model.intercepts_ = other.coefs_, other.intercepts_
    else:
        for mine, theirs in zip(weights_of(model), weights_of(other), strict=True):
            mine[...] = theirs
    before = shown(model)
    model.set_params(solver="sgd", learning_rate_init=1e-9, max_iter=1)
    model.fit(X, LABELS, **held_out)
    for one, now in zip(before, weights_of(model), strict=True):
        np.testing.assert_allclose(one, now, atol=1e-7)


@pytest.mark.parametrize("how", ["by hand", "in place"])
def test_weights_that_come_between_calls_of_partial_fit_are_gone_on_from(how):
    held_out = {"X_val": X[:20], "y_val": X[:20, 2]}  # another task, which gets worse and worse
    model = MLPRegressor(**SMALL, early_stopping=True, solver="sgd")
    for _ in range(20):
        model.partial_fit(X, NUMBERS, **held_out)
    assert model._state.parameters  # others than those that are shown
    wanted = [p + 1.0 for p in weights_of(model)]
    if how == "by hand":
        model.coefs_, model.intercepts_ = [p.copy() for p in wanted[:2]], wanted[2:]
    else:
        for p in weights_of(model):
            p += 1.0
    model.set_params(solver="adam")
    model._eta = 1e-9
    model.partial_fit(X, NUMBERS, **held_out)
    for p, q in zip(wanted, weights_of(model), strict=True):
        np.testing.assert_allclose(p, q, atol=1e-8)


@pytest.mark.parametrize("incremental", [False, True])
def test_early_stopping_does_not_hold_a_model_to_other_data(incremental):
    told = {**SMALL, "early_stopping": True, "warm_start": True}
    model = MLPClassifier(max_iter=30, **told).fit(X, LABELS, X_val=X, y_val=LABELS)
    assert model.score(X, LABELS) > 0.8
    other = {"X_val": X, "y_val": (LABELS + 1) % 3}
    for _ in range(60):
        (model.partial_fit if incremental else model.fit)(X, other["y_val"], **other)
    assert model.score(X, other["y_val"]) > 0.7
    if incremental:
        assert model.score(X, other["y_val"]) == model.best_validation_score_


def test_a_warm_start_after_early_stopping_is_scikit_learns():
    told = {**SMALL, "early_stopping": True, "warm_start": True, "max_iter": 5}
    theirs, ours = neural_network.MLPClassifier(**told), MLPClassifier(**told)
    for labels in (LABELS, (LABELS + 1) % 3, LABELS):
        theirs.fit(X, labels)
        ours.fit(X, labels)
        assert difference(theirs, ours) <= 1e-10
        assert ours.validation_scores_ == theirs.validation_scores_


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(("kind", "y"), [(MLPClassifier, LABELS), (MLPRegressor, NUMBERS)])
def test_one_forward_pass_of_an_epoch_serves_loss_and_score(kind, y, early_stopping, monkeypatch):
    forward, passes = evaluation.forward, []

    def counted(network, parameters, x, **options):
        passes.append(len(x))
        return forward(network, parameters, x, **options)

    monkeypatch.setattr(evaluation, "forward", counted)
    model = kind(max_iter=4, early_stopping=early_stopping, **SMALL)
    model.fit(X, y, X_val=X[:9], y_val=y[:9])
    assert passes == [9] * model.n_iter_ == [9] * 4


def test_validation_rows_are_measured_without_early_stopping_too():
    model = MLPRegressor(max_iter=4, **SMALL).fit(X, NUMBERS, X_val=X[:9], y_val=NUMBERS[:9])
    residuals = model.predict(X[:9]) - NUMBERS[:9]
    assert model.validation_loss_curve_[-1] == pytest.approx(0.5 * np.mean(residuals**2))
    assert len(model.validation_loss_curve_) == 4
    assert model.validation_scores_ is None
    assert difference(model, MLPRegressor(max_iter=4, **SMALL).fit(X, NUMBERS)) == 0.0


def test_a_callback_is_told_of_the_start_and_of_each_epoch_and_may_stop():
    seen = []

    def callback(estimator, metrics):
        seen.append((metrics, estimator.predict(X).mean()))
        return metrics["epoch"] == 3

    model = MLPRegressor(callback=callback, max_iter=9, **SMALL)
    model.fit(X, NUMBERS, X_val=X[:9], y_val=NUMBERS[:9])
    assert [metrics["epoch"] for metrics, _ in seen] == [0, 1, 2, 3]
    assert model.n_iter_ == len(model.loss_curve_) == 3
    assert seen[0][0] == {"epoch": 0}
    assert set(seen[1][0]) == {
        *("epoch", "loss", "learning_rate", "seconds", "validation_loss", "validation_score")
    }
    assert [metrics["loss"] for metrics, _ in seen[1:]] == model.loss_curve_
    assert seen[3][1] == model.predict(X).mean() != seen[2][1]


@pytest.mark.parametrize("epoch", [0, 2])
def test_an_exception_of_a_callback_leaves_a_usable_model(epoch):
    def fail(estimator, metrics):
        if metrics["epoch"] == epoch:
            raise RuntimeError("the caller's own")

    model = MLPRegressor(callback=fail, max_iter=5, shuffle=False, **SMALL)
    with pytest.raises(RuntimeError, match="the caller's own"):
        model.fit(X, NUMBERS)
    whole = MLPRegressor(max_iter=epoch, shuffle=False, **SMALL).fit(X, NUMBERS)
    assert difference(model, whole) == 0.0
    model.set_params(callback=None)
    assert difference(model.partial_fit(X, NUMBERS), whole.partial_fit(X, NUMBERS)) == 0.0


def test_ctrl_c_is_a_warning_and_keeps_the_last_whole_epoch():
    def press(estimator, metrics):
        if metrics["epoch"] == 2:
            raise KeyboardInterrupt

    model = MLPRegressor(callback=press, max_iter=5, shuffle=False, **SMALL)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, NUMBERS)
    whole = MLPRegressor(max_iter=2, shuffle=False, **SMALL).fit(X, NUMBERS)
    assert difference(model, whole) == 0.0


def test_a_training_that_diverges_is_an_error_and_keeps_the_last_good_epoch():
    model = MLPRegressor(
        hidden_layer_sizes=(5,),
        activation="identity",
        solver="sgd",
        momentum=0.0,
        learning_rate_init=5.0,
        max_iter=500,
        random_state=0,
        tol=0.0,
        n_iter_no_change=np.inf,
    )
    with pytest.raises(ValueError, match=r"non-finite parameter weights.*lower the learning rate"):
        model.fit(X, NUMBERS)
    assert 0 < model.n_iter_ == len(model.loss_curve_) < 500
    assert all(np.isfinite(w).all() for w in weights_of(model))


def test_a_network_that_was_never_trained_can_predict():
    model = MLPClassifier(max_iter=0, random_state=0).fit(X, LABELS)
    assert model.n_iter_ == 0
    assert model.loss_curve_ == []
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)


@pytest.mark.parametrize("rate", [1.0, 1e200], ids=["late", "in the first epoch"])
def test_early_stopping_ends_a_training_that_diverges_without_an_error(rate):
    settings = {"solver": "sgd", "activation": "identity", "early_stopping": True}
    model = MLPRegressor(**{**SMALL, **settings, "learning_rate_init": rate}, max_iter=200)
    with pytest.warns(ConvergenceWarning, match=r"diverged: .* step \d+") as caught:
        model.fit(X * 5.0, NUMBERS)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert f"learning rate (it is {rate:g})" in str(caught[0].message)
    scores = model.validation_scores_
    assert np.isnan([scores[-1], model.loss_, model.loss_curve_[-1]]).all()
    assert len(scores) == len(model.loss_curve_) == len(model.validation_loss_curve_)
    assert model.n_iter_ == len(scores) < 200
    assert all(np.isfinite(w).all() for w in weights_of(model))
    if rate < 2.0:
        assert model.best_validation_score_ == np.nanmax(scores)
    assert ("the best epoch" if rate < 2.0 else "the initial ones") in str(caught[0].message)
    start = MLPRegressor(**{**SMALL, **settings, "max_iter": 0}).fit(X * 5.0, NUMBERS)
    assert (difference(model, start) == 0.0) == (rate > 2.0)


def test_a_class_too_small_to_hold_out_is_named_as_in_the_data():
    y = np.where(np.arange(len(X)) == 7, "rare", "usual")
    with pytest.raises(ValueError, match="only 1 member") as failure:
        MLPClassifier(early_stopping=True).fit(X, y)
    if tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 9):  # earlier: without the name
        assert "'rare'" in str(failure.value)
