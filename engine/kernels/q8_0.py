"""Keys and values in 8 bits: q8_0, blocks of 32 values with a float16 scale (ggml's, laid out by row).

A row of n values is uint8: n of int8, then a float16 for each block of 32; the last block may be short.
A cache of such rows is known by its dtype.
"""

import torch
from torch import Tensor

BLOCK = 32
GREATEST = 127


def row_bytes(size: int) -> int:
    """Of a row of `size` values."""
    return size + 2 * -(-size // BLOCK)


def row_size(num_bytes: int) -> int:
    """How many values a row of so many bytes has."""
    return num_bytes - 2 * -(-num_bytes // (BLOCK + 2))


def pack(x: Tensor) -> Tensor:
    """Of (..., n) values, (..., row_bytes(n)). A block with what is not finite becomes NaN."""
    size = x.shape[-1]
    padded = torch.nn.functional.pad(x.float(), (0, -size % BLOCK))
    blocks = padded.view(*x.shape[:-1], -(-size // BLOCK), BLOCK)
    greatest = blocks.abs().amax(-1) + (blocks * 0).sum(-1)
    scales = (greatest / GREATEST).half()
    inverse = torch.where((scales > 0) & scales.isfinite(), 1 / scales.float(), 0.0)
    rounded = (blocks * inverse[..., None]).nan_to_num().clamp(-GREATEST, GREATEST).round()
    codes = rounded.to(torch.int8).flatten(-2)[..., :size]
    return torch.cat([codes.contiguous().view(torch.uint8), scales.view(torch.uint8)], -1)


def unpack(rows: Tensor) -> Tensor:
    """Of rows (..., row_bytes(n)) their values (..., n), float32."""
    size = row_size(rows.shape[-1])
    codes = rows[..., :size].contiguous().view(torch.int8).float()
    scales = (
        rows[..., size:].clone(memory_format=torch.contiguous_format).view(torch.float16).float()
    )
    return codes * scales.repeat_interleave(BLOCK, -1)[..., :size]


def is_packed(cache: Tensor) -> bool:
    return cache.dtype == torch.uint8
