"""Choosing which cached tokens to attend to, in plain torch."""

import torch
from torch import Tensor

from engine.kernels.batch import BatchLayout
from engine.kernels.reference_attention import SCORES_BYTES, Mask, groups, visible_blocks
from engine.kernels.registry import register


@register("choose_tokens")
def choose_tokens(
    q: Tensor, weights: Tensor, index_keys: Tensor, layout: BatchLayout, top_k: int
) -> Tensor:
    chosen = torch.full((q.shape[0], top_k), -1, dtype=torch.int64, device=q.device)
    for group in groups(layout):
        blocks, start = visible_blocks(group, layout, None)
        keys = index_keys[blocks].flatten(1, 2).float()
        positions = start[:, None] + torch.arange(keys.shape[1], device=keys.device)
        rows, weight = group.rows_of(q).float(), group.rows_of(weights).float()
        best = _best(rows, weight, keys, Mask(group, positions, None), top_k)
        chosen[group.first_row : group.last_row, : best.shape[-1]] = best.flatten(0, 1)
    return chosen


def _best(q: Tensor, weights: Tensor, keys: Tensor, mask: Mask, top_k: int) -> Tensor:
    """q: (B, t, H, d), weights: (B, t, H), keys: (B, L, d); gives (B, t, at most top_k)."""
    batch, num_rows, num_heads, _ = q.shape
    length = keys.shape[1]
    step = max(1, SCORES_BYTES // (4 * batch * num_heads * max(1, length)))
    parts = []
    for first in range(0, num_rows, step):
        last = min(first + step, num_rows)
        products = torch.einsum("bthd,bld->bthl", q[:, first:last], keys).relu_()
        worth = torch.einsum("bth,bthl->btl", weights[:, first:last], products)
        worth.masked_fill_(mask.hidden(first, last), -torch.inf)
        best = worth.topk(min(top_k, length), dim=-1)
        parts.append(best.indices.masked_fill(best.values == -torch.inf, -1))
    return torch.cat(parts, dim=1)
