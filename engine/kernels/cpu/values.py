"""What the values of a recorded forward are: how many rows each has, how wide, and where."""

from dataclasses import dataclass
from enum import IntEnum
from math import prod

import torch

NUM_TOKENS = 1_000_003
NUM_LOGITS = 999_983
"""Rows of the batch and of its logits in a recording: no size of a model is one of them."""

VIEWS = frozenset({"split_heads", "merge_heads"})
"""Ops whose result is their input's memory."""


class Rows(IntEnum):
    """What a value's number of rows depends on."""

    FIXED = 0
    TOKENS = 1
    LOGITS = 2


@dataclass(frozen=True, slots=True)
class Extent:
    """A value of a program: `shape` behind its rows, as torch has it, and its width in a row."""

    rows: Rows
    num_rows: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, shape: tuple[int, ...], dtype: torch.dtype) -> "Extent":
        """From a recorded shape. Values are float32 in programs, whatever the recording's dtype."""
        kind = {NUM_TOKENS: Rows.TOKENS, NUM_LOGITS: Rows.LOGITS}.get(shape[0], Rows.FIXED)
        kept = torch.int64 if dtype == torch.int64 else torch.float32
        return cls(kind, shape[0] if kind is Rows.FIXED else 0, shape[1:], kept)

    @property
    def width(self) -> int:
        return prod(self.shape)

    def count(self, num_tokens: int, num_logits: int) -> int:
        """Its rows in a step of so many."""
        return {Rows.FIXED: self.num_rows, Rows.TOKENS: num_tokens, Rows.LOGITS: num_logits}[
            self.rows
        ]

    def num_bytes(self, num_tokens: int, num_logits: int) -> int:
        return self.count(num_tokens, num_logits) * self.width * self.dtype.itemsize


def roots(views: dict[str, str]) -> dict[str, str]:
    """Of each view, the value whose memory it is."""
    found = dict(views)
    for view in views:
        while found[view] in views:
            found[view] = views[found[view]]
    return found


FROM_BATCH = ("token_ids", "positions", "lengths", "logit_rows", "segments")
"""Tensors of a `ForwardBatch` that operations read by label; the layout's they find by themselves."""
