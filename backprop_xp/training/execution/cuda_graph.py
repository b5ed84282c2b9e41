"""A compiled step as one launch: its kernels are captured as a CUDA graph, which is launched again.

Source: "CUDA C++ programming guide", section "CUDA graphs".
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from backprop_xp.training.execution.cuda_program import CudaProgram


class CudaGraph:
    """The launches of a program as one.

    The program is not run when it is captured. It must have been run before, since a kernel that is
    launched for the first time may have to be loaded, which a capture does not allow.

    Parameters
    ----------
    program : CudaProgram
        With the arrays that it was bound to; its results are the same, bit for bit.

    Raises
    ------
    Exception
        Of CuPy or CUDA, if an operation of the program cannot be captured.
    """

    def __init__(self, program: CudaProgram) -> None:
        import cupy

        # Memory that a reduction needs belongs to the graph as long as it exists.
        self._pool = cupy.cuda.MemoryPool()
        stream = cupy.cuda.Stream(non_blocking=True)  # the default stream cannot be captured
        with cupy.cuda.using_allocator(self._pool.malloc), stream:
            program.begin()
            stream.begin_capture()
            try:
                program.run()
            except BaseException:
                with suppress(Exception):
                    stream.end_capture()
                raise
            self._graph: Any = stream.end_capture()

    def run(self) -> None:
        """Compute one step, on the current stream."""
        self._graph.launch()
