"""The estimators with scikit-learn's tools, with data frames, and as files."""

import copy
import pickle

import numpy as np
import pytest
import sklearn
from command_line import animals, done, plane, written
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from backprop_xp import load_model
from backprop_xp.errors import ConfigurationError, ModelFileError
from backprop_xp.estimators import MLPClassifier, MLPRegressor
from backprop_xp.nn.activations import elementwise

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)) * [1.0, 10.0, 1.0, 1.0]
LABELS = np.where(X[:, 0] + X[:, 2] > 0.0, "yes", "no")
THREE = np.argmax(X[:, [0, 2, 3]], axis=1)
NUMBERS = X[:, 0] * X[:, 2]
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 30, "random_state": 0, "learning_rate_init": 0.02}


def test_a_pipeline_scales_before_it_trains():
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**SMALL)).fit(X, LABELS)
    scaled = StandardScaler().fit_transform(X)
    alone = MLPClassifier(**SMALL).fit(scaled, LABELS)
    np.testing.assert_array_equal(pipeline.predict_proba(X), alone.predict_proba(scaled))
    assert pipeline.score(X, LABELS) > 0.9


def test_columns_may_be_treated_each_in_its_own_way():
    words = np.where(X[:, 0] > 0.0, "a", "b")
    table = np.asarray([*zip(words, X[:, 2], strict=True)], dtype=object)
    columns = ColumnTransformer([("words", OneHotEncoder(), [0])], remainder=StandardScaler())
    pipeline = make_pipeline(columns, MLPClassifier(**SMALL)).fit(table, LABELS)
    assert pipeline.score(table, LABELS) > 0.8


def test_a_search_in_two_processes_finds_what_one_process_finds():
    choices = {"hidden_layer_sizes": [(4,), (8, 4)], "solver": ["adam", "sgd"], "alpha": [0.0, 0.1]}
    found = [
        GridSearchCV(MLPClassifier(**SMALL), choices, cv=2, n_jobs=jobs).fit(X, LABELS)
        for jobs in (1, 2)
    ]
    assert found[0].best_params_ == found[1].best_params_
    scores = [search.cv_results_["mean_test_score"] for search in found]
    np.testing.assert_array_equal(*scores)
    assert np.isfinite(scores[0]).all()


def test_probabilities_can_be_calibrated():
    model = CalibratedClassifierCV(MLPClassifier(**SMALL), cv=2).fit(X, LABELS)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
    assert model.score(X, LABELS) > 0.8


def test_the_features_that_matter_are_found():
    model = make_pipeline(StandardScaler(), MLPClassifier(**SMALL)).fit(X, LABELS)
    found = permutation_importance(model, X, LABELS, random_state=0, n_repeats=3).importances_mean
    assert min(found[[0, 2]]) > max(found[[1, 3]])


def test_cross_validation_scores_a_regression():
    model = make_pipeline(StandardScaler(), MLPRegressor(**{**SMALL, "max_iter": 200}))
    assert np.mean(cross_val_score(model, X, NUMBERS, cv=3)) > 0.5


def test_weights_and_validation_rows_are_routed_where_they_are_asked_for():
    weights = RNG.uniform(0.5, 2.0, len(X))
    held_out = {"X_val": X[:9], "y_val": LABELS[:9]}
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier(**SMALL).set_fit_request(sample_weight=True, X_val=True, y_val=True)
        model.set_score_request(sample_weight=True)
        pipeline = make_pipeline(model).fit(X, LABELS, sample_weight=weights, **held_out)
        search = GridSearchCV(model, {"alpha": [0.1]}, cv=2, refit=False)
        search.fit(X, LABELS, sample_weight=weights, **held_out)
    alone = MLPClassifier(**SMALL).fit(X, LABELS, sample_weight=weights, **held_out)
    np.testing.assert_array_equal(pipeline[0].coefs_[0], alone.coefs_[0])
    assert len(pipeline[0].validation_loss_curve_) == pipeline[0].n_iter_


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_data_frames_bring_their_names(kind):
    frames = pytest.importorskip(kind, reason=f"{kind} is not installed")
    names = ["height", "width", "age", "weight"]
    table = frames.DataFrame(dict(zip(names, X.T, strict=True)))
    targets = frames.Series(LABELS)
    model = MLPClassifier(**SMALL).fit(table, targets)
    assert model.feature_names_in_.tolist() == names
    alone = MLPClassifier(**SMALL).fit(X, LABELS)
    np.testing.assert_array_equal(model.predict(table), alone.predict(X))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table[names[::-1]])
    broken = X.copy()
    broken[5, 1] = np.nan
    with pytest.raises(ValueError, match=r"row 5, column 1 \('width'\)"):
        model.fit(frames.DataFrame(dict(zip(names, broken.T, strict=True))), targets)
    scaler = StandardScaler().set_output(transform=kind)
    assert make_pipeline(scaler, model).fit(table, targets).score(table, targets) > 0.9


