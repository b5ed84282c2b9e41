"""The estimators reject invalid inputs and parameters with scikit-learn's kind of error."""

import numpy as np
import pytest
from scipy import sparse
from sklearn import neural_network

from backprop_xp import estimators
from backprop_xp.errors import DeviceError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
LABELS = np.arange(40) % 3
NUMBERS = X[:, 0]
NAMES = ("MLPClassifier", "MLPRegressor")

both = pytest.mark.parametrize("name", NAMES)


def targets(name):
    return LABELS if name == "MLPClassifier" else NUMBERS


def made(name, **parameters):
    return getattr(estimators, name)(**{"max_iter": 2, "random_state": 0, **parameters})


def refusals(name, call):
    """Return the errors of scikit-learn's own estimator and of ours."""
    found = []
    for module in (neural_network, estimators):
        with pytest.raises((ValueError, TypeError)) as failure:
            call(getattr(module, name)(max_iter=2, random_state=0))
        found.append(failure.value)
    return found


def with_value(value):
    x = X.copy()
    x[7, 1] = value
    return x


WRONG = {
    "NaN": lambda m, y: m.fit(with_value(np.nan), y),
    "infinity": lambda m, y: m.fit(with_value(np.inf), y),
    "other length": lambda m, y: m.fit(X, y[:-1]),
    "no rows": lambda m, y: m.fit(X[:0], y[:0]),
    "no columns": lambda m, y: m.fit(X[:, :0], y),
    "one dimension": lambda m, y: m.fit(X[:, 0], y),
    "three dimensions": lambda m, y: m.fit(X[None], y),
    "text": lambda m, y: m.fit([["a", "b"]] * 40, y),
    "complex": lambda m, y: m.fit(X * 1j, y),
    "no targets": lambda m, y: m.fit(X, None),
    "targets that are NaN": lambda m, y: m.fit(X, np.full(40, np.nan)),
    "targets of three dimensions": lambda m, y: m.fit(X, np.zeros((40, 2, 2))),
    "weights of other length": lambda m, y: m.fit(X, y, sample_weight=np.ones(39)),
    "weights that are NaN": lambda m, y: m.fit(X, y, sample_weight=np.full(40, np.nan)),
    "another number of features": lambda m, y: m.fit(X, y).predict(X[:, :2]),
    "prediction from a NaN": lambda m, y: m.fit(X, y).predict(with_value(np.nan)),
    "prediction from one dimension": lambda m, y: m.fit(X, y).predict(X[0]),
    "features in partial_fit": lambda m, y: m.fit(X, y).partial_fit(X[:, :2], y),
    "not fitted": lambda m, y: m.predict(X),
}


@pytest.mark.parametrize("wrong", WRONG)
@both
def test_wrong_data_is_refused_with_the_error_of_scikit_learn(name, wrong):
    theirs, ours = refusals(name, lambda model: WRONG[wrong](model, targets(name)))
    if "unexpected keyword argument 'sample_weight'" in str(theirs):
        pytest.skip("the MLP of scikit-learn takes sample weights from version 1.7 on")
    assert type(ours) is type(theirs)
    assert str(ours).split("\n")[0] == str(theirs).split("\n")[0]


WRONG_CLASSES = {
    "numbers": lambda m: m.fit(X, NUMBERS),
    "several classes at once": lambda m: m.fit(X, np.stack((LABELS, LABELS), axis=1)),
    "unknown class in partial_fit": lambda m: m.fit(X[LABELS < 2], LABELS[LABELS < 2]).partial_fit(
        X, LABELS
    ),
    "no classes in partial_fit": lambda m: m.partial_fit(X, LABELS),
    "other classes in partial_fit": lambda m: (
        m.partial_fit(X, LABELS, classes=[0, 1, 2]).partial_fit(X, LABELS, classes=[0, 1, 3])
    ),
    "other classes in a warm start": lambda m: m.set_params(warm_start=True)
    .fit(X, LABELS)
    .fit(X, LABELS + 1),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_CLASSES)
def test_wrong_classes_are_refused_with_the_error_of_scikit_learn(wrong):
    theirs, ours = refusals("MLPClassifier", WRONG_CLASSES[wrong])
    assert type(ours) is type(theirs)
    assert str(ours)[:20] == str(theirs)[:20]


