"""The native steps of a program as the library has them, wherever weights and caches lie."""

import ctypes
from collections.abc import Mapping, Sequence

import torch

from engine.kernels.cpu.calls import OperandStruct, operation
from engine.kernels.cpu.library import library
from engine.kernels.cpu.lowering import NativeStep
from engine.kernels.cpu.memory import MemoryPlan
from engine.kernels.cpu.values import Rows

MAX_INPUTS = 16

_FORMATS = {torch.float32: 1, torch.int64: 4}


class _Value(ctypes.Structure):
    """`Value` of program.cpp."""

    _fields_ = (
        ("place", ctypes.c_int64),
        ("num_rows", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("rows", ctypes.c_int32),
        ("is_bound", ctypes.c_int32),
        ("format", ctypes.c_int32),
        ("unused", ctypes.c_int32),
    )


class _Node(ctypes.Structure):
    """`Node` of program.cpp."""

    _fields_ = (
        ("operation", ctypes.c_int32),
        ("num_inputs", ctypes.c_int32),
        ("inputs", ctypes.c_int32 * MAX_INPUTS),
        ("output", ctypes.c_int32),
        ("first_setting", ctypes.c_int32),
        ("num_settings", ctypes.c_int32),
        ("unused", ctypes.c_int32),
    )


class Encoded:
    """A native program. bound: the number of each value that lies outside the program's memory.

    operands: of the constants, of which only rows, widths and formats are kept. Read-only, and so
    may be run by several programs.
    """

    def __init__(
        self,
        steps: Sequence[NativeStep],
        plan: MemoryPlan,
        operands: Mapping[str, OperandStruct],
    ) -> None:
        labels = {label: None for step in steps for label in (*step.reads, *step.makes)}
        outside = [label for label in labels if label not in plan]
        self.bound = {label: number for number, label in enumerate(outside)}
        numbers = {label: number for number, label in enumerate(labels)}
        values = (_Value * len(labels))(*(self._value(label, plan, operands) for label in labels))
        settings = [setting for step in steps for setting in step.settings]
        nodes = (_Node * len(steps))(*_nodes(steps, numbers))
        self.handle = ctypes.c_void_p(
            library().rh_program_new(
                values,
                ctypes.c_int64(len(values)),
                nodes,
                ctypes.c_int64(len(nodes)),
                (ctypes.c_double * len(settings))(*settings),
                ctypes.c_int64(len(settings)),
            )
        )

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            library().rh_program_delete(self.handle)

    def _value(self, label: str, plan: MemoryPlan, operands: Mapping[str, OperandStruct]) -> _Value:
        extent = plan.extents.get(label)
        if extent is not None:
            is_bound = label not in plan
            place = self.bound[label] if is_bound else plan.place(label)
            rows = extent.num_rows if extent.rows is Rows.FIXED else 0
            number = _FORMATS[extent.dtype]
            return _Value(place, rows, extent.width, extent.rows, is_bound, number, 0)
        operand = operands[label]
        return _Value(
            self.bound[label], operand.rows, operand.width, Rows.FIXED, 1, operand.format, 0
        )


def _nodes(steps: Sequence[NativeStep], numbers: Mapping[str, int]) -> list[_Node]:
    nodes, first = [], 0
    for step in steps:
        inputs = [-1 if label is None else numbers[label] for label in step.inputs]
        assert len(inputs) <= MAX_INPUTS, step.operation
        padded = (ctypes.c_int32 * MAX_INPUTS)(*inputs)
        output = -1 if step.output is None else numbers[step.output]
        number = operation(step.operation)
        nodes.append(_Node(number, len(inputs), padded, output, first, len(step.settings), 0))
        first += len(step.settings)
    return nodes
