"""The device selector on healthy and on broken machines, most of them imitated by a fake CuPy."""

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from fake_gpus import (
    CompileException,
    CUDARuntimeError,
    FakeCudaDevice,
    OutOfMemoryError,
    fake_module,
    fake_namespace,
    forget,
)
from fake_gpus import machine as imitated

from backprop_xp.backend import arrays, devices
from backprop_xp.errors import ConfigurationError, DeviceError

machine = pytest.fixture(imitated, name="machine")

# Broken machines, with patterns that the reason and the remedy must match.
BROKEN = {
    "no CuPy": (
        {"installed": False, "packages": ()},
        "CuPy is not installed",
        r"backprop-xp\[cuda12\].*backprop-xp\[cuda13\]",
    ),
    "two CuPy packages": (
        {"packages": ("cupy-cuda12x", "cupy-cuda13x")},
        "2 CuPy packages overwrite each other: cupy-cuda12x, cupy-cuda13x",
        "pip uninstall cupy-cuda12x cupy-cuda13x; then install one",
    ),
    "no driver": (
        {"driver": OSError("libcuda.so.1: cannot open shared object file")},
        "the NVIDIA driver is not installed .*libcuda",
        "install the NVIDIA driver",
    ),
    "libraries missing at import": (
        {
            "import_failure": "raise ImportError('=====\\n\\nlong banner') from "
            "ImportError('libcudart.so.12: cannot open shared object file')"
        },
        r"libraries or headers that CuPy needs are missing.*\(ImportError: libcudart.so.12",
        "reinstall it together with its libraries",
    ),
    "driver too old": (
        {
            "count": CUDARuntimeError(
                "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA "
                "runtime version"
            )
        },
        "the NVIDIA driver is too old for the CUDA version of this CuPy",
        "update the NVIDIA driver",
    ),
    "no visible GPU": (
        {"count": CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")},
        "CuPy sees no GPU",
        "check that nvidia-smi lists the GPU",
    ),
    "no GPU counted": ({"gpus": 0}, "CuPy sees no GPU", "check that nvidia-smi lists the GPU"),
    "another failure when counting": (
        {"count": CUDARuntimeError("cudaErrorSystemNotReady: system not yet initialized")},
        r"CuPy failed \(CUDARuntimeError: cudaErrorSystemNotReady",
        "check that nvidia-smi works",
    ),
    "compiler missing at the first kernel": (
        {"multiply": RuntimeError("CuPy failed to load libnvrtc.so.12: OSError: libnvrtc.so.12")},
        "libraries or headers that CuPy needs are missing",
        "reinstall it together with its libraries",
    ),
    "headers missing at the first kernel": (
        {"multiply": CompileException('cannot open source file "vector_types.h"\n\n1 error')},
        "libraries or headers that CuPy needs are missing",
        "reinstall it together with its libraries",
    ),
    "cuBLAS missing at the first product": (
        {"matmul": ImportError("libcublas.so.12: cannot open shared object file")},
        "libraries or headers that CuPy needs are missing",
        "reinstall it together with its libraries",
    ),
    "GPU newer than CuPy": (
        {"multiply": CUDARuntimeError("cudaErrorNoKernelImageForDevice: no kernel image")},
        "this CuPy was not built for this model of GPU",
        "install the newest CuPy",
    ),
    "out of memory": (
        {"asarray": OutOfMemoryError("Out of memory allocating 512 bytes")},
        "the GPU has no memory left",
        "end other programs that use the GPU",
    ),
    "wrong product": (
        {"matmul": [[0, 0], [0, 0]]},
        "wrong results.*x @ x = .*0.0",
        "reinstall the NVIDIA driver",
    ),
}
broken = pytest.mark.parametrize(("faults", "reason", "remedy"), BROKEN.values(), ids=BROKEN)


@broken
def test_auto_falls_back_to_the_cpu_and_notes_why(machine, faults, reason, remedy):
    machine(**faults)
    placement = devices.select_device("auto")
    assert (placement.backend, placement.name, placement.device) == ("numpy", "cpu", "cpu")
    assert placement.note.startswith("device: cpu (NumPy); no usable GPU: ")
    assert re.search(reason, placement.note)
    assert "\n" not in placement.note


@broken
@pytest.mark.parametrize("asked", [("cuda", None), ("cuda:0", "cupy"), ("auto", "cupy")])
def test_what_was_asked_for_by_name_fails_with_reason_and_mend(
    machine, faults, reason, remedy, asked
):
    machine(**faults)
    with pytest.raises(DeviceError, match=reason) as failure:
        devices.select_device(*asked)
    assert failure.value.message.startswith("cuda:0 cannot be used: ")
    assert re.search(remedy, failure.value.hint)
    assert failure.value.exit_code == 6


@broken
def test_the_list_says_why_cupy_cannot_be_used(machine, faults, reason, remedy):
    machine(**faults)
    (row,) = (row for row in devices.list_devices() if row.backend == "cupy")
    assert not row.usable
    assert re.search(reason, row.reason)
    assert re.search(remedy, row.remedy)


def test_hidden_gpus_are_traced_to_the_environment_variable(machine, monkeypatch):
    machine(gpus=0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(DeviceError) as failure:
        devices.select_device("cuda")
    assert "CUDA_VISIBLE_DEVICES is ''" in failure.value.hint


def test_auto_takes_a_gpu_that_works(machine):
    machine()
    placement = devices.select_device()
    assert (placement.backend, placement.name, placement.device.id) == ("cupy", "cuda:0", 0)
    assert placement.note == "device: cuda:0 (CuPy, NVIDIA Imaginary); chosen by auto"
    assert placement.with_dtype("float64").dtype == "<f8"


def test_the_first_use_says_that_kernels_are_compiled(machine):
    machine(kernels=0)
    note = devices.select_device("cuda").note
    assert note.startswith("device: cuda:0 (CuPy, NVIDIA Imaginary); requested; ")
    assert "compiles each of its kernels at the first use" in note


def test_a_gpu_that_works_is_looked_at_once_and_a_broken_one_again(machine):
    machine(driver=OSError("libcuda.so.1"))
    assert devices.select_device().backend == "numpy"
    machine()
    placement = devices.select_device()
    assert devices.select_device() is placement


@pytest.mark.parametrize(("device", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_a_gpu_is_taken_by_its_number(machine, device, index):
    machine(gpus=2)
    placement = devices.select_device(device)
    assert (placement.name, placement.device.id) == (f"cuda:{index}", index)
    assert placement.note == f"device: cuda:{index} (CuPy, NVIDIA Imaginary); requested"


def test_a_number_out_of_range_says_how_many_gpus_there_are(machine):
    machine(gpus=2)
    with pytest.raises(DeviceError, match="cuda:7 cannot be used: CuPy sees 2 GPUs") as failure:
        devices.select_device("cuda:7")
    assert failure.value.hint == "choose from: cuda:0, cuda:1"


def test_activate_enters_the_gpu_of_cupy_and_may_be_nested(machine):
    machine(gpus=2)
    placement = devices.select_device("cuda:1")
    with placement.activate(), placement.activate():
        assert FakeCudaDevice.entered == [1, 1]
    assert FakeCudaDevice.entered == []


def test_activate_does_nothing_on_the_cpu():
    with devices.select_device("cpu").activate() as entered:
        assert entered is None


def test_warnings_of_libraries_stay_inside(machine):
    machine()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        devices.select_device("cuda")
        devices.list_devices()
    assert seen == []


def test_every_gpu_has_a_row_in_the_list(machine):
    machine(gpus=2)
    rows = [row for row in devices.list_devices() if row.backend == "cupy"]
    assert [row.device for row in rows] == ["cuda:0", "cuda:1"]
    assert all(row.usable and row.name == "NVIDIA Imaginary" for row in rows)
    assert {row.version for row in rows} == {"14.0.1"}


@pytest.mark.parametrize(
    "device", ["gpu", "cuda:x", "cuda:", "cuda:-1", "cuda:1.5", "CPU", "", "cpu\n", None, "device1"]
)
def test_a_malformed_device_is_refused_with_the_forms_there_are(device):
    with pytest.raises(ConfigurationError, match="unknown device") as failure:
        devices.select_device(device)
    assert "auto, cpu, cuda, or cuda:N" in failure.value.hint


def test_an_unknown_backend_is_refused_with_a_suggestion():
    with pytest.raises(ConfigurationError, match="unknown backend 'numpi'") as failure:
        devices.select_device("auto", "numpi")
    assert "did you mean 'numpy'?" in failure.value.hint


@pytest.mark.parametrize("dtype", ["float16", "int32", "zeros"])
def test_other_data_types_are_refused(dtype):
    with pytest.raises(ConfigurationError, match="unknown dtype"):
        devices.select_device("cpu", dtype=dtype)
    with pytest.raises(ConfigurationError, match="unknown dtype"):
        devices.select_device("cpu").with_dtype(dtype)


@pytest.mark.parametrize("backend", ["numpy", "array_api_strict"])
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_library_without_gpus_is_refused_one(backend, device):
    with pytest.raises(ConfigurationError, match="has no GPU") as failure:
        devices.select_device(device, backend)
    assert "--backend cupy" in failure.value.hint


def test_cupy_is_refused_the_cpu():
    with pytest.raises(ConfigurationError, match="CuPy computes on GPUs only"):
        devices.select_device("cpu", "cupy")


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_numpy_computes_on_the_cpu(device):
    placement = devices.select_device(device, "numpy")
    x = placement.xp.asarray(
        [1.0], dtype=placement.with_dtype("float64").dtype, device=placement.device
    )
    assert isinstance(x, np.ndarray)
    assert placement.name == "cpu"


@pytest.mark.parametrize(
    ("extra", "backend"),
    [
        (r"backprop-xp\[torch\]", "torch"),
        (r"backprop-xp\[jax\]", "jax"),
        ("array-api-strict", "array_api_strict"),
    ],
)
def test_a_library_that_is_not_installed_is_never_replaced(monkeypatch, extra, backend):
    forget(monkeypatch)
    monkeypatch.setitem(sys.modules, backend, None)
    for device in ("auto", "cpu"):
        with pytest.raises(DeviceError, match="is not installed") as failure:
            devices.select_device(device, backend)
        assert re.search(f"pip install '?{extra}", failure.value.hint)


def fake_torch(monkeypatch, *, init=lambda: None, **failures):
    cuda = SimpleNamespace(
        init=init, device_count=lambda: 2, get_device_name=lambda index: "NVIDIA Imaginary"
    )
    fake_module(monkeypatch, "torch", cuda=cuda, device=lambda *name: name)
    fake_namespace(monkeypatch, "torch", **failures)


def test_torch_takes_its_gpu(monkeypatch):
    fake_torch(monkeypatch)
    assert devices.select_device("auto", "torch").device == ("cuda", 0)
    assert devices.select_device("cuda:1", "torch").device == ("cuda", 1)


def test_torch_with_a_gpu_that_fails_falls_back_to_its_own_cpu(monkeypatch):
    fake_torch(monkeypatch, matmul=RuntimeError("CUDA out of memory. Tried to allocate 16 bytes"))
    placement = devices.select_device("auto", "torch")
    assert (placement.backend, placement.name) == ("torch", "cpu")
    assert "no usable GPU: the GPU has no memory left" in placement.note
    with pytest.raises(DeviceError, match="no memory left"):
        devices.select_device("cuda", "torch")


def test_torch_says_that_the_driver_is_too_old(monkeypatch):
    def init():
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).")

    fake_torch(monkeypatch, init=init)
    with pytest.raises(DeviceError, match="driver is too old for the CUDA version of this PyTorch"):
        devices.select_device("cuda", "torch")


def test_jax_takes_its_gpu_and_is_told_of_float64(monkeypatch):
    told = []
    gpu = SimpleNamespace(device_kind="NVIDIA Imaginary")
    config = SimpleNamespace(update=lambda *setting: told.append(setting))
    fake_module(monkeypatch, "jax", devices={"gpu": [gpu]}.__getitem__, config=config)
    fake_namespace(monkeypatch, "jax")
    assert devices.select_device("auto", "jax").device is gpu
    full_precision = ("jax_default_matmul_precision", "highest")
    assert told == [full_precision]
    assert devices.select_device("cuda", "jax", dtype="float64").name == "cuda:0"
    assert told[1:] == [full_precision, ("jax_enable_x64", True)]


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_real_library_computes_on_the_cpu_or_is_reported_missing(backend):
    if importlib.util.find_spec(backend) is None:
        with pytest.raises(DeviceError, match="is not installed"):
            devices.select_device("cpu", backend)
        return
    placement = devices.select_device("cpu", backend)
    x = placement.xp.asarray(
        [1.0], dtype=placement.with_dtype("float32").dtype, device=placement.device
    )
    assert arrays.namespace(x) is placement.xp
    assert arrays.to_numpy(x).tolist() == [1.0]
    assert devices.select_device("auto", backend).backend == backend


def test_real_jax_keeps_64_bits_when_they_were_asked_for():
    if importlib.util.find_spec("jax") is None:
        assert "jax" not in {row.backend for row in devices.list_devices() if row.usable}
        return
    import jax

    before = jax.config.jax_enable_x64
    try:
        placement = devices.select_device("cpu", "jax", dtype="float64")
        x = placement.xp.asarray(
            [1.0], dtype=placement.with_dtype("float64").dtype, device=placement.device
        )
        assert x.dtype == placement.with_dtype("float64").dtype
    finally:
        jax.config.update("jax_enable_x64", before)


def test_array_api_strict_has_a_second_device_of_its_own():
    if importlib.util.find_spec("array_api_strict") is None:
        with pytest.raises(DeviceError, match="is not installed"):
            devices.select_device("device1", "array_api_strict")
        return
    import array_api_strict

    placement = devices.select_device("device1", "array_api_strict")
    assert placement.name == "device1"
    assert placement.xp.zeros(1, device=placement.device).device == placement.device
    assert placement.device == array_api_strict.Device("device1")
    for device in ("auto", "cpu"):
        placement = devices.select_device(device, "array_api_strict")
        assert placement.name == "cpu"
        assert placement.device == array_api_strict.Device("CPU_DEVICE")


def test_the_list_has_every_backend_and_agrees_with_select():
    rows = devices.list_devices()
    assert {row.backend for row in rows} == set(arrays.BACKENDS)
    for row in rows:
        assert row.usable == (not row.reason) == (not row.remedy)
        assert (row.device == "-") <= (not row.usable)
        if row.usable:
            assert devices.select_device(row.device, row.backend).name == row.device


@pytest.mark.parametrize("backend", ["cupy", "torch", "jax", "array_api_strict"])
def test_the_list_survives_a_library_that_is_an_empty_shell(machine, monkeypatch, backend):
    machine()
    fake_module(monkeypatch, backend)
    rows = [row for row in devices.list_devices() if row.backend == backend]
    assert rows
    assert all(row.reason and row.remedy for row in rows if not row.usable)
    assert not all(row.usable for row in rows)


def test_the_list_survives_a_broken_installation_of_everything(monkeypatch):
    def broken(name):
        raise ValueError(f"{name} is damaged")

    monkeypatch.setattr(importlib.util, "find_spec", broken)
    monkeypatch.setattr(importlib.metadata, "version", broken)
    rows = devices.list_devices()
    assert {row.backend for row in rows} == set(arrays.BACKENDS)
    assert not any(row.usable for row in rows)
    assert all("is damaged" in row.reason and row.version is None for row in rows)


def test_neither_the_import_nor_the_cpu_loads_a_library_that_is_not_needed():
    code = (
        "import sys; from backprop_xp.backend import devices; "
        "print({'numpy', 'cupy', 'torch', 'jax'} & set(sys.modules)); "
        "devices.select_device('cpu'); "
        "print({'cupy', 'torch', 'jax'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["set()", "set()"]
