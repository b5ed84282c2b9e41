"""The fixtures of all tests: each installed backend, MNIST and a browser; and the quick tests."""

import functools
import importlib.util
import os
from pathlib import Path

# The matrices here are small, and on a busy machine threads that wait for each other are slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when NumPy is imported

import hypothesis
import pytest
from helpers import TOLERANCE, Backend

from backprop_xp.backend import devices
from backprop_xp.backend.arrays import BACKENDS
from backprop_xp.data.mnist import FILES

os.environ["SCIPY_ARRAY_API"] = "1"  # SciPy reads it once, when scikit-learn imports it

TESTS = Path(__file__).parent

SUBSET = "BACKPROP_XP_TEST_BACKENDS"
"""Environment variable: the backends to test, or backends on devices, separated by commas."""

ORACLES = {
    "exchange/test_onnx_model.py": ("onnxruntime", "pip install 'backprop-xp[onnx]' onnxruntime"),
    "nn/test_torch_oracle.py": ("torch", "pip install 'backprop-xp[torch]'"),
}
"""Test files that compare with an optional library, and the command that installs it."""

collect_ignore = [
    file for file, (library, _) in ORACLES.items() if importlib.util.find_spec(library) is None
]

SLOW = (
    "backend/test_host.py",
    "cli/test_cli_commands",
    "cli/test_cli_completion",
    "cli/test_cli_find_lr",
    "cli/test_cli_output",
    "cli/test_cli_progress",
    "cli/test_cli_report",
    "cli/test_cli_resume.py",
    "cli/test_cli_signals",
    "cli/test_cli_tables",
    "cli/test_cli_train",
    "diagnosis/test_device_check",
    "diagnosis/test_learning_rate_finder.py::test_following",
    "diagnosis/test_learning_rate_finder.py::test_the_suggestion",
    "estimators/test_estimators_checks",
    "estimators/test_estimators_ecosystem",
    "estimators/test_estimators_oracle",
    "estimators/test_searches",
    "exchange/test_onnx_model.py::test_every_activation",
    "experiments/test_experiments.py::test_a_record",
    "experiments/test_experiments.py::test_an_experiment_without_mnist",
    "guide/test_chapters.py::test_the_code",
    "nn/test_regularized_gradients",
    "nn/test_torch_oracle",
    "report/test_function_plots",
    "report/test_report",
    "runs/test_folder_faults.py",
    "runs/test_interruption.py",
    "runs/test_session.py::test_a_kill",
    "test_contributing",
    "test_fuzz.py",
    "test_readme.py::test_the_code",
    "trace/test_trace_latex",
    "training/execution/test_execution.py::test_a_training_needs",
    "training/test_layer_statistics.py::test_the_reads",
)
"""Beginnings of the names of tests, below this folder, that ``pytest -m quick`` leaves out."""

