"""Attention over one latent per token (DeepSeek V2, arXiv:2405.04434)."""

import torch
from torch import Tensor

from engine.kernels.batch import BatchLayout
from engine.kernels.ops.op import like, op
from engine.kernels.weight import Weight


@op
def head_linear(
    x: Tensor, weight: Weight, first: int, last: int, *, transposed: bool = False
) -> Tensor:
    """`linear` of each head's x by a matrix of its own: (T, H, last - first).

    x: (T, H, in). weight: (H * r, in), r rows for each head, of which first..last are its matrix.
    transposed: times the matrix itself, x (T, H, last - first) and the result (T, H, in): what
    absorbs a key's up-projection into the query. Computed and given in the weight's dtype.
    """
    size = weight.shape[1] if transposed else last - first
    return like(x, x.shape[0], x.shape[1], size, dtype=weight.dtype)


@op
def latent_write(latent: Tensor, latents: Tensor, layout: BatchLayout) -> None:
    """Writes latent (T, n) to the layout's slots of latents (blocks, block_size, n)."""


@op
def latent_attention(
    q: Tensor,
    latents: Tensor,
    layout: BatchLayout,
    *,
    scale: float,
    value_dim: int,
    chosen: Tensor | None = None,
) -> Tensor:
    """`paged_attention` of all heads to one cached latent per token: (T, H, value_dim).

    q: (T, H, n); latents: (blocks, block_size, n), each a key and, its first value_dim values, the
    key's value. The absorbed form of multi-head latent attention, arXiv:2405.04434. chosen:
    (T, k) from `choose_tokens`, the only positions of its sequence that a row then sees.
    """
    return like(q, q.shape[0], q.shape[1], value_dim)


@op
def choose_tokens(
    q: Tensor, weights: Tensor, index_keys: Tensor, layout: BatchLayout, top_k: int
) -> Tensor:
    """The positions of its sequence that are worth most to each row: (T, top_k) int64, or -1.

    q: (T, H, d), weights: (T, H), index_keys: (blocks, block_size, d), the rows' own written. A
    token up to the row itself is worth sum over h of weights[h] * relu(q[h] . key), in float32.
    Where there are fewer than top_k, the rest is -1. The indexer of DeepSeek-V3.2-Exp's report.
    """
    return like(q, q.shape[0], top_k, dtype=torch.int64)
