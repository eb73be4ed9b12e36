"""Blocks of 256 values in groups, whose scales are themselves quantised.

Source: block_q2_K ... block_q6_K and dequantize_row_* in ggml (ggml-common.h, ggml-quants.c).
"""

import torch
from torch import Tensor

from engine.quant.bits import ONES, codes_of, half, nibbles, words
from engine.quant.codes import Codes, coded_format


def _pairs(stored: Tensor) -> Tensor:
    """(n, 64) bytes as words (n, 2, 4, 4): bits 2g and 2g + 1 of each byte, by half and by g."""
    shifts = torch.arange(0, 8, 2, device=stored.device).unsqueeze(1)
    return words(stored).view(-1, 2, 1, 4) >> shifts & 3 * ONES


def _single_bits(stored: Tensor) -> Tensor:
    """(n, 32) bytes as words (n, 8, 4): bit g of each byte, by g."""
    shifts = torch.arange(8, device=stored.device).unsqueeze(1)
    return words(stored).unsqueeze(1) >> shifts & ONES


def _q2_k(blocks: Tensor) -> Codes:
    # a scale and a minimum of 4 bits each for every 16 values; minima are subtracted
    delta, factors = half(blocks[:, 80:]), blocks[:, :16]
    scales, minima = delta[:, :1] * (factors & 0x0F), delta[:, 1:] * (factors >> 4)
    return Codes(codes_of(_pairs(blocks[:, 16:80])), scales, -minima)


def _q3_k(blocks: Tensor) -> Codes:
    # 16 scales of 6 bits: the low 4 as nibbles of 8 bytes, the high 2 as pairs of 4 bytes
    first, second = blocks[:, 96:104], blocks[:, 104:108]
    low = torch.cat((first & 0x0F, first >> 4), dim=1)
    high = second.unsqueeze(1) >> torch.arange(0, 8, 2, device=blocks.device).unsqueeze(1) & 3
    scales = half(blocks[:, 108:]) * ((low | high.flatten(1) << 4).int() - 32)
    codes = _pairs(blocks[:, 32:96]).view(-1, 8, 4) | _single_bits(blocks[:, :32]) << 2
    return Codes(codes_of(codes), scales, zero=4)


def _scales_and_minima(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Both (n, 8) float32 from the first 16 bytes: d, dmin, and 12 bytes of 6-bit factors.

    Bytes 0-3 hold the scales of groups 0-3 in their low 6 bits, bytes 4-7 the minima; bytes 8-11
    hold, for groups 4-7, 4 low bits of the scale and 4 of the minimum, whose 2 high bits are those
    left over in bytes 0-3 and 4-7. Minima are subtracted in these formats, so come back negated.
    """
    delta = half(blocks[:, :4])
    first, second = blocks[:, 4:12].reshape(-1, 2, 4), blocks[:, 12:16]
    low = torch.stack((second & 0x0F, second >> 4), dim=1)
    factors = torch.cat((first & 0x3F, low | (first >> 2 & 0x30)), dim=2)
    products = delta.unsqueeze(2) * factors
    return products[:, 0], -products[:, 1]


def _q4_k(blocks: Tensor) -> Codes:
    return Codes(codes_of(nibbles(blocks[:, 16:], 32)), *_scales_and_minima(blocks))


def _q5_k(blocks: Tensor) -> Codes:
    codes = nibbles(blocks[:, 48:], 32).view(-1, 8, 4) | _single_bits(blocks[:, 16:48]) << 4
    return Codes(codes_of(codes), *_scales_and_minima(blocks))


def _q6_k(blocks: Tensor) -> Codes:
    codes = nibbles(blocks[:, :128], 64).view(-1, 2, 4, 4) | _pairs(blocks[:, 128:192]) << 4
    scales = half(blocks[:, 208:]) * blocks[:, 192:208].view(torch.int8)
    return Codes(codes_of(codes), scales, zero=32)


FORMATS = (
    coded_format("Q2_K", _q2_k),
    coded_format("Q3_K", _q3_k),
    coded_format("Q4_K", _q4_k),
    coded_format("Q5_K", _q5_k),
    coded_format("Q6_K", _q6_k),
)
