"""Recording: a forward run with tensors that hold no data gives the list of its ops.

What a family's forward may do is exactly what a recording can say: ops, in an order that does not
depend on data. Everything else raises `UnrecordableError`. Step programs are made from recordings.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from itertools import chain
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class UnrecordableError(Exception):
    """Something other than an op touched a tensor, or a branch wanted to see its data.

    No subclass of TypeError: torch turns those into `NotImplemented`, and `x == y` into identity.
    """


@dataclass(frozen=True, slots=True)
class Call:
    """One op. tensors, output: labels of tensors, by argument; settings: its other arguments.

    shape, dtype: of the output, if there is one.
    """

    op: str
    tensors: Mapping[str, tuple[str, ...]]
    output: str | None
    shape: tuple[int, ...]
    settings: Mapping[str, Any]
    dtype: torch.dtype | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The labels of all tensors that it reads, in the order of its arguments."""
        return tuple(chain.from_iterable(self.tensors.values()))


@dataclass(slots=True)
class Tape:
    """The ops recorded so far."""

    calls: list[Call] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Of the inputs, by label."""
    compiled: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """What compilers made of it, by keys of their own: it lives as long as the recording."""

    def tensor(self, label: str, shape: Sequence[int], dtype: torch.dtype) -> "Traced":
        """An input of the recording."""
        self.shapes[label] = tuple(shape)
        return Traced(shape, dtype, label, self)

    def record(self, op: str, arguments: Mapping[str, Any], result: "Traced | None") -> None:
        found = {name: tuple(_tensors(value)) for name, value in arguments.items()}
        settings = {name: arguments[name] for name, tensors in found.items() if not tensors}
        labels = {
            name: tuple(tensor.label for tensor in tensors)
            for name, tensors in found.items()
            if tensors
        }
        if result is None:
            self.calls.append(Call(op, labels, None, (), settings))
            return
        result.label = f"%{len(self.calls)}"
        shape = tuple(result.shape)
        self.calls.append(Call(op, labels, result.label, shape, settings, result.dtype))


class Traced(Tensor):
    """A tensor of a recording: a label, a shape, a dtype, and no data."""

    label: str
    tape: Tape

    @staticmethod
    def __new__(
        cls: type[Self], shape: Sequence[int], dtype: torch.dtype, label: str, tape: Tape
    ) -> Self:
        wrap = Tensor._make_wrapper_subclass  # noqa: SLF001  # torch's way to tensors without data
        tensor = wrap(cls, shape, dtype=dtype, device=_CPU)
        tensor.label = label
        tensor.tape = tape
        return tensor

    def like(self, *shape: int, dtype: torch.dtype | None = None) -> "Traced":
        """The result of an op: labelled when the op is recorded."""
        return Traced(shape, dtype or self.dtype, "", self.tape)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _FACTS:
            with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001  # as torch's own subclasses do
                return func(*args)
        raise UnrecordableError(f"{_name(func)} is not an op of engine.kernels.ops")

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # the base's stub has an instance's signature
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        raise UnrecordableError(f"{_name(func)} is not an op of engine.kernels.ops")


class OnlyOps(TorchFunctionMode):
    """While it is entered, any call of torch raises, those that make tensors of nothing included."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _FACTS:
            return func(*args)
        raise UnrecordableError(f"{_name(func)} is not an op of engine.kernels.ops")


_CPU = torch.device("cpu")

# What shape rules and blocks may ask of any tensor.
_FACTS = frozenset(getattr(Tensor, fact).__get__ for fact in ("shape", "dtype", "device", "nbytes"))


def _name(func: Any) -> str:
    return str(getattr(func, "__qualname__", None) or getattr(func, "__name__", None) or func)


def _tensors(value: Any) -> Iterator[Traced]:
    """The tensors of an argument: itself, or those inside a weight or a layout."""
    if isinstance(value, Traced):
        yield value
    elif is_dataclass(value):
        for part in fields(value):
            yield from _tensors(getattr(value, part.name))
