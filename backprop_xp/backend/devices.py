"""The selection of the array library and the device, and the list of what is available."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import re
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import BACKENDS, Array, Namespace
from backprop_xp.backend.libraries import TITLES, list_gpus, load_library, plain_errors, version_of
from backprop_xp.errors import ConfigurationError, DeviceError, check_name

_PROBE_KERNELS = 10
"""More than the number of kernels that CuPy compiles for the test of a GPU."""

DTYPES = ("float32", "float64")
_CPU_ONLY = ("numpy", "array_api_strict")
_CPU_DEVICES = {"cupy": (), "array_api_strict": ("cpu", "device1")}  # the others have "cpu"


class Placement(NamedTuple):
    """The array library, the device and the data type of a computation.

    Attributes
    ----------
    backend, name : str
        The library, as in `backprop_xp.backend.arrays.BACKENDS`, and the device as text, such as
        ``"cuda:0"``.
    xp : namespace
        The library's array functions.
    device : object
        The library's device object, for ``device=`` of ``xp.asarray``. CuPy's devices are not
        hashable: use `name` as a key.
    dtype : object
        The library's data type for all real numbers.
    note : str
        One line that says which device was chosen, and why.
    """

    backend: str
    name: str
    xp: Namespace
    device: Any
    dtype: Any
    note: str = ""

    def activate(self) -> AbstractContextManager[Any]:
        """Return a context manager inside which new arrays are created on this device.

        Only CuPy needs it: there array-api-compat ignores ``device=`` on every creation function
        except ``asarray``.

        Examples
        --------
        >>> with select_device("cpu").activate():
        ...     select_device("cpu").xp.zeros(2)
        array([0., 0.])
        """
        # A new device object for each use: contexts may be nested, and used by several threads.
        cuda = importlib.import_module("cupy").cuda if self.backend == "cupy" else None
        return cuda.Device(self.device.id) if cuda else nullcontext()

    def with_dtype(self, name: str) -> Placement:
        """Return the same placement with the data type ``"float32"`` or ``"float64"``."""
        check_name("dtype", name, DTYPES)
        dtype = getattr(self.xp, name)
        return self if dtype is self.dtype else self._replace(dtype=dtype)

    @property
    def precision(self) -> str:
        """The name of the data type: ``"float32"`` or ``"float64"``."""
        return "float64" if self.dtype == self.xp.float64 else "float32"

    def asarray(self, x: Any, *, copy: bool | None = None) -> Array:
        """Return ``x`` as an array of this library, data type and device.

        It is copied only if necessary, or in any case if ``copy`` is true.
        """
        return arrays.asarray(x, xp=self.xp, dtype=self.dtype, device=self.device, copy=copy)

    def index_array(self, x: Any) -> Array:
        """Return ``x`` as an array of indices on this device."""
        return arrays.asarray(x, xp=self.xp, dtype=arrays.index_dtype(self.xp), device=self.device)


class DeviceReport(NamedTuple):
    """One row of the list of devices: a device of a library, or why the library cannot be used.

    Attributes
    ----------
    backend, version : str
        The library, as in `backprop_xp.backend.arrays.BACKENDS`, and its version, None if unknown.
    device, name : str
        The device as text, ``"-"`` if there is none, and the name of the hardware.
    usable : bool
        Whether `select_device` accepts it.
    reason, remedy : str
        Why it cannot be used, and how to fix that; empty if it can be used.
    """

    backend: str
    version: str | None
    device: str
    name: str
    usable: bool
    reason: str
    remedy: str

    def as_dict(self) -> dict[str, Any]:
        """Return the row with the keys of ``--json``, where the remedy is called ``mend``."""
        return {
            ("mend" if key == "remedy" else key): value for key, value in self._asdict().items()
        }


def select_device(
    device: str = "auto", backend: str | None = None, *, dtype: str = "float32"
) -> Placement:
    """Return the placement for a device and a library.

    Parameters
    ----------
    device : str
        ``"auto"`` is a usable GPU, or else the CPU. ``"cpu"``, ``"cuda"`` (short for ``"cuda:0"``)
        and ``"cuda:N"`` are exactly that, ``"device1"`` is the second device of array_api_strict.
    backend : str, optional
        The library, as in `backprop_xp.backend.arrays.BACKENDS`; by default CuPy on a GPU and
        NumPy on the CPU. A library given by name is never replaced by another.
    dtype : {"float32", "float64"}
        The data type of all real numbers.

    Raises
    ------
    ConfigurationError
        If a name is unknown, or the library does not support this kind of device.
    DeviceError
        If a library or device was requested by name and cannot be used here.

    Examples
    --------
    >>> placement = select_device("cpu")
    >>> placement.backend, placement.name, placement.note
    ('numpy', 'cpu', 'device: cpu (NumPy); requested')
    """
    check_name("dtype", dtype, DTYPES)
    if backend is not None:
        check_name("backend", backend, BACKENDS)
    name = _device_name(device, backend)
    asked = "requested" if device != "auto" else "chosen by auto"
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
        jax.config.update("jax_default_matmul_precision", "highest")  # no TF32: same results first
        if dtype == "float64":  # otherwise JAX silently uses float32
            jax.config.update("jax_enable_x64", True)
    return placement.with_dtype(dtype)


def list_devices() -> list[DeviceReport]:
    """Return one row for each device of each library, usable or not, without raising an error.

    Examples
    --------
    >>> row = list_devices()[0]
    >>> row.backend, row.device, row.usable
    ('numpy', 'cpu', True)
    """
    rows: list[DeviceReport] = []
    # JAX comes last: when first used, it reserves most of a GPU's memory.
    for backend in sorted(BACKENDS, key=lambda name: name == "jax"):
        devices: list[tuple[str, str]] = []
        missing = None
        try:
            with plain_errors(backend):
                load_library(backend)
                devices += [(name, "") for name in _CPU_DEVICES.get(backend, ("cpu",))]
                if backend not in _CPU_ONLY:
                    gpus = enumerate(list_gpus(backend))
                    devices += [(f"cuda:{i}", name) for i, (_, name) in gpus]
        except DeviceError as error:
            missing = error
            devices.append(("-", ""))
        for device, hardware in devices:
            fault = missing if device == "-" else _fault(backend, device)
            why = (fault.message, fault.hint or "") if fault else ("", "")
            rows.append(
                DeviceReport(backend, version_of(backend), device, hardware, not fault, *why)
            )
    return rows


def _fault(backend: str, device: str) -> DeviceError | None:
    try:
        (_on_gpu if device.startswith("cuda") else _on_cpu).__wrapped__(backend, device)
    except DeviceError as error:
        return error
    return None


def _device_name(device: str, backend: str | None) -> str:
    """Return auto, cpu, cuda:N or device1, or raise an error for an invalid device."""
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
            f"{TITLES[backend]} has no GPU, so it cannot use the device {device!r}",
            "use --backend cupy, or --device cpu",
        )
    return f"cuda:{int(match['index'] or 0)}" if device.startswith("cuda") else device


@functools.cache  # estimators call it at every prediction
def _on_cpu(backend: str, name: str, why: str = "") -> Placement:
    """Return the placement on the CPU for a library."""
    with plain_errors(backend):
        library = load_library(backend)
        device: Any = "cpu"
        if backend == "torch":
            device = library.device("cpu")
        elif backend == "jax":
            device = library.devices("cpu")[0]
        elif backend == "array_api_strict":
            device = library.Device("CPU_DEVICE" if name == "cpu" else name)
        xp = arrays.backend_namespace(backend)
    note = f"device: {name} ({TITLES[backend]}); {why}"
    return Placement(backend, name, xp, device, xp.float32, note)


@functools.cache
def _on_gpu(backend: str, name: str, why: str = "") -> Placement:
    """Return the placement on a GPU, which is tested on the first call."""
    with plain_errors(backend):
        load_library(backend)
        gpus = dict(enumerate(list_gpus(backend)))
        index = int(name.removeprefix("cuda:"))
        if index not in gpus:
            message = f"{TITLES[backend]} sees {len(gpus)} GPU{'s' * (len(gpus) > 1)}"
            raise DeviceError(message, f"choose from: {', '.join(f'cuda:{i}' for i in gpus)}")
        device, hardware = gpus[index]
        note = f"device: {name} ({TITLES[backend]}, {hardware}); {why}"
        xp = arrays.backend_namespace(backend)
        placement = Placement(backend, name, xp, device, xp.float32, note)
        _probe(placement)
    if backend == "cupy" and not _has_cached_kernels():
        placement = placement._replace(
            note=f"{note}; CuPy compiles each of its kernels at the first use and keeps them"
        )
    return placement


def _has_cached_kernels() -> bool:
    """Return whether CuPy compiled kernels before for more than the test of the GPU."""
    folder = os.environ.get("CUPY_CACHE_DIR", os.path.expanduser("~/.cupy/kernel_cache"))
    try:
        return len(os.listdir(folder)) > _PROBE_KERNELS
    except OSError:
        return False


def _probe(placement: Placement) -> None:
    """Compute something tiny, because only this shows that a CUDA installation is broken.

    An elementwise operation needs the compiler and its headers, a matrix product cuBLAS. Results
    on whole numbers this small are exact in every precision mode.
    """
    xp = placement.xp
    with placement.activate():
        x = xp.asarray([[1, 2], [3, 4]], dtype=xp.float32, device=placement.device)
        squares, product = (x * x).tolist(), xp.matmul(x, x).tolist()
    if squares != [[1, 4], [9, 16]] or product != [[7, 10], [15, 22]]:
        raise DeviceError(
            f"wrong results: for x = [[1, 2], [3, 4]], x * x = {squares} and x @ x = {product}",
            "reinstall the NVIDIA driver and the library; if that does not help, the GPU is faulty",
        )


def placement_of(
    inputs: Any, device: str | Placement | None = None, dtype: str | None = None
) -> Placement:
    """Return the placement for computations on some inputs: theirs, unless a device is given.

    Parameters
    ----------
    inputs : array_like
    device : str or Placement, optional
        By default the device of ``inputs``, or the CPU for inputs that are not arrays.
    dtype : {"float32", "float64"}, optional
        By default that of ``inputs`` of float32 or float64 that stay on their device; otherwise
        that of a given `Placement`, or float32.

    Raises
    ------
    ConfigurationError, DeviceError
        As `select_device` does.

    Examples
    --------
    >>> placement_of([[1.0]]).precision, placement_of([[1.0]], dtype="float64").precision
    ('float32', 'float64')
    """
    if device is None and arrays.is_array(inputs):
        xp, home = arrays.namespace(inputs), arrays.device(inputs)
        # Half precision has too few digits for an optimizer's small steps.
        own = inputs.dtype if inputs.dtype in (xp.float32, xp.float64) else xp.float32
        device = Placement(arrays.backend_name(xp), str(home), xp, home, own)
    if not isinstance(device, Placement):
        return select_device(device or "cpu", dtype=dtype or "float32")
    return device if dtype is None else device.with_dtype(dtype)
