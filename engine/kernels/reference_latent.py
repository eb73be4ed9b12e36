"""Multi-head latent attention's ops, in plain torch."""

import torch
from torch import Tensor

from engine.kernels.batch import BatchLayout
from engine.kernels.reference import UNPACK_ELEMENTS
from engine.kernels.reference_attention import paged_attention, put_rows
from engine.kernels.registry import register
from engine.kernels.weight import DENSE, Weight


@register("head_linear")
def head_linear(
    x: Tensor, weight: Weight, first: int, last: int, *, transposed: bool = False
) -> Tensor:
    num_heads = x.shape[1]
    by_head = x.to(weight.dtype).transpose(0, 1)
    step = max(1, UNPACK_ELEMENTS // ((last - first) * weight.shape[1]))
    parts = []
    for head in range(0, num_heads, step):
        heads = range(head, min(head + step, num_heads))
        matrices = _matrices(weight, weight.shape[0] // num_heads, heads, range(first, last))
        right = matrices if transposed else matrices.transpose(1, 2)
        parts.append(by_head[heads.start : heads.stop] @ right)
    return torch.cat(parts).transpose(0, 1)


def _matrices(weight: Weight, rows_per_head: int, heads: range, rows: range) -> Tensor:
    """Of some heads, some rows of each: (heads, rows, in)."""
    if weight.format == DENSE:
        stored = weight.data.view(-1, rows_per_head, weight.shape[1])
        return stored[heads.start : heads.stop, rows.start : rows.stop]
    device = weight.data.device
    starts = torch.arange(heads.start, heads.stop, device=device) * rows_per_head
    which = starts[:, None] + torch.arange(rows.start, rows.stop, device=device)
    return weight.rows(which.flatten()).unpack(weight.dtype).view(len(heads), len(rows), -1)


@register("latent_write")
def latent_write(latent: Tensor, latents: Tensor, layout: BatchLayout) -> None:
    put_rows(latents, layout, latent)


@register("latent_attention")
def latent_attention(
    q: Tensor,
    latents: Tensor,
    layout: BatchLayout,
    *,
    scale: float,
    value_dim: int,
    chosen: Tensor | None = None,
) -> Tensor:
    keys = latents[:, :, None]
    return paged_attention(q, keys, keys[..., :value_dim], layout, scale=scale, chosen=chosen)


@register("select_columns")
def select_columns(x: Tensor, first: int, last: int) -> Tensor:
    return x[..., first:last]


@register("concat")
def concat(x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([x, y], dim=-1)
