"""The estimators against scikit-learn's own: the same numbers from the same random_state."""

import inspect

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

from backprop_xp import estimators
from backprop_xp.estimators import lbfgs
from backprop_xp.estimators.lbfgs import _scipys_blas
from backprop_xp.training.execution.replay import RECORD_UP_TO, StepReplayer

if "sample_weight" not in inspect.signature(neural_network.MLPClassifier.fit).parameters:
    pytest.skip("the MLP of scikit-learn has sample weights from 1.7 on", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
N = 130
X = RNG.normal(size=(N, 6))
WEIGHTS = RNG.uniform(0.5, 2.0, size=N)
TARGETS = {
    "binary": ("MLPClassifier", (X[:, 0] + X[:, 1] > 0.0).astype(int)),
    "multiclass": ("MLPClassifier", np.argmax(X[:, :3], axis=1)),
    "multilabel": ("MLPClassifier", (X[:, :3] > 0.0).astype(int)),
    "regression": ("MLPRegressor", 2.0 * X[:, 0] + np.sin(X[:, 1])),
    "two outputs": ("MLPRegressor", np.stack((X[:, 0], np.sin(X[:, 1])), axis=1)),
}
SGD = {"solver": "sgd", "learning_rate_init": 0.05}
SOLVERS = {
    **{f"sgd {rate}": {**SGD, "learning_rate": rate} for rate in ("constant", "invscaling")},
    "sgd adaptive": {**SGD, "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2},
    "sgd momentum": {**SGD, "nesterovs_momentum": False},
    "sgd plain": {**SGD, "momentum": 0.0},
    "sgd power": {**SGD, "learning_rate": "invscaling", "power_t": 0.1},
    "adam": {"learning_rate_init": 0.01, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3},
}
USUAL = {
    "hidden_layer_sizes": (12, 7),
    "activation": "tanh",
    "batch_size": 32,  # of 130 rows: the last batch is short
    "max_iter": 50,
    "random_state": 1,
    "alpha": 0.1,
    "tol": 0.0,
    "n_iter_no_change": np.inf,
}

every_kind = pytest.mark.parametrize("kind", TARGETS)


def both(kind, sample_weight=None, **parameters):
    name, y = TARGETS[kind]
    return [
        getattr(module, name)(**{**USUAL, **parameters}).fit(X, y, sample_weight=sample_weight)
        for module in (neural_network, estimators)
    ]


def difference(theirs, ours):
    pairs = zip(theirs.coefs_ + theirs.intercepts_, ours.coefs_ + ours.intercepts_, strict=True)
    return max(float(np.max(np.abs(a - b))) for a, b in pairs)


def check_same(theirs, ours, *, tolerance=1e-8):
    assert difference(theirs, ours) <= tolerance
    assert len(ours.loss_curve_) == len(theirs.loss_curve_) == ours.n_iter_ == theirs.n_iter_
    assert np.max(np.abs(np.subtract(theirs.loss_curve_, ours.loss_curve_))) <= tolerance
    assert (ours.t_, ours.n_layers_, ours.n_outputs_) == (
        *(theirs.t_, theirs.n_layers_, theirs.n_outputs_),
    )
    assert ours.out_activation_ == theirs.out_activation_
    assert ours.loss_ == ours.loss_curve_[-1]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
@every_kind
def test_fifty_epochs_give_scikit_learns_weights_and_losses(kind, solver, shuffle):
    theirs, ours = both(kind, shuffle=shuffle, **SOLVERS[solver])
    check_same(theirs, ours)
    assert abs(theirs.best_loss_ - ours.best_loss_) <= 1e-8


@pytest.mark.parametrize("solver", ["sgd constant", "adam"])
@every_kind
def test_weights_of_samples_are_scikit_learns(kind, solver):
    theirs, ours = both(kind, sample_weight=WEIGHTS, **SOLVERS[solver])
    check_same(theirs, ours)
    assert difference(both(kind, **SOLVERS[solver])[1], ours) > 1e-3


@pytest.mark.parametrize("activation", ["identity", "logistic", "relu"])
@every_kind
def test_the_activations_are_scikit_learns(kind, activation):
    check_same(*both(kind, activation=activation, max_iter=20))


@every_kind
def test_lbfgs_comes_to_the_same_minimum(kind):
    theirs, ours = both(kind, solver="lbfgs", max_iter=25)
    assert abs(ours.loss_ / theirs.loss_ - 1.0) <= 1e-8
    assert difference(theirs, ours) <= 1e-6
    assert ours.n_iter_ == theirs.n_iter_


@every_kind
def test_lbfgs_comes_to_the_same_bits_by_recorded_steps(kind, monkeypatch):
    told = {"solver": "lbfgs", "max_iter": 25}
    written = both(kind, **told)[1]
    options = {"record_after": 2, "record_up_to": RECORD_UP_TO}
    monkeypatch.setattr(StepReplayer.__init__, "__kwdefaults__", options)
    recorded, record = [], StepReplayer._record
    monkeypatch.setattr(
        StepReplayer, "_record", lambda *args: recorded.append(record(*args)) or recorded[-1]
    )
    again = both(kind, **told)[1]
    assert all("def replay" in functions.gradients.source for functions in recorded)
    assert len(recorded) == 1
    assert difference(written, again) == 0.0
    assert again.loss_ == written.loss_


def test_lbfgs_gives_scipy_one_thread_and_its_threads_back(monkeypatch):
    def threads():
        return [library["num_threads"] for library in _scipys_blas().info()]

    during, minimize = [], lbfgs.minimize
    monkeypatch.setattr(
        lbfgs,
        "minimize",
        lambda *given, **told: during.append(threads()) or minimize(*given, **told),
    )
    with _scipys_blas().limit(limits=2):
        before = threads()
        both("multiclass", solver="lbfgs", max_iter=2)
        assert threads() == before
    assert during == [[1] * len(before)]


@every_kind
def test_training_ends_where_scikit_learns_does(kind):
    theirs, ours = both(kind, tol=0.02, n_iter_no_change=2, max_iter=200, learning_rate_init=0.01)
    assert 3 < ours.n_iter_ < 200
    check_same(theirs, ours)


@every_kind
def test_early_stopping_sets_the_same_rows_aside_and_restores_the_same_weights(kind):
    theirs, ours = both(
        kind,
        early_stopping=True,
        validation_fraction=0.3,
        n_iter_no_change=3,
        max_iter=100,
        tol=1e-3,
        learning_rate_init=0.02,
    )
    check_same(theirs, ours)
    assert 4 < ours.n_iter_ < 100
    assert ours.best_loss_ is theirs.best_loss_ is None
    assert ours.validation_scores_ == pytest.approx(theirs.validation_scores_, abs=1e-12)
    assert ours.best_validation_score_ == max(ours.validation_scores_)
    assert len(ours.validation_loss_curve_) == ours.n_iter_


@pytest.mark.parametrize("solver", ["sgd invscaling", "adam"])
@every_kind
def test_partial_fit_gives_scikit_learns_weights(kind, solver):
    name, y = TARGETS[kind]
    models = []
    for module in (neural_network, estimators):
        model = getattr(module, name)(**{**USUAL, **SOLVERS[solver]})
        first = {"classes": np.arange(3)[: 2 if kind == "binary" else 3]}
        for start in (0, 40, 80, 0, 80):
            told = first if name == "MLPClassifier" and not hasattr(model, "coefs_") else {}
            model.partial_fit(X[start : start + 40], y[start : start + 40], **told)
        models.append(model)
    theirs, ours = models
    assert difference(theirs, ours) <= 1e-12
    assert ours.loss_curve_ == pytest.approx(theirs.loss_curve_, abs=1e-12)
    assert len(ours.loss_curve_) == 5


@every_kind
def test_predictions_are_scikit_learns(kind):
    theirs, ours = both(kind, max_iter=5)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-12)
    assert ours.predict(X).dtype == theirs.predict(X).dtype
    if TARGETS[kind][0] == "MLPClassifier":
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-12)
        np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X))
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    assert ours.score(X, TARGETS[kind][1]) == pytest.approx(theirs.score(X, TARGETS[kind][1]))


