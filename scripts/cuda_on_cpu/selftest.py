"""Check that the emulator behaves as README.md says; `setup` ends with it.

Usage: CUDA_ON_CPU_DEVICES=2 run VENV python selftest.py
"""

import os
import tempfile

import cuda_on_cpu
import cupy
import numpy as np


def raises(error, call):
    """Return whether a call raises an error of a type."""
    try:
        call()
    except error:
        return True
    return False


def test_results_equal_numpy():
    a = np.arange(12.0).reshape(3, 4)
    x = cupy.asarray(a)
    for got, expected in (
        (x @ x.T, a @ a.T),
        (cupy.tanh(x).sum(axis=0), np.tanh(a).sum(axis=0)),
        (cupy.argsort(-x, axis=1), np.argsort(-a, axis=1)),
        (x[cupy.asarray([2, 0])], a[[2, 0]]),
        (x.astype(cupy.float32) * 2 > 7, a.astype(np.float32) * 2 > 7),
    ):
        np.testing.assert_allclose(cupy.asnumpy(got), expected, rtol=1e-12)


def test_launches_and_copies_are_counted():
    x = cupy.ones((4, 4))
    cuda_on_cpu.reset()
    y = x + x
    y = y @ x
    y.get()
    done = cuda_on_cpu.counts()
    total = cuda_on_cpu.summary(done)
    assert total["kernel"] == 1, done
    assert total["blas"] == 1, done
    assert total["copy:d2h"] == 1, done
    assert total["bytes:copy:d2h"] == y.nbytes, done
    assert "copy:h2d" not in total, done
    cuda_on_cpu.reset()
    assert not cuda_on_cpu.counts()


def test_copies_are_attributed_to_lines():
    x = cupy.ones(3)
    with cuda_on_cpu.watch(within="selftest") as seen:
        x.tolist()
    ((direction, size, line),) = seen
    assert (direction, size) == ("copy:d2h", 24), seen
    assert line.startswith("selftest.py:"), seen


def test_an_idle_device_does_not_compute():
    x = cupy.zeros(3)
    with cuda_on_cpu.idle():
        x += 1
    assert x.tolist() == [0, 0, 0]


def test_new_memory_is_full_of_nan():
    for dtype in ("float16", "float32", "float64"):
        assert cupy.isnan(cupy.empty(1 << 20, dtype)).all()


def test_too_large_an_array_is_out_of_memory():
    free, total = cupy.cuda.runtime.memGetInfo()
    assert 0 < free <= total
    error = cupy.cuda.memory.OutOfMemoryError
    assert raises(error, lambda: cupy.empty(total + 1, cupy.uint8))
    assert cupy.ones(3).sum() == 3  # the device is usable afterwards


def test_two_devices_do_not_share_memory():
    assert cupy.cuda.runtime.getDeviceCount() == 2
    with cupy.cuda.Device(1):
        there = cupy.arange(3.0)
    here = cupy.arange(3.0)
    assert (here.device.id, there.device.id) == (0, 1)
    assert not cupy.cuda.runtime.deviceCanAccessPeer(0, 1)
    assert raises(Exception, lambda: here @ there)
    assert cupy.asarray(there).device.id == 0  # an explicit copy works


def test_a_missing_function_is_an_error_that_names_it():
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        failed = raises(Exception, lambda: cupy.linalg.inv(cupy.eye(3)))
        os.dup2(stderr, 2)
        file.seek(0)
        printed = file.read()
    assert failed
    assert b"cusolverDnCreate is not" in printed, printed


def test_a_graph_repeats_its_kernels():
    x = cupy.zeros(3)
    x += 1  # compile the kernel, which is not possible while a stream captures
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        x += 1
        graph = stream.end_capture()
        assert x.tolist() == [1, 1, 1]
        graph.launch(stream)
        graph.launch(stream)
        stream.synchronize()
    assert x.tolist() == [3, 3, 3]


if __name__ == "__main__":
    tests = [test for name, test in sorted(globals().items()) if name.startswith("test_")]
    for test in tests:
        try:
            test()
        except BaseException:
            print(f"cuda_on_cpu: {test.__name__} failed", flush=True)
            raise
    print(f"cuda_on_cpu: CuPy {cupy.__version__}: {len(tests)} tests of the emulator passed")