def test_a_clone_is_untrained_and_a_copy_is_not():
    model = MLPClassifier(**SMALL).fit(X, LABELS)
    assert not hasattr(clone(model), "coefs_")
    assert clone(model).get_params() == model.get_params()
    other = copy.deepcopy(model).partial_fit(X, LABELS)
    assert np.any(other.coefs_[0] != model.coefs_[0])


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_pickle_goes_on_as_the_estimator_would(kind):
    y = LABELS if kind is MLPClassifier else NUMBERS
    model = kind(early_stopping=True, **SMALL).fit(X, y, X_val=X[:9], y_val=y[:9])
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    for one in (again, model):
        one.partial_fit(X, y, X_val=X[:9], y_val=y[:9])
    assert again.loss_curve_ == model.loss_curve_
    np.testing.assert_array_equal(again.coefs_[0], model.coefs_[0])


def test_it_shows_itself_as_html():
    assert "MLPClassifier" in MLPClassifier(**SMALL)._repr_html_()
    assert repr(MLPRegressor(alpha=0.5)) == "MLPRegressor(alpha=0.5)"


# --- files -------------------------------------------------------------------------------------

TARGETS = {
    "text": (MLPClassifier, LABELS),
    "three numbers": (MLPClassifier, THREE * 5 - 5),
    "real labels": (MLPClassifier, np.where(THREE == 1, 1.0, 2.0)),
    "truth": (MLPClassifier, THREE == 1),
    "several labels": (MLPClassifier, (X[:, :3] > 0.0).astype(int)),
    "number": (MLPRegressor, NUMBERS),
    "two numbers": (MLPRegressor, X[:, :2]),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_a_model_file_gives_back_the_estimator(kind, tmp_path):
    estimator, y = TARGETS[kind]
    model = estimator(**SMALL, activation=["tanh"], dtype="float32").fit(X, y)
    model.save(tmp_path / "m.safetensors")
    again = estimator.load(tmp_path / "m.safetensors", learning_rate_init=0.001)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.predict(X).dtype.kind == model.predict(X).dtype.kind
    assert (again.out_activation_, again.n_outputs_, again.n_layers_, again.n_features_in_) == (
        *(model.out_activation_, model.n_outputs_, model.n_layers_, model.n_features_in_),
    )
    assert again.get_params()["learning_rate_init"] == 0.001
    before = again.score(X, y)
    for _ in range(20):
        again.partial_fit(X, y)
    assert again.loss_curve_[-1] < again.loss_curve_[0]
    assert again.score(X, y) > before - 0.05
    again.fit(X, y)
    assert again.n_iter_ > 1


@pytest.mark.parametrize(
    "labels",
    [
        ["0", "1"],
        ["0", "1", "2"],
        ["1.0", "2.5"],
        ["False", "True"],
        ["1", "True", "x"],
        [0, 1],
        [3, 10, -5],
        [False, True],
        [1.0, 2.0],
    ],
    ids=str,
)
def test_labels_keep_their_type_in_a_file(labels, tmp_path):
    y = np.asarray(labels)[np.arange(len(X)) % len(labels)]
    model = MLPClassifier(**SMALL).fit(X, y)
    model.save(tmp_path / "m.safetensors")
    again = MLPClassifier.load(tmp_path / "m.safetensors")
    assert again.classes_.tolist() == sorted(labels)
    assert [type(label) for label in again.classes_.tolist()] == [type(labels[0])] * len(labels)
    assert again.predict(X).tolist() == model.predict(X).tolist()
    assert again.score(X, y) == model.score(X, y)
    assert again.predict(X).dtype.kind == np.asarray(labels).dtype.kind


def test_a_model_of_counts_is_saved_with_its_exponential(tmp_path):
    counts = np.arange(len(X)) % 4
    model = MLPRegressor(loss="poisson", **SMALL).fit(X, counts)
    model.save(tmp_path / "m.safetensors")
    again = MLPRegressor.load(tmp_path / "m.safetensors")
    assert (again.loss, again.out_activation_) == ("poisson", "exp")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    opened = load_model(tmp_path / "m.safetensors")
    np.testing.assert_allclose(np.ravel(opened.predict(X)), model.predict(X), rtol=1e-12)


def test_the_command_line_opens_what_an_estimator_saved(tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join(animals()))
    lines = [line.split(",") for line in table.read_text().split()]
    x = np.asarray([line[:-1] for line in lines[1:]], dtype=float)
    names = np.asarray([line[-1] for line in lines[1:]])
    model = MLPClassifier(random_state=0, max_iter=50).fit(x, names)
    model.save(tmp_path / "m.safetensors")
    asked = ("evaluate", tmp_path / "m.safetensors", table, "--label", lines[0][-1], "--json")
    told = done(*asked).json
    assert told["accuracy"] == pytest.approx(model.score(x, names))
    assert load_model(tmp_path / "m.safetensors").predict(x).tolist() == model.predict(x).tolist()


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_an_estimator_opens_what_the_command_line_trained(tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join(animals()))
    options = ("--label", "kind", "--batch-size", 8, "--seed", 0, "--device", "cpu")
    done("train", table, *options, "--out", tmp_path)
    model = load_model(tmp_path / "model.safetensors")
    assert model.scaling is not None
    opened = MLPClassifier.load(tmp_path / "model.safetensors")
    lines = [line.split(",") for line in table.read_text().split()]
    x = np.asarray([line[: lines[0].index("kind")] for line in lines[1:]], dtype=float)
    assert opened.predict(x).tolist() == model.predict(x).tolist()
    np.testing.assert_allclose(opened.predict_proba(x), model.outputs(x), atol=1e-6)
    assert opened.feature_names_in_.tolist() == list(model.features)
    opened.save(tmp_path / "again.safetensors")
    again = load_model(tmp_path / "again.safetensors")
    np.testing.assert_array_equal(again.outputs(x), model.outputs(x))
    names = np.asarray([line[lines[0].index("kind")] for line in lines[1:]])
    assert opened.partial_fit(x, names).loss_ < 1.0


def test_an_estimator_opens_a_regression_and_refuses_the_other_kind(tmp_path):
    table = written(tmp_path / "plane.csv", "\n".join(plane()))
    options = ("--label", "t", "--task", "regression", "--seed", 0, "--device", "cpu")
    done("train", table, *options, "--out", tmp_path)
    opened = MLPRegressor.load(tmp_path / "model.safetensors")
    rows = np.loadtxt(table, delimiter=",", skiprows=1)
    x = rows[:, : opened.n_features_in_]
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        found = opened.predict(x)
    wanted = load_model(tmp_path / "model.safetensors").outputs(x)[:, 0]
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    with pytest.raises(ValueError, match=r"holds a regression model: use MLPRegressor\.load"):
        MLPClassifier.load(tmp_path / "model.safetensors")
    MLPClassifier(**SMALL).fit(X, LABELS).save(tmp_path / "c.safetensors")
    with pytest.raises(ValueError, match=r"holds a classification model: use MLPClassifier\.load"):
        MLPRegressor.load(tmp_path / "c.safetensors")


def test_a_file_that_is_damaged_or_cannot_be_written_is_refused(tmp_path):
    model = MLPRegressor(**SMALL).fit(X, NUMBERS)
    model.save(tmp_path / "m.safetensors")
    content = bytearray((tmp_path / "m.safetensors").read_bytes())
    content[-5] ^= 1
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(ModelFileError, match="damaged"):
        MLPRegressor.load(tmp_path / "m.safetensors")
    square = elementwise("square", lambda z, xp: z * z, lambda z, a, xp: 2.0 * z)
    own = MLPRegressor(activation=square, max_iter=1).fit(X / 10.0, NUMBERS)
    with pytest.raises(ConfigurationError, match="is a custom one"):
        own.save(tmp_path / "own.safetensors")
    with pytest.raises(ValueError, match="not fitted"):
        MLPRegressor().save(tmp_path / "none.safetensors")
