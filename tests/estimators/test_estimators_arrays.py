"""Where the estimators compute: arrays of other libraries, devices, data types, sparse rows."""

import pickle

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.neural_network import MLPClassifier as TheirClassifier

from backprop_xp.backend import arrays
from backprop_xp.estimators import MLPClassifier, MLPRegressor
from backprop_xp.nn.activations import elementwise

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4))
LABELS = np.argmax(X[:, :3], axis=1)
NUMBERS = np.stack((X[:, 0], X[:, 1] ** 2), axis=1)
WEIGHTS = RNG.uniform(0.0, 2.0, 50)
SMALL = {"hidden_layer_sizes": (6,), "max_iter": 5, "random_state": 0, "batch_size": 20}
KINDS = {
    "classes": (MLPClassifier, LABELS),
    "two classes": (MLPClassifier, LABELS == 1),
    "labels": (MLPClassifier, (X[:, :3] > 0.0).astype(int)),
    "numbers": (MLPRegressor, NUMBERS),
    "one number": (MLPRegressor, NUMBERS[:, 0]),
}

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def dispatch():
    with sklearn.config_context(array_api_dispatch=True):
        yield


def given(library, y):
    y = np.asarray(y)
    kind = {"i": "index", "b": "bool", "f": "float64"}[y.dtype.kind]
    return library.array(y, kind)


def lives_with(array, library):
    x = library.array([1.0])
    return arrays.namespace(array) is arrays.namespace(x) and arrays.device(array) == arrays.device(
        x
    )


def close(got, wanted, tolerance=1e-12):
    got, wanted = arrays.to_numpy(got), np.asarray(wanted)
    assert got.shape == wanted.shape
    return np.max(np.abs(got.astype(float) - wanted.astype(float))) <= tolerance


@pytest.mark.usefixtures("dispatch")
@pytest.mark.parametrize("early_stopping", [False, True])
@every_kind
def test_arrays_are_worked_on_where_they_live(library, kind, early_stopping):
    estimator, y = KINDS[kind]
    told = {**SMALL, "early_stopping": early_stopping}
    host = estimator(**told).fit(X, y, sample_weight=WEIGHTS)
    x = library.array(X)
    model = estimator(**told).fit(x, given(library, y), sample_weight=library.array(WEIGHTS))
    for found, wanted in zip(
        model.coefs_ + model.intercepts_, host.coefs_ + host.intercepts_, strict=True
    ):
        assert lives_with(found, library)
        assert close(found, wanted)
    assert lives_with(model.predict(x), library)
    assert close(model.predict(x), host.predict(X))
    assert lives_with(model.activations(x)[0], library)
    assert close(model.activations(x)[0], host.activations(X)[0])
    if estimator is MLPClassifier:
        assert lives_with(model.classes_, library)
        for method in ("predict_proba", "predict_log_proba"):
            assert lives_with(getattr(model, method)(x), library)
            assert close(getattr(model, method)(x), getattr(host, method)(X))
    assert model.loss_curve_ == pytest.approx(host.loss_curve_, abs=1e-12)
    assert model.partial_fit(x, given(library, y), X_val=x, y_val=given(library, y)) is model
    assert lives_with(model.coefs_[0], library)


@pytest.mark.usefixtures("dispatch")
@every_kind
def test_targets_and_weights_follow_the_inputs(library, kind):
    estimator, y = KINDS[kind]
    x = library.array(X)
    model = estimator(**SMALL).fit(x, y, sample_weight=WEIGHTS)
    same = estimator(**SMALL).fit(x, given(library, y), sample_weight=library.array(WEIGHTS))
    assert close(model.coefs_[0], arrays.to_numpy(same.coefs_[0]))
    assert lives_with(model.predict(x), library)


@pytest.mark.usefixtures("dispatch")
def test_labels_that_are_text_come_back_as_text(library):
    names = np.asarray(["x", "y", "z"])
    model = MLPClassifier(**SMALL).fit(library.array(X), names[LABELS])
    found = model.predict(library.array(X))
    assert model.classes_.tolist() == ["x", "y", "z"]
    assert set(found.tolist()) <= {"x", "y", "z"}
    assert np.mean(found == names[LABELS]) == model.score(library.array(X), names[LABELS])


@pytest.mark.usefixtures("dispatch")
def test_inputs_from_elsewhere_are_refused_with_scikit_learns_error(library):
    if library.placement.backend == "numpy":
        pytest.skip("the model is made on NumPy here")
    model = MLPClassifier(**SMALL).fit(library.array(X), LABELS)
    for method in ("predict", "predict_proba", "predict_log_proba", "activations"):
        with pytest.raises(ValueError, match=rf"MLPClassifier.{method}\(\) must use the same"):
            getattr(model, method)(X)
    with pytest.raises(ValueError, match=r"predict\(\) must use the same"):
        MLPClassifier(**SMALL).fit(X, LABELS).predict(library.array(X))


