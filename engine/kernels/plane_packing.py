"""Stored rows into planes: the same codes and scales, in other places."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import pad

from engine.kernels.plane_bits import (
    bits_in_turn,
    halved_nibbles,
    paired_nibbles,
    pairs,
    single_bits,
)
from engine.kernels.plane_layouts import RUN, plane_format, planes_format
from engine.kernels.weight import Weight
from engine.quant.bits import reinterpret
from engine.quant.formats import FORMATS

_BYTES_AT_A_TIME = 2**19

_NIBBLES, _UPPER_PAIRS, _SIX_BITS = 0x0F0F0F0F, 0x30303030, 0x3F3F3F3F

Planes = tuple[Tensor, ...]
"""Of n blocks or rows, in the layout's order, each (n, bytes) uint8."""


def planes_rows(weight: Weight) -> Tensor:
    """The rows of a packed weight in planes: (N, row bytes) uint8, new, on the weight's device.

    Raises `LookupError` for a format that has no planes.
    """
    name = planes_format(weight.format, weight.dtype)
    if name is None:
        raise LookupError(f"{weight.format} weights have no planes")
    num_rows, columns = weight.shape
    *offsets, row_bytes = plane_format(name).offsets(columns)
    rows = weight.data.new_zeros((num_rows, row_bytes))
    step = max(1, _BYTES_AT_A_TIME // max(1, row_bytes))
    for start in range(0, num_rows, step):
        piece, target = weight.rows(slice(start, start + step)), rows[start : start + step]
        for offset, plane in zip(offsets, _planes(piece), strict=True):
            flat = plane.reshape(len(target), -1)
            target[:, offset : offset + flat.shape[1]] = flat
    return rows


def _planes(weight: Weight) -> Planes:
    """Of whole rows."""
    if weight.scales is not None:
        return _OF_TWO_TENSORS[weight.format](weight, weight.scales)
    blocks = weight.data.reshape(-1, FORMATS[weight.format].block_bytes)
    return _OF_BLOCKS[weight.format](blocks)


def _q8_0(blocks: Tensor) -> Planes:
    return blocks[:, 2:] ^ 0x80, blocks[:, :2]


def _q4_0(blocks: Tensor) -> Planes:
    return blocks[:, 2:], blocks[:, :2]


def _q4_1(blocks: Tensor) -> Planes:
    return blocks[:, 4:], blocks[:, :4]


def _q5_0(blocks: Tensor) -> Planes:
    return blocks[:, 6:], bits_in_turn(blocks[:, 2:6]), blocks[:, :2]


def _q5_1(blocks: Tensor) -> Planes:
    return blocks[:, 8:], bits_in_turn(blocks[:, 4:8]), blocks[:, :4]


def _q4_k(blocks: Tensor) -> Planes:
    return halved_nibbles(blocks[:, 16:], 32), _factor_pairs(blocks), blocks[:, :4]


def _q5_k(blocks: Tensor) -> Planes:
    codes = halved_nibbles(blocks[:, 48:], 32), single_bits(blocks[:, 16:48])
    return *codes, _factor_pairs(blocks), blocks[:, :4]


def _factor_pairs(blocks: Tensor) -> Tensor:
    """The 12 bytes of 6-bit factors, see `engine.quant.kquants`, as a scale and a minimum of each 32."""
    # Four bytes are a word here: scales, minima, and what groups 4-7 have of both.
    scales, minima, both = reinterpret(blocks[:, 4:16], torch.int32).unbind(1)
    later_scales = both & _NIBBLES | scales >> 2 & _UPPER_PAIRS
    later_minima = both >> 4 & _NIBBLES | minima >> 2 & _UPPER_PAIRS
    words = (scales & _SIX_BITS, minima & _SIX_BITS, later_scales, later_minima)
    factors = torch.stack(words, dim=1).view(torch.uint8)
    return factors.view(-1, 2, 2, 4).transpose(2, 3).reshape(len(blocks), 16)


def _q6_k(blocks: Tensor) -> Planes:
    codes = halved_nibbles(blocks[:, :128], 64), pairs(blocks[:, 128:192])
    return *codes, blocks[:, 192:208], blocks[:, 208:]


def _q2_k(blocks: Tensor) -> Planes:
    return pairs(blocks[:, 16:80]), blocks[:, :16], blocks[:, 80:]


def _q3_k(blocks: Tensor) -> Planes:
    first, second = blocks[:, 96:104], blocks[:, 104:108]
    low = torch.cat((first & 0x0F, first >> 4), dim=1)
    shifts = torch.arange(0, 8, 2, dtype=torch.uint8, device=blocks.device).unsqueeze(1)
    high = (second.unsqueeze(1) >> shifts & 3).flatten(1)
    factors = (low | high << 4) - 32  # of a byte, where -32 is 224
    return pairs(blocks[:, 32:96]), single_bits(blocks[:, :32]), factors, blocks[:, 108:]


def _iq4_xs(blocks: Tensor) -> Planes:
    low = torch.stack((blocks[:, 4:8] & 0x0F, blocks[:, 4:8] >> 4), dim=2).flatten(1)
    word = reinterpret(blocks[:, 2:4], torch.int16)
    high = (word >> torch.arange(0, 16, 2, dtype=torch.int16, device=blocks.device) & 3).byte()
    return blocks[:, 8:], (low | high << 4) - 32, blocks[:, :2]


def _mxfp4(blocks: Tensor) -> Planes:
    return blocks[:, 1:], blocks[:, :1]


def _mxfp4_split(weight: Weight, scales: Tensor) -> Planes:
    return paired_nibbles(weight.data), scales


def _fp8(weight: Weight, scales: Tensor) -> Planes:
    """A scale of a whole row is that of each of its blocks."""
    return weight.data, _of_bytes(scales.expand(-1, -(-weight.shape[1] // 128)))


def _integers(weight: Weight, scales: Tensor) -> Planes:
    each, zeros = scales[:, 0::2], scales[:, 1::2].to(torch.uint8)
    codes = weight.data
    if weight.format.startswith("INT4"):
        codes = paired_nibbles(pad(codes, (0, -codes.shape[1] % (RUN // 2))))
    return codes, _of_bytes(each), zeros


def _of_bytes(scales: Tensor) -> Tensor:
    return scales.contiguous().view(torch.uint8)


_OF_BLOCKS: Mapping[str, Callable[[Tensor], Planes]] = MappingProxyType(
    {
        "Q8_0": _q8_0,
        "Q4_0": _q4_0,
        "Q4_1": _q4_1,
        "Q5_0": _q5_0,
        "Q5_1": _q5_1,
        "Q4_K": _q4_k,
        "Q5_K": _q5_k,
        "Q6_K": _q6_k,
        "Q2_K": _q2_k,
        "Q3_K": _q3_k,
        "IQ4_NL": _q4_0,
        "IQ4_XS": _iq4_xs,
        "MXFP4": _mxfp4,
    }
)

_OF_TWO_TENSORS: Mapping[str, Callable[[Weight, Tensor], Planes]] = MappingProxyType(
    {
        "FP8_BLOCK": _fp8,
        "FP8_ROW": _fp8,
        "MXFP4_SPLIT": _mxfp4_split,
        "INT4_32": _integers,
        "INT4_128": _integers,
        "INT8_32": _integers,
        "INT8_128": _integers,
    }
)
