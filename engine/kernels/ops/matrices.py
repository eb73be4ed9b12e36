"""Matrices: the vocabulary at both ends, and what lies between."""

import torch
from torch import Tensor

from engine.kernels.ops.op import like, op
from engine.kernels.weight import Weight


@op
def embedding(token_ids: Tensor, weight: Weight) -> Tensor:
    """Rows of `weight` (vocabulary, hidden) for token_ids (T,): (T, hidden) float32.

    Packed rows are unpacked one by one, never the whole matrix.
    """
    return like(token_ids, *token_ids.shape, weight.shape[1], dtype=torch.float32)


@op
def linear(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    """x (T, in) times the transpose of `weight` (out, in), plus bias (out,): (T, out).

    Computed and given in the weight's dtype, whatever x's.
    """
    return like(x, *x.shape[:-1], weight.shape[0], dtype=weight.dtype)


@op
def logits(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    """As `linear`, over a vocabulary and in float32: (R, vocabulary).

    In a coarser weight dtype, the best of each row are as exact as float32 makes them: two
    candidates that bfloat16 would round to one value keep their order.
    """
    return like(x, *x.shape[:-1], weight.shape[0], dtype=torch.float32)