@pytest.mark.usefixtures("dispatch")
def test_tiny_probabilities_are_not_0(library):
    model = MLPClassifier(**{**SMALL, "hidden_layer_sizes": ()}).fit(library.array(X), LABELS == 1)
    model.coefs_, model.intercepts_ = [model.coefs_[0] * 0.0], [model.intercepts_[0] * 0.0 - 100.0]
    assert close(model.predict_log_proba(library.array(X))[:, 1], np.full(50, -100.0))
    model.intercepts_ = [model.intercepts_[0] * -10.0]
    assert close(model.predict_proba(library.array(X))[:, 1], np.ones(50))


@pytest.mark.usefixtures("dispatch")
def test_missing_values_are_found_wherever_the_inputs_live(library):
    x = X.copy()
    x[3, 2] = np.nan
    with pytest.raises(ValueError, match=r"contains NaN[\s\S]*row 3, column 2"):
        MLPRegressor(**SMALL).fit(library.array(x), library.array(NUMBERS))


@pytest.mark.usefixtures("dispatch")
def test_lbfgs_works_where_the_inputs_live(library):
    told = {**SMALL, "solver": "lbfgs"}
    host = MLPRegressor(**told).fit(X, NUMBERS)
    model = MLPRegressor(**told).fit(library.array(X), library.array(NUMBERS))
    assert lives_with(model.coefs_[0], library)
    assert close(model.predict(library.array(X)), host.predict(X), 1e-8)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@every_kind
def test_host_arrays_are_worked_on_by_the_library_that_is_named(library, kind, solver):
    estimator, y = KINDS[kind]
    where = {"backend": library.placement.backend, "device": library.placement.name}
    host = estimator(**SMALL, solver=solver).fit(X, y)
    model = estimator(**SMALL, solver=solver, **where).fit(X, y)
    assert isinstance(model.coefs_[0], np.ndarray)
    assert isinstance(model.predict(X), np.ndarray)
    tolerance = 1e-12 if solver == "adam" else 1e-6
    assert close(model.coefs_[0], host.coefs_[0], tolerance)
    assert close(model.predict(X), host.predict(X), tolerance)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    if solver == "adam":
        again.partial_fit(X, y)
        model.partial_fit(X, y)
        np.testing.assert_array_equal(again.coefs_[0], model.coefs_[0])


@pytest.mark.parametrize(
    ("given_as", "dtype", "wanted"),
    [
        *(("float32", None, "float32"), ("float64", None, "float64"), ("int64", None, "float64")),
        *(("float64", "float32", "float32"), ("float32", "float64", "float64")),
    ],
)
@every_kind
def test_the_type_is_that_of_the_inputs_unless_another_is_asked_for(kind, given_as, dtype, wanted):
    estimator, y = KINDS[kind]
    x = (X * 10.0).astype(given_as)
    model = estimator(**SMALL, dtype=dtype).fit(x, y)
    assert {str(p.dtype) for p in (*model.coefs_, *model.intercepts_)} == {wanted}
    if estimator is MLPRegressor:
        assert model.predict(x).dtype == wanted
    else:
        assert model.predict_proba(x).dtype == wanted


# --- sparse rows -------------------------------------------------------------------------------

ROWS = X * (RNG.random(X.shape) < 0.4)


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize(
    "told", [{}, {"batch_size": "auto"}, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str
)
@every_kind
def test_sparse_rows_give_what_dense_ones_give(kind, told, form):
    estimator, y = KINDS[kind]
    told = {**SMALL, **told}
    dense = estimator(**told).fit(ROWS, y, sample_weight=WEIGHTS)
    model = estimator(**told).fit(form(ROWS), y, sample_weight=WEIGHTS)
    assert close(model.coefs_[0], dense.coefs_[0])
    assert close(model.predict(form(ROWS)), dense.predict(ROWS))
    assert close(model.activations(form(ROWS))[0], dense.activations(ROWS)[0])


def test_the_precision_is_that_of_the_first_training():
    wide, narrow = ROWS, ROWS.astype(np.float32)
    for one, other in ((wide, narrow), (narrow, wide)):
        model = MLPRegressor(**SMALL, warm_start=True).fit(one, NUMBERS)
        model.partial_fit(other, NUMBERS).fit(other, NUMBERS)
        assert model.coefs_[0].dtype == one.dtype
    assert MLPRegressor(**SMALL).fit(wide, NUMBERS).fit(narrow, NUMBERS).coefs_[0].dtype == "f4"


def test_early_stopping_in_partial_fit_may_change_its_library(library):
    where = {"backend": library.placement.backend, "device": library.placement.name}
    held_out = {"X_val": X[40:], "y_val": NUMBERS[40:]}
    one, other = (MLPRegressor(**SMALL, early_stopping=True) for _ in range(2))
    for place in ({}, where, where, {"backend": None, "device": "cpu"}):
        one.set_params(**place).partial_fit(X[:40], NUMBERS[:40], **held_out)
        other.partial_fit(X[:40], NUMBERS[:40], **held_out)
    assert close(one.coefs_[0], other.coefs_[0])
    assert close(np.asarray(one.validation_scores_), np.asarray(other.validation_scores_))


def test_weights_can_be_changed_in_place(library):
    where = {"backend": library.placement.backend, "device": library.placement.name}
    model = MLPRegressor(**SMALL, **where).fit(X, NUMBERS)
    for p in (*model.coefs_, *model.intercepts_):
        p *= 0.0
    np.testing.assert_array_equal(model.predict(X), np.zeros_like(NUMBERS))


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csr_matrix, np.asarray])
def test_labels_come_back_sparse_where_they_were_given_so(form):
    y = form((X[:, :3] > 0.0).astype(int))
    told = {**SMALL, "max_iter": 40}
    theirs, ours = (m(**told).fit(X, y).predict(X) for m in (TheirClassifier, MLPClassifier))
    assert type(ours) is type(theirs)
    assert (ours != theirs).sum() == 0


