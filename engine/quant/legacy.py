"""Blocks of 32 values with one scale, and a minimum in the _1 formats.

Source: block_q4_0 ... block_q8_0 and dequantize_row_* in ggml (ggml-common.h, ggml-quants.c).
"""

import torch
from torch import Tensor

from engine.quant.bits import codes_of, half, nibbles, spread_bits
from engine.quant.codes import Codes, coded_format


def _four_bits(stored: Tensor) -> Tensor:
    # value j is the low nibble of byte j, value j + 16 its high nibble
    return codes_of(nibbles(stored, 16))


def _five_bits(stored: Tensor) -> Tensor:
    """stored: (n, 20), 32 fifth bits and then the nibbles."""
    low = nibbles(stored[:, 4:], 16).view(-1, 4)
    return codes_of(low | spread_bits(stored[:, :4]) << 4)


def _q4_0(blocks: Tensor) -> Codes:
    return Codes(_four_bits(blocks[:, 2:]), half(blocks[:, :2]), zero=8)


def _q4_1(blocks: Tensor) -> Codes:
    scales = half(blocks[:, :4])
    return Codes(_four_bits(blocks[:, 4:]), scales[:, :1], scales[:, 1:])


def _q5_0(blocks: Tensor) -> Codes:
    return Codes(_five_bits(blocks[:, 2:]), half(blocks[:, :2]), zero=16)


def _q5_1(blocks: Tensor) -> Codes:
    scales = half(blocks[:, :4])
    return Codes(_five_bits(blocks[:, 4:]), scales[:, :1], scales[:, 1:])


def _q8_0(blocks: Tensor) -> Codes:
    return Codes(blocks[:, 2:].view(torch.int8), half(blocks[:, :2]))


FORMATS = (
    coded_format("Q4_0", _q4_0),
    coded_format("Q4_1", _q4_1),
    coded_format("Q5_0", _q5_0),
    coded_format("Q5_1", _q5_1),
    coded_format("Q8_0", _q8_0),
)
