"""Steps that are begun before the outcome of the one before them is known: when that may be. Pure.

A step is open if all that it draws is drawn on the device, by what was known when it began. The next may
then be planned as if every sequence went on. Until its token is known, -1 - its row among the step's
draws stands for it in the sequence, and so in the next step's batch.
"""

from collections.abc import Iterator

from engine.core.plan import BatchPlan, Chunk
from engine.core.sequence import Sequence


def is_open(plan: BatchPlan) -> bool:
    """Whether nothing of a step has to be seen on the host before another is begun."""
    return not any(_needs_the_host(chunk) for chunk in plan.chunks)


def _needs_the_host(chunk: Chunk) -> bool:
    """Grammars, guesses and penalties look at tokens, log-probabilities and scores at logits."""
    sequence, sampling = chunk.sequence, chunk.sequence.sampling
    return bool(
        chunk.draft
        or sequence.constraint
        or sequence.prediction
        or sequence.drafter
        or sampling.prompt_logprobs
        or sampling.logprobs is not None
        or sampling.repetition_penalty != 1
        or sampling.presence_penalty
        or sampling.frequency_penalty
    )


def draws_of(plan: BatchPlan) -> Iterator[tuple[Chunk, int]]:
    """The chunks of an open step that draw, each with its row."""
    draws = (chunk for chunk in plan.chunks if chunk.samples)
    yield from ((chunk, row) for row, chunk in enumerate(draws))


class Expected:
    """Sequences of the step that is being computed, as if it had ended and all had gone on."""

    def __init__(self) -> None:
        self._goes_on: dict[Sequence, bool] = {}
        self._drawing: set[Sequence] = set()

    def __contains__(self, sequence: Sequence) -> bool:
        return sequence in self._goes_on

    def add(self, chunk: Chunk, row: int | None) -> bool:
        """Its tokens are computed; row: where the next is drawn, if it is. Whether it goes on."""
        sequence = chunk.sequence
        sequence.num_computed = chunk.end
        goes_on = sequence.num_pending > 0  # there is prompt left
        if row is not None:
            sequence.token_ids.append(-1 - row)
            self._drawing.add(sequence)
            goes_on = sequence.num_output < sequence.max_tokens
        self._goes_on[sequence] = goes_on
        return goes_on

    def ends(self, sequence: Sequence) -> bool:
        """It has drawn, or is drawing, its last token."""
        return not self._goes_on.get(sequence, True)

    def take(self, sequence: Sequence) -> bool:
        """It is as it was, but computed; whether it was thought to go on. Nothing for one unknown."""
        if sequence in self._drawing:
            self._drawing.remove(sequence)
            sequence.token_ids.pop()
        return self._goes_on.pop(sequence, False)
