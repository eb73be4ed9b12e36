"""Checksums of 64 bits over bytes that several threads read: sums, so any order will do.

Against damage, not against forgery: who may write images may write what they like.
"""

import ctypes

import numpy as np
from numpy.typing import NDArray

from engine.kernels.cpu.library import is_available, library

STRIPE = 64
"""Parts begin at multiples of so many bytes."""

_LANES = STRIPE // 8
_STEP = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_MASK = (1 << 64) - 1

Bytes = NDArray[np.uint8]
Sums = NDArray[np.uint64]
"""What parts of a run contribute, (8,): added up, they are the whole run's."""


def partial_sums(data: Bytes, start: int) -> Sums:
    """Of the part of a run that begins at byte `start`. Lets go of the GIL, holds no memory."""
    return _native(data, start // STRIPE) if is_available() else summed(data, start // STRIPE)


def digest(sums: Sums, nbytes: int) -> int:
    """The checksum of a run of `nbytes` bytes with these sums."""
    value = nbytes
    for part in sums.tolist():
        value = (value ^ part) * int(_STEP) & _MASK
        value ^= value >> 29
    return value


def checksum(data: Bytes) -> int:
    return digest(partial_sums(data, 0), data.nbytes)


def _native(data: Bytes, first_stripe: int) -> Sums:
    sums = np.zeros(_LANES, np.uint64)
    library().rh_checksum(
        ctypes.c_void_p(data.ctypes.data),
        ctypes.c_int64(data.nbytes),
        ctypes.c_int64(first_stripe),
        ctypes.c_void_p(sums.ctypes.data),
    )
    return sums


def summed(data: Bytes, first_stripe: int) -> Sums:
    """The same in numpy; native/checksum.cpp says what and why."""
    whole = -(-data.nbytes // STRIPE) * STRIPE
    if data.nbytes < whole or data.ctypes.data % 8:
        data = np.concatenate([data, np.zeros(whole - data.nbytes, np.uint8)])
    words = data.view("<u8").reshape(-1, _LANES)
    first = first_stripe * _LANES + 1
    keys = np.arange(first, first + words.size, dtype=np.uint64).reshape(words.shape) * _STEP
    keyed = words ^ keys
    products = (keyed & _LOW) * (keyed >> _HALF)
    swapped = (words << _HALF) | (words >> _HALF)
    sums: Sums = (products + swapped).sum(axis=0, dtype=np.uint64)
    return sums
