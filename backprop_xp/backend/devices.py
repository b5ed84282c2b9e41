"""The device selector: which array library computes, on which device, and why not on another."""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import importlib.util
import os
import re
import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, NamedTuple

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import BACKENDS, Namespace
from backprop_xp.errors import ConfigurationError, DeviceError, unknown_name

DTYPES = ("float32", "float64")
_CPU_ONLY = ("numpy", "array_api_strict")
_CPU_DEVICES = {"cupy": (), "array_api_strict": ("cpu", "device1")}  # the others have "cpu"
_TITLES = dict(zip(BACKENDS, ("NumPy", "CuPy", "JAX", "PyTorch", "array-api-strict"), strict=True))
_INSTALL = {
    "numpy": "pip install numpy",
    "cupy": "pip install 'backprop-xp[cuda12]' or pip install 'backprop-xp[cuda13]', "
    "by the CUDA version that nvidia-smi shows",
    "jax": "pip install 'backprop-xp[jax]'",
    "torch": "pip install 'backprop-xp[torch]'",
    "array_api_strict": "pip install array-api-strict",
}

# Looked up by name: reading the metadata of every package on the path takes far longer.
_CUPY_PACKAGES = (
    *("cupy", "cupy-rocm-4-3", "cupy-rocm-5-0", "cupy-rocm-7-0"),
    *(f"cupy-cuda{version}" for version in ("11x", "12x", "13x", "14x", *range(110, 118))),
)

# What a library says when a GPU fails, what that means, and the mend. The first pattern found in
# the exception's class names or text counts: to name the classes would need the libraries.
_FAILURES = (
    (
        r"MemoryError|OutOfMemory|MemoryAllocation|out of memory|RESOURCE_EXHAUSTED",
        "the GPU has no memory left for even a tiny array",
        "end other programs that use the GPU (nvidia-smi lists them), or take another device",
    ),
    (
        r"InsufficientDriver|driver version is insufficient|driver on your system is too old",
        "the NVIDIA driver is too old for the CUDA version of this {title}",
        "update the NVIDIA driver, or replace {title} by its package for an older CUDA",
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
        "libraries or headers that {title} needs are missing or do not fit",
        "reinstall it together with its libraries: {install}",
    ),
    (r"", "{title} failed", "check that nvidia-smi works, and reinstall: {install}"),
)


class Placement(NamedTuple):
    """Where arrays live, and which library computes on them.

    Attributes
    ----------
    backend, name : str
        The library, as in `backprop_xp.backend.arrays.BACKENDS`; the device as people write it.
    xp : namespace
        The library's array functions.
    device : object
        The device as the library knows it, for ``device=`` of ``xp.asarray``. CuPy's devices are
        not hashable: use `name` as a key.
    note : str
        One line that says which device was taken, and why.
    """

    backend: str
    name: str
    xp: Namespace
    device: Any
    note: str = ""

    def activate(self) -> AbstractContextManager[Any]:
        """Return a context manager inside which new arrays are made on this device.

        Only CuPy needs it: there array-api-compat ignores ``device=`` on every creation function
        but ``asarray``.

        Examples
        --------
        >>> with select("cpu").activate():
        ...     select("cpu").xp.zeros(2)
        array([0., 0.])
        """
        # A fresh device for each use: contexts may be nested, and used by several threads.
        cuda = importlib.import_module("cupy").cuda if self.backend == "cupy" else None
        return cuda.Device(self.device.id) if cuda else nullcontext()

    def dtype(self, name: str) -> Any:
        """Return the library's data type of that name, ``"float32"`` or ``"float64"``.

        Raises
        ------
        ConfigurationError
            If the name is another one.
        """
        if name not in DTYPES:
            raise unknown_name("dtype", name, DTYPES)
        return getattr(self.xp, name)


class DeviceReport(NamedTuple):
    """One row of the list of devices: a device of a library, or why it has none.

    Attributes
    ----------
    backend, version : str
        The library, as in `backprop_xp.backend.arrays.BACKENDS`; its version, None where not known.
    device, name : str
        The device as people write it, ``"-"`` where there is none; the name of the hardware.
    usable : bool
        Whether `select` would take it.
    reason, mend : str
        Why it cannot be used, and what would change that; empty if it can.
    """

    backend: str
    version: str | None
    device: str
    name: str
    usable: bool
    reason: str
    mend: str


