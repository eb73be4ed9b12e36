"""The scheduler of models that read a text in one step: encoders."""

from collections.abc import Iterator

from engine.core.plan import Chunk, chunk_of
from engine.core.scheduler import Scheduler
from engine.core.sequence import Sequence


class WholeScheduler(Scheduler):
    """Whole sequences in order of arrival, as many as the budget allows, but always one."""

    def _decodes(self, starved: list[Sequence]) -> list[Chunk]:  # noqa: ARG002
        return []  # a text of one token is read as any other

    def _prefills(self, token_budget: int, starved: list[Sequence]) -> list[Chunk]:
        chunks: list[Chunk] = []
        for sequence in self._prefilling(starved):
            num_tokens = len(sequence.token_ids)
            if chunks and num_tokens > token_budget:
                break  # it was admitted, and is the next step's first
            chunks.append(chunk_of(sequence, num_tokens))
            token_budget -= num_tokens
        return chunks

    def _prefilling(self, starved: list[Sequence]) -> Iterator[Sequence]:  # noqa: ARG002
        yield from list(self._running)
        while self._waiting and self.num_running < self._max_sequences:
            self._admit(self._waiting[0])  # nothing is kept of it, so there is always room
            yield self._running[-1]
