"""An epoch of compiled steps, for CuPy.

Every operation of an array library is at least one launch of a kernel, which takes the host several
microseconds, and a GPU waits for the host if the network is small. A compiled step is one or two
dozen launches, and nothing is copied between host and device within an epoch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from backprop_xp.backend.arrays import Array, read_numbers
from backprop_xp.data.batch import Batch
from backprop_xp.data.sparse import SparseRows
from backprop_xp.nn.network import Layer, Parameters
from backprop_xp.nn.optimizers import Slots
from backprop_xp.training.execution.cuda_graph import CudaGraph
from backprop_xp.training.execution.cuda_operations import NotTraceable
from backprop_xp.training.execution.cuda_program import CudaProgram, Position, StepArrays
from backprop_xp.training.execution.eager import EagerExecutor
from backprop_xp.training.execution.executor import EpochPlan, EpochResult
from backprop_xp.training.execution.replay import as_written, copies
from backprop_xp.training.step import TrainingStep

_ALIGNMENT = 64
"""Arrays begin at multiples of this number of entries: cuBLAS is faster with aligned arrays."""

TOLERANCE = 1e-3
"""The largest relative difference between a compiled step and the step as written that counts as
rounding, for the norm of each array. Single entries can differ more: Adam turns a gradient that is
zero except for rounding into a step of full size."""

_TINY = 1e-30


class CudaExecutor(EagerExecutor):
    """Runs epochs of compiled steps; or as `EagerExecutor` does, if a step cannot be compiled or
    ``on_step`` inspects the steps.

    Parameters
    ----------
    step : TrainingStep
    graph : bool
        Whether a step is captured as a CUDA graph, which is a single launch.
    """

    def __init__(self, step: TrainingStep, *, graph: bool = False) -> None:
        super().__init__(step)
        self._uses_graph = graph
        self._graphs: dict[CudaProgram, Callable[[], None]] = {}
        self._programs: dict[tuple[int, bool, bool], CudaProgram | None] = {}
        self._own: tuple[_Memory, _Memory] | None = None
        self._returned: tuple[Any, Any] = None, None
        self._position: Position | None = None

    def _working_copies(
        self, parameters: Parameters, slots: list[Slots]
    ) -> tuple[Parameters, list[Slots]]:
        """Return copies in the same memory in every epoch, since compiled steps use its address."""
        if self._own is None:
            self._own = _Memory.like(parameters), _Memory.like(slots)
        if self._returned[0] is not parameters or self._returned[1] is not slots:
            for memory, arrays in zip(self._own, (parameters, slots), strict=True):
                memory.fill(arrays)
        self._returned = None, None  # until the epoch is complete
        return self._own[0].arrays, self._own[1].arrays

    def _results(
        self, parameters: Parameters, slots: list[Slots]
    ) -> tuple[Parameters, list[Slots]]:
        assert self._own is not None
        for memory, arrays in zip(self._own, (parameters, slots), strict=True):
            memory.fill(arrays)  # which only changes something after steps that are not compiled
        self._returned = self._own[0].copied(), self._own[1].copied()
        return self._returned

    def _run_chunk(
        self,
        parameters: Parameters,
        slots: list[Slots],
        data: Batch,
        order: Array,
        plan: EpochPlan,
        done: int,
    ) -> EpochResult:
        n, batch_size = order.shape[0], plan.batch_size
        full, rest = divmod(n, batch_size)
        sizes = [batch_size] * (full > 0) + [rest] * (rest > 0)
        if plan.on_step is not None or not self._compilable(data):
            return super()._run_chunk(parameters, slots, data, order, plan, done)
        count = full + (rest > 0)
        position = self._position_for(n, count, data, plan, done)
        position.order[:n] = order
        position.scalars[:count] = self.step.xp.asarray(
            plan.scalars[done : done + count], dtype=position.scalars.dtype
        )
        arrays = StepArrays(parameters, slots, data, position)
        programs = []
        for size in sizes:
            program = self._program(size, arrays, plan)
            if program is None:
                return super()._run_chunk(parameters, slots, data, order, plan, done)
            programs.append(program)
        _start(position, plan.first_step + done)
        started = done
        for program, size in zip(programs, sizes, strict=True):
            run = self._run_of(program, arrays)
            for _ in range(full if size == batch_size else 1):
                run()
                started += 1
                if plan.on_steps is not None:
                    plan.on_steps(started)
        correct: Any = 0
        if position.outputs is not None:
            rows = None if n == sizes[0] else order
            correct = self._correct([position.outputs[:n]], data, rows)
        mean = position.total / (n / batch_size)
        return EpochResult(parameters, slots, mean, count, n, correct)

    def _compilable(self, data: Batch) -> bool:
        return self.step.recordable and not isinstance(data[0], SparseRows)

    def _position_for(
        self, n: int, count: int, data: Batch, plan: EpochPlan, done: int
    ) -> Position:
        """Return the arrays of a position, which are used again if they are large enough."""
        xp, old = self.step.xp, self._position
        if (
            old is None
            or old.order.shape[0] < n
            or old.scalars.shape[0] < count
            or (old.outputs is None) == plan.counts_correct
        ):
            outputs = xp.zeros((n, data[1].shape[1]), dtype=data[1].dtype)
            self._position = Position(
                order=xp.zeros(n, dtype=xp.int64),
                scalars=xp.zeros((count, len(plan.scalars[done])), dtype=data[1].dtype),
                outputs=outputs if plan.counts_correct else None,
                index=xp.zeros((), dtype=xp.int64),
                number=xp.zeros((), dtype=xp.int32),
                total=xp.zeros((), dtype=data[1].dtype),
            )
        assert self._position is not None
        return self._position

    def _program(self, size: int, arrays: StepArrays, plan: EpochPlan) -> CudaProgram | None:
        """Return the compiled step of a number of rows, or None if there is none."""
        complete = size == arrays.data[0].shape[0]
        key = size, complete, arrays.position.outputs is not None
        if key not in self._programs:
            program, fault = None, ""
            try:
                program = CudaProgram(self.step, size, plan.batch_size, arrays)
                if not self._is_right(program, size, arrays, plan):
                    program, fault = None, "its results are not those of the step as written"
            except NotTraceable as error:
                fault = str(error) if self._uses_graph else ""  # if not, it was not asked for
            except Exception as error:
                fault = _reason(error)
            self._programs[key] = program
            if fault:
                _warn("compiled", fault)
        return self._programs[key]

    def _run_of(self, program: CudaProgram, arrays: StepArrays) -> Callable[[], None]:
        """Return how to run a program on these arrays: launch by launch, or as a graph."""
        changed = program.bind(arrays)
        program.begin()
        if not self._uses_graph:
            return program.run
        if changed or program not in self._graphs:
            fault = ""
            try:
                self._graphs[program] = CudaGraph(program).run
            except Exception as error:
                self._graphs[program], fault = program.run, _reason(error)
            program.begin()  # on the current stream again
            if fault:
                _warn("captured as a CUDA graph", fault)
        return self._graphs[program]

    def _is_right(
        self, program: CudaProgram, size: int, arrays: StepArrays, plan: EpochPlan
    ) -> bool:
        """Return whether a program computes a step as its functions do, except for rounding."""
        parameters, slots, data, position = arrays
        number, scalars = plan.first_step, tuple(position.scalars[0])
        rows = None if size == data[0].shape[0] else position.order[:size]

        compiled = StepArrays(*copies(parameters, slots, self.step), data, position)
        _start(position, number)
        program.bind(compiled)
        program.begin()
        program.run()
        results = [position.total, *compiled.changed()]

        layers, kept = copies(parameters, slots, self.step)
        functions = as_written(self.step)
        loss, _, gradients = functions.gradients(layers, data, rows, number, scalars)
        layers, kept = functions.update(layers, gradients, kept, scalars)
        written = arrays._replace(parameters=layers, slots=kept)
        expected = [loss * (size / plan.batch_size), *written.changed()]
        xp = self.step.xp
        sums = [
            xp.sum(x * x)
            for a, b in zip(results, expected, strict=True)
            for x in (xp.asarray(a - b), xp.asarray(b))
        ]
        squares = read_numbers(sums, xp=xp)
        pairs = zip(squares[::2], squares[1::2], strict=True)
        # A step that overflows proves nothing.
        return all(
            not math.isfinite(whole) or difference <= TOLERANCE**2 * whole + _TINY
            for difference, whole in pairs
        )


class _Memory:
    """Arrays in one piece of memory, so that a copy of all of them is one operation.

    Attributes
    ----------
    arrays : list of tuples of arrays or None
        Views of the memory.
    """

    def __init__(self, block: Array, arrays: Any) -> None:
        self._block = block
        start = 0

        def view(array: Array) -> Any:
            nonlocal start
            first, start = start, start + _aligned(array.size)
            return block[first : first + array.size].reshape(array.shape)

        self.arrays = _for_each(view, arrays)

    @classmethod
    def like(cls, arrays: Any) -> _Memory:
        """Return new memory for arrays of these shapes."""
        import cupy

        listed = [array for group in arrays for array in group if array is not None]
        size = sum(_aligned(array.size) for array in listed)
        dtype = listed[0].dtype if listed else cupy.float32
        return cls(cupy.zeros(size, dtype=dtype), arrays)

    def fill(self, arrays: Any) -> None:
        """Copy the numbers of arrays, except of those that are in this memory."""
        for own_group, group in zip(self.arrays, arrays, strict=True):
            for own, array in zip(own_group, group, strict=True):
                if own is not array:
                    own[...] = array

    def copied(self) -> Any:
        """Return the arrays in new memory."""
        return _Memory(self._block.copy(), self.arrays).arrays


def _for_each(function: Callable[[Array], Any], arrays: Any) -> Any:
    """Return the result of a function for each array, in groups of the same types."""
    groups = []
    for group in arrays:
        results = [None if array is None else function(array) for array in group]
        groups.append(Layer(*results) if isinstance(group, Layer) else tuple(results))
    return groups


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _warn(what: str, reason: str) -> None:
    """Warn that the step is run in a slower way."""
    text = f"training is slower than it could be, as its step could not be {what}: {reason}"
    warnings.warn(text, RuntimeWarning, stacklevel=2)


def _start(position: Position, number: int) -> None:
    """Go back to the first step of a chunk, before which there were ``number`` steps."""
    position.index.fill(0)
    position.total.fill(0)
    position.number.fill(number)
