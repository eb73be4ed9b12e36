"""What codes of each run are multiplied by, and what is added, in every format of planes."""

import triton
from triton import language as tl

from engine.kernels.triton.stored import (
    code_zero,
    first_scales,
    has_minima,
    is_named,
    read_entries,
)


@triton.jit
def scales(rows, start, K, FORMAT: tl.constexpr, BLOCK_K: tl.constexpr, WHOLE: tl.constexpr):
    """Scales and minima (0 where the format has none) of the runs: (R, BLOCK_K / 32, shares) float32."""
    FIRST: tl.constexpr = first_scales(FORMAT)
    if is_named(FORMAT, "MXFP4"):
        stored = read_entries(rows, start, K, FORMAT, FIRST, tl.uint8, BLOCK_K, WHOLE).to(tl.uint32)
        # Half of 2 ** (stored - 127): below 2 ** -126 the bits of a float32 are a subnormal's.
        bits = tl.where(stored < 2, 0x00200000 << stored, (stored - 1) << 23)
        scale = bits.to(tl.float32, bitcast=True)[:, :, None]
        minimum = scale
    elif is_named(FORMAT, "F8", "I4_32", "I4_128", "I8_32", "I8_128"):
        scale = read_entries(rows, start, K, FORMAT, FIRST, tl.float32, BLOCK_K, WHOLE)[:, :, None]
        minimum = scale
    elif is_named(FORMAT, "Q8_0", "Q4_0", "Q5_0", "IQ4_NL"):
        half = read_entries(rows, start, K, FORMAT, FIRST, tl.float16, BLOCK_K, WHOLE)
        scale = half.to(tl.float32)[:, :, None]
        minimum = scale
    elif is_named(FORMAT, "Q4_1", "Q5_1"):
        halves = read_entries(rows, start, K, FORMAT, FIRST, tl.uint32, BLOCK_K, WHOLE)
        scale, minimum = _halves(halves)
    elif is_named(FORMAT, "IQ4_XS"):
        factor = read_entries(rows, start, K, FORMAT, FIRST, tl.int8, BLOCK_K, WHOLE)
        delta = read_entries(rows, start, K, FORMAT, FIRST + 1, tl.float16, BLOCK_K, WHOLE)
        scale = (delta.to(tl.float32) * factor.to(tl.float32))[:, :, None]
        minimum = scale
    elif is_named(FORMAT, "Q6_K", "Q3_K"):
        factors = read_entries(rows, start, K, FORMAT, FIRST, tl.uint16, BLOCK_K, WHOLE)
        delta = read_entries(rows, start, K, FORMAT, FIRST + 1, tl.float16, BLOCK_K, WHOLE)
        signed = tl.join(factors << 8, factors).to(tl.int16, bitcast=True) >> 8
        scale = signed.to(tl.float32) * delta.to(tl.float32)[:, :, None]
        minimum = scale
    else:
        factors = read_entries(rows, start, K, FORMAT, FIRST, tl.uint16, BLOCK_K, WHOLE).to(
            tl.uint32
        )
        deltas = read_entries(rows, start, K, FORMAT, FIRST + 1, tl.uint32, BLOCK_K, WHOLE)
        scale, minimum = _halves(deltas)
        if is_named(FORMAT, "Q2_K"):
            pairs = tl.join(factors, factors >> 8)
            scale = scale * (pairs & 0xF).to(tl.float32)
            minimum = -minimum * ((pairs >> 4) & 0xF).to(tl.float32)
        else:
            scale = scale * (factors & 0xFF).to(tl.float32)[:, :, None]
            minimum = -minimum * (factors >> 8).to(tl.float32)[:, :, None]
    return scale, minimum


@triton.jit
def offsets(
    rows, scale, minimum, start, K, FORMAT: tl.constexpr, BLOCK_K: tl.constexpr, WHOLE: tl.constexpr
):
    """What is added to a code by its scale, where codes come with their zeros: minima, or zeros by scales."""
    if has_minima(FORMAT):
        offset = minimum
    else:
        offset = -zeros_of(rows, start, K, FORMAT, BLOCK_K, WHOLE) * scale
    return offset


@triton.jit
def zeros_of(rows, start, K, FORMAT: tl.constexpr, BLOCK_K: tl.constexpr, WHOLE: tl.constexpr):
    """What is subtracted from codes: of the format, or of each run, (R, RUNS, 1, 1)."""
    if is_named(FORMAT, "I4_32", "I4_128", "I8_32", "I8_128"):
        zeros = read_entries(rows, start, K, FORMAT, 2, tl.uint8, BLOCK_K, WHOLE)
        zero = zeros.to(tl.float32)[:, :, None]
    elif is_named(FORMAT, "IQ4_NL", "IQ4_XS"):
        zero = 8.0
    else:
        zero = float(code_zero(FORMAT))
    return zero


@triton.jit
def _halves(words):
    """(R, RUNS) words of two float16: the low and the high, (R, RUNS, 1) float32 each."""
    low = words.to(tl.uint16).to(tl.float16, bitcast=True).to(tl.float32)
    high = (words >> 16).to(tl.uint16).to(tl.float16, bitcast=True).to(tl.float32)
    return low[:, :, None], high[:, :, None]