WRONG_PARAMETERS = [
    *({"hidden_layer_sizes": -1}, {"hidden_layer_sizes": (3, 0)}, {"activation": "ramp"}),
    *({"solver": "newton"}, {"alpha": -1.0}, {"batch_size": 0}, {"batch_size": "all"}),
    *({"learning_rate": "falling"}, {"learning_rate_init": 0.0}, {"power_t": -1.0}),
    *({"max_iter": -1}, {"max_iter": 2.5}, {"shuffle": "yes"}, {"tol": -1e-3}),
    *({"momentum": 1.5}, {"nesterovs_momentum": 3}, {"early_stopping": "no"}),
    *({"validation_fraction": 1.0}, {"beta_1": 1.0}, {"beta_2": -0.1}, {"epsilon": 0.0}),
    *({"n_iter_no_change": 0}, {"max_fun": 0}, {"random_state": "x"}, {"verbose": -1}),
]
OWN_PARAMETERS = [
    *({"dropout": 1.0}, {"dropout": (0.5, 0.5)}, {"l1": -1.0}, {"max_norm": 0.0}),
    *({"callback": 3}, {"device": "tpu"}, {"device": 3}, {"backend": "numpi"}, {"dtype": "int8"}),
    *({"loss": "hinge"}, {"activation": ("relu", "tanh", "elu")}, {"activation": ["ramp"]}),
]


@pytest.mark.parametrize("wrong", WRONG_PARAMETERS, ids=str)
@both
def test_wrong_parameters_are_refused_with_the_error_of_scikit_learn(name, wrong):
    theirs, ours = refusals(name, lambda model: model.set_params(**wrong).fit(X, targets(name)))
    assert type(ours).__name__ == type(theirs).__name__
    assert str(ours)[:45] == str(theirs)[:45]