def test_poissons_loss_is_scikit_learns():
    y = RNG.poisson(np.exp(X[:, 0]))
    models = [
        module.MLPRegressor(**{**USUAL, "loss": "poisson"}).fit(X, y)
        for module in (neural_network, estimators)
    ]
    check_same(*models)
    np.testing.assert_allclose(models[1].predict(X), models[0].predict(X), atol=1e-8)


def test_what_is_printed_is_what_scikit_learn_prints(capsys):
    said = []
    for module in (neural_network, estimators):
        for parameters in (
            {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 9},
            {**SGD, "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 2},
            {**SGD, "tol": 1.0, "n_iter_no_change": 2},
        ):
            told = {**USUAL, **parameters, "verbose": True}
            module.MLPClassifier(**told).fit(X, TARGETS["multiclass"][1])
        said.append(capsys.readouterr().out.split("\n"))
    assert "Setting learning rate to 0.010000" in "".join(said[0])
    assert said[1] == said[0]


@pytest.mark.parametrize("early_stopping", [False, True])
def test_too_few_epochs_are_warned_of_as_scikit_learn_does(early_stopping):
    texts = []
    for module in (neural_network, estimators):
        model = module.MLPClassifier(max_iter=3, early_stopping=early_stopping)
        with pytest.warns(ConvergenceWarning) as caught:
            model.fit(X, TARGETS["binary"][1])
        texts.append([str(warning.message) for warning in caught])
        assert caught[0].filename == __file__ or module is neural_network
    assert texts[0] == texts[1]


def test_every_parameter_of_scikit_learn_is_there_with_its_default():
    for name in ("MLPClassifier", "MLPRegressor"):
        theirs = getattr(neural_network, name)().get_params()
        ours = getattr(estimators, name)().get_params()
        assert {key: ours[key] for key in theirs} == theirs
