"""Imports between subpackages point one way, and array libraries come in through one module."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import backprop_xp

ROOT = Path(backprop_xp.__file__).parent

SHARED = {"errors", "files", "formatting", "tensor_file", "version"}
"""Top-level modules that every subpackage may import."""

MAY_IMPORT = {
    "backend": "",
    "nn": "backend",
    "data": "backend",
    "training": "backend nn data",
    "models": "backend nn data training",
    "diagnosis": "backend nn data training models",
    "runs": "backend nn data training models diagnosis",
    "estimators": "backend nn data training models",
    "exchange": "backend nn data models",
    "trace": "backend nn data training models runs",
    "report": "backend nn models runs trace",
    "experiments": "backend nn data training trace",
    "cli": "backend nn data training models diagnosis runs exchange trace report experiments",
}
"""The subpackages that each one may import, besides itself and `SHARED`."""

OPTIONAL = {
    *("cupy", "cupyx", "jax", "torch", "pooch", "sklearn", "array_api_strict", "matplotlib"),
    *("jinja2", "markupsafe", "onnx", "pandas", "polars", "pyarrow"),
}

TOP_LEVEL = (ast.Import, ast.ImportFrom, ast.If, ast.Try, ast.With)


def module_name(file, root):
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(root=ROOT):
    return {module_name(f, root): ast.parse(f.read_text("utf-8")) for f in root.rglob("*.py")}


SOURCES = sources()


def imports(tree):
    """Yield the full name of everything that a module imports, also within functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports are not used here"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def own_imports(tree, modules):
    """Yield the modules of this package that a module imports."""
    for name in imports(tree):
        if name.split(".")[0] == "backprop_xp":
            parts = name.split(".")[1:]
            while parts and ".".join(parts) not in modules:
                parts.pop()  # a name within a module
            yield ".".join(parts)


def subpackage(module):
    return module.split(".")[0]


def violations(modules):
    """Return every import that breaks the rules between subpackages, as text."""
    found = []
    for module, tree in modules.items():
        own = subpackage(module)
        if own in ("", "__main__"):  # the public face, which gathers names from everywhere
            continue
        allowed = {own} | SHARED | set(MAY_IMPORT.get(own, "").split())
        found += [
            f"{module} imports {name}"
            for name in own_imports(tree, modules)
            if subpackage(name) not in allowed
        ]
    return found


def circle(modules):
    """Return the modules of a circle of imports, the first one repeated; empty if none exists."""
    below = {m: set(own_imports(tree, modules)) - {m, ""} for m, tree in modules.items()}
    done = set()

    def visit(module, path):
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for name in sorted(below[module]):
            if found := visit(name, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in below if (found := visit(module, []))), [])


def libraries(tree):
    return {name.split(".")[0] for name in imports(tree)}


def test_subpackages_import_only_what_they_may():
    folders = {subpackage(module) for module in SOURCES if "." in module}
    assert folders == set(MAY_IMPORT)
    assert violations(SOURCES) == []


def test_no_imports_form_a_circle():
    assert circle(SOURCES) == []


@pytest.mark.parametrize(
    ("module", "line", "message"),
    [
        ("nn.losses", "import backprop_xp.training.fit", "nn.losses imports training.fit"),
        ("nn.losses", "from backprop_xp.data import sparse", "nn.losses imports data.sparse"),
        ("errors", "from backprop_xp.nn import losses", "errors imports nn.losses"),
        (
            "data.splits",
            "def f():\n    from backprop_xp.cli import main",
            "data.splits imports cli",
        ),
    ],
)
def test_a_forbidden_import_is_found(module, line, message):
    assert violations({**SOURCES, module: ast.parse(line)}) == [message]


def test_a_circle_within_a_subpackage_is_found():
    planted = {**SOURCES, "nn.activations": ast.parse("import backprop_xp.nn.losses")}
    assert set(circle(planted)) == {"nn.activations", "nn.losses"}


def test_array_api_compat_comes_in_by_one_module():
    users = {module for module, tree in SOURCES.items() if "array_api_compat" in libraries(tree)}
    assert users == {"backend.arrays"}


def test_the_mathematics_does_not_import_numpy():
    users = {module for module, tree in SOURCES.items() if "numpy" in libraries(tree)}
    assert not [module for module in users if subpackage(module) in ("nn", "training")]
    assert not users & {"data.augmentation", "data.device_data"}


def test_optional_libraries_are_imported_where_they_are_used():
    for module, tree in SOURCES.items():
        if module.startswith("estimators"):  # they inherit from scikit-learn's classes
            continue
        at_the_top = ast.Module([n for n in tree.body if isinstance(n, TOP_LEVEL)], [])
        assert not libraries(at_the_top) & OPTIONAL, module


@pytest.mark.parametrize("module", ["backprop_xp", "backprop_xp.cli", "backprop_xp.nn.network"])
def test_importing_loads_no_array_library(module):
    code = (
        f"import sys, {module}; "
        "print(*sorted({'numpy', 'cupy', 'jax', 'torch'} & {m.split('.')[0] for m in sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_every_public_name_can_be_had():
    for name in backprop_xp.__all__:
        assert getattr(backprop_xp, name) is not None
    assert dir(backprop_xp) == sorted(backprop_xp.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'netwrok'"):
        backprop_xp.netwrok  # noqa: B018
