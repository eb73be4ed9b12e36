"""Mixtures of experts in plain torch: the choice of experts, and matrices stacked by expert."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from engine.kernels.registry import register
from engine.kernels.routing import Routing
from engine.kernels.weight import Weight


@register("choose_experts")
def choose_experts(logits: Tensor, routing: Routing, bias: Tensor | None = None) -> Tensor:
    if routing.score == "sparsemixer":
        return _without_repeats(logits.float(), routing.top_k)
    scores = _scores(logits, routing)
    if bias is not None:
        scores = scores + bias
    if routing.top_groups < routing.num_groups:
        scores = scores.masked_fill(_in_lesser_groups(scores, routing), -torch.inf)
    return scores.topk(routing.top_k, dim=-1).indices


@register("weigh_experts")
def weigh_experts(logits: Tensor, chosen: Tensor, routing: Routing) -> Tensor:
    if routing.score == "sparsemixer":
        return _sparsemixer_weights(logits.float(), chosen, routing.jitter)
    weights = _scores(logits, routing).gather(-1, chosen)
    if routing.score == "chosen_softmax":
        weights = weights.softmax(-1)
    if routing.renormalise:
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
    return weights * routing.scaling


def _scores(logits: Tensor, routing: Routing) -> Tensor:
    if routing.score == "softmax":
        return logits.float().softmax(-1)
    return logits.float().sigmoid() if routing.score == "sigmoid" else logits.float()


def _in_lesser_groups(scores: Tensor, routing: Routing) -> Tensor:
    """(T, E): which experts are of no group that may be chosen from."""
    groups = scores.view(len(scores), routing.num_groups, -1)
    counted = 1 if routing.group_score == "best" else 2
    group_scores = groups.topk(counted, dim=-1).values.sum(-1)
    best = group_scores.topk(routing.top_groups, dim=-1).indices
    lesser = torch.ones_like(group_scores, dtype=torch.bool).scatter_(1, best, value=False)
    return lesser.repeat_interleave(groups.shape[-1], dim=1)


def _without_repeats(scores: Tensor, count: int) -> Tensor:
    chosen = []
    for _ in range(count):
        chosen.append(scores.argmax(-1, keepdim=True))
        scores = scores.scatter(-1, chosen[-1], -torch.inf)
    return torch.cat(chosen, dim=-1)


def _sparsemixer_weights(logits: Tensor, chosen: Tensor, jitter: float) -> Tensor:
    left, weights = logits, []
    for expert in chosen.chunk(chosen.shape[1], dim=-1):
        best = logits.gather(-1, expert)
        is_far = (best - logits) / logits.abs().clamp(min=best) > 2 * jitter
        weights.append(left.masked_fill(is_far, -torch.inf).softmax(-1).gather(-1, expert))
        left = left.scatter(-1, expert, -torch.inf)
    return torch.cat(weights, dim=-1)


@register("expert_linear")
def expert_linear(
    x: Tensor, weight: Weight, chosen: Tensor, num_experts: int, bias: Tensor | None = None
) -> Tensor:
    top_k, out_features = chosen.shape[1], weight.shape[0] // num_experts
    experts = chosen.flatten()
    order = experts.argsort(stable=True)
    rows = x.repeat_interleave(top_k, dim=0) if x.dim() == 2 else x.flatten(0, 1)
    result = torch.empty(len(experts), out_features, dtype=weight.dtype, device=x.device)
    ends = experts.bincount(minlength=num_experts).cumsum(0)[:-1].cpu()
    for expert, places in enumerate(order.tensor_split(ends)):
        if len(places):
            matrix = _matrix(weight, expert, out_features)
            result[places] = matrix.kernels["linear"](rows[places], matrix)
    if bias is not None:
        result += bias[experts]
    return result.view(*chosen.shape, out_features)


def _matrix(weight: Weight, expert: int, out_features: int) -> Weight:
    """One expert's own rows."""
    return weight.rows(slice(expert * out_features, (expert + 1) * out_features))


@register("combine_experts")
def combine_experts(outputs: Tensor, weights: Tensor) -> Tensor:
    return torch.einsum("tkn,tk->tn", outputs.float(), weights)


@register("clamped_swiglu")
def clamped_swiglu(gate: Tensor, up: Tensor, alpha: float, limit: float) -> Tensor:
    gate, up = gate.clamp(max=limit), up.clamp(-limit, limit)
    return (up + 1) * gate * torch.sigmoid(alpha * gate)


@register("sigmoid_mul")
def sigmoid_mul(gate: Tensor, x: Tensor) -> Tensor:
    return F.sigmoid(gate) * x
