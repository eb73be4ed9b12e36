"""Which code carries out an op: chosen by op, weight format and device."""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

Kernel = Callable[..., Any]
K = TypeVar("K", bound=Kernel)

ANY = "*"

_kernels: dict[tuple[str, str, str], Kernel] = {}


def register(op: str, *, weight_format: str = ANY, device: str = ANY) -> Callable[[K], K]:
    """Makes the decorated function the kernel of an op, for one format or device or for any.

    It takes the op's arguments as the op states them. Registering the same again replaces it.
    """

    def add(kernel: K) -> K:
        _kernels[op, weight_format, device] = kernel
        find.cache_clear()
        return kernel

    return add


@cache
def find(op: str, weight_format: str = ANY, device: str = ANY) -> Kernel:
    """The most specific kernel registered; a format of its own counts for more than a device.

    Raises `LookupError` when there is none.
    """
    for key in (
        (op, weight_format, device),
        (op, weight_format, ANY),
        (op, ANY, device),
        (op, ANY, ANY),
    ):
        if key in _kernels:
            return _kernels[key]
    raise LookupError(f"no kernel for {op} with {weight_format} weights on {device}")
