"""Carries out a plan: tensors, the model, the sampler."""

from collections.abc import Callable
from collections.abc import Sequence as Many
from concurrent.futures import Future
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
from engine.nn.model import Traits
from engine.sampling.draw import Choice, Draw
from engine.sampling.logprobs import score
from engine.sampling.masks import Masks
from engine.sampling.masks import begin as begin_masks
from engine.sampling.sampler import UNSOUND, is_sound, sample
from engine.wire import Logprob


class LanguageModel(Protocol):
    """What the runner needs of a model; `engine.models` builds them."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def length_switch(self) -> int | None:
        """Sequences longer than this are computed in another way, from their first token on."""

    @property
    def traits(self) -> Traits: ...

    def forward(self, batch: ForwardBatch, caches: Many[CacheView]) -> Tensor:
        """Logits (R, vocab_size) float32 of the batch's `logit_rows`, or vectors."""


@dataclass(slots=True)
class Result:
    """What a step found out about one sequence: scores of prompt tokens, and what comes next.

    choices: none while there is prompt left to read, and where there is a failure; several where a
    draft was right. vector: its float32 values, of what was embedded or scored.
    """

    scores: list[Logprob] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    failure: Failure | None = None
    vector: bytes = b""


class Begun(Protocol):
    """A step that was begun. is_open: another may be, before anybody knows what came of this one."""

    @property
    def is_open(self) -> bool: ...

    def results(self) -> dict[Sequence, Result]:
        """Blocks until the step is done. Raises what the model raises. Once."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A step whose results nothing can be begun without."""

    results: Callable[[], dict[Sequence, Result]]
    is_open: bool = False


class Runner:
    """A model and its cache's tensors. Batches are made in host memory, wherever the model is."""

    def __init__(self, model: LanguageModel, caches: Many[CacheView], block_size: int) -> None:
        self.model = model
        self._caches = caches
        self._block_size = block_size

    def begin(self, plan: BatchPlan) -> Begun:
        """A plan of at least one chunk; here, all of it happens once its results are asked for."""
        return Closed(lambda: self.run(plan))

    @torch.inference_mode()
    def run(self, plan: BatchPlan) -> dict[Sequence, Result]:
        """Computes a plan of at least one chunk; blocks until it is done."""
        logits, masks = self._forward(plan)
        return results_of(plan, logits, masks.result() if masks else {})

    def _forward(self, plan: BatchPlan) -> "tuple[Tensor, Future[Masks] | None]":
        """Logits, and masks that are being made beside them, if there are grammars."""
        constrained = {
            chunk.sequence.constraint: chunk.draft
            for chunk in plan.chunks
            if chunk.samples and chunk.sequence.constraint
        }
        masks = begin_masks(constrained, self.model.vocab_size) if constrained else None
        try:
            batch = forward_batch(plan, self._block_size, _HOST)
            return self.model.forward(batch, self._caches), masks
        except BaseException:
            if (
                masks
            ):  # whoever is told of an error may count on it that nobody uses the constraints
                masks.result()
            raise


_HOST = torch.device("cpu")


def results_of(plan: BatchPlan, logits: Tensor, masks: Masks) -> dict[Sequence, Result]:
    """What a step's logits say of each sequence."""
    samplers = [chunk for chunk in plan.chunks if chunk.samples]
    if any(chunk.sequence.wants_scores for chunk in plan.chunks):
        results, last = _scored_apart(plan, logits)
    else:  # all rows there are; a copy of them would take as long as the draw
        results, last = {chunk.sequence: Result() for chunk in plan.chunks}, logits
    if samplers:
        _sample_into(results, samplers, last, masks)
    return results


def _scored_apart(plan: BatchPlan, logits: Tensor) -> tuple[dict[Sequence, Result], Tensor]:
    """What the scored rows say, and the rows to sample from."""
    parts = torch.split(logits, [len(logit_positions(chunk)) for chunk in plan.chunks])
    results = {
        chunk.sequence: _scored(chunk, part[: len(chunk.scored)])
        for chunk, part in zip(plan.chunks, parts, strict=True)
    }
    last = [part[len(chunk.scored) :] for chunk, part in zip(plan.chunks, parts, strict=True)]
    return results, torch.cat(last)


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


def _sample_into(
    results: dict[Sequence, Result], chunks: list[Chunk], last: Tensor, masks: Masks
) -> None:
    """Draws from each row of `last` (S, vocab), as many for a sampling chunk as its draft and one."""
    draws = [
        draw_of(chunk, guessed, masks)
        for chunk in chunks
        for guessed in range(len(chunk.draft) + 1)
    ]
    drawn = iter(sample(last, draws))
    for chunk in chunks:
        choices = [next(drawn) for _ in (*chunk.draft, None)]
        if isinstance(failure := _masks(chunk.sequence, masks), Failure):
            results[chunk.sequence].failure = failure
        else:
            _accept(results[chunk.sequence], chunk.draft, choices)


def _accept(result: Result, draft: Many[int], drawn: list[Choice | Failure]) -> None:
    """Takes what was drawn for as long as it is what was guessed, and the first that is not.

    A draw depends on the logits, the seed and the tokens before it, so these are the tokens that
    would have been drawn one by one.
    """
    for guess, choice in zip((*draft, None), drawn, strict=True):
        if isinstance(choice, Failure):
            if not result.choices:  # else it is of the next step, which fails by itself
                result.failure = choice
            return
        result.choices.append(choice)
        if choice.token_id != guess:
            return


def _masks(sequence: Sequence, masks: Masks) -> list[Tensor] | Failure | None:
    return masks[sequence.constraint] if sequence.constraint else None


def draw_of(chunk: Chunk, num_guessed: int, masks: Masks) -> Draw:
    """For the token behind so many of the draft's."""
    sequence, draft = chunk.sequence, chunk.draft[:num_guessed]
    found = _masks(sequence, masks)
    return Draw(
        sampling=sequence.sampling,
        seed=sequence.seed,
        token_ids=[*sequence.token_ids, *draft] if draft else sequence.token_ids,
        num_prompt=sequence.num_prompt,
        barred_ids=sequence.barred_ids(num_guessed),
        mask=found[num_guessed] if isinstance(found, list) else None,
    )