@pytest.mark.parametrize("wrong", OWN_PARAMETERS, ids=str)
@both
def test_wrong_parameters_of_our_own_are_value_errors_that_name_them(name, wrong):
    ((parameter, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"{parameter}|{parameter.rstrip('s')}"):
        made(name, **{parameter: value}).fit(X, targets(name))


@both
def test_a_missing_value_is_refused_with_its_row_and_column(name):
    with pytest.raises(ValueError, match=r"contains NaN[\s\S]*row 7, column 1"):
        made(name).fit(with_value(np.nan), targets(name))
    model = made(name).fit(X, targets(name))
    with pytest.raises(ValueError, match=r"contains infinity[\s\S]*row 7, column 1"):
        model.predict(with_value(-np.inf))
    rows = sparse.csr_array(with_value(np.nan))
    with pytest.raises(ValueError, match=r"contains NaN[\s\S]*row 7, column 1"):
        model.fit(rows, targets(name))


@both
def test_negative_weights_are_refused(name):
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        made(name).fit(X, targets(name), sample_weight=-np.ones(40))
    with pytest.raises(ValueError, match="zero"):
        made(name).fit(X, targets(name), sample_weight=np.zeros(40))


@both
def test_validation_rows_are_checked_too(name):
    y = targets(name)
    with pytest.raises(ValueError, match="give both, or neither"):
        made(name).fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="expecting 3 features"):
        made(name).fit(X, y, X_val=X[:, :2], y_val=y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        made(name).fit(X, y, X_val=X, y_val=y[:5])
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        made(name, early_stopping=True).fit(X, y, X_val=X, y_val=y).partial_fit(X, y)
    with pytest.raises(ValueError, match="validation set is too small"):
        made(name, early_stopping=True, validation_fraction=0.01).fit(X, y)


def test_one_class_alone_is_learned_as_scikit_learn_does():
    found = [
        module.MLPClassifier(max_iter=2, random_state=0).fit(X, np.full(40, 7))
        for module in (neural_network, estimators)
    ]
    assert found[1].classes_.tolist() == [7]
    np.testing.assert_array_equal(found[1].predict(X), found[0].predict(X))


def test_classes_that_cannot_be_weighed_are_refused():
    with pytest.raises(ValueError, match=r"The classes \[9\] in class_weight"):
        made("MLPClassifier", class_weight={9: 1.0}).fit(X, LABELS)
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        made("MLPClassifier", class_weight="balanced").partial_fit(X, LABELS, classes=[0, 1, 2])


@both
def test_another_number_of_outputs_is_refused_in_partial_fit(name):
    y = (X > 0.0).astype(int)
    with pytest.raises(ValueError, match=r"2 .* 3 before"):
        made(name).fit(X, y).partial_fit(X, y[:, :2])


def test_partial_fit_is_hidden_from_a_solver_without_steps():
    assert not hasattr(made("MLPClassifier", solver="lbfgs"), "partial_fit")
    assert hasattr(made("MLPClassifier"), "partial_fit")


# --- what is refused changes nothing -----------------------------------------------------------

TWO = np.stack((NUMBERS, NUMBERS), axis=1)
OTHER = {"MLPClassifier": np.where(LABELS == 0, "x", "y"), "MLPRegressor": TWO}
HUGE = with_value(1e39)
REFUSED = {  # what is given, what is set, and words of the error
    "other length": ({"X": X[:-1]}, {}, "inconsistent numbers"),
    "other weights": ({"sample_weight": np.ones(39)}, {}, "sample_weight.shape"),
    "other width": ({"X_val": X[:, :2], "y_val": True}, {}, "2 features"),
    "no such device": ({}, {"device": "cuda:999"}, "cannot be used"),
    "an activation too many": ({}, {"activation": ["relu", "tanh"]}, "activations were given"),
    "rates for other layers": ({}, {"dropout": (0.5, 0.5)}, "2 dropout rates"),
    "numbers too large": ({"X": HUGE}, {"dtype": "float32"}, "row 7, column 1"),
}


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("how", ["anew", "warm", "watched"])
@pytest.mark.parametrize("what", REFUSED)
@both
def test_a_training_that_is_refused_leaves_the_model_as_it_was(name, what, how):
    given, told, words = REFUSED[what]
    model = made(name, warm_start=how == "warm").fit(X, targets(name))
    model.set_params(callback=(lambda *_: False) if how == "watched" else None)
    wanted, usual = model.predict(X), {key: getattr(model, key) for key in told}
    y = targets(name) if how == "warm" else OTHER[name]
    given = {"X": X, "y": y, **given}
    given.update({key: y for key in given if key == "y_val"})
    known = {**vars(model), **told}
    with pytest.raises((ValueError, DeviceError), match=words):
        model.set_params(**told).fit(**given)
    assert vars(model) == known
    np.testing.assert_array_equal(model.set_params(**usual).predict(X), wanted)


def test_a_first_partial_fit_that_is_refused_leaves_no_classes():
    model = made("MLPClassifier")
    with pytest.raises(ValueError, match="inconsistent numbers"):
        model.partial_fit(X[:-1], LABELS, classes=[0, 1, 2])
    assert not hasattr(model, "classes_")
    with pytest.raises(ValueError, match="y has 4 labels, but classes has 3"):
        model.partial_fit(X, np.ones((40, 4), dtype=int), classes=[0, 1, 2])


# --- what L-BFGS has no use for ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "given", "words"),
    [
        ({"dropout": 0.5}, {}, "dropout"),
        ({"dropout": (0.5,), "max_norm": 2.0}, {}, "dropout, max_norm"),
        ({"callback": print}, {}, "callback"),
        ({}, {"X_val": X, "y_val": NUMBERS}, "X_val"),
    ],
)
def test_lbfgs_refuses_what_belongs_to_steps_and_epochs(told, given, words):
    model = made("MLPRegressor", solver="lbfgs", **told)
    with pytest.raises(ValueError, match=f"no steps and epochs, so {words} would have no effect"):
        model.fit(X, NUMBERS, **given)


def test_lbfgs_of_no_iterations_leaves_the_initial_weights():
    one, other = (made("MLPRegressor", solver=s, max_iter=0) for s in ("lbfgs", "adam"))
    np.testing.assert_array_equal(one.fit(X, NUMBERS).coefs_[0], other.fit(X, NUMBERS).coefs_[0])


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_sparse_numbers_too_large_for_the_type_are_told_with_their_place():
    x = with_value(1e39)
    for rows in (x, sparse.csr_array(x)):
        for solver in ("adam", "lbfgs"):
            with pytest.raises(ValueError, match="row 7, column 1"):
                made("MLPRegressor", solver=solver, dtype="float32").fit(rows, NUMBERS)
