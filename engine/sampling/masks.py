"""Masks over the vocabulary, computed in a thread while the model computes its logits."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from engine.api import EngineError, Failure
from engine.sampling.grammar import Constraint


def _be_alone() -> None:
    torch.set_num_threads(1)  # kept per thread: the cores are the model's


_thread = ThreadPoolExecutor(1, "masks", initializer=_be_alone)

Masks = dict[Constraint, list[Tensor] | Failure]
"""Bool (vocab,), true where a token may not come next: now, and behind each token of a draft.

Or why there is no telling.
"""


def begin(drafts: Mapping[Constraint, Sequence[int]], vocab_size: int) -> "Future[Masks]":
    """The masks for what comes next, in the background; nothing of it may be consumed meanwhile.

    drafts: tokens that are tried beyond, such as the grammar can follow.
    """
    return _thread.submit(
        lambda: {each: _masks(each, draft, vocab_size) for each, draft in drafts.items()}
    )


def _masks(constraint: Constraint, draft: Sequence[int], vocab_size: int) -> list[Tensor] | Failure:
    try:
        return [_mask(each, vocab_size) for each in constraint.allowed_along(draft)]
    except EngineError as error:
        return Failure(error.code, error.message, error.param)


def _mask(allowed: bytes, vocab_size: int) -> Tensor:
    # the text side's vocabulary is as wide as the model's, unless one of them is wrong
    padded = bytearray(allowed) + bytes(max(0, vocab_size - len(allowed)))
    return torch.frombuffer(padded, dtype=torch.uint8)[:vocab_size] == 0
