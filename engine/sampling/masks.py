"""Masks over the vocabulary, computed in a thread while the model computes its logits."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from engine.api import EngineError, Failure
from engine.sampling.grammar import Constraint


def _be_alone() -> None:
    torch.set_num_threads(1)  # kept per thread: the cores are the model's


_thread = ThreadPoolExecutor(1, "masks", initializer=_be_alone)

Mask = Tensor | Failure
"""Bool (vocab,), true where a token may not come next; or why there is no telling."""

Masks = dict[Constraint, Mask]


def begin(constraints: Sequence[Constraint], vocab_size: int) -> "Future[Masks]":
    """The masks for what comes next, in the background; nothing of it may be consumed meanwhile."""
    return _thread.submit(lambda: {each: _mask(each, vocab_size) for each in constraints})


def _mask(constraint: Constraint, vocab_size: int) -> Mask:
    try:
        allowed = bytearray(constraint.allowed())
    except EngineError as error:
        return Failure(error.code, error.message, error.param)
    # the text side's vocabulary is as wide as the model's, unless one of them is wrong
    allowed += bytes(max(0, vocab_size - len(allowed)))
    return torch.frombuffer(allowed, dtype=torch.uint8)[:vocab_size] == 0
