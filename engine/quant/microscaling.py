"""OCP's microscaling: 32 four-bit floats (e2m1) share a power of two (e8m0).

Source: OCP Microscaling Formats (MX) v1.0; block_mxfp4, kvalues_mxfp4 and ggml_e8m0_to_fp32_half in
ggml (ggml-common.h, ggml-impl.h).
"""

import torch
from torch import Tensor

from engine.quant.bits import codes_of, nibbles
from engine.quant.codes import Codes, coded_format

_DOUBLED = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)


def doubled_steps(device: torch.device) -> Tensor:
    """Twice the value of each e2m1 code, float32."""
    return torch.tensor(_DOUBLED, dtype=torch.float32, device=device)


def half_power(exponents: Tensor) -> Tensor:
    """Half of 2 ** (e - 127) for bytes e, float32: what doubled steps are multiplied by."""
    wide = exponents.int()
    # Below 2 ** -126 the bits of a float32 are a subnormal's.
    bits = torch.where(wide < 2, 0x00200000 << wide.clamp(max=1), (wide - 1) << 23)
    return bits.view(torch.float32)


def _mxfp4(blocks: Tensor) -> Codes:
    codes = codes_of(nibbles(blocks[:, 1:], 16))
    return Codes(codes, half_power(blocks[:, :1]), steps=doubled_steps(blocks.device))


FORMATS = (coded_format("MXFP4", _mxfp4),)
