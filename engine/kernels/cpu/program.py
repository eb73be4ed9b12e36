"""A model's recorded forward, run natively: stretches of native operations, each by one call.

An op that has no native operation runs in torch on the same memory; `Program.fallbacks` says which.
"""

import ctypes
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from torch import Tensor

from engine.kernels import registry
from engine.kernels.batch import BatchLayout, ForwardBatch
from engine.kernels.cpu.calls import OperandStruct, Threads, check, layout_of
from engine.kernels.cpu.encoding import Encoded
from engine.kernels.cpu.library import library
from engine.kernels.cpu.lowering import NativeStep, Step, TorchStep
from engine.kernels.cpu.memory import Memory, MemoryPlan
from engine.kernels.cpu.values import FROM_BATCH
from engine.kernels.group import Group
from engine.kernels.trace import Call
from engine.kernels.weight import Weight

Constants = Mapping[str, Weight | Tensor | Group]
"""Parameters and caches, and the group of ranks, by the label that the recording has of them."""

_BETWEEN_RANKS = ("all_reduce",)


@dataclass(frozen=True, slots=True)
class Listing:
    """A program but for where its weights and caches are. result: the label of what `run` gives."""

    steps: Sequence[Step]
    plan: MemoryPlan
    encoded: Encoded
    result: str

    @classmethod
    def of(
        cls,
        steps: Sequence[Step],
        plan: MemoryPlan,
        operands: Mapping[str, OperandStruct],
        result: str,
    ) -> "Listing":
        native = [step for step in steps if isinstance(step, NativeStep)]
        return cls(steps, plan, Encoded(native, plan, operands), result)


class Program:
    """A listing run over memory of its own, for batches of up to so many rows and logits.

    constants: what the steps' labels name beside values and the batch; kept as long as the program.
    For one caller at a time, as its threads are.
    """

    def __init__(self, listing: Listing, constants: Constants, threads: Threads) -> None:
        steps = listing.steps
        in_torch = (step.call.op for step in steps if isinstance(step, TorchStep))
        self.fallbacks = Counter(op for op in in_torch if op not in _BETWEEN_RANKS)
        self._memory, self._constants, self._threads = Memory(listing.plan), constants, threads
        self._result = listing.result
        self._native = _Native(listing.encoded, self._memory, constants)
        self._stretches = _stretches(steps)

    @property
    def memory_bytes(self) -> int:
        """Of the planned memory of its values."""
        return self._memory.arena.nbytes

    def run(self, batch: ForwardBatch) -> Tensor:
        """The result's rows for a batch; its memory is the program's and holds until the next run.

        Raises `MemoryError` where operations find none to work in.
        """
        num_tokens, num_logits = len(batch.token_ids), len(batch.logit_rows)
        given = ((name, getattr(batch, name)) for name in FROM_BATCH)
        inputs = {name: tensor for name, tensor in given if tensor is not None}
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
        def found(label: str) -> Weight | Tensor | Group:
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


class _Native:
    """An encoded program with the addresses of what lies outside its memory."""

    def __init__(self, encoded: Encoded, memory: Memory, constants: Constants) -> None:
        self._encoded, self._memory = encoded, memory
        self._pointers = (ctypes.c_void_p * max(len(encoded.bound), 1))()
        for label, number in encoded.bound.items():
            value = constants.get(label)
            if value is not None:
                assert not isinstance(value, Group), "native operations know of no ranks"
                self._pointers[number] = _address(value)

    def bind(self, inputs: Mapping[str, Tensor]) -> None:
        """Where the batch's own tensors are."""
        for label, tensor in inputs.items():
            number = self._encoded.bound.get(label)
            if number is not None:
                self._pointers[number] = tensor.data_ptr()

    def run(
        self,
        first: int,
        last: int,
        threads: Threads,
        layout: BatchLayout,
        num_tokens: int,
        num_logits: int,
    ) -> None:
        status = library().rh_program_run(
            self._encoded.handle,
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
        check(status)


def _address(value: Weight | Tensor) -> int:
    return (value.data if isinstance(value, Weight) else value).data_ptr()
