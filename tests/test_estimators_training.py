"""What the estimators train besides scikit-learn's: going on, stopping, and all that is ours."""

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.base import clone

from backprop_xp.activations import elementwise
from backprop_xp.estimators import MLPClassifier, MLPRegressor
from backprop_xp.losses import LOSSES, huber, quantile
from backprop_xp.network import Layer, Network
from backprop_xp.optimizers import OPTIMIZERS, rmsprop
from backprop_xp.schedules import SCHEDULES
from backprop_xp.training import fit as core_fit

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
N = 60
X = RNG.normal(size=(N, 5))
LABELS = np.argmax(X[:, :3], axis=1)
NUMBERS = X[:, 0] * 2.0 - X[:, 1] ** 2
SMALL = {"hidden_layer_sizes": (8,), "random_state": 0, "learning_rate_init": 0.02}


def weights_of(model):
    return [*model.coefs_, *model.intercepts_]


def difference(one, other):
    pairs = zip(weights_of(one), weights_of(other), strict=True)
    return max(float(np.max(np.abs(a - b))) for a, b in pairs)


def slots_difference(one, other):
    pairs = zip(one._state.slots, other._state.slots, strict=True)
    return max(float(np.max(np.abs(a - b))) for x, y in pairs for a, b in zip(x, y, strict=True))


# --- going on ----------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["sgd", "adam", "rmsprop", "adamw"])
@pytest.mark.parametrize("weights", [None, RNG.uniform(0.5, 2.0, N)], ids=["even", "weighted"])
def test_partial_fit_over_the_batches_of_an_epoch_is_fit(solver, weights):
    told = {**SMALL, "solver": solver, "alpha": 0.1}
    whole = MLPClassifier(max_iter=3, batch_size=16, shuffle=False, **told)
    whole.fit(X, LABELS, sample_weight=weights)
    pieces = MLPClassifier(**told)
    for _ in range(3):
        for start in range(0, N, 16):
            rows = slice(start, start + 16)
            part = None if weights is None else weights[rows]
            pieces.partial_fit(X[rows], LABELS[rows], sample_weight=part, classes=[0, 1, 2])
    assert difference(whole, pieces) <= 1e-14
    assert slots_difference(whole, pieces) <= 1e-14
    assert pieces._state.step == whole._state.step == 12
    assert pieces.t_ == whole.t_ == 3 * N


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_weight_2_is_the_row_twice_and_weight_0_no_row(estimator):
    y = LABELS if estimator is MLPClassifier else NUMBERS
    counts = np.arange(N) % 3
    told = {**SMALL, "batch_size": 2 * N, "max_iter": 30, "alpha": 0.5}
    with pytest.warns(UserWarning, match="batch_size"):
        weighted = estimator(**told).fit(X, y, sample_weight=counts)
    with pytest.warns(UserWarning, match="batch_size"):
        repeated = estimator(**told).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    assert difference(weighted, repeated) <= 1e-12
    assert weighted.loss_curve_ == pytest.approx(repeated.loss_curve_, abs=1e-12)


