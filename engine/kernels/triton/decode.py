"""Values of a stored matrix, of any format of planes or dense, as kernels read them.

`decode` gives them; `codes` and `scales` are its parts, and `tiny_codes` and `offsets` others, for kernels that
scale sums instead of values. Runs of 32 values are read whole: rows in planes are filled up to them.

Codes become floats without a conversion, which GPUs are slow at: as the lowest bits of a float's mantissa
whose exponent makes them count as ones, less that float; or just as the bits that they are.
"""

import triton
from triton import language as tl

from engine.kernels.triton.scales import offsets, scales, zeros_of
from engine.kernels.triton.stored import (
    code_bits,
    has_minima,
    has_offsets,
    is_dense,
    is_named,
    plane_of,
    read_words,
    shares,
)

__all__ = [
    "codes",
    "decode",
    "has_minima",
    "has_offsets",
    "is_dense",
    "offsets",
    "scales",
    "shares",
    "tiny_codes",
    "tiny_factor",
]


@triton.jit
def decode(rows, start, K, FORMAT: tl.constexpr, BLOCK_K: tl.constexpr, WHOLE: tl.constexpr):
    """(R, BLOCK_K) float32: the values of rows in columns `start` and on.

    rows: (R,) pointers, dense: to each row's first value, otherwise to its first byte (uint8). All are read:
    clamp those of rows that are not there. FORMAT: of `Weight.format`. BLOCK_K: a power of two, 32 or more;
    start is a multiple of it. WHOLE: whether K is one, too: then nothing is masked; else what is given
    for columns behind the last is finite, but anything.
    """
    R: tl.constexpr = rows.shape[0]
    if is_dense(FORMAT):
        columns = start + tl.arange(0, BLOCK_K)[None, :]
        if WHOLE:
            values = tl.load(rows[:, None] + columns).to(tl.float32)
        else:
            values = tl.load(rows[:, None] + columns, columns < K, other=0).to(tl.float32)
    else:
        SHARES: tl.constexpr = shares(FORMAT)
        values = codes(rows, start, K, FORMAT, BLOCK_K, WHOLE)
        values = tl.reshape(values, (R, BLOCK_K // 32, SHARES, 32 // SHARES))
        scale, minimum = scales(rows, start, K, FORMAT, BLOCK_K, WHOLE)
        values = values * scale[:, :, :, None]
        if has_minima(FORMAT):
            values += minimum[:, :, :, None]
    return tl.reshape(values, (R, BLOCK_K))


@triton.jit
def codes(rows, start, K, FORMAT: tl.constexpr, BLOCK_K: tl.constexpr, WHOLE: tl.constexpr):
    """(R, BLOCK_K / 32, 32) float32: what the codes of each run stand for, less their zero."""
    R: tl.constexpr = rows.shape[0]
    RUNS: tl.constexpr = BLOCK_K // 32
    words = read_words(rows, start, K, code_bits(FORMAT, 0), BLOCK_K, WHOLE)
    zero = zeros_of(rows, start, K, FORMAT, BLOCK_K, WHOLE)
    if code_bits(FORMAT, 1) > 0:
        upper = read_words(
            plane_of(rows, K, FORMAT, 1), start, K, code_bits(FORMAT, 1), BLOCK_K, WHOLE
        )
        words = _bytes_of(words, code_bits(FORMAT, 0))
        words |= _bytes_of(upper, code_bits(FORMAT, 1)) << code_bits(FORMAT, 0)
        values = _counts_of_bytes(words, zero)
    elif code_bits(FORMAT, 0) == 2:
        values = _counts_of_bytes(_bytes_of(words, 2), zero)
    elif is_named(FORMAT, "F8"):
        bits = _in_turn(
            _float8(words << 24), _float8(words << 16), _float8(words << 8), _float8(words)
        )
        values = bits.to(tl.float32, bitcast=True) * 1.329227995784916e36
    elif code_bits(FORMAT, 0) == 8:
        values = _in_turn(
            _count(words, 0xFF, 0, zero),
            _count(words, 0xFF, 8, zero),
            _count(words >> 8, 0xFF, 8, zero),
            _count(words >> 24, 0xFF, 0, zero),
        )
    else:
        if is_named(FORMAT, "MXFP4"):
            low = _in_turn(
                _step(words << 22), _step(words << 14), _step(words << 6), _step(words >> 2)
            )
            high = _in_turn(
                _step(words << 18), _step(words << 10), _step(words << 2), _step(words >> 6)
            )
            low = low.to(tl.float32, bitcast=True) * 1.7014118346046923e38
            high = high.to(tl.float32, bitcast=True) * 1.7014118346046923e38
        else:
            shifted = words >> 8
            low = _in_turn(
                _count(words, 0xF, 0, zero),
                _count(words, 0xF, 8, zero),
                _count(words, 0xF, 16, zero),
                _count(shifted, 0xF, 16, zero),
            )
            high = _in_turn(
                _count(words, 0xF, 4, zero),
                _count(words, 0xF, 12, zero),
                _count(shifted, 0xF, 12, zero),
                _count(words >> 28, 0xF, 0, zero),
            )
        values = tl.permute(tl.join(low, high), (0, 1, 5, 2, 3, 4))
        if is_named(FORMAT, "IQ4_NL", "IQ4_XS"):
            values = _uneven_steps(values)
    return tl.reshape(values, (R, RUNS, 32))


@triton.jit
def _counts_of_bytes(words, zero):
    """(R, RUNS, 8, 2, 2) float32: four codes of 6 bits or fewer from each word, less zero."""
    return _in_turn(
        _count(words, 0x3F, 0, zero),
        _count(words, 0x3F, 8, zero),
        _count(words, 0x3F, 16, zero),
        _count(words >> 24, 0xFF, 0, zero),
    )


@triton.jit
def _count(words, MASK: tl.constexpr, PLACE: tl.constexpr, zero):
    """float32: the number in the masked bits from PLACE on, less zero. They end below bit 23."""
    ONES: tl.constexpr = 150 - PLACE << 23  # a float whose mantissa's bit PLACE counts one
    bits = (words & (MASK << PLACE)) | ONES
    return bits.to(tl.float32, bitcast=True) - (zero + float(1 << 23 - PLACE))


@triton.jit
def _uneven_steps(codes):
    """IQ4's steps of codes less 8: a polynomial through them, rounded."""
    curve = codes * 0.0015860428 + 0.08183981
    curve = curve * codes - 0.016812054
    curve = curve * codes + 11.4398097
    curve = curve * codes + 1.4329897
    return (curve + 12582912.0) - 12582912.0


@triton.jit
def tiny_codes(rows, start, K, FORMAT: tl.constexpr, BLOCK_K: tl.constexpr, WHOLE: tl.constexpr):
    """(R, BLOCK_K / 32, 32) float32: the bits of codes where they stand, as floats; a code each by `tiny_unit`.

    That takes one operation for each of most codes. Zeros are not subtracted (`zeros`).
    """
    R: tl.constexpr = rows.shape[0]
    RUNS: tl.constexpr = BLOCK_K // 32
    if is_named(FORMAT, "IQ4_NL", "IQ4_XS"):
        values = codes(rows, start, K, FORMAT, BLOCK_K, WHOLE)
    else:
        words = read_words(rows, start, K, code_bits(FORMAT, 0), BLOCK_K, WHOLE)
        if code_bits(FORMAT, 1) > 0:
            upper = read_words(
                plane_of(rows, K, FORMAT, 1), start, K, code_bits(FORMAT, 1), BLOCK_K, WHOLE
            )
            words = _bytes_of(words, code_bits(FORMAT, 0))
            words |= _bytes_of(upper, code_bits(FORMAT, 1)) << code_bits(FORMAT, 0)
        elif code_bits(FORMAT, 0) == 2:
            words = _bytes_of(words, 2)
        if is_named(FORMAT, "F8"):
            bits = _in_turn(
                _float8(words << 24), _float8(words << 16), _float8(words << 8), _float8(words)
            )
        elif is_named(FORMAT, "MXFP4"):
            low = _in_turn(
                _step(words << 22), _step(words << 14), _step(words << 6), _step(words >> 2)
            )
            high = _in_turn(
                _step(words << 18), _step(words << 10), _step(words << 2), _step(words >> 6)
            )
            bits = tl.permute(tl.join(low, high), (0, 1, 5, 2, 3, 4))
        elif code_bits(FORMAT, 1) == 0 and code_bits(FORMAT, 0) == 4:
            low = _where_they_stand(words, 0x0F)
            high = _where_they_stand(words, 0xF0)
            bits = tl.permute(tl.join(low, high), (0, 1, 5, 2, 3, 4))
        else:
            bits = _where_they_stand(words, 0xFF)
        values = bits.to(tl.float32, bitcast=True)
    return tl.reshape(values, (R, RUNS, 32))


@triton.jit
def _where_they_stand(words, MASK: tl.constexpr):
    """The masked bits of each byte, those of the highest byte in the third's place: below bit 24."""
    return _in_turn(
        words & MASK, words & (MASK << 8), words & (MASK << 16), (words >> 8) & (MASK << 16)
    )


@triton.jit
def tiny_factor(places, FORMAT: tl.constexpr):
    """float32: 2 ** -69 by what a code of `tiny_codes` is less than itself, for places in a run of 32.

    What is multiplied by it has codes' products without underflow, and without overflow up to 2 ** 47.
    """
    if is_named(FORMAT, "IQ4_NL", "IQ4_XS"):
        power = places * 0 - 69
    elif is_named(FORMAT, "F8"):
        power = places * 0 + 120 - 69
    elif is_named(FORMAT, "MXFP4"):
        power = places * 0 + 127 - 69
    else:
        # A float's lowest bit counts 2 ** -149 up to bit 23.
        power = 149 - 69 - 8 * tl.minimum(places % 4, 2)
        if code_bits(FORMAT, 1) == 0 and code_bits(FORMAT, 0) == 4:
            power -= 4 * (places // 16)
    return ((power + 127) << 23).to(tl.float32, bitcast=True)


@triton.jit
def _bytes_of(words, BITS: tl.constexpr):
    """(R, RUNS, BITS) words of packed codes as (R, RUNS, 8) words of four codes, a byte a code."""
    if BITS == 4:
        parts = tl.join(words & 0x0F0F0F0F, (words >> 4) & 0x0F0F0F0F)
        parts = tl.permute(parts, (0, 1, 3, 2))
    else:
        MASK: tl.constexpr = 0x03030303 if BITS == 2 else 0x01010101
        shifts = (tl.arange(0, 8 // BITS) * BITS)[None, None, None, :]
        parts = (words[:, :, :, None] >> shifts.to(tl.uint32)) & MASK
    return tl.reshape(parts, (words.shape[0], words.shape[1], 8))


@triton.jit
def _in_turn(first, second, third, fourth):
    """(..., 2, 2)."""
    return tl.join(tl.join(first, third), tl.join(second, fourth))


@triton.jit
def _float8(words):
    """The e4m3 in the top byte of each word as bits of a float32 that is 2 ** -120 of it."""
    magnitude = (words >> 4) & 0x07F00000
    return (words & 0x80000000) | tl.where(magnitude == 0x07F00000, 0x7FC00000, magnitude)


@triton.jit
def _step(words):
    """The e2m1 in bits 22..25 of each word as bits of a float32 that is 2 ** -126 of it."""
    return (words & 0x01C00000) | ((words << 6) & 0x80000000)
