"""The array libraries: how they are imported, their GPUs, and what their errors mean."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import re
import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from backprop_xp.backend.arrays import BACKENDS
from backprop_xp.errors import DeviceError

TITLES = dict(zip(BACKENDS, ("NumPy", "CuPy", "JAX", "PyTorch", "array-api-strict"), strict=True))


INSTALL = {
    "numpy": "pip install numpy",
    "cupy": "pip install 'backprop-xp[cuda12]' or pip install 'backprop-xp[cuda13]', "
    "by the CUDA version that nvidia-smi shows",
    "jax": "pip install 'backprop-xp[jax]'",
    "torch": "pip install 'backprop-xp[torch]'",
    "array_api_strict": "pip install array-api-strict",
}


# Looked up by name, because reading the metadata of all installed packages takes far longer.
_CUPY_PACKAGES = (
    *("cupy", "cupy-rocm-4-3", "cupy-rocm-5-0", "cupy-rocm-7-0"),
    *(f"cupy-cuda{version}" for version in ("11x", "12x", "13x", "14x", *range(110, 118))),
)


# Patterns of errors when a GPU fails, with their reason and remedy. The first pattern found in the
# class names or the text of the exception counts: the classes themselves would need the libraries.
_FAILURES = (
    (
        r"MemoryError|OutOfMemory|MemoryAllocation|out of memory|RESOURCE_EXHAUSTED",
        "the GPU has no memory left for even a tiny array",
        "end other programs that use the GPU (nvidia-smi lists them), or use another device",
    ),
    (
        r"InsufficientDriver|driver version is insufficient|driver on your system is too old",
        "the NVIDIA driver is too old for the CUDA version of this {title}",
        "update the NVIDIA driver, or replace {title} with its package for an older CUDA version",
    ),
    (
        r"ErrorNoDevice|no CUDA-capable device|No CUDA GPUs|No visible GPU"
        r"|no NVIDIA driver|Unknown backend|not compiled with CUDA",
        "{title} sees no GPU",
        "{visible}, and that this {title} is built for CUDA",
    ),
    (
        r"NoKernelImage|no kernel image|NO_BINARY_FOR_GPU|gpu-architecture",
        "this {title} was not built for this model of GPU",
        "install the newest {title} for a new GPU, an older one for an old GPU",
    ),
    (
        r"ImportError|OSError|CompileException|NVRTCError|LibNotFound|failed to load"
        r"|cannot open s|lib(nvrtc|cublas|cudart)",
        "libraries or headers that {title} needs are missing or do not fit its version",
        "reinstall it together with its libraries: {install}",
    ),
    (r"", "{title} failed", "check that nvidia-smi works, and reinstall: {install}"),
)


def list_gpus(backend: str) -> list[tuple[Any, str]]:
    """Return the GPUs that a library sees, at least one, with the names of the hardware."""
    library = importlib.import_module(backend)
    if backend == "jax":
        gpus = [(gpu, str(gpu.device_kind)) for gpu in library.devices("gpu")]
    elif backend == "torch":
        library.cuda.init()  # raises an error with the reason if there is no GPU
        indices = range(library.cuda.device_count())
        gpus = [(library.device("cuda", i), library.cuda.get_device_name(i)) for i in indices]
    else:
        runtime = library.cuda.runtime
        properties = [runtime.getDeviceProperties(i) for i in range(runtime.getDeviceCount())]
        gpus = [(library.cuda.Device(i), p["name"].decode()) for i, p in enumerate(properties)]
    if not gpus:
        raise DeviceError(f"{TITLES[backend]} sees no GPU", gpu_hint())
    return gpus


def load_library(backend: str) -> Any:
    """Import a library, after checks for the problems whose errors would mislead."""
    if importlib.util.find_spec(backend) is None:
        raise DeviceError(f"{TITLES[backend]} is not installed", INSTALL[backend])
    if backend == "cupy":
        packages = cupy_packages()
        if len(packages) > 1:
            raise DeviceError(
                f"{len(packages)} CuPy packages overwrite each other: {', '.join(packages)}",
                f"pip uninstall {' '.join(packages)}; then install one: {INSTALL['cupy']}",
            )
        try:  # CuPy itself can be imported without a driver
            ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        except OSError as error:
            raise DeviceError(
                f"the NVIDIA driver is not installed ({error})",
                "install the NVIDIA driver; start a container with access to the GPUs; "
                "without an NVIDIA GPU, use --device cpu",
            ) from error
    return importlib.import_module(backend)


def cupy_packages() -> dict[str, str]:
    """Return the installed packages that provide the module `cupy`, with their versions."""
    packages: dict[str, str] = {}
    for package in _CUPY_PACKAGES:
        with suppress(Exception):  # not installed, or with damaged metadata
            packages[package] = importlib.metadata.version(package)
    return packages


def version_of(backend: str) -> str | None:
    """Return the installed version of a library, or None if it is unknown."""
    if backend == "cupy":
        return next(iter(cupy_packages().values()), None)
    with suppress(Exception):  # array_api_strict also finds the package array-api-strict
        return importlib.metadata.version(backend)
    return None


def gpu_hint() -> str:
    """Return the hint for a library that sees no GPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    where = "" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r} and can hide it)"
    return f"check that nvidia-smi lists the GPU{where}"


@contextmanager
def plain_errors(backend: str) -> Iterator[None]:
    """Silence a library's warnings, and turn every error into a `DeviceError`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except DeviceError:
            raise
        except Exception as error:
            raise explain_failure(error, backend) from error


def explain_failure(error: BaseException, backend: str) -> DeviceError:
    """Return the error that explains a library's exception and how to fix it, on one line each."""
    # CuPy wraps an error of its import in a long banner; the cause is shorter.
    while isinstance(error, ImportError) and error.__cause__ is not None:
        error = error.__cause__
    kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
    for pattern, reason, remedy in _FAILURES:  # noqa: B007  (the last pattern always matches)
        if re.search(pattern, f"{kinds} {error}", re.IGNORECASE):
            break
    original = textwrap.shorten(f"{type(error).__name__}: {error}", 200, placeholder=" ...")
    facts = {"title": TITLES[backend], "install": INSTALL[backend], "visible": gpu_hint()}
    return DeviceError(f"{reason.format(**facts)} ({original})", remedy.format(**facts))
