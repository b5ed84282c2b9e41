"""A fit that was cut off continues from its checkpoint and ends as if it had not been."""

import itertools

import numpy as np
import pytest

from backprop_xp.errors import ConfigurationError
from backprop_xp.estimators import MLPClassifier, MLPRegressor
from backprop_xp.estimators.checkpoint import EstimatorCheckpoint

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
CLASSES = np.asarray(["a", "b", "c"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)]
NUMBERS = X[:, 0] - X[:, 1]

KINDS = {
    "adam": (MLPClassifier, {}),
    "adam and dropout": (MLPClassifier, {"dropout": 0.2}),
    "adaptive": (MLPClassifier, {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05}),
    "invscaling": (MLPRegressor, {"solver": "sgd", "learning_rate": "invscaling"}),
    "schedule": (MLPRegressor, {"learning_rate": "cosine"}),
    "early stopping": (MLPClassifier, {"early_stopping": True, "learning_rate_init": 0.1}),
    "early stopping of a regression": (MLPRegressor, {"early_stopping": True}),
    "converges": (MLPRegressor, {"tol": 0.5}),
}
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 8, "random_state": 3, "n_iter_no_change": 2}


class CutOff(Exception):
    """The moment at which the process is killed."""


def results(model):
    curves = ("loss_curve_", "validation_scores_", "validation_loss_curve_")
    names = ("n_iter_", "t_", "loss_", "best_loss_", "best_validation_score_")
    arrays = [*model.coefs_, *model.intercepts_]
    return [a.tobytes() for a in arrays], {name: getattr(model, name) for name in (*curves, *names)}


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_that_was_killed_continues_with_the_same_bits(kind, tmp_path, monkeypatch):
    kind, parameters = KINDS[kind]
    y = CLASSES if kind is MLPClassifier else NUMBERS
    whole = results(kind(**SMALL, **parameters).fit(X, y))
    write = EstimatorCheckpoint.write

    for cut in itertools.count(1):  # after each epoch
        path = tmp_path / f"{cut}.safetensors"
        left = [cut]

        def write_or_die(self, state, left=left):
            if not left[0]:
                raise CutOff
            left[0] -= 1
            write(self, state)

        with monkeypatch.context() as patch:
            patch.setattr(EstimatorCheckpoint, "is_due", lambda self, state: True)
            patch.setattr(EstimatorCheckpoint, "write_latest", lambda self: None)
            patch.setattr(EstimatorCheckpoint, "write", write_or_die)
            try:
                kind(checkpoint=path, **SMALL, **parameters).fit(X, y)
            except CutOff:
                pass
            else:
                break
        assert results(kind(checkpoint=path, **SMALL, **parameters).fit(X, y)) == whole
    assert cut >= 3
    # A complete fit is not trained any further.
    assert results(kind(checkpoint=path, **SMALL, **parameters).fit(X, y)) == whole


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.filterwarnings("ignore:Training interrupted")
@pytest.mark.parametrize("epoch", [1, 3])
def test_ctrl_c_leaves_a_checkpoint_of_the_last_epoch(epoch, tmp_path):
    def press(estimator, metrics):
        if metrics["epoch"] == epoch:
            raise KeyboardInterrupt

    path = tmp_path / "fit.safetensors"
    model = MLPClassifier(callback=press, checkpoint=path, **SMALL).fit(X, CLASSES)
    assert model.n_iter_ == epoch
    model.set_params(callback=None).fit(X, CLASSES)
    assert results(model) == results(MLPClassifier(**SMALL).fit(X, CLASSES))


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_more_iterations_extend_a_fit_and_other_parameters_are_an_error(tmp_path):
    path = tmp_path / "fit.safetensors"
    MLPRegressor(checkpoint=path, **SMALL).fit(X, NUMBERS)
    longer = {**SMALL, "max_iter": 12}
    extended = MLPRegressor(checkpoint=path, **longer).fit(X, NUMBERS)
    assert results(extended) == results(MLPRegressor(**longer).fit(X, NUMBERS))
    for changed, rows, message in (
        ({"alpha": 0.5}, X, "parameter alpha is 0.5, was 0.0001"),
        ({}, X[:50], "training rows"),
    ):
        model = MLPRegressor(checkpoint=path, **{**SMALL, **changed})
        with pytest.raises(ConfigurationError, match=message):
            model.fit(rows, NUMBERS[: len(rows)])


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_other_validation_rows_are_an_error(tmp_path):
    path = tmp_path / "fit.safetensors"
    held_out = {"X_val": X[:9], "y_val": NUMBERS[:9]}
    whole = MLPRegressor(checkpoint=path, **SMALL).fit(X, NUMBERS, **held_out)
    again = MLPRegressor(checkpoint=path, **SMALL).fit(X, NUMBERS, **held_out)
    assert results(again) == results(whole)
    for other in ({**held_out, "X_val": X[1:10]}, {"X_val": X[:8], "y_val": NUMBERS[:8]}, {}):
        with pytest.raises(ConfigurationError, match="other data, which differs in: validation"):
            MLPRegressor(checkpoint=path, **SMALL).fit(X, NUMBERS, **other)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"solver": "lbfgs"}, "checkpoint"), ({"warm_start": True}, "exclude each other")],
)
def test_a_checkpoint_that_would_have_no_meaning_is_an_error(parameters, message, tmp_path):
    model = MLPRegressor(checkpoint=tmp_path / "fit.safetensors", **{**SMALL, **parameters})
    with pytest.raises(ValueError, match=message):
        model.fit(X, NUMBERS)


def test_partial_fit_has_no_checkpoint(tmp_path):
    path = tmp_path / "fit.safetensors"
    MLPRegressor(checkpoint=path, **SMALL).partial_fit(X, NUMBERS)
    assert not path.exists()
