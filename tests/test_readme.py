"""The README: its examples run, its links lead to files, and its tables are complete."""

import re
from pathlib import Path

import pytest

from backprop_xp.nn.activations import ACTIVATIONS
from backprop_xp.nn.initializers import INITIALIZERS
from backprop_xp.nn.losses import LOSSES
from backprop_xp.nn.optimizers import OPTIMIZERS
from backprop_xp.nn.schedules import SCHEDULES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_of_the_readme_runs_and_reads_nine_digits_of_ten(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # it saves a model
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    percent = re.search(r"([\d.]+)% of the test digits", capsys.readouterr().out)
    assert float(percent[1]) > 90.0


@pytest.mark.parametrize("name", [*ACTIVATIONS, *LOSSES, *INITIALIZERS, *OPTIMIZERS, *SCHEDULES])
def test_every_registered_name_stands_in_the_readme(name):
    assert f"`{name}`" in README, f"add `{name}` to the table 'Names' in README.md"


def test_every_file_that_the_readme_links_to_exists():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_module_stands_in_the_file_map():
    package = ROOT / "backprop_xp"
    names = {path.name for path in package.glob("*.py")}
    names |= {path.parent.name for path in package.glob("*/__init__.py")}
    names -= {"__init__.py", "__main__.py", "errors.py", "version.py"}
    assert [name for name in sorted(names) if f"(backprop_xp/{name}" not in README] == []
