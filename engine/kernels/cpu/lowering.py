"""From recorded ops to steps of a program: native operations where there are such, torch where not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from engine.kernels.cpu.calls import operation
from engine.kernels.cpu.values import VIEWS
from engine.kernels.group import Group
from engine.kernels.trace import Call
from engine.kernels.weight import Weight

Shapes = Mapping[str, tuple[int, ...]]
"""Of all values of a recording, by label."""


@dataclass(frozen=True, slots=True)
class NativeStep:
    """A native operation: operands by label, None where an optional one is not there.

    writes: labels of inputs that it changes in place.
    """

    operation: str
    inputs: tuple[str | None, ...]
    output: str | None
    settings: tuple[float, ...] = ()
    writes: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(label for label in self.inputs if label is not None)

    @property
    def makes(self) -> tuple[str, ...]:
        return (*self.writes, *([self.output] if self.output else []))


@dataclass(frozen=True, slots=True)
class TorchStep:
    """An op that runs in torch."""

    call: Call

    @property
    def reads(self) -> tuple[str, ...]:
        return self.call.inputs

    @property
    def makes(self) -> tuple[str, ...]:
        return (self.call.output,) if self.call.output else ()


Step = NativeStep | TorchStep

Settings = Callable[[Call, Shapes], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Native:
    """How an op is said natively: its tensor arguments in order, and its settings as numbers.

    `settings` raises `LookupError` for what no operation does. operation: its name, if that is not
    the op's.
    """

    tensors: tuple[str, ...]
    settings: Settings = lambda _, __: ()
    operation: Callable[[Call], str] = lambda call: call.op


def lower(
    calls: Sequence[Call],
    shapes: Shapes,
    constants: Mapping[str, Weight | Tensor | Group],
    natives: Mapping[str, Native],
) -> list[Step]:
    """Steps for all calls but views."""
    return [_step(call, shapes, constants, natives) for call in calls if call.op not in VIEWS]


def _step(
    call: Call,
    shapes: Shapes,
    constants: Mapping[str, Weight | Tensor | Group],
    natives: Mapping[str, Native],
) -> Step:
    native = natives.get(call.op)
    weights = (constants.get(label) for label in call.tensors.get("weight", ()))
    if native is None or any(isinstance(w, Weight) and not w.is_tiled for w in weights):
        return TorchStep(call)
    name = native.operation(call)
    try:
        operation(name)
        settings = tuple(native.settings(call, shapes))
    except LookupError:
        return TorchStep(call)
    inputs = tuple(_only(call.tensors.get(tensor)) for tensor in native.tensors)
    return NativeStep(name, inputs, call.output, settings)


def _only(labels: tuple[str, ...] | None) -> str | None:
    return labels[0] if labels else None
