"""scripts/cuda_on_cpu, as far as it can be tested without building it; `setup` tests the rest."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "scripts" / "cuda_on_cpu"
README = FOLDER / "README.md"

if not shutil.which("bash"):
    pytest.skip("bash is not installed", allow_module_level=True)
if not FOLDER.is_dir():
    pytest.skip("scripts/ is not in this copy of the tests", allow_module_level=True)


def call(script, *arguments, **environment):
    return subprocess.run(
        [str(FOLDER / script), *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [(), ("one", "two")])
def test_setup_needs_one_argument(arguments):
    done = call("setup", *arguments)
    assert (done.returncode, done.stderr) == (2, "usage: setup VENV\n")


@pytest.mark.parametrize("arguments", [(), ("one",)])
def test_run_needs_an_environment_and_a_command(arguments):
    done = call("run", *arguments)
    assert (done.returncode, done.stderr) == (2, "usage: run VENV COMMAND...\n")


def test_setup_names_a_missing_compiler_and_creates_nothing(tmp_path):
    done = call("setup", tmp_path / "venv", CUDA_ON_CPU_CXX="no-such-compiler")
    assert done.returncode == 1
    assert "no-such-compiler is not installed" in done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("exists", [True, False])
def test_run_in_a_folder_without_the_emulator_says_how_to_make_it(tmp_path, exists):
    folder = tmp_path if exists else tmp_path / "none"
    done = call("run", folder, "echo", "hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{folder} was not made by setup; run: {FOLDER / 'setup'} {folder}" in done.stderr


def test_run_runs_a_command_with_the_libraries_and_a_cache(tmp_path):
    home = tmp_path / "cuda_on_cpu"
    (home / "lib").mkdir(parents=True)
    (home / "lib" / "libcuda_on_cpu.so").touch()
    script = 'echo "$1|${LD_LIBRARY_PATH%%:*}|$CUPY_CACHE_DIR"; exit 3'
    done = call("run", tmp_path, "bash", "-c", script, "-", "two words", CUPY_CACHE_DIR="")
    assert done.returncode == 3, done.stderr
    assert done.stdout == f"two words|{home / 'lib'}|{home / 'cache'}\n"


def test_the_readme_lists_every_file_and_every_setting():
    files = {path for path in FOLDER.rglob("*") if path.is_file() and path != README}
    files = {path for path in files if path.suffix != ".pyc"}
    text = README.read_text(encoding="utf-8")
    listed = re.findall(r"(?m)^\| (`.*?) \|", text.split("## Files")[1])
    assert set(re.findall(r"`([^`]+)`", " ".join(listed))) == {
        str(path.relative_to(FOLDER)) for path in files
    }
    sources = "".join(path.read_text(encoding="utf-8") for path in files)
    used = re.findall(r'(?<=")CUDA_ON_CPU_[A-Z]+(?=")|(?<=\$\{)\w+_VERSION(?=:-)', sources)
    settings = set(re.findall(r"(?m)^\| `([A-Z_]+)` \|", text))
    assert set(used) <= settings
    assert {name for name in settings if name not in sources} == set()
