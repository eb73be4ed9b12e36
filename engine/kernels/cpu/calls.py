"""Native operations as functions of torch tensors, and what a call of one is made of."""

import ctypes
from collections.abc import Sequence
from functools import cache
from math import prod

import torch
from torch import Tensor

from engine.kernels.batch import BatchLayout
from engine.kernels.cpu.layouts import format_number
from engine.kernels.cpu.library import library
from engine.kernels.weight import Weight

_NUMBERS = {
    torch.float32: 1,
    torch.bfloat16: 2,
    torch.float16: 3,
    torch.int64: 4,
    torch.uint8: 5,  # rows of `engine.kernels.q8_0`
}


class OperandStruct(ctypes.Structure):
    """`Operand` of op.h."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("format", ctypes.c_int32),
    )


class LayoutStruct(ctypes.Structure):
    """`Layout` of op.h."""

    _fields_ = (
        ("num_sequences", ctypes.c_int64),
        ("max_blocks", ctypes.c_int64),
        ("block_size", ctypes.c_int64),
        ("query_starts", ctypes.c_void_p),
        ("context_lens", ctypes.c_void_p),
        ("block_tables", ctypes.c_void_p),
        ("slots", ctypes.c_void_p),
        ("state_reads", ctypes.c_void_p),
        ("state_writes", ctypes.c_void_p),
    )


class Threads:
    """Native threads, and the memory that operations use on them. For one caller at a time."""

    def __init__(self, num_threads: int) -> None:
        self.num_threads = num_threads
        self._library = library()
        self.pool = ctypes.c_void_p(self._library.rh_pool_new(num_threads))
        self.workspace = ctypes.c_void_p(self._library.rh_workspace_new(num_threads))

    def __del__(self) -> None:
        self._library.rh_workspace_delete(self.workspace)
        self._library.rh_pool_delete(self.pool)


@cache
def shared_threads() -> Threads:
    """The process's own, as many as torch has. Callers on several threads take turns."""
    return Threads(torch.get_num_threads())


def operand_of(value: Weight | Tensor | None) -> OperandStruct:
    """Of a weight, or of a contiguous tensor: its first axis are rows; one axis is one row."""
    if value is None:
        return OperandStruct(None, 0, 0, 0)
    if isinstance(value, Weight):
        number = format_number(value.format)
        return OperandStruct(value.data.data_ptr(), *value.shape, number)
    assert value.is_contiguous(), "operands are contiguous"
    rows, width = (1, len(value)) if value.dim() == 1 else (len(value), prod(value.shape[1:]))
    return OperandStruct(value.data_ptr(), rows, width, _NUMBERS[value.dtype])


def layout_of(layout: BatchLayout) -> LayoutStruct:
    """Valid as long as the layout lives."""
    return LayoutStruct(
        len(layout.context_lens),
        layout.block_tables.shape[1],
        layout.block_size,
        layout.query_starts.data_ptr(),
        layout.context_lens.data_ptr(),
        layout.block_tables.data_ptr(),
        layout.slots.data_ptr(),
        layout.state_reads.data_ptr(),
        layout.state_writes.data_ptr(),
    )


@cache
def operation(name: str) -> int:
    """The number of a native operation. Raises `LookupError` where there is none of the name."""
    number: int = library().rh_find_op(name.encode())
    if number < 0:
        raise LookupError(f"no native operation {name}")
    return number


def run(
    threads: Threads,
    name: str,
    inputs: Sequence[Weight | Tensor | None],
    output: Tensor | None = None,
    settings: Sequence[float] = (),
    layout: BatchLayout | None = None,
) -> None:
    """One operation by itself: into `output`, or into what it changes of its inputs.

    Raises `MemoryError`.
    """
    operands = (OperandStruct * len(inputs))(*map(operand_of, inputs))
    result = operand_of(output)
    numbers = (ctypes.c_double * len(settings))(*settings)
    described = ctypes.byref(layout_of(layout)) if layout is not None else None
    status = library().rh_run_op(
        operation(name),
        threads.pool,
        threads.workspace,
        described,
        operands,
        len(inputs),
        ctypes.byref(result),
        numbers,
        len(settings),
    )
    check(status)


def check(status: int) -> None:
    """Raises `MemoryError` where a native call says that it had no memory."""
    if status:
        raise MemoryError("native operations could not allocate what they work in")
