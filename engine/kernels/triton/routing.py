"""A mixture's choice of experts and their weights: one program for each token."""

from typing import Any

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.registry import Kernel
from engine.kernels.routing import Routing

_WORST = tl.constexpr(-(2**63))


@triton.jit
def _keys(scores, places, is_real):
    """What orders them: the greater is the better; of equals the first; a NaN before all numbers."""
    bits = tl.where(scores == 0, 0.0, scores).to(tl.int32, bitcast=True)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    ordered = tl.where(scores != scores, 0x7FFFFFFF, ordered)  # noqa: PLR0124  # a NaN
    keys = (ordered.to(tl.int64) << 32) | (0x7FFFFFFF - places).to(tl.int64)
    return tl.where(is_real, keys, _WORST)


@triton.jit
def _place(key):
    return 0x7FFFFFFF - (key & 0xFFFFFFFF)


@triton.jit
def _all_max(x):
    return tl.max(tl.max(x, 1), 0)


@triton.jit
def _all_sum(x):
    return tl.sum(tl.sum(x, 1), 0)


@triton.jit
def _scores(logits, SCORE: tl.constexpr):
    if SCORE == "softmax":
        powers = tl.exp(logits - _all_max(logits))
        logits = powers / _all_sum(powers)
    if SCORE == "sigmoid":
        logits = 1.0 / (1.0 + tl.exp(-logits))
    return logits


@triton.jit
def _balanced(weights, is_rank, scaling, SCORE: tl.constexpr, RENORMALISE: tl.constexpr):
    """Of the chosen among themselves."""
    if SCORE == "chosen_softmax":
        powers = tl.exp(weights - tl.max(weights, 0))
        weights = powers / tl.sum(powers, 0)
    if SCORE != "sparsemixer":
        if RENORMALISE:
            weights = weights / (tl.sum(tl.where(is_rank, weights, 0.0), 0) + 1e-20)
        weights = weights * scaling
    return weights


@triton.jit
def _without_lesser_groups(
    scores, places, is_real, GROUPS: tl.constexpr, TOP_GROUPS: tl.constexpr, BEST_TWO: tl.constexpr
):
    """The scores, -inf where their group is not among the best."""
    keys = _keys(scores, places, is_real)
    best = tl.max(keys, 1)[:, None]
    of_groups = tl.sum(tl.where(keys == best, scores, 0.0), 1)
    if BEST_TWO:
        keys = tl.where(keys == best, _WORST, keys)
        second = tl.max(keys, 1)[:, None]
        is_second = (keys == second) & (second > _WORST)
        of_groups += tl.sum(tl.where(is_second, scores, 0.0), 1)
    groups = tl.arange(0, scores.shape[0])
    left = _keys(of_groups, groups, groups < GROUPS)
    stays = groups < 0
    for _ in range(TOP_GROUPS):
        is_best = left == tl.max(left, 0)
        stays |= is_best
        left = tl.where(is_best, _WORST, left)
    return tl.where(stays[:, None], scores, float("-inf"))


@triton.jit
def _sparsemixer_weight(value, logits, is_left, two_jitters):
    """exp(value) as a share of those left that are not far below it."""
    logits = tl.where(is_left, logits, value)
    distance = (value - logits) / tl.maximum(tl.abs(logits), value)
    is_far = distance > two_jitters  # not what can't be compared
    near = tl.where(is_left & (is_far == 0), logits, float("-inf"))
    return 1.0 / _all_sum(tl.exp(near - value))


