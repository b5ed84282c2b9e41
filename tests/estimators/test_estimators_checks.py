"""The estimators pass all of scikit-learn's estimator checks; no failure is expected."""

import subprocess
import sys

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from backprop_xp.estimators import MLPClassifier, MLPRegressor

ESTIMATORS = [
    MLPClassifier(),
    MLPRegressor(),
    MLPClassifier((20,), "tanh", solver="sgd", learning_rate="adaptive", learning_rate_init=0.1),
    MLPRegressor("huber", (10, 5), solver="lbfgs"),
]


# Warnings of scikit-learn's own checks are theirs to fix, and 200 epochs are not always enough.
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


def test_importing_without_scikit_learn_names_the_extra():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import backprop_xp; backprop_xp.fit\n"
        "try:\n    import backprop_xp.estimators\n"
        "except ImportError as error:\n    print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'backprop-xp[sklearn]'" in run.stdout


def test_the_package_does_not_load_scikit_learn():
    code = "import sys, backprop_xp; backprop_xp.fit; print('sklearn' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False"]
