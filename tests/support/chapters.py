"""The code blocks of the README and of the guide, and how the tests run them."""

import ast
import contextlib
import importlib
import io
import random
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from command_line import run

ROOT = Path(__file__).parents[2]

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]

TOOLS = ("pytest", "ruff", "mypy", "pip", "git", "cd", ".", "export")
"""Programs in the text that the tests do not start: they install things, or run the tests."""

OWN_EPOCHS = {"--resume", "--config", "--epochs", "--print-config"}
"""Options of commands whose number of epochs the tests leave as it is."""


class Block(NamedTuple):
    """A code block: its language, what it needs that may be missing, and its text."""

    language: str
    needs: str
    text: str


def blocks(text: str) -> list[Block]:
    """Return the code blocks of a Markdown text; a comment before one says what it needs."""
    found = re.findall(r"(?:<!-- needs (.*?) -->\n)?^```(\w*)\n(.*?)^```", text, re.S | re.M)
    return [Block(language, needs, code) for needs, language, code in found]


def texts() -> dict[str, str]:
    """Return the README and the chapters of the guide, by their paths in the repository."""
    paths = [ROOT / "README.md", *sorted((ROOT / "backprop_xp" / "guide").glob("*.md"))]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def files_of_the_examples(folder: Path) -> None:
    """Write the tables and folders that the text names."""
    draw = random.Random(0)
    rows = []
    for n in range(80):
        area, town = round(draw.uniform(40, 160), 1), draw.choice(["Bonn", "Ulm"])
        price = round(3000 * area + 90_000 * (town == "Bonn") + draw.gauss(0, 9000))
        rows.append(f"h{n},{area},{town},{draw.randint(1, 5)},{price}")
    header = "id,area,town,rooms,price"
    for name, lines in {
        "houses.csv": [header, *rows],
        "new.csv": ["area,town,rooms", *(",".join(row.split(",")[1:4]) for row in rows[:9])],
        "old.csv": [line.replace(",", ";") for line in (header, *rows)],
        "plain.csv": [",".join(row.split(",")[1:]) for row in rows],
    }.items():
        (folder / name).write_text("\n".join(lines), encoding="utf-8")


def run_code(text: str) -> str:
    """Run all code of a text in this folder, and return what Python and the commands printed.

    Python blocks share their names. Blocks that need something are only checked.
    """
    names: dict[str, Any] = {"__name__": "the text"}
    printed = io.StringIO()
    for language, needs, code in blocks(text):
        if language == "python":
            tree = compile(code, "the text", "exec", ast.PyCF_ONLY_AST)
            check_imports(tree)
            if not needs:
                with contextlib.redirect_stdout(printed):
                    exec(compile(tree, "the text", "exec"), names)
        elif language == "toml":
            Path("mine.toml").write_text(code, encoding="utf-8")
        elif language == "sh":
            for line in code.replace("\\\n", " ").splitlines():
                for command in line.split(" && "):
                    if words := shlex.split(command, comments=True):
                        printed.write(run_command(words, needs))
        else:
            assert language == "text", f"a code block of the language {language!r}"
    return printed.getvalue()


def check_imports(tree: ast.AST) -> None:
    """Check that the package has every name that the code imports from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("backprop_xp"):
            module = importlib.import_module(node.module or "")
            assert [one.name for one in node.names if not hasattr(module, one.name)] == []


def run_command(words: list[str], needs: str) -> str:
    """Run or check one command of the text."""
    variables = {}
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        name, _, variables[name] = words.pop(0).partition("=")
    program = words[0].rpartition("/")[2]
    if program == "backprop-xp":
        return run_ours(words[1:], variables, needs)
    if program.startswith("python") or words[0].startswith("scripts/"):
        script = [word for word in words if word.startswith("scripts/")]
        assert script or words[1:3] in (["-m", "venv"], ["-m", "pytest"])
        for name in script:
            path = ROOT / name
            assert path.exists(), f"{name} does not exist"
            options = [word for word in words[words.index(name) :] if word.startswith("--")]
            assert [option for option in options if option not in path.read_text()] == []
        return ""
    assert program in TOOLS, f"the tests do not know the command {shlex.join(words)}"
    for extra in re.findall(r"\[(\w+)\]", " ".join(words) if program == "pip" else ""):
        assert extra in EXTRAS, f"{extra} is not an extra in pyproject.toml"
    if program == "pytest" and "-m" in words:
        assert words[words.index("-m") + 1] == "quick"
    return ""


def run_ours(args: list[str], variables: dict[str, str], needs: str) -> str:
    """Run a command of this package, for a few epochs; if it needs something, parse it."""
    output = ""
    for sign in (">", ">>"):
        if sign in args:
            output = args[args.index(sign) + 1]
            args = args[: args.index(sign)]
    if needs:
        if args[0] == "train":  # settings are checked, and no data is read
            device = [] if "--backend" in args else ["--device", "cpu"]
            args = [*args, *device, "--print-config"]
        else:
            args = [args[0], "--help", *args[1:]]
    if args[0] == "train" and not OWN_EPOCHS & set(args):
        variables = {"BACKPROP_XP_EPOCHS": "3", **variables}
    if args[0] == "check":
        args = [*args, "--help"]  # it takes a minute
    result = run(*args, **variables)
    assert result.code == 0, f"backprop-xp {shlex.join(args)}\n{result.err}"
    if output:
        Path(output.rpartition("/")[2]).write_text(result.out, encoding="utf-8")
        return ""
    return result.out


def skip_without_libraries(text: str) -> None:
    """Skip the test if the text uses a library that is not installed."""
    for name in ("onnxruntime", "torch", "sklearn", "matplotlib"):
        used = any(
            re.search(rf"^(import|from) {name}\b", block.text, re.M)
            for block in blocks(text)
            if not block.needs
        )
        if used:
            pytest.importorskip(name)
