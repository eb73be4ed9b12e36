"""Pieces that block layouts share. n is the number of blocks throughout.

Codes, the small integers that a format packs, are unpacked to a byte each, and handled as words of
eight: the same few operations on an eighth of the elements.
"""

import torch
from torch import Tensor

ONES = 0x0101010101010101
_LOW_NIBBLES = 0x0F0F0F0F0F0F0F0F
_LOW_SEVEN = 0x7F7F7F7F7F7F7F7F
_BIT_OF_ITS_BYTE = 0x8040201008040201 - (1 << 64)  # byte j of the word has bit j, as signed int64


def reinterpret(stored: Tensor, dtype: torch.dtype) -> Tensor:
    """(n, bytes) uint8 as (n, bytes / size) of `dtype`, little-endian as stored."""
    # A copy, since blocks of odd sizes leave their fields unaligned.
    return stored.clone(memory_format=torch.contiguous_format).view(dtype)


def half(stored: Tensor) -> Tensor:
    """float16 fields, (n, 2 * k) bytes, as (n, k) float32."""
    return reinterpret(stored, torch.float16).float()


def words(stored: Tensor) -> Tensor:
    """(n, bytes) uint8 as (n, bytes / 8) int64."""
    return reinterpret(stored, torch.int64)


def codes_of(stored_words: Tensor) -> Tensor:
    """(n, ...) int64 as (n, codes) uint8, eight of each word."""
    return stored_words.view(len(stored_words), -1).view(torch.uint8)


def nibbles(stored: Tensor, group_bytes: int) -> Tensor:
    """(n, bytes) as words (n, groups, 2, words): a group's low nibbles, then its high ones."""
    packed = words(stored).view(len(stored), -1, group_bytes // 8)
    return torch.stack((packed & _LOW_NIBBLES, packed >> 4 & _LOW_NIBBLES), dim=2)


def spread_bits(stored: Tensor) -> Tensor:
    """(n, bytes) as words (n, bytes) whose byte j is bit j, lowest first, of the byte stored."""
    chosen = stored.long() * ONES & _BIT_OF_ITS_BYTE
    # A byte that is not zero carries into its top bit, unless that is the very bit set in it.
    return ((chosen & _LOW_SEVEN) + _LOW_SEVEN | chosen) >> 7 & ONES
