"""Bias and penalties: what moves logits before a token is chosen."""

from collections import Counter
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from engine.sampling.draw import Draw
from engine.sampling.upload import sent, there


def adjust(logits: Tensor, draws: list[Draw]) -> Tensor:
    """Logits (S, vocab) with each sequence's bias, penalties and barred tokens applied.

    The argument itself where nobody asks for any; it is never changed. Nothing waits for a device: what
    moves is gathered for all rows, and sent there at once.
    """
    if not any(map(_moves, draws)):
        return logits
    adjusted = logits.clone()
    for wishes, moved in (
        (_biases, _add),
        (_repeated, _divide),
        (_said, _subtract),
        (_barred, _bar),
    ):
        _move(adjusted, {row: wishes(draw) for row, draw in enumerate(draws)}, moved)
    masked = {row: draw.mask for row, draw in enumerate(draws) if draw.mask is not None}
    if masked:
        masks = there(torch.stack(list(masked.values())), logits.device)
        for row, mask in zip(masked, masks, strict=True):
            adjusted[row].masked_fill_(mask, -torch.inf)
    return adjusted


def _moves(draw: Draw) -> bool:
    sampling = draw.sampling
    return (
        bool(draw.barred_ids or sampling.logit_bias)
        or draw.mask is not None
        or sampling.repetition_penalty != 1
        or sampling.presence_penalty != 0
        or sampling.frequency_penalty != 0
    )


Wishes = Mapping[int, float]
"""By token, how far or by how much its logit moves."""


def _move(
    adjusted: Tensor, wishes: Mapping[int, Wishes], moved: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """Moves all rows' tokens at once. No token comes twice in a row."""
    vocab_size = adjusted.shape[1]
    places = [row * vocab_size + token for row, wish in wishes.items() for token in wish]
    if not places:
        return
    at = sent(places, torch.int64, adjusted.device)
    amounts = [amount for wish in wishes.values() for amount in wish.values()]
    flat = adjusted.view(-1)
    flat[at] = moved(flat[at], sent(amounts, adjusted.dtype, adjusted.device))


def _biases(draw: Draw) -> Wishes:
    return draw.sampling.logit_bias


def _repeated(draw: Draw) -> Wishes:
    """Prompt and output alike, each token once; divides what is positive, multiplies the rest.

    As transformers' RepetitionPenaltyLogitsProcessor and llama.cpp have it (arXiv 1909.05858).
    """
    penalty = draw.sampling.repetition_penalty
    return {} if penalty == 1 else dict.fromkeys(draw.token_ids, penalty)


def _said(draw: Draw) -> Wishes:
    """Output tokens alone, as OpenAI's reference defines: once if present, and by their count."""
    sampling = draw.sampling
    if not sampling.presence_penalty and not sampling.frequency_penalty:
        return {}
    return {
        token: sampling.presence_penalty + sampling.frequency_penalty * count
        for token, count in Counter(draw.output_ids).items()
    }


def _barred(draw: Draw) -> Wishes:
    """Unless a grammar allows no others: it is complete, though more was asked for."""
    barred = list(draw.barred_ids)
    if not barred or (draw.mask is not None and _leaves_only(draw.mask, barred)):
        return {}
    return dict.fromkeys(barred, -torch.inf)


def _leaves_only(mask: Tensor, barred: list[int]) -> bool:
    num_left = len(mask) - int(mask.count_nonzero())
    return num_left == len(barred) - int(mask[barred].count_nonzero())


def _add(logits: Tensor, amounts: Tensor) -> Tensor:
    return logits + amounts


def _subtract(logits: Tensor, amounts: Tensor) -> Tensor:
    return logits - amounts


def _divide(logits: Tensor, amounts: Tensor) -> Tensor:
    return torch.where(logits < 0, logits * amounts, logits / amounts)


def _bar(_logits: Tensor, amounts: Tensor) -> Tensor:
    return amounts
