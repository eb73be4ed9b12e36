"""The scheduler's guesses: who may make how many, in whose blocks, and what is left of them."""

import pytest

from engine.api import Sampling
from engine.cache.manager import CacheManager
from engine.core.plan import BatchPlan, DraftCount
from engine.core.scheduler import MAX_DRAFTED_ROWS, Scheduler
from engine.core.sequence import Sequence

CYCLE = [1, 2, 3, 4, 5, 6, 7, 8]
"""Said twice, it is expected to go on."""


def repeating(max_tokens: int = 40, first: int = 0) -> Sequence:
    """Begins with a token of its own, so that it shares no block."""
    return Sequence([100 + first, *CYCLE, *CYCLE], max_tokens)


def scheduler_of(
    *sequences: Sequence, num_blocks: int = 64, most: int = 8, **limits: int
) -> Scheduler:
    """One whose sequences have read their prompts and drawn the cycle's first token."""
    scheduler = Scheduler(CacheManager(num_blocks, 4), max_draft_tokens=most, **limits)
    for sequence in sequences:
        scheduler.add(sequence)
    plan = scheduler.schedule(512)
    scheduler.complete(plan, {c.sequence: [1] for c in plan.chunks})
    return scheduler


def right(plan: BatchPlan, num_right: int = 99) -> dict[Sequence, list[int]]:
    """So many tokens of each draft are right, and a strange one comes behind."""
    return {c.sequence: [*c.draft[:num_right], 50 + c.end] for c in plan.chunks if c.samples}


def test_a_decode_carries_what_followed_before():
    """The last token's row, and one for each guess."""
    sequence = repeating()
    (chunk,) = scheduler_of(sequence).schedule(64).chunks

    assert chunk.draft == (2, 3, 4)
    assert (chunk.start, chunk.end) == (17, 21)
    assert chunk.token_ids == [1, 2, 3, 4]


def test_a_right_draft_is_taken_whole_and_a_half_right_one_in_part():
    """Computed is what the model read of the sequence's own tokens, and blocks are held for no more."""
    for num_right in range(4):
        sequence = repeating()
        scheduler = scheduler_of(sequence)
        plan = scheduler.schedule(64)
        taken = scheduler.complete(plan, right(plan, num_right))
        scheduler.check()

        assert taken == {sequence: num_right + 1}
        assert sequence.token_ids[18:] == [*(2, 3, 4)[:num_right], 71]
        assert sequence.num_computed == 18 + num_right
        assert len(sequence.table.blocks) == -(-sequence.num_computed // 4)
        assert scheduler.take_drafted() == DraftCount(3, num_right)


def test_only_accepted_tokens_are_shared():
    """A block that a wrong draft filled is found under no name."""
    sequence = repeating()
    scheduler = scheduler_of(sequence)
    plan = scheduler.schedule(64)
    scheduler.complete(plan, right(plan, 0))
    guessed = Sequence([*sequence.token_ids[:18], 2, 3, 4], 1)

    assert scheduler.cache.reusable(guessed.table, guessed.token_ids).num_tokens == 16


def test_a_stop_token_inside_a_right_draft_is_the_last():
    """What was drawn behind it never was."""
    sequence = repeating()
    sequence.stop_ids = frozenset({3})
    scheduler = scheduler_of(sequence)
    plan = scheduler.schedule(64)

    assert scheduler.complete(plan, right(plan)) == {sequence: 2}
    assert sequence.token_ids[-2:] == [2, 3]
    assert sequence.finish_reason == "stop"
    assert scheduler.is_idle


@pytest.mark.parametrize("left", [1, 2, 3, 4, 9])
def test_no_more_is_guessed_than_may_be_said(left):
    """A draft and the token behind it fit into max_tokens, and so into the context."""
    (chunk,) = scheduler_of(repeating(max_tokens=1 + left)).schedule(64).chunks

    assert len(chunk.draft) == min(3, left - 1)


def test_guesses_take_free_blocks_only():
    """Nobody is preempted for a guess, and one that finds no block is cut short."""
    old, new = repeating(first=1), repeating(first=2)
    scheduler = scheduler_of(old, new, num_blocks=11)
    plan = scheduler.schedule(64)

    assert [len(chunk.draft) for chunk in plan.chunks] == [3, 2]
    assert scheduler.num_running == 2
    scheduler.complete(plan, right(plan, 0))
    scheduler.check()


def test_blocks_of_wrong_guesses_are_free_again():
    """They are there for whoever comes next, as without guesses."""
    sequence = repeating()
    sequence.token_ids += [9, 9, 1, 2]  # 20 tokens are 5 blocks
    scheduler = scheduler_of(sequence)
    free = []
    for _ in range(2):
        plan = scheduler.schedule(64)
        free.append(scheduler.cache.num_free)
        scheduler.complete(plan, right(plan, 0))
        free.append(scheduler.cache.num_free)

    assert free[1] >= free[0]
    assert 64 - free[-1] == -(-sequence.num_computed // 4)


def test_no_guesses_over_states():
    """A state cannot take back a token."""
    scheduler = Scheduler(CacheManager(16, 4, 4), max_draft_tokens=8)
    scheduler.add(repeating())
    for _ in range(3):
        plan = scheduler.schedule(64)
        scheduler.complete(plan, {c.sequence: [c.end % 8 + 1] for c in plan.chunks if c.samples})
        assert not any(chunk.draft for chunk in plan.chunks)


def test_no_guesses_beside_wanted_scores():
    """A prompt of one token that is to be scored is read, not gone on with."""
    sequence = Sequence([1], 8, sampling=Sampling(prompt_logprobs=True))
    scheduler = Scheduler(CacheManager(16, 4), max_draft_tokens=8)
    scheduler.add(sequence)

    assert not scheduler.schedule(64).chunks[0].draft


def test_no_guesses_across_the_switch():
    """Behind it a sequence is computed in another way, from its first token on."""
    sequence = repeating()
    (chunk,) = scheduler_of(sequence, length_switch=20).schedule(64).chunks

    assert chunk.draft == (2, 3)


@pytest.mark.parametrize("count", [1, 2, 5, 8, 12, 20])
def test_rows_of_a_step_with_guesses_are_bounded_and_shared(count):
    """Many decodes fill a step by themselves; few divide what is left."""
    scheduler = scheduler_of(*(repeating(first=number) for number in range(count)), num_blocks=200)
    chunks = scheduler.schedule(64).chunks
    lengths = [len(chunk.draft) for chunk in chunks]

    rows = sum(chunk.num_tokens for chunk in chunks)
    assert rows == max(count, min(MAX_DRAFTED_ROWS, 4 * count))
    assert max(lengths) - min(lengths) <= 1


def test_no_guesses_while_a_prompt_is_read():
    """Its rows are what the step's time is for, and guesses would make it longer."""
    scheduler = scheduler_of(repeating())
    scheduler.add(Sequence([200] * 40, 4))
    plan = scheduler.schedule(64)

    assert [chunk.num_tokens for chunk in plan.chunks] == [1, 40]


def test_guesses_are_not_prefill():
    """Pacing learns from prompts alone."""
    assert scheduler_of(repeating()).schedule(64).num_prefill_tokens == 0
