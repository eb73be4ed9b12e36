"""Values as caches keep them, as kernels read and write them.

A cache's format is known by its dtype: FP8 (e4m3) and q8_0 (rows of `engine.kernels.q8_0`) reach kernels
as bytes, everything else as it is.
"""

from functools import cache

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.triton.base import INTERPRETS

DENSE = "dense"
F8 = "f8"
F8_BY_HAND = "f8 by hand"
"""For devices without conversions of their own: before sm_89."""
Q8 = "q8"

_FORMATS = {torch.float8_e4m3fn: F8, torch.uint8: Q8}


def format_of(kept: Tensor) -> str:
    """How a cache keeps its values: the FORMAT of `load` and `store`."""
    found = _FORMATS.get(kept.dtype, DENSE)
    return F8_BY_HAND if found == F8 and architecture(kept.device) < 89 else found


@cache
def architecture(device: torch.device) -> int:
    """90 for sm_90; and for the interpreter, which can do all."""
    if INTERPRETS:
        return 90
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


def as_bytes(kept: Tensor) -> Tensor:
    """A cache as kernels take it."""
    return kept.view(torch.uint8) if kept.dtype in _FORMATS else kept


@triton.jit
def load(
    cache, rows, columns, mask, DTYPE: tl.constexpr, FORMAT: tl.constexpr, ROW_VALUES: tl.constexpr
):
    """Values (rows, columns) of DTYPE; zeros outside of mask. rows: where each begins, in elements."""
    offsets = rows[:, None] + columns[None, :]
    kept = tl.load(cache + offsets, mask=mask, other=0)
    if FORMAT == "f8":
        kept = kept.to(tl.float8e4nv, bitcast=True).to(DTYPE)
    elif FORMAT == "f8 by hand":
        kept = _of_f8(kept).to(DTYPE)
    elif FORMAT == "q8":
        scales = cache.to(tl.pointer_type(tl.float16))
        at = (rows[:, None] + ROW_VALUES) // 2 + columns[None, :] // 32
        scale = tl.load(scales + at, mask=mask, other=0).to(tl.float32)
        kept = (kept.to(tl.int8, bitcast=True).to(tl.float32) * scale).to(DTYPE)
    return kept


@triton.jit
def _of_f8(codes):
    """Exact, in float16: its exponents have a bit more, and a bias that is greater by 8."""
    wide = codes.to(tl.uint16)
    bits = ((wide & 0x80) << 8) | ((wide & 0x7F) << 7)
    bits = tl.where((wide & 0x7F) == 0x7F, 0x7E00, bits).to(tl.uint16)
    return bits.to(tl.float16, bitcast=True) * 256.0


@triton.jit
def store(cache, values, mask, FORMAT: tl.constexpr):
    """Writes values to pointers, in any format but q8_0. FP8 is bounded by +-448."""
    if FORMAT == "f8" or FORMAT == "f8 by hand":  # noqa: PLR1714  # Triton has no `in`
        tl.store(cache, _to_f8(values.to(tl.float32)), mask=mask)
    else:
        tl.store(cache, values.to(cache.dtype.element_ty), mask=mask)


@triton.jit
def _to_f8(x):
    """The nearest code of e4m3, ties to even: of float32, by its bits."""
    bits = x.to(tl.int32, bitcast=True)
    size = tl.minimum(tl.abs(x), 448.0)
    normal = size.to(tl.int32, bitcast=True)
    normal = ((normal + 0x7FFFF + ((normal >> 20) & 1)) >> 20) - (120 << 3)
    # Below 2 ** -6 codes are multiples of 2 ** -9: the sum's last bit is worth one of them.
    small = (size + 16384.0).to(tl.int32, bitcast=True) & 0xF
    code = tl.where(size < 0.015625, small, normal)
    code = tl.where(x != x, 0x7F, code)  # noqa: PLR0124  # not a number
    return (code | ((bits >> 24) & 0x80)).to(tl.uint8)


@triton.jit
def pack_blocks(x):
    """Of (blocks, 32) float32 the codes and scales (blocks,) of q8_0, as `q8_0.pack` makes them."""
    greatest = tl.max(tl.abs(x), 1) + tl.sum(x * 0.0, 1)
    scale = tl.div_rn(greatest, 127.0).to(tl.float16)
    wide = scale.to(tl.float32)
    sound = (wide > 0) & (wide < 65520.0)
    inverse = tl.where(sound, tl.div_rn(1.0, tl.where(sound, wide, 1.0)), 0.0)
    scaled = tl.where(sound[:, None], x, 0.0) * inverse[:, None]
    scaled = tl.minimum(tl.maximum(scaled, -127.0), 127.0)
    rounded = (scaled + 12582912.0) - 12582912.0  # 1.5 * 2 ** 23: to the nearest, ties to even
    return rounded.to(tl.int8).to(tl.uint8, bitcast=True), scale
