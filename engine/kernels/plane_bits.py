"""How stored bits get to their places in planes: blocks (n, bytes) uint8 in, planes (n, bytes) out.

Two fields change places by a mask of those that differ: `_swap`, after Hacker's Delight, 7-3.
"""

import torch
from torch import Tensor

from engine.quant.bits import words

_LOW_NIBBLES = 0x0F0F0F0F0F0F0F0F
_HIGH_NIBBLES = ~_LOW_NIBBLES
_LOW_HALF = 0xFFFFFFFF
_SIXTEEN_BYTES = torch.complex128  # which torch moves at once


def halved_nibbles(stored: Tensor, group_bytes: int) -> Tensor:
    """Of groups whose low nibbles are their first values, and whose high ones the others."""
    pieces = words(stored).view(_SIXTEEN_BYTES).view(-1, group_bytes // 32, 2)
    first, second = (piece.contiguous().view(torch.int64) for piece in pieces.unbind(2))
    low = first & _LOW_NIBBLES | (second & _LOW_NIBBLES) << 4
    high = first >> 4 & _LOW_NIBBLES | second & _HIGH_NIBBLES
    halves = torch.stack((low.view(_SIXTEEN_BYTES), high.view(_SIXTEEN_BYTES)), dim=1)
    return _bytes(halves, len(stored))


def paired_nibbles(stored: Tensor) -> Tensor:
    """Of bytes that have a value and the next; whole runs of 32."""
    first, second = words(stored).view(-1, 2).unbind(1)
    low = first & _LOW_HALF | second << 32
    high = first >> 32 & _LOW_HALF | second & ~_LOW_HALF
    both = torch.stack((low, high), dim=1)
    for shift, mask in ((16, 0xFFFF0000), (8, 0x0000FF000000FF00), (4, 0x00F000F000F000F0)):
        both = _swap_within(both, shift, mask)
    return _bytes(both, len(stored))


def pairs(stored: Tensor) -> Tensor:
    """Of 32 bytes for 128 values, whose bits 2g and 2g + 1 are those of the g-th 32."""
    first, second = words(stored).view(-1, 2).unbind(1)
    changed = (first >> 4 ^ second) & _LOW_NIBBLES
    both = torch.stack((first ^ changed << 4, second ^ changed), dim=1)
    changed = (both >> 2 ^ both >> 32) & 0x33333333
    both ^= changed << 32
    both ^= changed << 2
    # (128 values, half of 32, g) in words of 32 bits
    runs = both.view(torch.int32).view(-1, 2, 4).transpose(1, 2).contiguous()
    return runs.view(torch.uint8).view(len(stored), -1)


def single_bits(stored: Tensor) -> Tensor:
    """Of 32 bytes for 256 values, whose bit g is that of the g-th 32."""
    every = words(stored).view(-1, 2, 2)
    first, second = every.unbind(1)
    changed = (first >> 4 ^ second) & _LOW_NIBBLES
    every = torch.stack((first ^ changed << 4, second ^ changed), dim=1)
    first, second = every.unbind(2)
    changed = (first >> 2 ^ second) & 0x3333333333333333
    every = torch.stack((first ^ changed << 2, second ^ changed), dim=2)
    changed = (every >> 1 ^ every >> 32) & 0x55555555
    every ^= changed << 32
    every ^= changed << 1
    return _bytes(every, len(stored))


def bits_in_turn(stored: Tensor) -> Tensor:
    """Of 4 bytes for 32 values, from the lowest bit on."""
    each = stored.clone(memory_format=torch.contiguous_format).view(torch.int32)
    for _ in range(2):
        for shift, mask in ((1, 0x22222222), (2, 0x0C0C0C0C), (4, 0x00F000F0), (8, 0x0000FF00)):
            each = _swap_within(each, shift, mask)
    return _bytes(each, len(stored))


def _swap_within(values: Tensor, shift: int, mask: int) -> Tensor:
    """Bits of a mask with those `shift` above them."""
    changed = (values ^ values >> shift) & mask
    return values ^ changed ^ changed << shift


def _bytes(values: Tensor, num_blocks: int) -> Tensor:
    return values.contiguous().view(num_blocks, -1).view(torch.uint8)