def select(
    device: str = "auto", backend: str | None = None, *, dtype: str = "float32"
) -> Placement:
    """Return the device and the library to compute with.

    Parameters
    ----------
    device : str
        ``"auto"`` takes a usable GPU, else the CPU. ``"cpu"``, ``"cuda"`` (short for ``"cuda:0"``)
        and ``"cuda:N"`` take exactly that, ``"device1"`` the second device of array_api_strict.
    backend : str, optional
        The library, as in `backprop_xp.backend.arrays.BACKENDS`; by default CuPy on a GPU and
        NumPy on the CPU. A library that is named is never replaced by another.
    dtype : str
        The data type that will be used: JAX has to be told of ``"float64"`` beforehand.

    Raises
    ------
    ConfigurationError
        If a name is unknown, or the library cannot compute on such a device at all.
    DeviceError
        If a library or device was asked for by name and cannot be used here.

    Examples
    --------
    >>> placement = select("cpu")
    >>> placement.backend, placement.name, placement.note
    ('numpy', 'cpu', 'device: cpu (NumPy); asked for')
    """
    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    if backend is not None and backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    name = _device_name(device, backend)
    asked = "asked for" if device != "auto" else "chosen by auto"
    if name in ("cpu", "device1") or backend in _CPU_ONLY:
        placement = _on_cpu(backend or "numpy", "cpu" if name == "auto" else name, asked)
    else:
        gpu = "cuda:0" if name == "auto" else name
        try:
            placement = _on_gpu(backend or "cupy", gpu, asked)
        except DeviceError as error:
            if name != "auto" or backend == "cupy":
                raise DeviceError(f"{gpu} cannot be used: {error.message}", error.hint) from error
            placement = _on_cpu(backend or "numpy", "cpu", f"no usable GPU: {error.message}")

    if placement.backend == "jax":
        jax = importlib.import_module("jax")
        jax.config.update("jax_default_matmul_precision", "highest")  # no TF32: parity first
        if dtype == "float64":  # else JAX makes float32 of it, and says nothing
            jax.config.update("jax_enable_x64", True)
    return placement


def list_devices() -> list[DeviceReport]:
    """Return one row per device of each library, usable or not; never raises.

    Examples
    --------
    >>> row = list_devices()[0]
    >>> row.backend, row.device, row.usable
    ('numpy', 'cpu', True)
    """
    rows: list[DeviceReport] = []
    # JAX comes last: at its first use it takes most of a GPU's memory for itself.
    for backend in sorted(BACKENDS, key=lambda name: name == "jax"):
        found: list[tuple[str, str]] = []
        missing = None
        try:
            with _plain_words(backend):
                _load(backend)
                found += [(name, "") for name in _CPU_DEVICES.get(backend, ("cpu",))]
                if backend not in _CPU_ONLY:
                    found += [(f"cuda:{i}", name) for i, (_, name) in enumerate(_gpus(backend))]
        except DeviceError as error:
            missing = error
            found.append(("-", ""))
        for device, hardware in found:
            fault = missing if device == "-" else _fault(backend, device)
            why = (fault.message, fault.hint or "") if fault else ("", "")
            rows.append(DeviceReport(backend, _version(backend), device, hardware, not fault, *why))
    return rows


def _fault(backend: str, device: str) -> DeviceError | None:
    try:
        (_on_gpu if device.startswith("cuda") else _on_cpu).__wrapped__(backend, device)
    except DeviceError as error:
        return error
    return None


def _device_name(device: str, backend: str | None) -> str:
    """Return auto, cpu, cuda:N or device1, or say what is wrong with what was asked for."""
    if device == "device1" and backend == "array_api_strict":
        return device
    match = re.fullmatch(r"auto|cpu|cuda(:(?P<index>[0-9]{1,9}))?", str(device))
    if match is None or not isinstance(device, str):
        forms = "write auto, cpu, cuda, or cuda:N with N from 0 upward"
        raise ConfigurationError(f"unknown device {device!r}", forms)
    if device == "cpu" and backend == "cupy":
        raise ConfigurationError(
            "CuPy computes on GPUs only, so it cannot use the device 'cpu'",
            "use --backend numpy, or --device cuda",
        )
    if device.startswith("cuda") and backend in _CPU_ONLY:
        raise ConfigurationError(
            f"{_TITLES[backend]} has no GPU, so it cannot use the device {device!r}",
            "use --backend cupy, or --device cpu",
        )
    return f"cuda:{int(match['index'] or 0)}" if device.startswith("cuda") else device


@functools.cache  # an estimator asks at every prediction
def _on_cpu(backend: str, name: str, why: str = "") -> Placement:
    """Return the CPU for a library that computes there."""
    with _plain_words(backend):
        library = _load(backend)
        device: Any = "cpu"
        if backend == "torch":
            device = library.device("cpu")
        elif backend == "jax":
            device = library.devices("cpu")[0]
        elif backend == "array_api_strict":
            device = library.Device("CPU_DEVICE" if name == "cpu" else name)
        xp = arrays.backend_namespace(backend)
    return Placement(backend, name, xp, device, f"device: {name} ({_TITLES[backend]}); {why}")


