"""Kernels of values beside their reference."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
ULPS = {torch.float32: 2e-6, torch.float16: 2**-10, torch.bfloat16: 2**-7}
"""One step of rounding, relative: the interpreter cuts bfloat16 off."""


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def part_of(x: Tensor, further: int = 3) -> Tensor:
    """The values of x (..., n) as the first columns of something wider."""
    return torch.cat([x, torch.full((*x.shape[:-1], further), torch.nan, dtype=x.dtype)], -1)[
        ..., : x.shape[-1]
    ]


def check(
    kernel: Callable[..., Any], reference: Callable[..., Any], *args: Any, **more: Any
) -> None:
    """Both give one dtype, and the kernel the values of the reference in float32, rounded once."""
    got, expected = kernel(*args, **more), reference(*args, **more)
    wide = reference(
        *map(_widened, args), **{name: _widened(value) for name, value in more.items()}
    )
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    torch.testing.assert_close(
        got.float(), wide.float(), rtol=2 * ULPS[got.dtype], atol=2e-6, check_dtype=False
    )


def _widened(value: Any) -> Any:
    narrow = isinstance(value, Tensor) and value.is_floating_point()
    return value.float() if narrow else value
