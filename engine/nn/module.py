"""Blocks and their parameters.

A block is plain Python. It declares its parameters as data; whoever loads or records the model sets
them as attributes. Attributes are named as in Hugging Face's modules, so that the path of a
parameter is the name of its tensor there.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from engine.kernels.group import Group
from engine.kernels.weight import Weight


@dataclass(frozen=True, slots=True)
class Matrix:
    """A `Weight`, (out_features, in_features), dense or packed.

    count: where above 0, so many such matrices, one under the other. wide: dense float32.
    """

    out_features: int
    in_features: int
    count: int = 0
    wide: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """As files have it: of a stack, (count, out_features, in_features)."""
        matrix = self.out_features, self.in_features
        return (self.count, *matrix) if self.count else matrix

    @property
    def weight_shape(self) -> tuple[int, int]:
        """Of the `Weight`."""
        return self.out_features * max(self.count, 1), self.in_features


@dataclass(frozen=True, slots=True)
class Vector:
    """A tensor of one axis; in float32 where `wide`, else in the dtype that is computed in.

    count: where above 0, so many of them: a tensor (count, size).
    """

    size: int
    wide: bool = False
    count: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.count, self.size) if self.count else (self.size,)


@dataclass(frozen=True, slots=True)
class Table:
    """A float32 tensor whose values follow from the config, and that files need not hold."""

    values: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.values),)


Slot = Matrix | Vector | Table


class Module:
    """A block. Parameters are set from outside as attributes named as in `slots`.

    divides: whether ranks may have a share of its parameters each, and what it gives is then right
    as far as the share goes. group: of the ranks whose results add up to what it gives.
    """

    divides: bool = False
    group: Group | None = None

    def __init__(self, **slots: Slot) -> None:
        self.slots = slots


@dataclass(frozen=True, slots=True)
class Parameter:
    """Where one parameter goes: `name` of `module`, `path` from the model."""

    path: str
    module: Module
    name: str
    slot: Slot

    def set(self, value: Weight | Tensor) -> None:
        setattr(self.module, self.name, value)

    def get(self) -> Weight | Tensor:
        value: Weight | Tensor = getattr(self.module, self.name)
        return value


def parameters(model: Module) -> Iterator[Parameter]:
    """Every parameter once, in the order of computation; a shared block's under its first path."""
    seen: set[int] = set()
    for path, module in modules(model):
        if id(module) not in seen:
            seen.add(id(module))
            for name, slot in module.slots.items():
                yield Parameter(f"{path}{name}", module, name, slot)


def modules(module: Module, prefix: str = "") -> Iterator[tuple[str, Module]]:
    """A module and all in it, by what a path of theirs begins with; a shared one as often as it is."""
    yield prefix, module
    for name, value in vars(module).items():
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if isinstance(child, Module):
                middle = f"{name}.{index}" if isinstance(value, list) else name
                yield from modules(child, f"{prefix}{middle}.")


def join(model: Module, group: Group) -> None:
    """Gives the group to those blocks of a part of a model that need it."""
    for _, module in modules(model):
        if module.group is not None:
            module.group = group


def group_of(model: Module) -> Group | None:
    """What `join` gave; None of a whole model."""
    found = (module.group for _, module in modules(model))
    return next((group for group in found if group is not None), None)
