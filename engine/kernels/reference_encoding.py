"""Attention both ways within each sequence of a step, and one row for each, in plain torch."""

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from engine.kernels.batch import BatchLayout
from engine.kernels.registry import register


@register("encoder_attention")
def encoder_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: BatchLayout,
    *,
    scale: float,
    reach: int | None = None,
) -> Tensor:
    result = torch.empty_like(q)
    for first, last in pairwise(layout.query_starts.tolist()):
        of_q, of_k, of_v = (each[first:last].float().transpose(0, 1)[None] for each in (q, k, v))
        seen = None if reach is None else _within(reach, last - first, q.device)
        attended = F.scaled_dot_product_attention(
            of_q, of_k, of_v, attn_mask=seen, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
        )
        result[first:last] = attended[0].transpose(0, 1)
    return result


def _within(reach: int, length: int, device: torch.device) -> Tensor:
    """Which of a sequence's rows see which: (length, length) bool."""
    rows = torch.arange(length, device=device)
    return (rows[:, None] - rows).abs() <= reach


@register("pool_rows")
def pool_rows(x: Tensor, layout: BatchLayout, *, pooling: str) -> Tensor:
    starts = layout.query_starts
    if pooling == "first":
        return x.index_select(0, starts[:-1]).float()
    if pooling == "last":
        return x.index_select(0, starts[1:] - 1).float()
    means = [x[first:last].float().mean(0) for first, last in pairwise(starts.tolist())]
    return torch.stack(means)
