"""Bias and penalties: what moves logits before a token is chosen."""

from collections import Counter

import torch
from torch import Tensor

from engine.sampling.draw import Draw


def adjust(logits: Tensor, draws: list[Draw]) -> Tensor:
    """Logits (S, vocab) with each sequence's bias, penalties and barred tokens applied.

    The argument itself where nobody asks for any; it is never changed.
    """
    rows = [row for row, draw in enumerate(draws) if _moves(draw)]
    if not rows:
        return logits
    adjusted = logits.clone()
    for row in rows:
        _adjust_row(adjusted[row], draws[row])
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


def _adjust_row(logits: Tensor, draw: Draw) -> None:
    sampling = draw.sampling
    if sampling.logit_bias:
        logits[list(sampling.logit_bias)] += logits.new_tensor(list(sampling.logit_bias.values()))
    if sampling.repetition_penalty != 1:
        _penalize_repetition(logits, draw)
    if draw.output_ids and (sampling.presence_penalty or sampling.frequency_penalty):
        _penalize_output(logits, draw)
    if draw.barred_ids:
        _bar(logits, draw)
    if draw.mask is not None:
        logits.masked_fill_(draw.mask, -torch.inf)


def _bar(logits: Tensor, draw: Draw) -> None:
    """Bars tokens, unless a grammar allows no others: it is complete, though more was asked for."""
    barred = list(draw.barred_ids)
    if draw.mask is not None and _leaves_only(draw.mask, barred):
        return
    logits[barred] = -torch.inf


def _leaves_only(mask: Tensor, barred: list[int]) -> bool:
    num_left = len(mask) - int(mask.count_nonzero())
    return num_left == len(barred) - int(mask[barred].count_nonzero())


def _penalize_repetition(logits: Tensor, draw: Draw) -> None:
    """Prompt and output alike, each token once; divides what is positive, multiplies the rest.

    As transformers' RepetitionPenaltyLogitsProcessor and llama.cpp have it (arXiv 1909.05858).
    """
    seen = torch.tensor(sorted(set(draw.token_ids)), device=logits.device)
    values, penalty = logits[seen], draw.sampling.repetition_penalty
    logits[seen] = torch.where(values < 0, values * penalty, values / penalty)


def _penalize_output(logits: Tensor, draw: Draw) -> None:
    """Output tokens alone, as OpenAI's reference defines: once if present, and by their count."""
    counts = Counter(draw.output_ids)
    sampling = draw.sampling
    penalties = [
        sampling.presence_penalty + sampling.frequency_penalty * count for count in counts.values()
    ]
    logits[list(counts)] -= logits.new_tensor(penalties)
