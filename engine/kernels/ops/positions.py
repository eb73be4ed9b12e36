"""Norms, positions and heads."""

import torch
from torch import Tensor

from engine.kernels.ops.op import like, op


@op
def rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis, in float32; in x's dtype.

    x: (..., n), weight: (n,) float32, or none for all ones. Root Mean Square Layer Normalization, arXiv:1910.07467.
    """
    return like(x, *x.shape)


@op
def layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis, in float32; in x's dtype.

    x: (..., n); weight, bias: (n,) or, one for each head of x (T, H, n), (H, n), float32. Layer
    Normalization, arXiv:1607.06450.
    """
    return like(x, *x.shape)


@op
def rope_table(positions: Tensor, inv_freq: Tensor, factor: float) -> Tensor:
    """Cosines and sines of every angle, times `factor`: (T, 2, n) float32.

    positions: (T,), inv_freq: (n,) float32. One table serves all layers of one rope.
    """
    return like(positions, positions.shape[0], 2, inv_freq.shape[0], dtype=torch.float32)


@op
def longrope_table(
    positions: Tensor,
    lengths: Tensor,
    short: Tensor,
    long: Tensor,
    *,
    switch: int,
    factors: tuple[float, float],
) -> Tensor:
    """`rope_table` with the frequencies `long` for sequences longer than `switch`, else `short`.

    positions, lengths of the rows' sequences: (T,), short, long: (n,) float32. factors: for short
    and for long. LongRoPE, arXiv:2402.13753.
    """
    return like(positions, positions.shape[0], 2, short.shape[0], dtype=torch.float32)


@op
def rope(x: Tensor, table: Tensor) -> Tensor:
    """Rotates the pairs (i, i + n) of the first 2n of each head's d values; the rest stays.

    x: (T, H, d), table: (T, 2, n) from `rope_table`. In float32; in x's dtype. The half-split
    layout of arXiv:2104.09864, as Hugging Face stores q and k.
    """
    return like(x, *x.shape)


@op
def scale_by_position(x: Tensor, positions: Tensor, beta: float, period: int) -> Tensor:
    """x * (1 + beta * ln(1 + floor(position / period))), in x's dtype.

    x: (T, H, d), positions: (T,). Llama 4's way to keep attention sharp over long contexts.
    """
    return like(x, *x.shape)


@op
def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(T, num_heads * d) as (T, num_heads, d)."""
    return like(x, x.shape[0], num_heads, x.shape[1] // num_heads)


@op
def merge_heads(x: Tensor) -> Tensor:
    """(T, H, d) as (T, H * d)."""
    return like(x, x.shape[0], x.shape[1] * x.shape[2])
