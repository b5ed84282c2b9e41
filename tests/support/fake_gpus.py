"""Imitated machines: libraries with GPUs that work, fail in chosen ways, or are not there."""

import ctypes
import functools
import importlib.metadata
import importlib.util
import sys
import warnings
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np

from backprop_xp.backend import arrays, devices


class FakeArray:
    """An array of two rows and columns that computes, or fails as its library was told to."""

    def __init__(self, rows, multiply=None):
        self.rows = np.asarray(rows, dtype=np.float32)
        self.multiply = multiply

    def __mul__(self, other):
        if self.multiply is not None:
            raise self.multiply
        return FakeArray(self.rows * other.rows)

    def tolist(self):
        return self.rows.tolist()


class FakeCudaDevice:
    """CuPy's device object: a context manager that cannot be a dictionary's key."""

    __hash__ = None
    entered: ClassVar[list[int]] = []

    def __init__(self, index):
        self.id = index

    def __eq__(self, other):
        return self.id == other.id

    def __enter__(self):
        self.entered.append(self.id)
        return self

    def __exit__(self, *exception):
        self.entered.remove(self.id)


class CUDARuntimeError(RuntimeError):
    """Named and worded as CuPy's own."""


class CompileException(Exception):
    """Named as CuPy's own."""


class OutOfMemoryError(MemoryError):
    """Named as CuPy's own."""


def fake_module(monkeypatch, name, **attributes):
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)  # what find_spec finds
    vars(module).update(attributes)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def forget(monkeypatch):
    """Let the selector know nothing of the machine from before, or from this test afterwards."""
    for name in ("_on_cpu", "_on_gpu"):
        find = getattr(devices, name).__wrapped__
        monkeypatch.setattr(devices, name, functools.cache(find))


def fake_namespace(monkeypatch, backend, *, asarray=None, multiply=None, matmul=None):
    """Make `arrays` hand out a namespace whose functions raise what they are given."""

    def make(rows, *, dtype, device):
        if asarray is not None:
            raise asarray
        return FakeArray(rows, multiply)

    def product(x, y):
        if isinstance(matmul, Exception):
            raise matmul
        return FakeArray(x.rows @ y.rows if matmul is None else matmul)

    forget(monkeypatch)
    fake = SimpleNamespace(float32="<f4", float64="<f8", asarray=make, matmul=product)
    real = arrays.backend_namespace
    monkeypatch.setattr(
        arrays, "backend_namespace", lambda name: fake if name == backend else real(name)
    )
    return fake


def machine(monkeypatch, tmp_path):
    """A function that imitates a machine: by default one where CuPy and its GPUs work."""

    def build(
        *,
        installed=True,
        packages=("cupy-cuda12x",),
        driver=None,
        import_failure="",
        gpus=1,
        count=None,
        kernels=100,
        **failures,
    ):
        real_version, real_library = importlib.metadata.version, ctypes.CDLL

        def version(name):
            if name.startswith("cupy"):
                if name in packages:
                    return "14.0.1"
                raise importlib.metadata.PackageNotFoundError(name)
            return real_version(name)

        def library(name, *args, **kwargs):
            if name not in ("libcuda.so.1", "nvcuda.dll"):
                return real_library(name, *args, **kwargs)
            if driver is not None:
                raise driver
            return None

        def device_count():
            warnings.warn("a library's chatter", UserWarning, stacklevel=1)
            if count is not None:
                raise count
            return gpus

        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        cache = tmp_path / f"{kernels} kernels"
        cache.mkdir(exist_ok=True)
        for number in range(kernels):
            (cache / f"{number}.cubin").touch()
        monkeypatch.setenv("CUPY_CACHE_DIR", str(cache))
        monkeypatch.setattr(importlib.metadata, "version", version)
        monkeypatch.setattr(ctypes, "CDLL", library)
        monkeypatch.setattr(FakeCudaDevice, "entered", [])
        fake_namespace(monkeypatch, "cupy", **failures)
        if import_failure:
            monkeypatch.delitem(sys.modules, "cupy", raising=False)
            (tmp_path / "cupy").mkdir()
            (tmp_path / "cupy" / "__init__.py").write_text(import_failure)
            monkeypatch.syspath_prepend(tmp_path)
        elif installed:
            properties = {"name": b"NVIDIA Imaginary"}
            runtime = SimpleNamespace(
                getDeviceCount=device_count, getDeviceProperties=lambda index: properties
            )
            cuda = SimpleNamespace(runtime=runtime, Device=FakeCudaDevice)
            fake_module(monkeypatch, "cupy", cuda=cuda)
        else:
            monkeypatch.setitem(sys.modules, "cupy", None)  # find_spec: not installed

    return build
