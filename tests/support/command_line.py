"""The command line as tests call it, and the small data sets and models they call it with."""

import contextlib
import io
import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest

from backprop_xp import (
    BackpropError,
    ConfigurationError,
    DataError,
    DeviceError,
    DivergenceError,
    Model,
    ModelFileError,
    Network,
    cli,
    initial_parameters,
    select_device,
)
from backprop_xp.data.mnist import FILES
from backprop_xp.data.scaling import Scaling
from backprop_xp.nn.losses import default_loss

_EXITS = {
    **{ConfigurationError: ("configuration", 2), DataError: ("data", 3)},
    **{ModelFileError: ("model", 4), DivergenceError: ("diverged", 5)},
    DeviceError: ("device", 6),
}
"""The kind and the exit code of each error."""


class Result(NamedTuple):
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The only thing on stdout, which must be one JSON object on one line."""
        assert self.out.count("\n") == 1
        assert self.out.endswith("\n")
        return strict_json(self.out)


def strict_json(text: str) -> Any:
    """Return what JSON text holds; NaN and Infinity are no JSON."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def environment(given: dict[str, Any]) -> dict[str, str]:
    """Return this process's environment without the user's settings, and with the given ones."""
    # PYTHONUNBUFFERED would hide what fails only when a buffer is written out at the exit.
    others = ("BACKPROP_XP", "PYTHONUNBUFFERED", "NO_COLOR", "FORCE_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    return {**kept, **{name: str(value) for name, value in given.items()}}


def run(*args: Any, **variables: Any) -> Result:
    """Run the command line in this process, with variables of the environment."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment(variables), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = cli._run([str(arg) for arg in args])
    return Result(code, out.getvalue(), err.getvalue())


def done(*args: Any, **variables: Any) -> Result:
    """Run the command line in this process, where it must succeed."""
    result = run(*args, **variables)
    assert result.code == 0, result.err
    return result


def refused(code: int, kind: str, *args: Any) -> tuple[str, str]:
    """Run a command that must fail, for people and as JSON; return its message and hint."""
    for_people, for_programs = run(*args, "--quiet"), run(*args, "--quiet", "--json")
    assert (for_people.code, for_people.out) == (code, "")
    error = for_programs.json["error"]
    assert (for_programs.code, for_programs.json["schema_version"]) == (code, 1)
    assert (error["kind"], set(error)) == (kind, {"kind", "message", "hint"})
    assert "\n" not in error["message"]
    assert error["hint"]
    for result in (for_people, for_programs):
        assert result.err == f"error: {error['message']}\nhint: {error['hint']}\n"
    return error["message"], error["hint"]


def refused_alike(kind: type[BackpropError], call: Callable[[], Any], *args: Any) -> str:
    """Refuse a mistake on the command line and in Python with the same words."""
    name, code = _EXITS[kind]
    message, hint = refused(code, name, *args)
    with pytest.raises(kind) as failure:
        call()
    assert (failure.value.message, failure.value.hint) == (message, hint)
    return f"{message} | {hint}"


# A shell's background job ignores SIGINT, and so would everything started by it.
_HEARS_CTRL_C = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from backprop_xp.cli import main; main()"
)


def start(*args: Any) -> subprocess.Popen[str]:
    """Start the command line in a process of its own, which hears Ctrl-C."""
    return subprocess.Popen(
        [sys.executable, "-c", _HEARS_CTRL_C, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment({}),
    )


def written(path: Path, content: str | bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def animals(n: int = 60) -> list[str]:
    """Return the lines of a table of three classes that lie well apart."""
    rng = random.Random(0)
    lines = ["height,width,kind"]
    for row in range(n):
        height, width = rng.gauss(4 * (row % 3), 1), rng.gauss(-4 * (row % 3), 1)
        lines.append(f"{height:.3f},{width:.3f},{('ant', 'bee', 'cat')[row % 3]}")
    return lines


def plane(n: int = 60) -> list[str]:
    """Return the lines of a table for a regression: t = 2 a - b + 1."""
    rng = random.Random(1)
    points = [(rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(n)]
    return ["a,b,t", *(f"{a:.3f},{b:.3f},{2 * a - b + 1:.3f}" for a, b in points)]


def idx(array: Any) -> bytes:
    """Return an array of bytes in the IDX format."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def image_folder(folder: Path) -> Path:
    """Make a folder of IDX files: 3 x 3 images whose brightest row names their class."""
    folder.mkdir()
    for n, images, labels in ((120, FILES[0], FILES[1]), (30, FILES[2], FILES[3])):
        kinds = np.arange(n, dtype=np.uint8) % 3
        shown = np.random.default_rng(n).integers(0, 60, (n, 3, 3), dtype=np.uint8)
        shown[np.arange(n), kinds] += 150
        written(folder / images, idx(shown))
        written(folder / labels, idx(kinds))
    return folder


def small_model(
    sizes: tuple[int, ...] = (2, 1),
    activations: Any = "identity",
    *,
    dtype: str = "float32",
    backend: str = "numpy",
    **changed: Any,
) -> Model:
    """Return a model with random weights, on the CPU."""
    network = Network(sizes, activations, bias=changed.pop("bias", True))
    place = select_device("cpu", backend, dtype=dtype)
    parameters = initial_parameters(
        network, 0, xp=place.xp, dtype=place.with_dtype(dtype).dtype, device=place.device
    )
    fields = {
        "loss": default_loss(network.activations[-1]),
        "scaling": Scaling(np.arange(1.0, sizes[0] + 1), np.full(sizes[0], 3.0)),
        "classes": None,
        "features": None,
        "image_shape": None,
        "seed": 0,
        "version": "0.1.0",
    }
    return Model(network=network, parameters=parameters, placement=place, **{**fields, **changed})
