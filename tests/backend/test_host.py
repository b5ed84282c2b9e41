"""The limit on BLAS threads: restored after all threads, and in a process that was forked."""

import functools
import os

import pytest
from helpers import run_with_two_blas_threads

PREPARED = """
import os, signal, sys, threading, time, warnings

import numpy as np

from backprop_xp import Network, fit
from backprop_xp.backend.host import _LIMITED, _blas, limit_threads

warnings.simplefilter("ignore")  # newer versions of Python warn of a fork beside threads

if not _blas().lib_controllers:
    print("no BLAS")
    sys.exit()

def threads():
    return {library.get_num_threads() for library in _blas().lib_controllers}

def train():
    x = np.ones((64, 8))
    fit(Network((8, 8, 1), ("tanh", "identity")), (x, x[:, :1]), epochs=2, seed=0, batch_size=8)

def train_until_stopped():
    while not stopped.is_set():
        train()

train()  # imports everything: a fork while another thread imports a module is Python's own fault
stopped = threading.Event()
others = [threading.Thread(target=train_until_stopped) for _ in range(2)]
assert threads() == {2}
"""


run = functools.partial(run_with_two_blas_threads, PREPARED)


def test_threads_that_train_at_the_same_time_leave_the_limit_as_it_was():
    run("""
        for other in others:
            other.start()
        for _ in range(200):
            with limit_threads(1, xp=np):
                assert threads() == {1}
        stopped.set()
        for other in others:
            other.join()
        assert threads() == {2}
        assert not _LIMITED
    """)


def test_a_thread_that_ended_does_not_keep_the_limit():
    run("""
        for other in others:
            other.start()
            stopped.set()
            other.join()
            with limit_threads(1, xp=np):
                assert threads() == {1}
            assert threads() == {2}
    """)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX forks")
def test_a_forked_process_can_fork_too():
    run("""
        def succeeds(call):
            process = os.fork()
            if not process:
                signal.alarm(20)
                call()
                os._exit(0)
            return os.waitpid(process, 0)[1] == 0

        def child():
            assert succeeds(train)
            assert succeeds(train)

        assert succeeds(child)
    """)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX forks")
def test_a_process_forked_while_threads_train_trains_too():
    run("""
        def child(inside):
            signal.alarm(20)
            code = 1
            try:
                assert threads() == ({1} if inside else {2})
                train()
                assert threads() == ({1} if inside else {2})
                code = 0
            finally:
                os._exit(code)

        for other in others:
            other.start()
        children = []
        for number in range(20):
            time.sleep(0.01)
            pid = os.fork()
            if pid == 0:
                child(inside=False)
            children.append(pid)
        with limit_threads(1, xp=np):
            pid = os.fork()
            if pid == 0:
                child(inside=True)
            children.append(pid)
        codes = [os.waitpid(pid, 0)[1] for pid in children]
        stopped.set()
        for other in others:
            other.join()
        assert codes == [0] * 21, codes
        assert threads() == {2}
    """)
