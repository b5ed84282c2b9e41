"""The house keeps its floors: imports point downward, and array libraries come in by one door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import backprop_xp

ROOT = Path(backprop_xp.__file__).parent

# A module may import from the floors below its own, and on its own floor from what stands before.
FLOORS = (
    ("version", "errors", "plain", "arrays", "devices"),
    (
        *("softmax", "activations", "losses", "initializers", "optimizers", "metrics", "random"),
        *(
            "data.mapped",
            "data.sparse",
            "data.records",
            "data.files",
            "data.download",
            "data.scaling",
            "data.splits",
        ),
        *("data.labels", "data.idx", "data.row_files", "data.tables", "data.archives"),
        *(
            "data.digits",
            "data.mnist",
            "data.datasets",
            "data.placing",
            "data.streaming",
            "data.augmentation",
        ),
        *("data", "dropout", "schedules"),
    ),
    ("network",),
    (
        *("regularizers", "gradient_check", "host", "recording", "stepping", "execution", "step"),
        *("diagnostics", "evaluation"),
        *("settings", "history", "state", "feed", "trainer", "training", "rate_finder"),
    ),
    (
        *("evidence", "doctor", "equivalence", "model", "summary", "model_file", "run"),
        *("run_folder", "plots"),
        *("trace.table", "trace.plain", "trace.derivatives", "trace.record", "trace.sources"),
        *("trace.formulas", "trace.typesetting", "trace.latex", "trace.page", "trace"),
        *("review", "outcome"),
        *("report.found", "report.text", "report.charts", "report.curves", "report.pictures"),
        *("report.sections", "report.traces", "report.page", "report"),
    ),
    (
        *("estimators.parameters", "estimators.inputs", "estimators.course", "estimators.lbfgs"),
        *("estimators.fitting", "estimators.files", "estimators.base", "estimators.classifier"),
        *("estimators.regressor", "estimators"),
        *("experiments.experiment", "experiments.published", "experiments.bundled", "experiments"),
        *(
            "experiments.worked_examples",
            "experiments.chain_rule",
            "experiments.perceptrons",
            "experiments.linear_collapse",
        ),
        *("experiments.slowdown", "experiments.learning_rate_choice"),
        *("experiments.learning_rates", "experiments.vanishing_gradients"),
        *("experiments.dead_relu", "experiments.digits_log", "experiments.darkness"),
        *("experiments.overfitting", "experiments.weight_initialization"),
        *("experiments.more_data", "experiments.generalisation", "experiments.records"),
    ),
    (
        *(
            "cli.output",
            "cli.options",
            "cli.settings",
            "cli.reproduce",
            "cli.devices",
            "cli.check",
            "cli.evaluate",
            "cli.predict",
            "cli.report",
        ),
        *("cli.train", "cli.find_lr", "cli.summary", "cli.trace", "cli.plot", "cli"),
    ),
    ("__main__", "backprop_xp"),  # the last is the package's own face, which gathers the names
)
PLACE = {
    name: (floor, place) for floor, names in enumerate(FLOORS) for place, name in enumerate(names)
}

HOST_ARRAYS = {
    "arrays",
    "host",
    "random",
    "model_file",
    "review",
    "report.pictures",
    "report.traces",
}
"""Modules outside of the readers in ``data`` and of the command line that may import NumPy."""

OPTIONAL = {
    *("cupy", "cupyx", "jax", "torch", "pooch", "sklearn", "array_api_strict", "matplotlib"),
    *("jinja2", "markupsafe"),
}

TOP_LEVEL = (ast.Import, ast.ImportFrom, ast.If, ast.Try, ast.With)


def module_name(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "backprop_xp"


SOURCES = {module_name(file): ast.parse(file.read_text("utf-8")) for file in ROOT.rglob("*.py")}


def imports(tree):
    """Yield the full name of everything that a module imports, wherever in it that stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports are not used here"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def own_imports(tree):
    """Yield the modules of this package that a module imports."""
    for name in imports(tree):
        if name.split(".")[0] == "backprop_xp":
            parts = name.split(".")[1:]
            while parts and ".".join(parts) not in SOURCES:
                parts.pop()  # a name within a module
            yield ".".join(parts) or "backprop_xp"


def libraries(tree):
    return {name.split(".")[0] for name in imports(tree)}


def test_every_module_has_its_place():
    strangers = sorted(set(SOURCES) - set(PLACE))
    assert not strangers, f"give {strangers} a place in FLOORS of {Path(__file__).name}"
    gone = sorted(set(PLACE) - set(SOURCES) - {"backprop_xp"})
    assert not gone, f"{gone} are no longer there: take them out of FLOORS"


@pytest.mark.parametrize("module", SOURCES)
def test_imports_point_downward(module):
    upward = sorted(name for name in own_imports(SOURCES[module]) if PLACE[name] >= PLACE[module])
    assert not upward, f"{module} imports {upward}, which do not stand below it"


def test_array_api_compat_comes_in_by_one_door():
    users = {module for module, tree in SOURCES.items() if "array_api_compat" in libraries(tree)}
    assert users == {"arrays"}


def test_the_mathematics_does_not_import_numpy():
    users = {module for module, tree in SOURCES.items() if "numpy" in libraries(tree)}
    readers = {m for m in SOURCES if m.startswith(("data.", "cli.", "cli"))}
    readers -= {"data.placing", "data.augmentation"}
    experiments = {m for m in SOURCES if m.startswith("experiments.")}  # they set up host data
    estimators = {m for m in SOURCES if m.startswith("estimators")}  # users' data is on the host
    assert users <= HOST_ARRAYS | readers | experiments | estimators
    assert users >= HOST_ARRAYS  # else the list above is out of date


def test_optional_libraries_are_imported_where_they_are_used():
    for module, tree in SOURCES.items():
        if module.startswith("estimators"):  # they are scikit-learn's by inheritance
            continue
        at_the_top = ast.Module([n for n in tree.body if isinstance(n, TOP_LEVEL)], [])
        assert not libraries(at_the_top) & OPTIONAL, module


@pytest.mark.parametrize("module", ["backprop_xp", "backprop_xp.cli", "backprop_xp.network"])
def test_importing_loads_no_array_library(module):
    code = (
        f"import sys, {module}; "
        "print(*sorted({'numpy', 'cupy', 'jax', 'torch'} & {m.split('.')[0] for m in sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_every_public_name_can_be_had():
    assert backprop_xp.__all__ == sorted(backprop_xp.__all__, key=str)
    for name in backprop_xp.__all__:
        assert getattr(backprop_xp, name) is not None
    assert dir(backprop_xp) == sorted(backprop_xp.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'netwrok'"):
        backprop_xp.netwrok  # noqa: B018
