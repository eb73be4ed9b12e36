"""Draws one token per row: temperature, top-k, top-p, min-p, then an inverse CDF."""

import torch
from torch import Tensor

from engine.sampling.draw import Draw

NUCLEUS_TOKENS = 1024
"""Looked through first for the tokens that make up `top_p`."""

GREEDY_TEMPERATURE = 1e-5
"""At or below it the best token is taken: dividing by less would leave float32's range."""


def choose(logits: Tensor, draws: list[Draw]) -> list[int]:
    """A token id for each row of logits (S, vocab), whose best must be finite.

    A row's choice depends on its own logits and draw only: every operation works along one row.
    """
    chosen: list[int] = logits.argmax(-1).tolist()
    rows = [row for row, draw in enumerate(draws) if draw.sampling.temperature > GREEDY_TEMPERATURE]
    if rows:
        picked = _draw_all(logits[rows], [draws[row] for row in rows])
        for row, token_id in zip(rows, picked, strict=True):
            chosen[row] = token_id
    return chosen


def _draw_all(logits: Tensor, draws: list[Draw]) -> list[int]:
    """Draws rows together that need equally many tokens in order."""
    probabilities = _probabilities(logits, draws)
    rows_by_width: dict[int, list[int]] = {}
    for row, draw in enumerate(draws):
        rows_by_width.setdefault(_sorted_width(probabilities[row], draw), []).append(row)
    drawn = [0] * len(draws)
    for width, rows in rows_by_width.items():
        picked = _draw(probabilities[rows], [draws[row] for row in rows], width)
        for row, token_id in zip(rows, picked, strict=True):
            drawn[row] = token_id
    return drawn


def _sorted_width(probabilities: Tensor, draw: Draw) -> int:
    """How many of a row's best tokens must be in order: 0 if its filters need none."""
    vocab_size = len(probabilities)
    if _limits_k(draw, vocab_size):
        return draw.sampling.top_k
    if draw.sampling.top_p >= 1:
        return 0
    # sorting a whole vocabulary takes longer than many a decode, and a nucleus is mostly small
    head = min(NUCLEUS_TOKENS, vocab_size)
    mass = probabilities.topk(head).values.sum(dtype=torch.float64)
    return head if mass.item() > draw.sampling.top_p else vocab_size


def _limits_k(draw: Draw, vocab_size: int) -> bool:
    return 0 < draw.sampling.top_k < vocab_size


def _draw(probabilities: Tensor, draws: list[Draw], width: int) -> list[int]:
    ids, vocab_size = None, probabilities.shape[-1]
    if width:
        probabilities, ids = probabilities.topk(width, dim=-1)
        probabilities = _nucleus(probabilities, draws, vocab_size)
    places = _invert(_above_floor(probabilities, draws), draws)
    picked: list[int] = (places if ids is None else ids.gather(-1, places)).flatten().tolist()
    return picked


def best_of(values: Tensor) -> Tensor:
    """The greatest of each row, (S, 1); NaN where a row has one."""
    return torch.aminmax(values, dim=-1, keepdim=True).max  # amax is 15 times slower on a CPU


def _column(values: list[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).unsqueeze(-1)


def _probabilities(logits: Tensor, draws: list[Draw]) -> Tensor:
    temperature = _column([draw.sampling.temperature for draw in draws], logits)
    # the best becomes 0 first, so that no temperature can overflow
    return torch.softmax((logits - best_of(logits)) / temperature, dim=-1)


def _nucleus(probabilities: Tensor, draws: list[Draw], vocab_size: int) -> Tensor:
    """Drops what lies behind the first `top_p` of the mass. Rows are in falling order.

    Where top_k limits a row, the mass is that of its k best: it comes first, as elsewhere.
    """
    top_p = _column([draw.sampling.top_p for draw in draws], probabilities)
    reached = probabilities.cumsum(-1, dtype=torch.float64)
    limits_k = torch.tensor([_limits_k(draw, vocab_size) for draw in draws]).unsqueeze(-1)
    mass = torch.where(limits_k.to(reached.device), reached[:, -1:], 1.0)
    outside = (reached - probabilities >= top_p * mass) & (top_p < 1)
    outside[:, 0] = False
    return probabilities.masked_fill(outside, 0)


def _above_floor(probabilities: Tensor, draws: list[Draw]) -> Tensor:
    """Drops what is less likely than `min_p` times the best."""
    min_p = _column([draw.sampling.min_p for draw in draws], probabilities)
    floor = min_p * best_of(probabilities)
    return probabilities.masked_fill(probabilities < floor, 0)


def _invert(weights: Tensor, draws: list[Draw]) -> Tensor:
    """The first place whose cumulative weight exceeds the row's uniform number; (S, 1)."""
    cumulative = weights.cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1:].contiguous()
    target = _column([draw.uniform for draw in draws], total) * total
    # rounding may reach the total itself, behind which there is nothing
    target = torch.minimum(target, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, target, right=True)
