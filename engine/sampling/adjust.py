"""Bias and penalties: what moves logits before a token is chosen."""

from collections import Counter

import torch
from torch import Tensor

from engine.api import Sampling
from engine.sampling.draw import Draw


def adjust(logits: Tensor, draws: list[Draw]) -> Tensor:
    """Logits (S, vocab) with each sequence's bias, penalties and barred tokens applied.

    The argument itself where nobody asks for any; it is never changed.
    """
    rows = [row for row, draw in enumerate(draws) if draw.barred_ids or _moves(draw.sampling)]
    if not rows:
        return logits
    adjusted = logits.clone()
    for row in rows:
        _adjust_row(adjusted[row], draws[row])
    return adjusted


def _moves(sampling: Sampling) -> bool:
    return (
        bool(sampling.logit_bias)
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
        logits[list(draw.barred_ids)] = -torch.inf


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
