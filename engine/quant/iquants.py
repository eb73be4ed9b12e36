"""Four bits that are looked up in a table of uneven steps.

Source: block_iq4_nl, block_iq4_xs, kvalues_iq4nl and dequantize_row_* in ggml (ggml-common.h,
ggml-quants.c).
"""

import torch
from torch import Tensor

from engine.quant.bits import codes_of, half, nibbles, reinterpret
from engine.quant.codes import Codes, coded_format

_STEPS = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


def uneven_steps(device: torch.device) -> Tensor:
    """What each code stands for, float32."""
    return torch.tensor(_STEPS, dtype=torch.float32, device=device)


def _iq4_nl(blocks: Tensor) -> Codes:
    codes = codes_of(nibbles(blocks[:, 2:], 16))
    return Codes(codes, half(blocks[:, :2]), steps=uneven_steps(blocks.device))


def _iq4_xs(blocks: Tensor) -> Codes:
    # 8 scales of 6 bits: the low 4 as nibbles, the high 2 in a 16-bit word
    low = torch.stack((blocks[:, 4:8] & 0x0F, blocks[:, 4:8] >> 4), dim=2).flatten(1)
    word = reinterpret(blocks[:, 2:4], torch.int16).int()
    high = word >> torch.arange(0, 16, 2, device=blocks.device) & 3
    scales = half(blocks[:, :2]) * ((low | high << 4) - 32)
    return Codes(codes_of(nibbles(blocks[:, 8:], 16)), scales, steps=uneven_steps(blocks.device))


FORMATS = (
    coded_format("IQ4_NL", _iq4_nl),
    coded_format("IQ4_XS", _iq4_xs),
)
