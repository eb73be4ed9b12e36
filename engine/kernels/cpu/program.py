"""A model's recorded forward, run natively: stretches of native operations, each by one call.

An op that has no native operation runs in torch on the same memory; `Program.fallbacks` says which.
"""

import ctypes
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from engine.kernels import registry
from engine.kernels.batch import BatchLayout, ForwardBatch
from engine.kernels.cpu.calls import Threads, layout_of, operand_of, operation
from engine.kernels.cpu.library import library
from engine.kernels.cpu.lowering import NativeStep, TorchStep
from engine.kernels.cpu.memory import Memory
from engine.kernels.cpu.values import FROM_BATCH, Rows
from engine.kernels.trace import Call
from engine.kernels.weight import Weight

Constants = Mapping[str, Weight | Tensor]
"""Parameters and caches by the label that the recording has of them."""

MAX_INPUTS = 16


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


class Program:
    """Steps over planned memory, for batches of up to so many rows and logits.

    constants: what the steps' labels name beside values and the batch; kept as long as the program.
    result: the label of what `run` gives. For one caller at a time, as its threads are.
    """

    def __init__(
        self,
        steps: Sequence[NativeStep | TorchStep],
        memory: Memory,
        constants: Constants,
        threads: Threads,
        result: str,
    ) -> None:
        self.fallbacks = Counter(step.call.op for step in steps if isinstance(step, TorchStep))
        self._memory, self._constants, self._threads = memory, constants, threads
        self._result = result
        self._native = _Native(
            [step for step in steps if isinstance(step, NativeStep)], memory, constants
        )
        self._stretches = _stretches(steps)

    def run(self, batch: ForwardBatch) -> Tensor:
        """The result's rows for a batch; its memory is the program's and holds until the next run."""
        num_tokens, num_logits = len(batch.token_ids), len(batch.logit_rows)
        inputs = {name: getattr(batch, name) for name in FROM_BATCH}
        self._native.bind(inputs)
        for first, last, call in self._stretches:
            if call is None:
                self._native.run(first, last, self._threads, batch.layout, num_tokens, num_logits)
            else:
                self._run_in_torch(call, batch.layout, inputs, num_tokens, num_logits)
        return self._memory.tensor(self._result, num_tokens, num_logits)

    def _run_in_torch(
        self,
        call: Call,
        layout: BatchLayout,
        inputs: Mapping[str, Tensor],
        num_tokens: int,
        num_logits: int,
    ) -> None:
        def found(label: str) -> Weight | Tensor:
            if label in self._constants:
                return self._constants[label]
            given = inputs.get(label)
            return self._memory.tensor(label, num_tokens, num_logits) if given is None else given

        arguments: dict[str, Any] = {
            name: layout if name == "layout" else found(labels[0])
            for name, labels in call.tensors.items()
        }
        arguments |= call.settings
        if call.output is None:
            arguments = _as_cached(arguments, call)
        result = _torch_kernel(call.op, arguments)(**arguments)
        if call.output is not None:
            self._memory.tensor(call.output, num_tokens, num_logits).copy_(result)


def _as_cached(arguments: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """What is written to a cache, in the cache's dtype."""
    caches = [arguments[name] for name, labels in call.tensors.items() if _is_cache(labels)]
    return {
        name: value.to(caches[0].dtype) if isinstance(value, Tensor) else value
        for name, value in arguments.items()
    }


def _is_cache(labels: Sequence[str]) -> bool:
    return labels[0].startswith("cache.")


def _torch_kernel(op: str, arguments: Mapping[str, Any]) -> registry.Kernel:
    weights = [value for value in arguments.values() if isinstance(value, Weight)]
    return weights[0].kernels[op] if weights else registry.find(op, device="cpu")


def _stretches(
    steps: Sequence[NativeStep | TorchStep],
) -> list[tuple[int, int, Call | None]]:
    """Runs of native steps, first to last of them all, between ops in torch."""
    found: list[tuple[int, int, Call | None]] = []
    count = 0
    for is_native, group in groupby(steps, lambda step: isinstance(step, NativeStep)):
        members = list(group)
        if is_native:
            found.append((count, count + len(members), None))
            count += len(members)
        else:
            found += [(0, 0, step.call) for step in members if isinstance(step, TorchStep)]
    return found


@dataclass(frozen=True, slots=True)
class _Bound:
    """Values that lie outside the program's memory, by number."""

    numbers: dict[str, int]
    pointers: ctypes.Array[ctypes.c_void_p]


class _Native:
    """The native steps as the library has them."""

    def __init__(self, steps: Sequence[NativeStep], memory: Memory, constants: Constants) -> None:
        self._memory = memory
        labels = {label: None for step in steps for label in (*step.reads, *step.makes)}
        outside = [label for label in labels if label not in memory]
        self._bound = {label: number for number, label in enumerate(outside)}
        self._pointers = (ctypes.c_void_p * max(len(outside), 1))()
        self._kept = constants
        for label in outside:
            if label in constants:
                self._pointers[self._bound[label]] = operand_of(constants[label]).data
        numbers = {label: number for number, label in enumerate(labels)}
        values = (_Value * len(labels))(*(self._value(label) for label in labels))
        settings = [setting for step in steps for setting in step.settings]
        nodes = (_Node * len(steps))(*_nodes(steps, numbers))
        self._program = ctypes.c_void_p(
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
        if hasattr(self, "_program"):
            library().rh_program_delete(self._program)

    def bind(self, inputs: Mapping[str, Tensor]) -> None:
        """Where the batch's own tensors are."""
        for label, tensor in inputs.items():
            if label in self._bound:
                self._pointers[self._bound[label]] = tensor.data_ptr()

    def run(
        self,
        first: int,
        last: int,
        threads: Threads,
        layout: BatchLayout,
        num_tokens: int,
        num_logits: int,
    ) -> None:
        library().rh_program_run(
            self._program,
            ctypes.c_int64(first),
            ctypes.c_int64(last),
            threads.pool,
            threads.workspace,
            ctypes.byref(layout_of(layout)),
            ctypes.c_int64(num_tokens),
            ctypes.c_int64(num_logits),
            ctypes.c_void_p(self._memory.arena.data_ptr()),
            self._pointers,
        )

    def _value(self, label: str) -> _Value:
        extent = self._memory.extents.get(label)
        if extent is not None:
            is_bound = label not in self._memory
            place = self._bound[label] if is_bound else self._memory.place(label)
            rows = extent.num_rows if extent.rows is Rows.FIXED else 0
            number = _FORMATS[extent.dtype]
            return _Value(place, rows, extent.width, extent.rows, is_bound, number, 0)
        operand = operand_of(self._kept[label])
        return _Value(
            self._bound[label], operand.rows, operand.width, Rows.FIXED, 1, operand.format, 0
        )


_FORMATS = {torch.float32: 1, torch.int64: 4}


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
