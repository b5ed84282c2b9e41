"""The device selector: which array library computes, on which device, and why not on another."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import re
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from backprop_xp.backend import arrays
from backprop_xp.backend.arrays import BACKENDS, Array, Namespace
from backprop_xp.backend.libraries import TITLES, list_gpus, load_library, plain_errors, version_of
from backprop_xp.errors import ConfigurationError, DeviceError, unknown_name

DTYPES = ("float32", "float64")
_CPU_ONLY = ("numpy", "array_api_strict")
_CPU_DEVICES = {"cupy": (), "array_api_strict": ("cpu", "device1")}  # the others have "cpu"


class Placement(NamedTuple):
    """Which array library computes, on which device, and in which data type.

    Attributes
    ----------
    backend, name : str
        The library, as in `backprop_xp.backend.arrays.BACKENDS`; the device as people write it.
    xp : namespace
        The library's array functions.
    device : object
        The device as the library knows it, for ``device=`` of ``xp.asarray``. CuPy's devices are
        not hashable: use `name` as a key.
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
        # A fresh device for each use: contexts may be nested, and used by several threads.
        cuda = importlib.import_module("cupy").cuda if self.backend == "cupy" else None
        return cuda.Device(self.device.id) if cuda else nullcontext()

    def with_dtype(self, name: str) -> Placement:
        """Return the same placement with the data type ``"float32"`` or ``"float64"``.

        Raises
        ------
        ConfigurationError
            If the name is not one of these.
        """
        if name not in DTYPES:
            raise unknown_name("dtype", name, DTYPES)
        dtype = getattr(self.xp, name)
        return self if dtype is self.dtype else self._replace(dtype=dtype)

    @property
    def precision(self) -> str:
        """The name of the data type: ``"float32"`` or ``"float64"``."""
        return "float64" if self.dtype == self.xp.float64 else "float32"

    def asarray(self, x: Any, *, copy: bool | None = None) -> Array:
        """Return ``x`` as an array of this library, data type and device.

        Parameters
        ----------
        x : array_like
        copy : bool, optional
            True for a result with memory of its own; by default ``x`` is copied only if needed.
        """
        return arrays.asarray(x, xp=self.xp, dtype=self.dtype, device=self.device, copy=copy)

    def index_array(self, x: Any) -> Array:
        """Return ``x`` as an array of indices on this device."""
        return arrays.asarray(x, xp=self.xp, dtype=arrays.index_dtype(self.xp), device=self.device)


class DeviceReport(NamedTuple):
    """One row of the list of devices: a device of a library, or why it has none.

    Attributes
    ----------
    backend, version : str
        The library, as in `backprop_xp.backend.arrays.BACKENDS`; its version, None where not known.
    device, name : str
        The device as people write it, ``"-"`` where there is none; the name of the hardware.
    usable : bool
        Whether `select_device` would take it.
    reason, remedy : str
        Why it cannot be used, and what would change that; empty if it can.
    """

    backend: str
    version: str | None
    device: str
    name: str
    usable: bool
    reason: str
    remedy: str

    def as_dict(self) -> dict[str, Any]:
        """Return the row as ``--json`` prints it, with the remedy under its key ``mend``."""
        return {
            ("mend" if key == "remedy" else key): value for key, value in self._asdict().items()
        }


def select_device(
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
    >>> placement = select_device("cpu")
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
    return placement.with_dtype(dtype)


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
            with plain_errors(backend):
                load_library(backend)
                found += [(name, "") for name in _CPU_DEVICES.get(backend, ("cpu",))]
                if backend not in _CPU_ONLY:
                    found += [(f"cuda:{i}", name) for i, (_, name) in enumerate(list_gpus(backend))]
        except DeviceError as error:
            missing = error
            found.append(("-", ""))
        for device, hardware in found:
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
            f"{TITLES[backend]} has no GPU, so it cannot use the device {device!r}",
            "use --backend cupy, or --device cpu",
        )
    return f"cuda:{int(match['index'] or 0)}" if device.startswith("cuda") else device


@functools.cache  # an estimator asks at every prediction
def _on_cpu(backend: str, name: str, why: str = "") -> Placement:
    """Return the CPU for a library that computes there."""
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
    """Return a GPU that has computed something, and rightly, when it was first asked for."""
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
    return placement


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


def placement_of(
    inputs: Any, device: str | Placement | None = None, dtype: str | None = None
) -> Placement:
    """Return where to compute with some inputs: where they are, unless a device is given.

    Parameters
    ----------
    inputs : array_like
    device : str or Placement, optional
        By default the device of ``inputs``, and the CPU for inputs that are not arrays.
    dtype : {"float32", "float64"}, optional
        By default that of real ``inputs`` that stay where they are; otherwise that of a given
        `Placement`, or float32.

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
        real = xp.isdtype(inputs.dtype, "real floating")
        own = inputs.dtype if real else xp.float32
        device = Placement(arrays.backend_name(xp), str(home), xp, home, own)
    if not isinstance(device, Placement):
        return select_device(device or "cpu", dtype=dtype or "float32")
    return device if dtype is None else device.with_dtype(dtype)
