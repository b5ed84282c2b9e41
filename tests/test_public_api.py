"""The package's face: what it offers, that all of it is documented, and that it is light."""

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import backprop_xp

MODULES = [
    module.name
    for module in pkgutil.walk_packages(backprop_xp.__path__, "backprop_xp.")
    if not module.name.endswith("__main__")
]

NO_EXAMPLES = {
    **dict.fromkeys(
        ("BackpropError", "ConfigurationError", "DataError", "DeviceError"), "raised, not called"
    ),
    **dict.fromkeys(("DivergenceError", "ModelFileError"), "raised, not called"),
    **dict.fromkeys(("Layer", "TrainState"), "plain records that other examples use"),
    **dict.fromkeys(("Model", "load_model", "save_model"), "shown by the example of the README"),
    "RunSettings": "its fields are the options of the command line; `prepare_run` shows it",
    "load_mnist": "an example would need 11 MB of data",
}
"""Public names whose documentation has no example, and why."""

PUBLIC = sorted(set(backprop_xp.__all__) - {"__version__"})


def test_every_public_name_has_one_home():
    assert set(backprop_xp._HOMES) == set(PUBLIC)
    assert len(backprop_xp.__all__) == len(set(backprop_xp.__all__))
    for name, home in backprop_xp._HOMES.items():
        thing = getattr(backprop_xp, name)
        assert thing is getattr(importlib.import_module(f"backprop_xp.{home}"), name)
        assert thing.__module__ == f"backprop_xp.{home}", f"{name} is only passed on there"


def test_everything_can_be_imported_with_a_star():
    names = {}
    exec("from backprop_xp import *", names)
    assert set(PUBLIC) <= set(names)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented_with_an_example_or_a_reason(name):
    text = inspect.getdoc(getattr(backprop_xp, name))
    assert text
    assert text.split("\n")[0].endswith((".", ":"))
    assert (">>> " in text) is not (name in NO_EXAMPLES)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_parameter_and_every_error_of_a_function_is_documented(name):
    function = getattr(backprop_xp, name)
    if not inspect.isfunction(function):
        assert inspect.isclass(function)
        return
    text = inspect.getdoc(function)
    for parameter in inspect.signature(function).parameters:
        assert parameter in text, f"{name}: {parameter}"
    assert ("raise " not in inspect.getsource(function)) or "Raises\n------" in text


@pytest.mark.parametrize("module", MODULES)
def test_every_example_in_the_documentation_is_true(module):
    for examples in doctest.DocTestFinder().find(importlib.import_module(module)):
        try:
            doctest.DebugRunner().run(examples)
        except doctest.UnexpectedException as failure:
            if not isinstance(failure.exc_info[1], pytest.skip.Exception):
                raise


@pytest.mark.parametrize("module", MODULES)
def test_every_module_opens_with_a_sentence(module):
    text = importlib.import_module(module).__doc__
    assert text
    assert ":" in text or "." in text


def test_every_reference_in_the_documentation_resolves():
    files = Path(backprop_xp.__file__).parent.rglob("*.py")
    texts = [file.read_text("utf-8") for file in files]
    names = {name for text in texts for name in re.findall(r"`(backprop_xp(?:\.\w+)+)", text)}
    assert names
    for name in sorted(names):
        pkgutil.resolve_name(name)  # raises an error with the name


def test_the_package_has_a_version_that_its_metadata_agrees_with():
    assert backprop_xp.__version__ == importlib.metadata.version("backprop-xp")


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, backprop_xp\n"
        "backprop_xp.__version__, backprop_xp.BackpropError, dir(backprop_xp)\n"
        "print(*sorted({'numpy', 'click', 'rich', 'safetensors'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "\n"


def test_it_runs_as_a_module():
    command = [sys.executable, "-m", "backprop_xp", "--version"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout == f"backprop-xp, version {backprop_xp.__version__}\n"
