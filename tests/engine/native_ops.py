"""Ops called natively as a program would call them."""

import inspect
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from engine.kernels import ops
from engine.kernels.batch import BatchLayout
from engine.kernels.cpu.calls import run as run_operation
from engine.kernels.cpu.calls import shared_threads
from engine.kernels.cpu.natives import NATIVE
from engine.kernels.trace import Tape


def run(op: str, *args: Any, **settings: Any) -> Tensor:
    """The op's result, made by the library in memory that began as NaN."""
    native, tape = NATIVE[op], Tape()
    given = inspect.signature(ops.OPS[op]).bind(*args, **settings)
    ops.OPS[op](*(_traced(value, tape) for value in given.args), **given.kwargs)
    call = tape.calls[-1]
    shapes = tape.shapes
    named = given.arguments
    kind = torch.int64 if call.dtype == torch.int64 else torch.float32
    result = torch.full(call.shape, -7 if kind == torch.int64 else torch.nan, dtype=kind)
    run_operation(
        shared_threads(),
        op,
        [named.get(name) for name in native.tensors],
        result,
        list(native.settings(call, shapes)),
        next((value for value in named.values() if isinstance(value, BatchLayout)), None),
    )
    return result


def _traced(value: Any, tape: Tape) -> Any:
    if isinstance(value, Tensor):
        return tape.tensor(f"input {len(tape.shapes)}", value.shape, value.dtype)
    if is_dataclass(value) and isinstance(value, BatchLayout):
        parts = {part.name: getattr(value, part.name) for part in fields(value)}
        return replace(value, **{name: _traced(part, tape) for name, part in parts.items()})
    return value