class Unhashable:
    """A function that cannot be hashed."""

    __hash__ = None

    def __call__(self, z, xp):
        return xp.tanh(z)


def test_a_function_of_ones_own_need_not_be_hashable():
    own = elementwise("own", Unhashable(), lambda z, a, xp: 1.0 - a * a)
    model = MLPRegressor(**SMALL, activation=own).fit(X, NUMBERS)
    wanted = MLPRegressor(**SMALL, activation="tanh").fit(X, NUMBERS)
    assert close(model.predict(X), wanted.predict(X))


def made_dense(monkeypatch):
    """The shapes of all that was made dense from here on."""
    shapes, whole = [], sparse.csr_array.toarray

    def watched(self, *given, **told):
        shapes.append(self.shape)
        return whole(self, *given, **told)

    monkeypatch.setattr(sparse.csr_array, "toarray", watched)
    return shapes


@pytest.mark.parametrize(
    "told", [{}, {"solver": "sgd"}, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str
)
def test_numpy_never_makes_sparse_rows_dense(monkeypatch, told):
    told = {**SMALL, **told}
    dense, rows = MLPRegressor(**told).fit(ROWS, NUMBERS), sparse.csr_array(ROWS)
    shapes = made_dense(monkeypatch)
    model = MLPRegressor(**told).fit(rows, NUMBERS)
    assert close(model.coefs_[0], dense.coefs_[0])
    for fitted in (model, dense):
        assert close(fitted.predict(rows), dense.predict(ROWS))
        assert close(fitted.activations(rows)[0], dense.activations(ROWS)[0])
    assert shapes == []


def test_the_weights_of_sparse_rows_lie_as_their_products_need_them():
    rows, told = sparse.csr_array(ROWS), {**SMALL, "warm_start": True}
    model = MLPRegressor(**told).fit(rows, NUMBERS).fit(rows, NUMBERS)
    assert model.coefs_[0].flags.c_contiguous
    assert model._state.slots[0][0].flags.f_contiguous
    dense = MLPRegressor(**told).fit(ROWS, NUMBERS).fit(rows, NUMBERS).fit(ROWS, NUMBERS)
    assert close(model.fit(rows, NUMBERS).coefs_[0], dense.coefs_[0])


def test_sparse_rows_are_made_dense_batch_by_batch_where_they_must(monkeypatch):
    shapes = made_dense(monkeypatch)
    MLPRegressor(**SMALL, backend="array_api_strict").fit(sparse.csr_array(ROWS), NUMBERS)
    assert shapes == [(20, 4), (20, 4), (10, 4)] * 5


@pytest.mark.parametrize(
    ("hidden", "copies", "wanted"), [(4000, 1, [523, 523, 454]), (10, 2000, [261, 239])]
)
def test_sparse_rows_are_predicted_in_chunks_where_they_are_made_dense(
    monkeypatch, hidden, copies, wanted
):
    rows = np.tile(ROWS, (1, copies))
    told = {**SMALL, "hidden_layer_sizes": (hidden,), "backend": "array_api_strict"}
    model = MLPRegressor(**told).fit(rows, NUMBERS[:, 0])
    times = sum(wanted) // len(ROWS)
    outputs = np.tile(model.predict(rows), times)
    many = sparse.csr_array(np.tile(rows, (times, 1)))
    shapes = made_dense(monkeypatch)
    assert close(model.predict(many), outputs)
    assert [shape[0] for shape in shapes] == wanted


def test_sparse_rows_are_worked_on_by_other_libraries_but_not_compiled(library):
    where = {"backend": library.placement.backend, "device": library.placement.name}
    model = MLPRegressor(**SMALL, **where)
    if library.placement.backend == "jax":
        with pytest.raises(ValueError, match="JAX cannot train on sparse inputs"):
            model.fit(sparse.csr_array(ROWS), NUMBERS)
        return
    model.fit(sparse.csr_array(ROWS), NUMBERS)
    assert close(model.coefs_[0], MLPRegressor(**SMALL).fit(ROWS, NUMBERS).coefs_[0])
