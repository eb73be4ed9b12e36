"""From a recording of a forward to its program."""

import torch
from torch import Tensor

from engine.kernels.cpu.calls import Threads
from engine.kernels.cpu.fusion import fuse
from engine.kernels.cpu.lowering import Step, lower
from engine.kernels.cpu.memory import Memory, Values, plan_memory
from engine.kernels.cpu.natives import NATIVE
from engine.kernels.cpu.program import Constants, Program
from engine.kernels.cpu.values import FROM_BATCH, VIEWS, Extent, roots
from engine.kernels.trace import Tape
from engine.kernels.weight import Weight


def compile_program(
    tape: Tape, constants: Constants, threads: Threads, max_tokens: int, max_logits: int
) -> Program:
    """For batches of at most so many rows and wanted logits. The last op's output is the result.

    tape: recorded with `values.NUM_TOKENS` rows and `NUM_LOGITS` sequences. constants: the
    parameters and caches by their labels.
    """
    constants = {label: _native(value) for label, value in constants.items()}
    steps, values = _steps(tape, constants)
    memory = Memory(steps, values, max_tokens, max_logits)
    result = tape.calls[-1].output
    assert result is not None, "a forward ends with its logits"
    return Program(steps, memory, constants, threads, result)


def program_bytes(tape: Tape, max_tokens: int, max_logits: int) -> int:
    """What the values of a program take, before there are weights."""
    return plan_memory(*_steps(tape, {}), max_tokens, max_logits)[1]


def _steps(tape: Tape, constants: Constants) -> tuple[list[Step], Values]:
    extents = {
        label: Extent.of(tape.shapes[label], torch.int64)
        for label in FROM_BATCH
        if label in tape.shapes
    }
    extents |= {
        call.output: Extent.of(call.shape, call.dtype)
        for call in tape.calls
        if call.output is not None and call.dtype is not None
    }
    shapes = tape.shapes | {call.output: call.shape for call in tape.calls if call.output}
    views = roots({c.output: c.inputs[0] for c in tape.calls if c.op in VIEWS and c.output})
    return fuse(lower(tape.calls, shapes, constants, NATIVE)), Values(extents, views)


def _native(value: Weight | Tensor) -> Weight | Tensor:
    """Vectors as operations read them: float32. Caches and weights are as they are."""
    is_vector = isinstance(value, Tensor) and value.dim() < 3 and value.is_floating_point()
    return value.float() if is_vector and isinstance(value, Tensor) else value
