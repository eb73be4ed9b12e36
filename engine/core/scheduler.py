"""Decides what each step of a model computes. No tensors, no clock."""

from collections import deque
from collections.abc import Iterator, Mapping

from engine.api import EngineError
from engine.cache.manager import NO_PREFIX, CacheManager
from engine.core.plan import BatchPlan, Chunk, PromptCount, chunk_of
from engine.core.sequence import Sequence

MAX_SEQUENCES = 32

_LONG = b" beyond length_switch"


class Scheduler:
    """Continuous batching: decodes first, then as much prefill as the step's budget allows.

    Sequences run in order of arrival. When blocks run out, the newest is preempted and computed
    anew later, so the oldest always advances and everything ends. State slots never run out, since
    a sequence keeps the one that it was admitted with.

    max_scored_rows: prompt positions per step whose logits may be asked for; they are the largest
    tensors of a step (rows times vocabulary). length_switch: as of `LanguageModel`.
    """

    def __init__(
        self,
        cache: CacheManager,
        max_sequences: int = MAX_SEQUENCES,
        max_scored_rows: int = 256,
        length_switch: int | None = None,
    ) -> None:
        self.cache = cache
        self._max_sequences = max_sequences
        self._max_scored_rows = max_scored_rows
        self._length_switch = length_switch
        # every running sequence is older than every waiting one
        self._running: list[Sequence] = []
        self._waiting: deque[Sequence] = deque()
        self._begun = PromptCount()

    def __len__(self) -> int:
        return len(self._running) + len(self._waiting)

    def __iter__(self) -> Iterator[Sequence]:
        yield from self._running
        yield from self._waiting

    @property
    def is_idle(self) -> bool:
        return not self._running and not self._waiting

    @property
    def num_running(self) -> int:
        return len(self._running)

    def add(self, sequence: Sequence) -> None:
        """Queues a sequence; raises `EngineError` if its prompt exceeds the whole cache."""
        needed, there = self.cache.blocks_for(sequence.num_prompt), self.cache.num_blocks
        if needed > there:
            size = self.cache.block_size
            raise EngineError(
                "out_of_memory",
                f"the prompt needs {needed * size} tokens of cache, the model has {there * size}",
            )
        self._waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Ends a sequence, wherever it is, and frees its blocks. Unknown ones are ignored."""
        if sequence in self._running:
            self._running.remove(sequence)
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
        self.cache.release(sequence.table)

    def begin_anew(self, cache: CacheManager) -> None:
        """Goes on over another cache, an empty one: what ran is computed again, in its order."""
        while self._running:
            self._preempt(self._running[-1])
        self.cache = cache

    def take_begun(self) -> PromptCount:
        """The prompts that began since this was last asked."""
        begun, self._begun = self._begun, PromptCount()
        return begun

    def schedule(self, token_budget: int) -> BatchPlan:
        """The next step: every decode, and prefill up to the budget, but always some of each."""
        starved: list[Sequence] = []
        chunks = self._decodes(starved)
        left = max(token_budget - len(chunks), self.cache.block_size)
        chunks += self._prefills(left, starved)
        return BatchPlan(tuple(chunks), tuple(starved))

    def complete(self, plan: BatchPlan, drawn: Mapping[Sequence, int]) -> None:
        """A step was computed and these tokens drawn. Sequences removed since are passed over."""
        for chunk in plan.chunks:
            if chunk.sequence in self._running:
                self._advance(chunk, drawn.get(chunk.sequence))

    def check(self) -> None:
        """Asserts that no block is lost, and that all are free when nothing is there to run."""
        self.cache.check()
        assert all(self.cache.holds(sequence.table) for sequence in self._running)
        assert not any(self.cache.holds(sequence.table) for sequence in self._waiting)
        assert self.cache.num_tables == self.num_running, "blocks or slots leaked"

    # --- decode ---------------------------------------------------------------------------------

    def _decodes(self, starved: list[Sequence]) -> list[Chunk]:
        chunks = []
        for sequence in list(self._running):
            if sequence in self._running and sequence.num_pending == 1:
                self._begin_anew_if_long(sequence)
                if self._make_room(sequence):
                    # one that begins anew prefills
                    chunks += [chunk_of(sequence, 1)] if sequence.num_pending == 1 else []
                elif self.num_running == 1 and sequence in self._running:
                    self.remove(sequence)
                    starved.append(sequence)
        return chunks

    def _make_room(self, sequence: Sequence) -> bool:
        """Reserves the next token's place; False if the sequence gave way, or is alone and full."""
        while not self.cache.reserve(sequence.table, sequence.token_ids):
            if self.num_running == 1:
                return False
            newest = self._running[-1]
            self._preempt(newest)
            if newest is sequence:
                return False
        return True

    def _begin_anew_if_long(self, sequence: Sequence) -> None:
        """Past the switch nothing holds that is cached of it, or of shorter ones that begin alike."""
        table, switch = sequence.table, self._length_switch
        if switch is None or len(sequence.token_ids) <= switch or table.salt.endswith(_LONG):
            return
        self.cache.change_salt(table, table.salt + _LONG)
        sequence.num_computed = 0

    def _preempt(self, sequence: Sequence) -> None:
        self._running.remove(sequence)
        self.cache.release(sequence.table)
        sequence.num_computed = 0
        self._waiting.appendleft(sequence)

    # --- prefill --------------------------------------------------------------------------------

    def _prefills(self, token_budget: int, starved: list[Sequence]) -> list[Chunk]:
        chunks: list[Chunk] = []
        rows = self._max_scored_rows
        for sequence in self._prefilling(starved):
            limit = min(token_budget, rows) if sequence.wants_scores else token_budget
            if limit > 0:
                limit = self.cache.max_chunk(sequence.table, sequence.num_computed, limit)
                chunk = chunk_of(sequence, limit)
                chunks.append(chunk)
                token_budget -= chunk.num_tokens
                rows -= len(chunk.scored)
            if token_budget <= 0:
                break
        return chunks

    def _prefilling(self, starved: list[Sequence]) -> Iterator[Sequence]:
        """Running sequences that still read, then newly admitted ones, one at a time."""
        yield from [sequence for sequence in self._running if sequence.num_pending > 1]
        while self._waiting and self.num_running < self._max_sequences:
            sequence = self._waiting[0]
            if self._admit(sequence):
                yield sequence
            elif self._running:
                return
            else:  # all blocks and slots are free, and the blocks too few: it outgrew the cache
                self.remove(sequence)
                starved.append(sequence)

    def _admit(self, sequence: Sequence) -> bool:
        """Reserves all that is known of a sequence, so that only decodes ever lack a block."""
        self._begin_anew_if_long(sequence)
        table, tokens = sequence.table, sequence.token_ids
        prefix = NO_PREFIX if sequence.wants_scores else self.cache.reusable(table, tokens)
        # a block to spare for each running sequence, lest the newcomer be preempted at once
        if not self.cache.can_reserve(len(tokens), prefix, spare=self.num_running):
            return False
        self.cache.reserve(table, tokens, prefix)
        sequence.num_computed = prefix.num_tokens
        if sequence.num_cached is None:
            sequence.num_cached = sequence.num_computed
            self._begun += PromptCount(sequence.num_prompt, sequence.num_cached)
        self._running.append(self._waiting.popleft())
        return True

    # --- after the step -------------------------------------------------------------------------

    def _advance(self, chunk: Chunk, token_id: int | None) -> None:
        sequence = chunk.sequence
        sequence.num_computed = chunk.end
        if sequence.wants_scores:
            sequence.num_scored = max(sequence.num_scored, min(chunk.end + 1, sequence.num_prompt))
        if token_id is not None:
            sequence.append(token_id)
        elif not sequence.num_pending:
            sequence.finish_reason = "length"  # it only scored its prompt
        self.cache.commit(
            sequence.table,
            sequence.token_ids,
            chunk.end,
            goes_on=not sequence.finish_reason,
            spare=min(len(self._waiting), self._max_sequences - self.num_running),
        )
        if sequence.finish_reason:
            self.remove(sequence)
