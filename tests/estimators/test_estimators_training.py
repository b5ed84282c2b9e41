"""Training of the estimators beyond scikit-learn's: resuming, and the options of the core."""

import numpy as np
import pytest
from estimator_case import LABELS, NUMBERS, RNG, SMALL, N, X, difference, weights_of
from sklearn.base import clone

from backprop_xp.estimators import MLPClassifier, MLPRegressor
from backprop_xp.nn.activations import elementwise
from backprop_xp.nn.losses import LOSSES, huber, quantile
from backprop_xp.nn.network import Layer, Network
from backprop_xp.nn.optimizers import OPTIMIZERS, rmsprop
from backprop_xp.nn.schedules import SCHEDULES
from backprop_xp.training.fit import fit as core_fit

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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


@pytest.mark.parametrize(
    "told", [{"max_iter": 0}, {"callback": lambda *_: True}], ids=["no epochs", "stopped"]
)
def test_another_solver_starts_anew_after_a_fit_of_no_epoch_too(told):
    model = MLPRegressor(max_iter=5, warm_start=True, **SMALL).fit(X, NUMBERS)
    model.set_params(solver="momentum", **told).fit(X, NUMBERS)
    model.set_params(max_iter=5, callback=None).fit(X, NUMBERS)
    assert [len(kept) for kept in model._state.slots] == [1] * 4


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
    if record.needs_probabilities:
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
