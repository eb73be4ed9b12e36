"""Attention both ways within each sequence of a step."""

import torch
from torch import Tensor

from engine.kernels.batch import BatchLayout
from engine.kernels.triton.attention import Sight, attend


def encoder_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: BatchLayout,
    *,
    scale: float,
    reach: int | None = None,
) -> Tensor:
    out = torch.empty((*q.shape[:2], v.shape[2]), dtype=q.dtype, device=q.device)
    k, v = (x if x.stride(2) == 1 else x.contiguous() for x in (k, v))
    longest = layout.longest_query or q.shape[0]
    attend(q, k, v, out, layout, Sight(scale, reach, reach), longest, is_paged=False)
    return out


KERNELS = {"encoder_attention": encoder_attention}
