"""Carries out a plan: tensors, the model, the sampler."""

from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from engine.api import Failure
from engine.cache.views import CacheView
from engine.core.batch import forward_batch, logit_positions
from engine.core.plan import BatchPlan, Chunk
from engine.core.sequence import Sequence
from engine.kernels.batch import ForwardBatch
from engine.sampling.draw import Choice, Draw
from engine.sampling.logprobs import score
from engine.sampling.sampler import UNSOUND, is_sound, sample
from engine.wire import Logprob


class LanguageModel(Protocol):
    """What the runner needs of a model; `engine.models` builds them."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def length_switch(self) -> int | None:
        """Sequences longer than this are computed in another way, from their first token on."""

    def forward(self, batch: ForwardBatch, caches: Many[CacheView]) -> Tensor:
        """Logits (R, vocab_size) float32 of the batch's `logit_rows`."""


@dataclass(slots=True)
class Result:
    """What a step found out about one sequence: scores of prompt tokens, and what comes next.

    choice is None while there is prompt left to read, and where there is a failure.
    """

    scores: list[Logprob] = field(default_factory=list)
    choice: Choice | None = None
    failure: Failure | None = None


class Runner:
    """A model and its cache's tensors."""

    def __init__(self, model: LanguageModel, caches: Many[CacheView], block_size: int) -> None:
        self.model = model
        self._caches = caches
        self._block_size = block_size
        tensors = (tensor for cache in caches for tensor in cache.tensors)
        self._device = next((tensor.device for tensor in tensors), torch.device("cpu"))

    @torch.inference_mode()
    def run(self, plan: BatchPlan) -> dict[Sequence, Result]:
        """Computes a plan of at least one chunk; blocks until it is done."""
        batch = forward_batch(plan, self._block_size, self._device)
        logits = self.model.forward(batch, self._caches)
        samplers = [chunk.sequence for chunk in plan.chunks if chunk.samples]
        if any(chunk.sequence.wants_scores for chunk in plan.chunks):
            results, last = _scored_apart(plan, logits)
        else:  # all rows there are; a copy of them would take as long as the draw
            results, last = {chunk.sequence: Result() for chunk in plan.chunks}, logits
        if samplers:
            _sample_into(results, samplers, last)
        return results


def _scored_apart(plan: BatchPlan, logits: Tensor) -> tuple[dict[Sequence, Result], Tensor]:
    """What the scored rows say, and the rows to sample from."""
    parts = torch.split(logits, [len(logit_positions(chunk)) for chunk in plan.chunks])
    results = {
        chunk.sequence: _scored(chunk, part[: len(chunk.scored)])
        for chunk, part in zip(plan.chunks, parts, strict=True)
    }
    last = [part[-1:] for chunk, part in zip(plan.chunks, parts, strict=True) if chunk.samples]
    return results, torch.cat(last) if last else logits[:0]


def _scored(chunk: Chunk, logits: Tensor) -> Result:
    """Log-probabilities of the prompt tokens behind the chunk's scored positions."""
    sequence = chunk.sequence
    if not sequence.wants_scores:
        return Result()
    if not all(is_sound(logits)):
        return Result(failure=UNSOUND)
    behind = [sequence.token_ids[position + 1] for position in chunk.scored]
    scores = score(logits, behind, [sequence.sampling.logprobs or 0] * len(behind))
    if sequence.num_scored == 0:
        scores.insert(0, Logprob(None, []))  # nothing predicts the first
    return Result(scores)


def _sample_into(results: dict[Sequence, Result], samplers: list[Sequence], last: Tensor) -> None:
    """Draws a token for each row of `last` (S, vocab), one row per sampling sequence."""
    for sequence, drawn in zip(samplers, sample(last, [_draw(s) for s in samplers]), strict=True):
        if isinstance(drawn, Failure):
            results[sequence].failure = drawn
        else:
            results[sequence].choice = drawn


def _draw(sequence: Sequence) -> Draw:
    return Draw(
        sampling=sequence.sampling,
        seed=sequence.seed,
        token_ids=sequence.token_ids,
        num_prompt=sequence.num_prompt,
        barred_ids=sequence.barred_ids,
    )
