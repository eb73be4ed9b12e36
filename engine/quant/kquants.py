"""Blocks of 256 values in groups, whose scales are themselves quantised.

Source: block_q4_K, block_q5_K, block_q6_K and dequantize_row_* in ggml (ggml-common.h,
ggml-quants.c).
"""

import torch
from torch import Tensor

from engine.quant.bits import ONES, codes_of, half, nibbles, words
from engine.quant.codes import Codes, coded_format


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
    # bit g of high byte j is the fifth bit of value j of group g
    groups = torch.arange(8, device=blocks.device).unsqueeze(1)
    fifth = words(blocks[:, 16:48]).unsqueeze(1) >> groups & ONES
    codes = nibbles(blocks[:, 48:], 32).view(-1, 8, 4) | fifth << 4
    return Codes(codes_of(codes), *_scales_and_minima(blocks))


def _q6_k(blocks: Tensor) -> Codes:
    low = nibbles(blocks[:, :128], 64).view(-1, 2, 4, 4)
    # of each high byte, bits 2g and 2g + 1 belong to group g of its half
    shifts = torch.arange(0, 8, 2, device=blocks.device).unsqueeze(1)
    high = words(blocks[:, 128:192]).view(-1, 2, 1, 4) >> shifts & 3 * ONES
    scales = half(blocks[:, 208:]) * blocks[:, 192:208].view(torch.int8)
    return Codes(codes_of(low | high << 4), scales, zero=32)


FORMATS = (
    coded_format("Q4_K", _q4_k),
    coded_format("Q5_K", _q5_k),
    coded_format("Q6_K", _q6_k),
)
