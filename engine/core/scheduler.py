"""Decides what each step of a model computes. No tensors, no clock."""

from collections import deque
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Many
from itertools import islice

from engine.api import EngineError
from engine.cache.manager import NO_PREFIX, CacheManager
from engine.core.ahead import Expected, draws_of
from engine.core.drafts import Drafter
from engine.core.forced import ForcedDrafter
from engine.core.plan import BatchPlan, Chunk, DraftCount, PromptCount, chunk_of
from engine.core.predictions import Predictor
from engine.core.sequence import Sequence
from engine.models.limits import HOST

MAX_DRAFTED_ROWS = 16
"""Rows of a step with drafts. A step of 3 takes some 1.2 times as long as one of a single row, of 5
1.8, of 9 2.2, of 16 2.6 (two models on 2 busy cores); more were not measured."""

_MANY = 64
"""More that wait change nothing for those that run."""

_LONG = b" beyond length_switch"


class Scheduler:
    """Continuous batching: decodes first, then as much prefill as the step's budget allows.

    Sequences run in order of arrival. When blocks run out, the newest is preempted and computed
    anew later, so the oldest always advances and everything ends. State slots never run out, since
    a sequence keeps the one that it was admitted with.

    max_scored_rows: prompt positions per step whose logits may be asked for; they are the largest
    tensors of a step (rows times vocabulary). length_switch: as of `LanguageModel`.
    max_draft_tokens: guesses per sequence and step. A state cannot take back a token, so models
    with states are spared them.
    """

    def __init__(
        self,
        cache: CacheManager,
        max_sequences: int = HOST.sequences,
        max_scored_rows: int = 256,
        length_switch: int | None = None,
        max_draft_tokens: int = 0,
    ) -> None:
        self.cache = cache
        self._max_sequences = max_sequences
        self._max_scored_rows = max_scored_rows
        self._length_switch = length_switch
        self._max_draft_tokens = max_draft_tokens
        # every running sequence is older than every waiting one
        self._running: list[Sequence] = []
        self._waiting: deque[Sequence] = deque()
        self._expected = Expected()
        self._begun = PromptCount()
        self._drafted = DraftCount()
        self._num_preempted = 0

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

    def unread(self) -> list[int]:
        """Tokens of the prompts that are still to be read, in their order; of so many that matter."""
        reading = (sequence for sequence in self if sequence.num_pending > 1)
        return [sequence.num_pending for sequence in islice(reading, _MANY)]

    def runs(self, sequence: Sequence) -> bool:
        """It was admitted, and has neither ended nor given way."""
        return sequence in self._running

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
        self._expected.take(sequence)
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

    def take_preempted(self) -> int:
        """How often a sequence had to begin again since this was last asked."""
        preempted, self._num_preempted = self._num_preempted, 0
        return preempted

    def take_drafted(self) -> DraftCount:
        """The guesses made since this was last asked."""
        drafted, self._drafted = self._drafted, DraftCount()
        return drafted

    def schedule(self, token_budget: int) -> BatchPlan:
        """The next step: every decode, and prefill up to the budget, but always some of each."""
        starved: list[Sequence] = []
        chunks = self._decodes(starved)
        left = max(token_budget - len(chunks), self.cache.block_size)
        chunks += self._prefills(left, starved)
        if not self.cache.num_slots:
            chunks = self._with_drafts(chunks)
        return BatchPlan(tuple(chunks), tuple(starved))

    def schedule_ahead(self, plan: BatchPlan, token_budget: int) -> BatchPlan | None:
        """The step behind an open one that is being computed, as if all in that went on. Once for each.

        None where it takes the outcome to know who goes on: somebody would have to give way, or to
        begin anew. Nothing that is computed is shared before `complete`.
        """
        rows = {chunk.sequence: row for chunk, row in draws_of(plan)}
        for chunk in plan.chunks:
            sequence = chunk.sequence
            if sequence in self._running and self._expected.add(chunk, rows.get(sequence)):
                self.cache.go_on(
                    sequence.table, sequence.token_ids, chunk.end, spare=self._spare_slots
                )
        if self._max_draft_tokens or not self._have_room():
            return None
        return self.schedule(token_budget)

    def complete(self, plan: BatchPlan, drawn: Mapping[Sequence, Many[int]]) -> dict[Sequence, int]:
        """A step was computed and these tokens drawn; gives how many of them each sequence took.

        What is drawn behind a sequence's end is left. Sequences removed since are passed over.
        """
        return {
            chunk.sequence: self._advance(chunk, drawn.get(chunk.sequence, ()))
            for chunk in plan.chunks
            if chunk.sequence in self._running
        }

    def check(self) -> None:
        """Asserts that no block is lost, and that all are free when nothing is there to run."""
        self.cache.check()
        assert all(self.cache.holds(sequence.table) for sequence in self._running)
        assert not any(self.cache.holds(sequence.table) for sequence in self._waiting)
        assert not any(map(self._holds_too_much, self._running)), "blocks were left behind drafts"
        assert self.cache.num_tables == self.num_running, "blocks or slots leaked"

    def _holds_too_much(self, sequence: Sequence) -> bool:
        return len(sequence.table.blocks) > self.cache.blocks_for(len(sequence.token_ids))

    # --- decode ---------------------------------------------------------------------------------

    def _decodes(self, starved: list[Sequence]) -> list[Chunk]:
        chunks = []
        for sequence in list(self._running):
            if sequence in self._running and self._decodes_next(sequence):
                self._begin_anew_if_long(sequence)
                if self._make_room(sequence):
                    # one that begins anew prefills
                    chunks += [chunk_of(sequence, 1)] if sequence.num_pending == 1 else []
                elif self.num_running == 1 and sequence in self._running:
                    self.remove(sequence)
                    starved.append(sequence)
        return chunks

    def _decodes_next(self, sequence: Sequence) -> bool:
        return sequence.num_pending == 1 and not self._expected.ends(sequence)

    def _have_room(self) -> bool:
        """Whether all that decode can do so where they are."""
        decoding = [sequence for sequence in self._running if self._decodes_next(sequence)]
        missing = sum(
            self.cache.blocks_for(len(sequence.token_ids)) - len(sequence.table.blocks)
            for sequence in decoding
        )
        return missing <= self.cache.num_free and not any(map(self._outgrew, decoding))

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
        if self._outgrew(sequence):
            self.cache.change_salt(sequence.table, sequence.table.salt + _LONG)
            sequence.num_computed = 0

    def _outgrew(self, sequence: Sequence) -> bool:
        switch = self._length_switch
        is_long = switch is not None and len(sequence.token_ids) > switch
        return is_long and not sequence.table.salt.endswith(_LONG)

    def _preempt(self, sequence: Sequence) -> None:
        self._num_preempted += 1
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

    # --- drafts ---------------------------------------------------------------------------------

    def _with_drafts(self, chunks: list[Chunk]) -> list[Chunk]:
        """Lets decodes guess ahead, in rows and blocks that nobody else needs in this step."""
        found = []
        rows = MAX_DRAFTED_ROWS - sum(chunk.num_tokens for chunk in chunks)
        for place, chunk in enumerate(chunks):
            share = rows // (len(chunks) - place)
            if share > 0 and chunk.num_tokens == 1 and chunk.samples:
                chunk = self._with_draft(chunk, share)  # noqa: PLW2901
                rows -= len(chunk.draft)
            found.append(chunk)
        return found

    def _with_draft(self, chunk: Chunk, limit: int) -> Chunk:
        sequence = chunk.sequence
        if sequence.wants_scores:
            return chunk
        if sequence.drafter is None:
            sequence.drafter = self._drafter_of(sequence)
        if sequence.drafter is None:
            return chunk
        limit = min(limit, self._draft_limit(sequence))
        draft = sequence.drafter.draft(sequence.token_ids, limit)
        self.cache.grow(sequence.table, chunk.end + len(draft))
        return chunk.with_draft(draft)

    def _drafter_of(self, sequence: Sequence) -> Drafter | None:
        """Grammars and clients that predict are let guess, whether sequences do by themselves or not."""
        most = self._max_draft_tokens
        if sequence.constraint:
            return ForcedDrafter(
                MAX_DRAFTED_ROWS - 1, constraint=sequence.constraint, falls_back=most > 0
            )
        if sequence.prediction:
            return Predictor(
                MAX_DRAFTED_ROWS - 1,
                prediction=sequence.prediction,
                num_prompt=sequence.num_prompt,
                falls_back=most > 0,
            )
        return Drafter(most) if most else None

    def _draft_limit(self, sequence: Sequence) -> int:
        """So many that one more token may still be drawn, and is computed as they are."""
        length, switch = len(sequence.token_ids), self._length_switch
        most = min(
            sequence.max_tokens - sequence.num_output - 1,
            self.cache.room_for(sequence.table) - length,
        )
        if switch is not None and length <= switch:
            most = min(most, switch - length)
        return int(most)

    # --- after the step -------------------------------------------------------------------------

    def _advance(self, chunk: Chunk, drawn: Many[int]) -> int:
        sequence = chunk.sequence
        went_on = self._expected.take(sequence)
        sequence.num_computed = chunk.end - len(chunk.draft)
        if sequence.wants_scores:
            sequence.num_scored = max(sequence.num_scored, min(chunk.end + 1, sequence.num_prompt))
        num_taken = self._append(sequence, drawn)
        if not num_taken and not sequence.num_pending:
            sequence.finish_reason = "length"  # it only scored its prompt
        if chunk.draft:
            self._judge(chunk, num_taken)
        if went_on:
            self.cache.share(sequence.table, sequence.token_ids, chunk.end)
        else:
            self.cache.commit(
                sequence.table,
                sequence.token_ids,
                sequence.num_computed,
                goes_on=not sequence.finish_reason,
                spare=self._spare_slots,
            )
        if sequence.finish_reason:
            self.remove(sequence)
        return num_taken

    @property
    def _spare_slots(self) -> int:
        """For newcomers."""
        return min(len(self._waiting), self._max_sequences - self.num_running)

    def _append(self, sequence: Sequence, drawn: Many[int]) -> int:
        for count, token_id in enumerate(drawn, start=1):
            sequence.append(token_id)
            if sequence.finish_reason:
                return count
        return len(drawn)

    def _judge(self, chunk: Chunk, num_taken: int) -> None:
        """Keeps what the draft was right about; what lies behind is overwritten in the next step."""
        sequence, num_accepted = chunk.sequence, num_taken - 1
        sequence.num_computed += num_accepted
        self.cache.shrink(sequence.table, sequence.num_computed)
        self._drafted += DraftCount(len(chunk.draft), num_accepted)
        if sequence.drafter:
            sequence.drafter.judged(len(chunk.draft), num_accepted)
