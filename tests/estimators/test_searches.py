"""Searches on joblib's backends: the same scores, few BLAS threads, and inputs that are shared."""

import functools
import os
import tracemalloc

import joblib
import numpy as np
import pytest
from helpers import run_with_two_blas_threads
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

from backprop_xp.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 500))  # above 1 MB, from where on loky maps arrays into memory
CLASSES = np.where(X[:, 0] + X[:, 1] > 0.0, "yes", "no")
NUMBERS = X[:, 0] * X[:, 1]
SMALL = {"max_iter": 3, "random_state": 0, "batch_size": 50, "learning_rate_init": 0.01}
GRID = {"hidden_layer_sizes": [(4,), (60, 4)]}  # the products of the second use all BLAS threads

SEARCHES = {
    "grid, classes": (GridSearchCV, MLPClassifier(**SMALL), GRID, CLASSES),
    "random, early stopping": (
        RandomizedSearchCV,
        MLPClassifier(early_stopping=True, **SMALL),
        {"alpha": [0.0, 0.1, 1.0], "dropout": [0.0, 0.5]},
        CLASSES,
    ),
    "grid, numbers": (GridSearchCV, MLPRegressor(**SMALL), {"dropout": [0.0, 0.3]}, NUMBERS),
    "grid, lbfgs": (
        GridSearchCV,
        MLPRegressor(solver="lbfgs", max_iter=5, random_state=0),
        GRID,
        NUMBERS,
    ),
}


def searched(name, backend, **settings):
    """Run one of the searches, with two workers unless Dask has its own; return it."""
    kind, model, grid, y = SEARCHES[name]

    def score(model, X, y):
        return {"score": model.score(X, y), "process": os.getpid()}

    options = {"n_iter": 2, "random_state": 0} if kind is RandomizedSearchCV else {}
    jobs = None if backend in ("dask", "sequential") else 2
    with joblib.parallel_config(backend, **settings):
        search = kind(model, grid, cv=2, scoring=score, refit="score", n_jobs=jobs, **options)
        return search.fit(X, y)


def compare(name, search):
    """Compare a search with that of one process."""
    alone = searched(name, "sequential")
    assert search.best_params_ == alone.best_params_
    for key in ("split0_test_score", "split1_test_score"):
        np.testing.assert_array_equal(search.cv_results_[key], alone.cv_results_[key])
    assert len(set(alone.cv_results_["mean_test_score"])) == 2
    for one, other in zip(search.best_estimator_.coefs_, alone.best_estimator_.coefs_, strict=True):
        np.testing.assert_array_equal(one, other)


def processes(search):
    found = search.cv_results_
    return {*found["split0_test_process"], *found["split1_test_process"]}


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_search_finds_the_same_in_processes_and_in_threads(backend, name):
    search = searched(name, backend)
    compare(name, search)
    assert (os.getpid() in processes(search)) is (backend == "threading")


# --- Dask ---


@pytest.fixture(scope="module")
def cluster():
    """Yield a client of two worker processes of Dask."""
    reason = "Dask is not installed (pip install 'dask[distributed]')"
    distributed = pytest.importorskip("dask.distributed", reason=reason)
    before = dict(os.environ)  # to which Dask adds the variables of its workers
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.pop(name, None)  # Dask would set its workers to them
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    try:
        with (
            distributed.LocalCluster(**options) as workers,
            distributed.Client(workers) as client,
        ):
            yield client
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_finds_the_same_on_a_dask_cluster(cluster, name):
    search = searched(name, "dask")
    compare(name, search)
    assert os.getpid() not in processes(search)


def test_inputs_may_be_sent_to_all_workers_of_dask_before(cluster):
    compare("grid, classes", searched("grid, classes", "dask", scatter=[X, CLASSES]))


def test_a_worker_of_dask_has_one_blas_thread(cluster):
    def numbers():
        from backprop_xp.backend.host import _blas

        return [library.num_threads for library in _blas().lib_controllers]

    found = cluster.run(numbers)
    assert len(found) == 2
    assert all(set(threads) <= {1} for threads in found.values())


# --- BLAS threads ---

IN_PARALLEL = """
import sys, warnings

import joblib
import numpy as np
import threadpoolctl
from sklearn.model_selection import GridSearchCV

from backprop_xp.backend.host import _blas
from backprop_xp.estimators import MLPClassifier

warnings.simplefilter("ignore")
X = np.random.default_rng(0).normal(size=(300, 500))
y = (X[:, 0] > 0.0).astype(int)
grid = {"hidden_layer_sizes": [(4,), (60, 4)]}

def threads():
    return max((library.get_num_threads() for library in _blas().lib_controllers), default=1)

def search(jobs):
    def look(model, metrics):
        model.threads_ = max(threads(), getattr(model, "threads_", 0))

    def score(model, X, y):
        return {"loss": model.loss_, "threads": model.threads_}

    model = MLPClassifier(max_iter=3, batch_size=50, random_state=0, callback=look)
    found = GridSearchCV(model, grid, cv=2, n_jobs=jobs, scoring=score, refit=False)
    found = found.fit(X, y).cv_results_
    return found["mean_test_loss"].tolist(), set(found["mean_test_threads"])

if not _blas().lib_controllers:
    print("no BLAS")
    sys.exit()
assert threads() == 2
"""


run = functools.partial(run_with_two_blas_threads, IN_PARALLEL)


def test_only_fits_in_threads_have_one_blas_thread_each():
    run("""
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            alone = search(None)
        assert alone[1] == {1}
        with joblib.parallel_config("threading"):
            assert search(2) == alone
        assert threads() == 2
        assert search(None)[1] == {2}
    """)


# --- inputs ---


@pytest.fixture
def mapped(tmp_path):
    """Return read-only memory-mapped inputs of 20 MB, and classes."""
    rows = np.random.default_rng(0).normal(size=(10_000, 512)).astype(np.float32)
    np.save(tmp_path / "x.npy", rows)
    np.save(tmp_path / "y.npy", (rows[:, 0] > 0.0).astype(int))
    return [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy"]


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_mapped_inputs_are_not_copied(mapped, kind):
    x, y = mapped
    model = kind(hidden_layer_sizes=(4,), max_iter=1, random_state=0)
    model.fit(x[:500], y[:500])  # imports what is missing
    tracemalloc.start()
    try:
        model.fit(x, y)
        model.predict(x)
        # Whether a number is finite takes one byte for each.
        assert tracemalloc.get_traced_memory()[1] < 0.3 * x.nbytes
    finally:
        tracemalloc.stop()
    in_memory = clone(model).fit(np.array(x), np.array(y))
    np.testing.assert_array_equal(model.coefs_[0], in_memory.coefs_[0])


def test_every_library_takes_inputs_that_cannot_be_written(library):
    inputs, labels = X[:60, :5].copy(), CLASSES[:60]
    device = {"backend": library.placement.backend, "device": library.placement.name}
    model = MLPClassifier((4,), max_iter=2, random_state=0, batch_size=20, **device)
    expected = clone(model).fit(inputs, labels).predict_proba(inputs)
    before = inputs.copy()
    inputs.flags.writeable = False
    model.fit(inputs, labels)
    np.testing.assert_array_equal(model.predict_proba(inputs), expected)
    np.testing.assert_array_equal(inputs, before)
