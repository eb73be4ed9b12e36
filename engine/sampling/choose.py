"""Draws one token per row: temperature, top-k, top-p, min-p, then an inverse CDF.

What a draw is; `native` and `device` do the same where they can. A token weighs e^((logit - best) /
temperature). Of the tokens, the heaviest before the lighter and among equals the first before the later,
the first `top_k` stay; of these the first that make up `top_p` of their mass; of these those that weigh
`min_p` or more. Then they are walked through by id until `uniform` of their mass is passed.
"""

import torch
from torch import Tensor

from engine.sampling.draw import Draw

NUCLEUS_TOKENS = 1024
"""Looked through first for the tokens that make up `top_p`."""


def choose(logits: Tensor, draws: list[Draw]) -> list[int]:
    """A token id for each row of logits (S, vocab), whose best must be finite.

    A row's choice depends on its own logits and draw only: every operation works along one row.
    """
    chosen: list[int] = logits.argmax(-1).tolist()
    rows = [row for row, draw in enumerate(draws) if not draw.is_greedy]
    if rows:
        picked = _draw_all(logits[rows], [draws[row] for row in rows])
        for row, token_id in zip(rows, picked, strict=True):
            chosen[row] = token_id
    return chosen


def _draw_all(logits: Tensor, draws: list[Draw]) -> list[int]:
    weights = _weights(logits, draws)
    for row, draw in enumerate(draws):
        if (count := _count(weights[row], draw)) < logits.shape[-1]:
            weights[row] = _heaviest(weights[row], count)
    floor = _column([draw.sampling.min_p for draw in draws], weights)
    picked: list[int] = _invert(weights.masked_fill(weights < floor, 0), draws).flatten().tolist()
    return picked


def best_of(values: Tensor) -> Tensor:
    """The greatest of each row, (S, 1); NaN where a row has one."""
    return torch.aminmax(values, dim=-1, keepdim=True).max  # amax is 15 times slower on a CPU


def _column(values: list[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).unsqueeze(-1)


def _weights(logits: Tensor, draws: list[Draw]) -> Tensor:
    temperature = _column([draw.temperature for draw in draws], logits)
    # the best becomes 0 first, so that no temperature can overflow
    return ((logits - best_of(logits)) / temperature).exp()


def _count(weights: Tensor, draw: Draw) -> int:
    """How many of a row's heaviest tokens `top_k` and then `top_p` leave."""
    vocab_size, sampling = len(weights), draw.sampling
    most = min(sampling.top_k if sampling.top_k > 0 else vocab_size, vocab_size)
    if sampling.top_p >= 1:
        return most
    top_p = torch.tensor(sampling.top_p, dtype=torch.float32).item()  # as it has all that is asked
    falling = weights.topk(most if most < vocab_size else min(NUCLEUS_TOKENS, most)).values.double()
    mass = top_p * (falling if most < vocab_size else weights).sum(dtype=torch.float64)
    if falling.sum() < mass:  # sorting a whole vocabulary takes longer than many a decode
        falling = weights.topk(most).values.double()
    before = falling.cumsum(0) - falling
    return max(1, int((before < mass).count_nonzero()))


def _heaviest(weights: Tensor, count: int) -> Tensor:
    """A row with 0 for all but so many; of those that weigh the same, the first stay."""
    least = weights.topk(count).values[-1]
    heavier, tied = weights > least, weights == least
    stays = heavier | (tied & (tied.cumsum(0) <= count - heavier.count_nonzero()))
    return weights.where(stays, 0)


def _invert(weights: Tensor, draws: list[Draw]) -> Tensor:
    """The first place whose cumulative weight exceeds the row's uniform number; (S, 1)."""
    cumulative = weights.cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1:].contiguous()
    target = _column([draw.uniform for draw in draws], total) * total
    # rounding may reach the total itself, behind which there is nothing
    target = torch.minimum(target, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, target, right=True)
