"""What one step of a model computes."""

from dataclasses import dataclass, replace

from engine.core.sequence import Sequence


@dataclass(frozen=True, slots=True)
class PromptCount:
    """Tokens of prompts, and how many of them a cache had."""

    num_tokens: int = 0
    num_cached: int = 0

    def __add__(self, other: "PromptCount") -> "PromptCount":
        return PromptCount(self.num_tokens + other.num_tokens, self.num_cached + other.num_cached)


@dataclass(frozen=True, slots=True)
class DraftCount:
    """Tokens that were guessed, and how many of them were right."""

    num_drafted: int = 0
    num_accepted: int = 0

    def __add__(self, other: "DraftCount") -> "DraftCount":
        return DraftCount(
            self.num_drafted + other.num_drafted, self.num_accepted + other.num_accepted
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """A sequence's tokens `start` to `end`, the last of them a draft if there is one.

    scored: positions whose logits score the prompt token behind them.
    samples: the last position's logits choose the next token; and so do those before each token of
    the draft.
    draft: guesses at what follows the sequence's own tokens.
    """

    sequence: Sequence
    start: int
    end: int
    scored: range
    samples: bool
    draft: tuple[int, ...] = ()

    @property
    def num_tokens(self) -> int:
        return self.end - self.start

    @property
    def token_ids(self) -> list[int]:
        return [*self.sequence.token_ids[self.start : self.end], *self.draft]

    def with_draft(self, draft: tuple[int, ...]) -> "Chunk":
        """A decode that goes on as if these tokens came next."""
        return replace(self, end=self.end + len(draft), draft=draft)


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Chunks to compute together; `starved` lists sequences that no cache of this size can hold."""

    chunks: tuple[Chunk, ...]
    starved: tuple[Sequence, ...] = ()

    @property
    def num_tokens(self) -> int:
        return sum(chunk.num_tokens for chunk in self.chunks)

    @property
    def num_prefill_tokens(self) -> int:
        return sum(c.num_tokens for c in self.chunks if c.num_tokens > 1 and not c.draft)


def chunk_of(sequence: Sequence, max_tokens: int) -> Chunk:
    """The next tokens of a sequence, at most so many."""
    start = sequence.num_computed
    end = min(len(sequence.token_ids), start + max_tokens)
    is_last = end == len(sequence.token_ids)
    return Chunk(sequence, start, end, _scored(sequence, end), is_last and sequence.max_tokens > 0)


def _scored(sequence: Sequence, end: int) -> range:
    # after a preemption the cache is computed anew, but no score is given twice
    if not sequence.wants_scores:
        return range(0)
    first = max(sequence.num_computed, sequence.num_scored - 1)
    return range(first, max(first, min(end, sequence.num_prompt - 1)))
