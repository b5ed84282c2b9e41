"""The chapters of the guide: their code runs, their links resolve, and they fit a terminal."""

import re
from collections import Counter
from pathlib import Path

import pytest
from chapters import ROOT, blocks, files_of_the_examples, run_code, skip_without_libraries, texts
from command_line import done, refused, run
from rich.cells import cell_len

from backprop_xp import cli
from backprop_xp.cli.guide import chapters, rendered
from backprop_xp.nn.activations import ACTIVATIONS
from backprop_xp.nn.initializers import INITIALIZERS
from backprop_xp.nn.losses import LOSSES
from backprop_xp.nn.optimizers import OPTIMIZERS
from backprop_xp.nn.schedules import SCHEDULES

TEXTS = texts()
CHAPTERS = {Path(path).stem: text for path, text in TEXTS.items() if "README" not in path}

RULES = re.compile("[─━═│┃┏┓┗┛║╔╗╚╝]+")


def test_the_index_lists_every_chapter():
    assert set(chapters()) == set(CHAPTERS)
    assert len(chapters()) >= 18


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_code_of_a_chapter_runs(name, tmp_path, monkeypatch):
    skip_without_libraries(CHAPTERS[name])
    monkeypatch.chdir(tmp_path)
    files_of_the_examples(tmp_path)
    run_code(CHAPTERS[name])


@pytest.mark.parametrize("text", ["backprop-xp train --neurons 3", "backprop-xp tarin", "trian"])
def test_a_command_that_does_not_exist_is_found(text):
    with pytest.raises(AssertionError):
        run_code(f"```sh\n{text}\n```\n")
    with pytest.raises(AssertionError):
        run_code(f"<!-- needs MNIST -->\n```sh\n{text}\n```\n")


def test_a_name_that_does_not_exist_is_found():
    with pytest.raises(AssertionError):
        run_code("<!-- needs a GPU -->\n```python\nfrom backprop_xp import fitt\n```\n")


# --- links ---


def anchors(text):
    """Return the anchors that the web page of a text has, one for each heading."""
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_leads_to_a_file_and_a_heading(name):
    for target in re.findall(r"\]\(([^)]+)\)", TEXTS[name]):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), f"{name} links to {target}"
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), f"{name}: {target}"


# --- completeness ---


@pytest.mark.parametrize("name", [*ACTIVATIONS, *LOSSES, *INITIALIZERS, *OPTIMIZERS, *SCHEDULES])
def test_every_registered_name_is_in_the_guide(name):
    table = CHAPTERS["training"].partition("## Names")[2]
    assert f"`{name}`" in table, f"add `{name}` to the table 'Names' in guide/training.md"


def test_every_module_is_in_the_map_of_the_source_code():
    package = ROOT / "backprop_xp"
    names = {path.name for path in package.glob("*.py")}
    names |= {path.parent.name for path in package.glob("*/__init__.py")}
    names -= {"__init__.py", "__main__.py", "version.py"}
    text = CHAPTERS["how-it-works"]
    assert [name for name in sorted(names) if f"(../{name})" not in text] == []


def test_every_command_is_in_the_chapter_on_the_command_line():
    assert [name for name in cli._COMMANDS if f"`{name}`" not in CHAPTERS["command-line"]] == []


# --- in the terminal ---


def words(text):
    return Counter(RULES.sub(" ", text).split())


@pytest.mark.parametrize("name", ["README", *CHAPTERS])
def test_a_chapter_fits_a_terminal_of_80_columns(name):
    text = TEXTS[f"backprop_xp/guide/{name}.md"]
    narrow, wide = rendered(text, 80), rendered(text, 1000)
    assert max(map(cell_len, narrow.splitlines())) <= 80
    if name == "chinese":  # a line may end between any two characters
        narrow, wide = ("\n".join("".join(one.split())) for one in (narrow, wide))
    assert words(narrow) == words(wide)  # no word is cut, and none is missing


@pytest.mark.parametrize("name", CHAPTERS)
def test_lines_of_code_fit_a_terminal(name):
    lines = [line for block in blocks(CHAPTERS[name]) for line in block.text.splitlines()]
    assert [line for line in lines if cell_len(line) > 78] == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_begins_with_its_title(name):
    assert re.match(r"# \S.*\n\n", CHAPTERS[name])


def test_the_command_lists_and_shows_chapters():
    listed = done("guide", "--quiet").out
    assert all(re.search(rf"^{name} +\S", listed, re.MULTILINE) for name in CHAPTERS)
    assert [one["name"] for one in done("guide", "--json").json["chapters"]] == list(chapters())
    for name, subject in chapters().items():
        assert re.search(rf"^  {name} +{re.escape(subject[:20])}", done("guide", "-h").out, re.M)
    shown = done("guide", "tables", "--quiet").out
    assert "Your own table" in shown
    assert "\x1b" not in shown
    assert "](" not in shown
    assert done("guide", "tables", "--json").json["text"] == CHAPTERS["tables"]


def test_an_unknown_chapter_is_an_error_with_the_nearest_name():
    message, hint = refused(2, "configuration", "guide", "table")
    assert "'table'" in message
    assert "'tables'" in hint
    assert run("guide", "../README", "--quiet").code == 2


def test_links_become_text_for_the_terminal():
    text = "[A](tables.md#names) [`b.py`](../b.py) [c](https://c.org) ![d](d.png)\n"
    assert rendered(text, 80) == "A (guide tables) b.py c (https://c.org) (Image: d)\n"
