"""The recipe for contributors in the guide: followed to the letter, it passes the tests."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

NAMES = "backprop_xp/guide/training.md"
"""The chapter with the table of all names."""

MISH = """
# Misra (2019), "Mish: a self regularized non-monotonic neural activation function".
def _mish(z: Array, xp: Namespace) -> Array:
    a = xp.tanh(_softplus(z, xp))
    a *= z
    return a


def _mish_derivative(z: Array, a: Array, xp: Namespace) -> Array:
    t = xp.tanh(_softplus(z, xp))
    derivative = 1.0 - t * t
    derivative *= _sigmoid(z, xp)
    derivative *= z
    derivative += t
    return derivative


MISH = elementwise(
    "mish",
    _mish,
    _mish_derivative,
    formula="z tanh(log(1 + exp(z)))",
    derivative_formula="t + z (1 - t²) / (1 + exp(-z)), t = tanh(log(1 + exp(z)))",
    output_range=(-0.3089, _INF),
)


"""

ADAGRAD = '''
def adagrad(epsilon: float = 1e-10) -> Optimizer:
    """Return Adagrad, ``s ← s + g²``, ``p ← p - η g / (√s + ε)``.

    Source: Duchi, Hazan and Singer (2011), "Adaptive subgradient methods for online learning and
    stochastic optimization".
    """
    _check_positive("epsilon", epsilon)

    def rule(
        p: Array, g: Array, slots: Slots, scalars: Scalars, xp: Namespace
    ) -> tuple[Array, Slots]:
        (s,), (eta,) = slots, scalars
        s += g * g
        root = xp.sqrt(s)
        root += epsilon
        g *= eta
        g /= root
        p -= g
        return p, (s,)

    return Optimizer(
        "adagrad",
        0.01,
        ("s",),
        _only_learning_rate,
        rule,
        "s ← s + g², p ← p - η g / (√s + ε)",
        {"epsilon": epsilon},
    )


'''


def insert(file, pattern, new):
    """Insert text into a file after the first match of a pattern."""
    text = file.read_text(encoding="utf-8")
    end = re.search(pattern, text).end()
    file.write_text(text[:end] + new + text[end:], encoding="utf-8")


@pytest.fixture
def repository(tmp_path):
    """Return a copy of the package and its tests with mish and Adagrad in the registries."""
    skip = shutil.ignore_patterns("__pycache__", ".*")
    for folder in ("backprop_xp", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=skip)
    for file in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path)
    activations, optimizers = (
        tmp_path / "backprop_xp" / "nn" / f"{name}.py" for name in ("activations", "optimizers")
    )
    insert(activations, r"(?m)^(?=ACTIVATIONS: )", MISH)
    insert(activations, r"(?s)ACTIVATIONS: .*?STEP,", " MISH,")
    insert(optimizers, r"(?m)^(?=OPTIMIZERS: )", ADAGRAD)
    insert(optimizers, r'    "sgd": sgd,\n', '    "adagrad": adagrad,\n')
    return tmp_path


def run_tests(repository, *arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=repository,
        env=environment | {"BACKPROP_XP_TEST_BACKENDS": "numpy", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_the_recipe_adds_passes_every_test_that_names_it(repository):
    insert(repository / NAMES, r"\| activation \| `step`,", " `mish`,")
    insert(repository / NAMES, r"\| optimizer \| `sgd`,", " `adagrad`,")
    run = run_tests(repository, "-k", "mish or adagrad or registry or formula_here", "tests")
    assert run.returncode == 0, run.stdout
    passed = int(re.search(r"(\d+) passed", run.stdout)[1])
    assert passed > 100


def test_a_name_that_the_guide_lacks_is_told_with_where_to_add_it(repository):
    file = repository / NAMES
    file.write_text(re.sub("`(mish|adagrad)`", "", file.read_text(encoding="utf-8")), "utf-8")
    run = run_tests(repository, "tests/guide", "-k", "mish or adagrad")
    for name in ("mish", "adagrad"):
        assert f"add `{name}` to the table 'Names' in guide/training.md" in run.stdout
