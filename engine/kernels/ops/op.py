"""What makes a shape rule an op."""

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar, cast

import torch
from torch import Tensor

from engine.kernels import registry
from engine.kernels.registry import Kernel
from engine.kernels.trace import Traced
from engine.kernels.weight import Weight

P = ParamSpec("P")
R = TypeVar("R", bound=Tensor | None)

OPS: dict[str, Callable[..., Tensor | None]] = {}
"""The vocabulary by name."""


def op(rule: Callable[P, R]) -> Callable[P, R]:
    """Makes an op of a shape rule. Its first argument is a tensor; a weight comes second."""
    name = rule.__name__
    parameters = signature(rule)

    @wraps(rule)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if isinstance(args[0], Traced):
            arguments = parameters.bind(*args, **kwargs).arguments
            result = rule(*args, **kwargs)
            args[0].tape.record(name, arguments, cast("Traced | None", result))
            return result
        return cast("R", _kernel(name, args)(*args, **kwargs))

    OPS[name] = call
    return call


def _kernel(name: str, args: Sequence[object]) -> Kernel:
    first, second = args[:2] if len(args) > 1 else (args[0], None)
    if isinstance(second, Weight):
        return second.kernels[name]
    assert isinstance(first, Tensor)
    return registry.find(name, device=first.device.type)


def like(x: Tensor, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
    """The result of an op, for its shape rule: a tensor of x's recording, and of x's dtype."""
    return cast("Traced", x).like(*shape, dtype=dtype)