# Machines that are shared or slow would break a deadline for reasons that are not in the code.
hypothesis.settings.register_profile("no deadline", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("no deadline")


@functools.cache
def found() -> tuple[dict[str, Backend], dict[str, str]]:
    """Return the backends to test by name, and the reason for each that is not tested."""
    usable: dict[str, Backend] = {}
    missing: dict[str, str] = {}
    for row in devices.list_devices():
        name = row.backend if row.device in ("cpu", "-") else f"{row.backend}-{row.device}"
        if not row.usable:
            on_a_gpu = " on a GPU" if name in usable else ""
            missing[name + on_a_gpu] = f"{row.reason} ({row.remedy})"
            continue
        placement = devices.select_device(row.device, row.backend)
        usable[name] = Backend(name, placement)
        if row.backend == "numpy":
            usable["numpy-readonly"] = Backend("numpy-readonly", placement, readonly=True)
        if row.backend == "jax":
            usable[f"{name}-jit"] = Backend(f"{name}-jit", placement, compiled=True)
    wanted = [name.strip() for name in os.environ.get(SUBSET, "").split(",") if name.strip()]
    for name in wanted:
        if name not in {*usable, *(backend.placement.backend for backend in usable.values())}:
            known = ", ".join(dict.fromkeys([*BACKENDS, *usable]))
            why = missing.get(name, f"there is no such backend; there are: {known}")
            raise pytest.UsageError(f"{SUBSET} asks for {name!r}: {why}")
    for name in list(usable) if wanted else []:
        if name not in wanted and usable[name].placement.backend not in wanted:
            del usable[name]
            missing[name] = f"not asked for by {SUBSET}"
    return usable, missing


def pytest_configure(config):
    if os.environ.get(SUBSET):
        found()  # report a wrong name before the first test


def pytest_addoption(parser):
    parser.addoption(
        "--passed-in",
        metavar="FILE",
        help="skip the tests that FILE lists, and append those that pass",
    )


def is_quick(item):
    """Return whether a test runs on NumPy alone, or on backends that the environment asks for, in
    float64 where it has a choice, needs no browser or download, and is not slow."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    backends = {value.id for value in parameters.values() if isinstance(value, Backend)}
    return (
        (backends <= {"numpy"} or bool(os.environ.get(SUBSET)))
        and parameters.get("dtype") != "float32"
        and not {"browser", "real_mnist"} & set(item.fixturenames)
        and not item.nodeid.removeprefix("tests/").startswith(SLOW)
    )


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.path.is_relative_to(TESTS) and is_quick(item):
            item.add_marker("quick")
    path = config.getoption("--passed-in")
    if path is not None and Path(path).exists():
        passed = set(Path(path).read_text(encoding="utf-8").splitlines())
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
        items[:] = [item for item in items if item.nodeid not in passed]


def pytest_runtest_logreport(report):
    if report.passed and report.when == "call":
        _passed.append(report.nodeid)


def pytest_sessionfinish(session):
    path = session.config.getoption("--passed-in")
    if path is not None and not hasattr(session.config, "workerinput"):  # of pytest-xdist
        with open(path, "a", encoding="utf-8") as file:
            file.writelines(f"{name}\n" for name in _passed)


_passed: list[str] = []


def pytest_generate_tests(metafunc):
    given = {
        name.strip()
        for mark in metafunc.definition.iter_markers("parametrize")
        for name in (mark.args[0].split(",") if isinstance(mark.args[0], str) else mark.args[0])
    }
    wanted = {"backend": lambda backend: True, "library": lambda backend: not backend.compiled}
    for fixture, holds in wanted.items():
        if fixture in metafunc.fixturenames and fixture not in given:
            backends = {name: backend for name, backend in found()[0].items() if holds(backend)}
            metafunc.parametrize(fixture, backends.values(), ids=backends, indirect=True)


def pytest_terminal_summary(terminalreporter):
    if found.cache_info().currsize:  # some collected test runs on backends
        tested, missing = found()
        terminalreporter.section("backends")
        terminalreporter.write_line(f"backends tested: {', '.join(tested)}")
        for name, reason in missing.items():
            terminalreporter.write_line(f"backends not tested: {name}: {reason}")
    for file in collect_ignore:
        library, remedy = ORACLES[file]
        terminalreporter.write_line(f"not collected: {file}: {library} is not installed ({remedy})")


@pytest.fixture(scope="session")
def compiled_programs(tmp_path_factory):
    """Keep compiled JAX programs until the run ends: many tests compile the same ones."""
    import jax

    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("jax")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def ready(request):
    """Yield an array library on a device, ready to compute in the data type of the test."""
    backend = request.param
    with backend.placement.activate():
        if backend.placement.backend != "jax":
            yield backend
            return
        import jax

        request.getfixturevalue("compiled_programs")
        # By default JAX turns float64 into float32. Tests in float32 keep that default, as most
        # users do.
        before = jax.config.jax_enable_x64
        jax.config.update("jax_enable_x64", request.node.callspec.params.get("dtype") != "float32")
        yield backend
        jax.config.update("jax_enable_x64", before)


backend = pytest.fixture(ready, name="backend")
library = pytest.fixture(ready, name="library")  # without "jax-jit", for code that compiles


@pytest.fixture(params=TOLERANCE)
def dtype(request):
    return request.param


@pytest.fixture
def tolerance(dtype):
    """Return the largest admissible error in the data type of the test, relative to the size."""
    return TOLERANCE[dtype]


REAL_MNIST = Path(
    os.environ.get("BACKPROP_XP_TEST_MNIST")
    or Path(__file__).parents[2] / "shared" / "data" / "mnist"
)
"""The folder of the real MNIST; tests that need it are skipped where it is missing."""


@pytest.fixture
def real_mnist():
    missing = [name for name in FILES if not (REAL_MNIST / f"{name}.gz").is_file()]
    if missing:
        pytest.skip(
            f"MNIST is not at {REAL_MNIST} (missing: {', '.join(missing)}); "
            "BACKPROP_XP_TEST_MNIST may name its folder"
        )
    return REAL_MNIST


@pytest.fixture(scope="session")
def browser():
    """Yield a browser for the tests of pages, which are skipped without one."""
    from browser import started

    with started() as ready:
        yield ready