@triton.jit
def _route_kernel(
    logits_at,
    bias_at,
    chosen_at,
    weights_at,
    scaling,
    two_jitters,
    E: tl.constexpr,
    TOP_K: tl.constexpr,
    SCORE: tl.constexpr,
    RENORMALISE: tl.constexpr,
    GROUPS: tl.constexpr,
    TOP_GROUPS: tl.constexpr,
    BEST_TWO: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    CHOOSES: tl.constexpr,
    WEIGHS: tl.constexpr,
    GROUPS_PADDED: tl.constexpr,
    SIZE_PADDED: tl.constexpr,
    TOP_K_PADDED: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    SIZE: tl.constexpr = E // GROUPS
    groups = tl.arange(0, GROUPS_PADDED)[:, None]
    within = tl.arange(0, SIZE_PADDED)[None, :]
    is_real = (groups < GROUPS) & (within < SIZE)
    places = groups * SIZE + within
    logits = tl.load(logits_at + row * E + places, mask=is_real, other=float("-inf"))
    scores = _scores(logits.to(tl.float32), SCORE)

    keys = places.to(tl.int64)
    if CHOOSES:
        judged = scores
        if HAS_BIAS:
            judged += tl.load(bias_at + places, mask=is_real, other=0.0).to(tl.float32)
        if TOP_GROUPS < GROUPS:
            judged = _without_lesser_groups(judged, places, is_real, GROUPS, TOP_GROUPS, BEST_TWO)
        keys = _keys(judged, places, is_real)

    ranks = tl.arange(0, TOP_K_PADDED)
    chosen = tl.zeros([TOP_K_PADDED], tl.int64)
    weights = tl.full([TOP_K_PADDED], float("-inf"), tl.float32)
    is_left = is_real
    for rank in range(TOP_K):
        if CHOOSES:  # noqa: SIM108  # one branch is compiled
            place = _place(_all_max(keys))
        else:
            place = tl.load(chosen_at + row * TOP_K + rank)
        is_it = places == place
        keys = tl.where(is_it & is_real, _WORST, keys)
        weight = _all_sum(tl.where(is_it & is_real, scores, 0.0))
        if SCORE == "sparsemixer":
            weight = _sparsemixer_weight(weight, scores, is_left, two_jitters)
            is_left = is_left & (places != place)
        chosen = tl.where(ranks == rank, place, chosen)
        weights = tl.where(ranks == rank, weight, weights)

    is_rank = ranks < TOP_K
    if CHOOSES:
        tl.store(chosen_at + row * TOP_K + ranks, chosen, mask=is_rank)
    if WEIGHS:
        weights = _balanced(weights, is_rank, scaling, SCORE, RENORMALISE)
        tl.store(weights_at + row * TOP_K + ranks, weights, mask=is_rank)


def choose_experts(logits: Tensor, routing: Routing, bias: Tensor | None = None) -> Tensor:
    chosen = _new(logits, routing, torch.int64)
    _launch(logits, routing, bias, chosen, None, chooses=True)
    return chosen


def weigh_experts(logits: Tensor, chosen: Tensor, routing: Routing) -> Tensor:
    weights = _new(logits, routing, torch.float32)
    _launch(logits, routing, None, chosen.contiguous(), weights, chooses=False)
    return weights


def route(logits: Tensor, routing: Routing, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`choose_experts` and `weigh_experts` at once."""
    chosen, weights = _new(logits, routing, torch.int64), _new(logits, routing, torch.float32)
    _launch(logits, routing, bias, chosen, weights, chooses=True)
    return chosen, weights


def _new(logits: Tensor, routing: Routing, dtype: torch.dtype) -> Tensor:
    return torch.empty(len(logits), routing.top_k, dtype=dtype, device=logits.device)


def _launch(
    logits: Tensor,
    routing: Routing,
    bias: Tensor | None,
    chosen: Tensor,
    weights: Tensor | None,
    *,
    chooses: bool,
) -> None:
    if not len(logits):
        return
    is_biased = bias is not None and routing.score != "sparsemixer"
    _route_kernel[(len(logits),)](
        logits.contiguous(),
        bias if is_biased else logits,
        chosen,
        logits if weights is None else weights,
        routing.scaling,
        2 * routing.jitter,
        **constants(routing, logits.shape[1], is_biased=is_biased),
        CHOOSES=chooses,
        WEIGHS=weights is not None,
        num_warps=1,
    )


def constants(routing: Routing, num_experts: int, *, is_biased: bool) -> dict[str, Any]:
    """Of the kernel, by the router alone."""
    by_groups = routing.score != "sparsemixer" and routing.top_groups < routing.num_groups
    groups = routing.num_groups if by_groups else 1
    return {
        "E": num_experts,
        "TOP_K": routing.top_k,
        "SCORE": routing.score,
        "RENORMALISE": routing.renormalise,
        "GROUPS": groups,
        "TOP_GROUPS": routing.top_groups if by_groups else 1,
        "BEST_TWO": routing.group_score == "best_two",
        "HAS_BIAS": is_biased,
        "GROUPS_PADDED": triton.next_power_of_2(groups),
        "SIZE_PADDED": triton.next_power_of_2(num_experts // groups),
        "TOP_K_PADDED": triton.next_power_of_2(routing.top_k),
    }


KERNELS: dict[str, Kernel] = {
    "choose_experts": choose_experts,
    "weigh_experts": weigh_experts,
    "route": route,
}
