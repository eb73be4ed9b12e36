"""Fused ops: what several ops of the vocabulary do one after the other, by one kernel where there is one.

No model calls them: `engine.kernels.replay` finds the ops on a recording and puts a fused op in their
place. Each is stated here, once, as the composition of its ops: their signature, the oracle of their
kernels, and their kernel on any device that has no other.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from engine.kernels import ops
from engine.kernels.batch import BatchLayout
from engine.kernels.registry import register
from engine.kernels.routing import Routing
from engine.kernels.weight import Weight

FUSED: dict[str, Callable[..., Any]] = {}
"""By name."""


def _fused(composition: Callable[..., Any]) -> Callable[..., Any]:
    FUSED[composition.__name__] = composition
    return register(composition.__name__)(composition)


@_fused
def add_rms_norm(x: Tensor, y: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The sum of x and y, (T, n) each, as `add` gives it, and `rms_norm` of it."""
    summed = ops.add(x, y)
    return summed, ops.rms_norm(summed, weight, eps)


@_fused
def rope_cache_write(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    table: Tensor,
    keys: Tensor,
    values: Tensor,
    layout: BatchLayout,
) -> Tensor:
    """`rope` of q and k; `cache_write` of that k and v. Gives q, (T, H, d)."""
    turned = ops.rope(q, table)
    ops.cache_write(ops.rope(k, table), v, keys, values, layout)
    return turned


@_fused
def linears(x: Tensor, weights: Sequence[Weight], biases: Sequence[Tensor | None]) -> list[Tensor]:
    """`linear` of one x by several weights of one dtype, whatever their formats."""
    return [ops.linear(x, *each) for each in zip(weights, biases, strict=True)]


@_fused
def gated(
    x: Tensor,
    gate: Weight,
    up: Weight,
    act: str,
    gate_bias: Tensor | None = None,
    up_bias: Tensor | None = None,
) -> Tensor:
    """Two products of x joined by act: "silu_mul" or "gelu_tanh_mul"."""
    product: Tensor = _act(act)(ops.linear(x, gate, gate_bias), ops.linear(x, up, up_bias))
    return product


@_fused
def linear_add(x: Tensor, weight: Weight, bias: Tensor | None, addend: Tensor) -> Tensor:
    """The sum of the addend and `linear`, (T, out) each, in the addend's dtype, which is the wider."""
    return ops.add(addend, ops.linear(x, weight, bias))


@_fused
def route(logits: Tensor, routing: Routing, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`choose_experts` and `weigh_experts`: (T, top_k) int64 and float32."""
    chosen = ops.choose_experts(logits, routing, bias)
    return chosen, ops.weigh_experts(logits, chosen, routing)


@_fused
def gated_experts(
    x: Tensor,
    gate: Weight,
    up: Weight,
    chosen: Tensor,
    num_experts: int,
    act: str,
    gate_bias: Tensor | None = None,
    up_bias: Tensor | None = None,
    alpha: float = 0.0,
    limit: float = 0.0,
) -> Tensor:
    """Two `expert_linear` of x (T, in) joined as in `gated`: (T, top_k, n).

    act may be "clamped_swiglu", too: alpha and limit are its.
    """
    products = (
        ops.expert_linear(x, gate, chosen, num_experts, gate_bias),
        ops.expert_linear(x, up, chosen, num_experts, up_bias),
    )
    if act == "clamped_swiglu":
        return ops.clamped_swiglu(*products, alpha, limit)
    product: Tensor = _act(act)(*products)
    return product


@_fused
def combined_experts(
    h: Tensor,
    down: Weight,
    chosen: Tensor,
    weights: Tensor,
    num_experts: int,
    bias: Tensor | None = None,
) -> Tensor:
    """`expert_linear` of h (T, top_k, in), and `combine_experts` of that: (T, n) float32."""
    return ops.combine_experts(ops.expert_linear(h, down, chosen, num_experts, bias), weights)


@register("drawn_ids")
def drawn_ids(token_ids: Tensor, drawn: Tensor) -> Tensor:
    """token_ids (T,) int64, where -1 - row stands for the token that `drawn` (S,) has in that row.

    No op: what is put before a program whose tokens the device alone knows. A row of `drawn` that is
    below 0, since nothing could be drawn, gives 0.
    """
    rows = token_ids.bitwise_not().clamp(min=0)
    return drawn.index_select(0, rows).where(token_ids < 0, token_ids).clamp(min=0)


def _act(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    return {"silu_mul": ops.silu_mul, "gelu_tanh_mul": ops.gelu_tanh_mul}[name]
