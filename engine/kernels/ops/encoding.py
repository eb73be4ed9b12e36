"""What encoders do across the rows of a sequence, all of which are in one step."""

from typing import Literal

import torch
from torch import Tensor

from engine.kernels.batch import BatchLayout
from engine.kernels.ops.op import like, op

RowPooling = Literal["mean", "first", "last"]
"""Which of a sequence's rows make its one."""


@op
def encoder_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: BatchLayout,
    *,
    scale: float,
    reach: int | None = None,
) -> Tensor:
    """Attention of each sequence's rows to all of its rows, both ways: (T, H, d).

    q: (T, H, d); k, v: (T, Hkv, d), each read by H / Hkv heads. reach: rows see those at most so far
    from them. No cache: the layout's `query_starts` alone are read, so whole sequences must be
    there. Softmax in float32.
    """
    del k, v, layout, scale, reach
    return like(q, *q.shape)


@op
def pool_rows(x: Tensor, layout: BatchLayout, *, pooling: RowPooling) -> Tensor:
    """One row of each sequence's rows of x (T, n), float32: (B, n). Means are taken in float32."""
    return like(x, layout.context_lens.shape[0], x.shape[1], dtype=torch.float32)
