"""Mixtures of experts: who is chosen, what they say, and how it is joined."""

import torch
from torch import Tensor

from engine.kernels.ops.op import like, op
from engine.kernels.routing import Routing
from engine.kernels.weight import Weight


@op
def choose_experts(logits: Tensor, routing: Routing, bias: Tensor | None = None) -> Tensor:
    """The experts that each token goes to, best first: (T, top_k) int64.

    logits: (T, E) of a router. bias: (E,) float32, added to the scores for this choice alone.
    """
    return like(logits, logits.shape[0], routing.top_k, dtype=torch.int64)


@op
def weigh_experts(logits: Tensor, chosen: Tensor, routing: Routing) -> Tensor:
    """What each chosen expert counts for: (T, top_k) float32. chosen: from `choose_experts`."""
    return like(logits, *chosen.shape, dtype=torch.float32)


@op
def expert_linear(
    x: Tensor, weight: Weight, chosen: Tensor, num_experts: int, bias: Tensor | None = None
) -> Tensor:
    """`linear` of each row by the matrix of each of its chosen experts: (T, top_k, out).

    x: (T, in), the same for all its experts, or (T, top_k, in), one for each. weight: (E * out, in),
    the experts' matrices one under the other, packed or dense. chosen: (T, top_k) int64. bias:
    (E, out). Computed and given in the weight's dtype.
    """
    return like(x, *chosen.shape, weight.shape[0] // num_experts, dtype=weight.dtype)


@op
def combine_experts(outputs: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum over each row's experts: (T, n) float32.

    outputs: (T, top_k, n), weights: (T, top_k) float32.
    """
    return like(outputs, outputs.shape[0], outputs.shape[2], dtype=torch.float32)
