"""From a recording of a forward to its program."""

from collections.abc import Hashable

import torch
from torch import Tensor

from engine.kernels.cpu.calls import Threads, operand_of
from engine.kernels.cpu.fusion import fuse
from engine.kernels.cpu.lowering import NativeStep, Step, lower
from engine.kernels.cpu.memory import Values, plan_memory
from engine.kernels.cpu.natives import NATIVE
from engine.kernels.cpu.program import Constants, Listing, Program
from engine.kernels.cpu.values import FROM_BATCH, VIEWS, Extent, roots
from engine.kernels.group import Group
from engine.kernels.trace import Tape
from engine.kernels.weight import Weight


def compile_program(
    tape: Tape, constants: Constants, threads: Threads, max_tokens: int, max_logits: int
) -> Program:
    """For batches of at most so many rows and wanted logits. The last op's output is the result.

    tape: recorded with `values.NUM_TOKENS` rows and `NUM_LOGITS` sequences; it keeps the listing,
    for the next load of weights and caches of the same formats and sizes. constants: the parameters
    and caches by their labels.
    """
    constants = {label: _native(value) for label, value in constants.items()}
    key = max_tokens, max_logits, tuple(map(_kind, constants.items()))
    listing = tape.compiled.get(key)
    if listing is None:
        listing = _listing(tape, constants, max_tokens, max_logits)
        tape.compiled = {key: listing}  # the last alone: sizes seldom change
    return Program(listing, constants, threads)


def _listing(tape: Tape, constants: Constants, max_tokens: int, max_logits: int) -> Listing:
    steps, values = _steps(tape, constants)
    result = tape.calls[-1].output
    assert result is not None, "a forward ends with its logits"
    native = {label for step in steps if isinstance(step, NativeStep) for label in step.reads}
    operands = {
        label: operand_of(value)
        for label, value in constants.items()
        if label in native and not isinstance(value, Group)
    }
    return Listing.of(steps, plan_memory(steps, values, max_tokens, max_logits), operands, result)


def _kind(constant: tuple[str, Weight | Tensor | Group]) -> Hashable:
    """All that a listing knows of a constant."""
    label, value = constant
    if isinstance(value, Group):
        return label
    if isinstance(value, Weight):
        return label, value.format, value.shape
    assert value.is_contiguous(), "operands are contiguous"
    return label, value.dtype, value.shape


def program_bytes(tape: Tape, max_tokens: int, max_logits: int) -> int:
    """What the values of a program take, before there are weights."""
    return plan_memory(*_steps(tape, {}), max_tokens, max_logits).num_bytes


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


def _native(value: Weight | Tensor | Group) -> Weight | Tensor | Group:
    """Vectors as operations read them: float32. Caches and weights are as they are."""
    is_vector = isinstance(value, Tensor) and value.dim() < 3 and value.is_floating_point()
    return value.float() if is_vector and isinstance(value, Tensor) else value
