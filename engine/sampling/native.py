"""Draws one token per row natively: what `engine.sampling.choose` does, without sorting a row."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from engine.kernels.cpu.calls import shared_threads
from engine.kernels.cpu.library import is_available, library
from engine.sampling.draw import Draw

UNSOUND, NO_CHOICE = -1, -2
"""Instead of a token: the row has a logit that is no finite number; no token is left."""


class _Draw(ctypes.Structure):
    """`Draw` of sampling.cpp; as `engine.sampling.draw.Settings`."""

    _fields_ = (
        ("uniform", ctypes.c_double),
        ("temperature", ctypes.c_float),
        ("top_p", ctypes.c_float),
        ("min_p", ctypes.c_float),
        ("top_k", ctypes.c_int32),
    )


def takes(logits: Tensor) -> bool:
    """Whether these logits can be drawn from here."""
    is_plain = logits.dtype == torch.float32 and logits.is_contiguous()
    return logits.device.type == "cpu" and is_plain and is_available()


def choose(logits: Tensor, draws: Sequence[Draw], *, check: bool) -> list[int]:
    """A token id for each row of logits (S, vocab) float32, `UNSOUND` or `NO_CHOICE`.

    check: a logit that is no finite number makes its row unsound; without it, -inf bars a token.
    """
    threads = shared_threads()
    chosen = (ctypes.c_int64 * len(draws))()
    library().rh_sample(
        threads.pool,
        threads.workspace,
        ctypes.c_void_p(logits.data_ptr()),
        ctypes.c_int64(len(draws)),
        ctypes.c_int64(logits.shape[-1]),
        (_Draw * len(draws))(*(_Draw(*draw.settings) for draw in draws)),
        check,
        chosen,
    )
    return list(chosen)


def is_sound(logits: Tensor) -> list[bool]:
    """Whether each row of logits (S, vocab) float32 is made of finite numbers only."""
    sound = (ctypes.c_uint8 * len(logits))()
    library().rh_is_sound(
        ctypes.c_void_p(logits.data_ptr()),
        ctypes.c_int64(len(logits)),
        ctypes.c_int64(logits.shape[-1]),
        sound,
    )
    return [bool(each) for each in sound]