def test_a_batch_of_rows_of_weight_0_alone_does_no_harm():
    weights = np.repeat([0.0, 1.0], N // 2)
    model = MLPRegressor(batch_size=10, shuffle=False, max_iter=2, **SMALL)
    model.fit(X, NUMBERS, sample_weight=weights)
    rest = MLPRegressor(batch_size=10, shuffle=False, max_iter=2, **SMALL)
    assert difference(model, rest.fit(X[N // 2 :], NUMBERS[N // 2 :])) <= 1e-14


def test_a_warm_start_keeps_the_state_of_the_optimizer():
    told = {**SMALL, "shuffle": False, "tol": 0.0}
    whole = MLPRegressor(max_iter=10, **told).fit(X, NUMBERS)
    halves = MLPRegressor(max_iter=5, warm_start=True, **told).fit(X, NUMBERS)
    assert difference(whole, halves) > 1e-3
    halves.fit(X, NUMBERS)
    assert difference(whole, halves) == 0.0
    assert halves.loss_curve_ == whole.loss_curve_
    assert (halves.n_iter_, halves.t_) == (5, whole.t_)


def test_another_solver_starts_anew_from_the_same_weights():
    model = MLPRegressor(max_iter=5, warm_start=True, **SMALL).fit(X, NUMBERS)
    before = model.loss_curve_[-1]
    model.set_params(solver="sgd").fit(X, NUMBERS)
    assert model._state.step == 5
    assert model.loss_curve_[5] < 1.5 * before


def test_weights_that_the_user_sets_are_predicted_and_trained_from():
    model = MLPRegressor(max_iter=1, **SMALL).fit(X, NUMBERS)
    model.coefs_ = [np.zeros_like(w) for w in model.coefs_]
    model.intercepts_[-1][:] = 3.0
    np.testing.assert_array_equal(model.predict(X), 3.0)
    model.partial_fit(X, NUMBERS)
    assert model.loss_ == pytest.approx(0.5 * np.mean((3.0 - NUMBERS) ** 2))


def test_fit_leaves_the_inputs_alone_and_forgets_what_was_before():
    x, y = X.copy(), LABELS.copy()
    model = MLPClassifier(max_iter=3, **SMALL).fit(x, y)
    first = [w.copy() for w in weights_of(model)]
    model.partial_fit(x, y)
    model.fit(x, y)
    for one, other in zip(first, weights_of(model), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, LABELS)


# --- validation, and stopping ------------------------------------------------------------------


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


# --- what scikit-learn's has not ---------------------------------------------------------------


def test_each_hidden_layer_may_have_its_own_activation():
    square = elementwise("square", lambda z, xp: z * z, lambda z, a, xp: 2.0 * z)
    model = MLPRegressor("huber", (4, 3), ["gelu", square], max_iter=0, random_state=0).fit(
        X, NUMBERS
    )
    first, second = model.activations(X)
    z = X @ model.coefs_[0] + model.intercepts_[0]
    gelu = 0.5 * z * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (z + 0.044715 * z**3)))
    np.testing.assert_allclose(first, gelu, atol=1e-14)
    np.testing.assert_allclose(second, (first @ model.coefs_[1] + model.intercepts_[1]) ** 2)
    np.testing.assert_allclose(
        model.predict(X), (second @ model.coefs_[2] + model.intercepts_[2])[:, 0]
    )
    with pytest.raises(ValueError, match="activations were given for"):
        MLPRegressor("huber", (4,), ["tanh", "relu"]).fit(X, NUMBERS)


def name_of(given):
    return given if isinstance(given, str) else f"own {given.name}"


@pytest.mark.parametrize("solver", [*OPTIMIZERS, rmsprop(decay=0.5)], ids=name_of)
def test_every_optimizer_can_be_the_solver(solver):
    model = MLPRegressor(solver=solver, max_iter=40, **SMALL).fit(X, NUMBERS)
    assert model.loss_curve_[-1] < 0.9 * model.loss_curve_[0]
    assert difference(model, clone(model).fit(X, NUMBERS)) == 0.0


@pytest.mark.parametrize(
    "loss", [*sorted(set(LOSSES) - {"squared_error"}), quantile(0.9)], ids=name_of
)
def test_every_loss_can_be_trained_with(loss):
    record = LOSSES[loss] if isinstance(loss, str) else loss
    told = {**SMALL, "loss": loss, "max_iter": 40}
    if record.of_probabilities:
        model = MLPClassifier(**told).fit(X, LABELS)
    else:
        model = MLPRegressor(**told).fit(X, np.abs(NUMBERS))
    assert model.loss_curve_[-1] < 0.95 * model.loss_curve_[0]


def test_a_quantile_is_met_by_the_share_of_rows_that_it_names():
    model = MLPRegressor(
        quantile(0.8), (), random_state=0, max_iter=800, learning_rate_init=0.01, tol=0.0
    )
    y = RNG.exponential(size=200)
    found = model.fit(np.ones((200, 1)), y).predict(np.ones((1, 1)))[0]
    assert np.mean(y < found) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("schedule", sorted(set(SCHEDULES) - {"constant"}))
def test_every_schedule_goes_over_all_epochs(schedule):
    rates = []

    def callback(estimator, metrics):
        rates.append(metrics.get("learning_rate"))

    told = {**SMALL, "learning_rate": schedule, "batch_size": 30, "max_iter": 6}
    MLPRegressor(callback=callback, **told).fit(X, NUMBERS)
    at = [(2 * epoch + 1) / 12 for epoch in range(6)]  # the last step of each epoch
    assert rates[1:] == pytest.approx([0.02 * SCHEDULES[schedule](progress) for progress in at])


@pytest.mark.parametrize(
    "told",
    [{"dropout": 0.5}, {"l1": 5.0}, {"max_norm": 0.5}, {"label_smoothing": 0.3}],
    ids=lambda told: next(iter(told)),
)
def test_regularizers_are_those_of_the_core(told):
    usual = {**SMALL, "solver": "sgd", "momentum": 0.0, "shuffle": False, "max_iter": 4}
    model = MLPClassifier(**usual, **told).fit(X, LABELS)
    assert difference(model, MLPClassifier(**usual).fit(X, LABELS)) > 1e-4
    start = MLPClassifier(**{**usual, "max_iter": 0}).fit(X, LABELS)
    state = core_fit(
        Network((5, 8, 3), ("relu", "softmax")),
        (X, LABELS),
        parameters=[Layer(w.T, b) for w, b in zip(start.coefs_, start.intercepts_, strict=True)],
        batch_size=0,
        epochs=4,
        l2=1e-4,
        penalty="per_batch",
        optimizer="sgd",
        learning_rate=0.02,
        dtype="float64",
        seed=model._state.seed,
        **told,
    )
    core = [layer.weights.T for layer in state.parameters]
    assert max(np.max(np.abs(a - b)) for a, b in zip(core, model.coefs_, strict=True)) <= 1e-14
    assert state.history[-1]["loss"] == pytest.approx(model.loss_, abs=1e-14)


def test_class_weights_are_weights_of_samples():
    weight = {0: 3.0, 2: 0.5}
    model = MLPClassifier(class_weight=weight, max_iter=5, **SMALL).fit(X, LABELS)
    sample_weight = np.asarray([3.0, 1.0, 0.5])[LABELS]
    plain = MLPClassifier(max_iter=5, **SMALL).fit(X, LABELS, sample_weight=sample_weight)
    assert difference(model, plain) <= 1e-14
    names = np.asarray(["a", "b", "c"])[LABELS]
    model = MLPClassifier(class_weight="balanced", max_iter=5, **SMALL).fit(X, names)
    balanced = N / (3.0 * np.bincount(LABELS))
    plain = MLPClassifier(max_iter=5, **SMALL).fit(X, LABELS, sample_weight=balanced[LABELS])
    assert difference(model, plain) <= 1e-14


def test_a_loss_that_a_clone_copied_is_still_ours():
    model = clone(MLPRegressor(loss=LOSSES["huber"], max_iter=3, **SMALL)).fit(X, NUMBERS)
    assert difference(model, MLPRegressor(loss="huber", max_iter=3, **SMALL).fit(X, NUMBERS)) == 0
    other = MLPRegressor(loss=huber(0.1), max_iter=3, **SMALL).fit(X, NUMBERS)
    assert difference(model, other) > 1e-4