@functools.cache
def _on_gpu(backend: str, name: str, why: str = "") -> Placement:
    """Return a GPU that has computed something, and rightly, when it was first asked for."""
    with _plain_words(backend):
        _load(backend)
        gpus = dict(enumerate(_gpus(backend)))
        index = int(name.removeprefix("cuda:"))
        if index not in gpus:
            message = f"{_TITLES[backend]} sees {len(gpus)} GPU{'s' * (len(gpus) > 1)}"
            raise DeviceError(message, f"choose from: {', '.join(f'cuda:{i}' for i in gpus)}")
        device, hardware = gpus[index]
        note = f"device: {name} ({_TITLES[backend]}, {hardware}); {why}"
        placement = Placement(backend, name, arrays.backend_namespace(backend), device, note)
        _probe(placement)
    return placement


def _gpus(backend: str) -> list[tuple[Any, str]]:
    """Return the GPUs that a library sees, at least one, with the names of their hardware."""
    library = importlib.import_module(backend)
    if backend == "jax":
        gpus = [(gpu, str(gpu.device_kind)) for gpu in library.devices("gpu")]
    elif backend == "torch":
        library.cuda.init()  # raises where there is no GPU, and says why
        indices = range(library.cuda.device_count())
        gpus = [(library.device("cuda", i), library.cuda.get_device_name(i)) for i in indices]
    else:
        runtime = library.cuda.runtime
        properties = [runtime.getDeviceProperties(i) for i in range(runtime.getDeviceCount())]
        gpus = [(library.cuda.Device(i), p["name"].decode()) for i, p in enumerate(properties)]
    if not gpus:
        raise DeviceError(f"{_TITLES[backend]} sees no GPU", _look_for_gpus())
    return gpus


def _probe(placement: Placement) -> None:
    """Compute something tiny, because a broken CUDA installation shows only then.

    An element-wise operation needs the compiler and its headers, a matrix product cuBLAS. Whole
    numbers this small come out exactly in every mode of precision.
    """
    xp = placement.xp
    with placement.activate():
        x = xp.asarray([[1, 2], [3, 4]], dtype=xp.float32, device=placement.device)
        squares, product = (x * x).tolist(), xp.matmul(x, x).tolist()
    if squares != [[1, 4], [9, 16]] or product != [[7, 10], [15, 22]]:
        raise DeviceError(
            f"wrong results: for x = [[1, 2], [3, 4]], x * x = {squares} and x @ x = {product}",
            "reinstall the NVIDIA driver and the library; if it stays so, the GPU is faulty",
        )


def _load(backend: str) -> Any:
    """Import a library, after a look at what would make that fail or mislead."""
    if importlib.util.find_spec(backend) is None:
        raise DeviceError(f"{_TITLES[backend]} is not installed", _INSTALL[backend])
    if backend == "cupy":
        packages = _cupy_packages()
        if len(packages) > 1:
            raise DeviceError(
                f"{len(packages)} CuPy packages overwrite each other: {', '.join(packages)}",
                f"pip uninstall {' '.join(packages)}; then install one: {_INSTALL['cupy']}",
            )
        try:  # CuPy itself can be imported without a driver
            ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        except OSError as error:
            raise DeviceError(
                f"the NVIDIA driver is not installed ({error})",
                "install the NVIDIA driver; in a container, pass the GPUs to it at its start; "
                "without an NVIDIA GPU, use --device cpu",
            ) from error
    return importlib.import_module(backend)


def _cupy_packages() -> dict[str, str]:
    """Return the installed packages that own the module `cupy`, with their versions."""
    packages: dict[str, str] = {}
    for package in _CUPY_PACKAGES:
        with suppress(Exception):  # not installed, or its metadata is damaged
            packages[package] = importlib.metadata.version(package)
    return packages


def _version(backend: str) -> str | None:
    if backend == "cupy":
        return next(iter(_cupy_packages().values()), None)
    with suppress(Exception):  # array-api-strict's package is found by its module's name, too
        return importlib.metadata.version(backend)
    return None


def _look_for_gpus() -> str:
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    where = "" if shown is None else f" (CUDA_VISIBLE_DEVICES is {shown!r} and can hide it)"
    return f"check that nvidia-smi lists the GPU{where}"


@contextmanager
def _plain_words(backend: str) -> Iterator[None]:
    """Silence a library's warnings, and turn whatever it raises into a `DeviceError`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except DeviceError:
            raise
        except Exception as error:
            raise _explain(error, backend) from error


def _explain(error: BaseException, backend: str) -> DeviceError:
    """Return what a library's exception means and how to mend it, on one line each."""
    # CuPy wraps what failed at its import in a long banner; the cause says it shorter.
    while isinstance(error, ImportError) and error.__cause__ is not None:
        error = error.__cause__
    kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
    for pattern, reason, mend in _FAILURES:  # noqa: B007  (the last pattern always matches)
        if re.search(pattern, f"{kinds} {error}", re.IGNORECASE):
            break
    said = textwrap.shorten(f"{type(error).__name__}: {error}", 200, placeholder=" ...")
    facts = {"title": _TITLES[backend], "install": _INSTALL[backend], "visible": _look_for_gpus()}
    return DeviceError(f"{reason.format(**facts)} ({said})", mend.format(**facts))
