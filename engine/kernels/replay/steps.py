"""From recorded ops to the steps of a program."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from inspect import signature
from typing import Any

from engine.kernels.ops import OPS
from engine.kernels.reference_fused import FUSED
from engine.kernels.trace import Call


class Given(Enum):
    """What a step is given by whoever runs it."""

    LAYOUT = "layout"


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor or a weight: the label that the recording has of it."""

    label: str


Argument = Any
"""A `Ref`, a tuple of such and of None, `Given`, or a setting as it is."""


@dataclass(frozen=True, slots=True)
class Step:
    """A call of an op, or of a fused one. outputs: labels of what it gives, in order."""

    op: str
    arguments: Mapping[str, Argument]
    outputs: tuple[str, ...]

    @property
    def reads(self) -> Iterator[str]:
        """Labels of all that it is given, with those that it changes in place."""
        for argument in self.arguments.values():
            parts = argument if isinstance(argument, tuple) else (argument,)
            yield from (part.label for part in parts if isinstance(part, Ref))

    def label(self, name: str) -> str | None:
        """Of an argument that is a tensor."""
        argument = self.arguments.get(name)
        return argument.label if isinstance(argument, Ref) else None


def step_of(call: Call) -> Step:
    """The same call, of a recording."""
    arguments: dict[str, Argument] = {
        name: Given.LAYOUT if name == "layout" else Ref(labels[0])
        for name, labels in call.tensors.items()
    }
    outputs = () if call.output is None else (call.output,)
    return Step(call.op, {**arguments, **call.settings}, outputs)


def in_order(step: Step) -> tuple[list[Argument], dict[str, Argument]]:
    """A step's arguments as its kernel takes them: by place, and those that go by name."""
    places, names = [], {}
    for parameter in signature(_stated(step.op)).parameters.values():
        argument = step.arguments.get(parameter.name, parameter.default)
        assert argument is not parameter.empty, f"{step.op} is not told {parameter.name}"
        if parameter.kind is parameter.KEYWORD_ONLY:
            names[parameter.name] = argument
        else:
            places.append(argument)
    return places, names


def _stated(op: str) -> Callable[..., Any]:
    return FUSED[op] if op in FUSED else OPS[op]
