"""The scheduler: what goes into a step, who gives way, and random walks to the end of all work."""

import random
from dataclasses import replace
from typing import Any

import pytest

from engine.api import EngineError, Sampling
from engine.cache.manager import NO_PREFIX, CacheManager
from engine.cache.table import BlockTable
from engine.core.plan import BatchPlan, Chunk
from engine.core.scheduler import Scheduler
from engine.core.sequence import Sequence
from tests.engine.core.contents import Contents

SCORED = Sampling(prompt_logprobs=True, logprobs=0)


def scheduler_of(num_blocks: int = 16, **limits: int) -> Scheduler:
    return Scheduler(CacheManager(num_blocks, 4), **limits)


def sequence_of(num_prompt: int, max_tokens: int = 4, **fields: Any) -> Sequence:
    return Sequence([*range(num_prompt)], max_tokens, **fields)


def unlike(num_prompt: int, first: int, max_tokens: int = 4) -> Sequence:
    """A prompt that shares no block with those of other `first`."""
    return Sequence([first] * num_prompt, max_tokens)


def step(scheduler: Scheduler, budget: int = 64, token_id: int = 7) -> BatchPlan:
    """Plans and completes a step in which every drawn token is `token_id`."""
    plan = scheduler.schedule(budget)
    scheduler.complete(plan, {c.sequence: [token_id] for c in plan.chunks if c.samples})
    scheduler.check()
    return plan


def spans(plan: BatchPlan) -> list[tuple[int, int]]:
    return [(chunk.start, chunk.end) for chunk in plan.chunks]


def test_a_long_prompt_is_read_in_chunks():
    """A step never reads more of a prompt than its budget; only the last chunk samples."""
    scheduler = scheduler_of()
    scheduler.add(sequence_of(20))
    plans = [step(scheduler, budget=8) for _ in range(3)]

    assert [spans(plan) for plan in plans] == [[(0, 8)], [(8, 16)], [(16, 20)]]
    assert [plan.chunks[0].samples for plan in plans] == [False, False, True]


def test_decodes_go_first_and_a_prompt_still_advances():
    """Running streams get their token in every step, whatever is read beside them."""
    scheduler = scheduler_of(64)
    streams = [unlike(4, first) for first in range(6)]
    for stream in streams:
        scheduler.add(stream)
    step(scheduler)
    scheduler.add(unlike(20, 9))
    plan = step(scheduler, budget=2)

    assert [chunk.sequence for chunk in plan.chunks[:6]] == streams
    assert spans(plan)[6] == (0, 4)


def test_prompts_share_what_is_left_of_the_budget():
    """A budget is filled with several prompts, in order of arrival."""
    scheduler = scheduler_of(64)
    for first in range(3):
        scheduler.add(unlike(6, first))

    assert spans(step(scheduler, budget=14)) == [(0, 6), (0, 6), (0, 2)]


def test_an_equal_prompt_starts_behind_the_shared_blocks():
    """Blocks computed for one sequence are not computed again for the next."""
    scheduler = scheduler_of()
    scheduler.add(sequence_of(10))
    step(scheduler)
    second = sequence_of(10)
    scheduler.add(second)
    plan = step(scheduler)

    assert spans(plan)[-1] == (8, 10)
    assert second.num_cached == 8


def test_a_scored_prompt_is_computed_whole():
    """Scores need logits at every position, so nothing is taken from the cache."""
    scheduler = scheduler_of()
    scheduler.add(sequence_of(10))
    step(scheduler)
    scored = sequence_of(10, sampling=SCORED)
    scheduler.add(scored)
    plan = step(scheduler)

    assert spans(plan)[-1] == (0, 10)
    assert plan.chunks[-1].scored == range(9)
    assert scored.num_cached == 0


def test_scored_rows_are_bounded_per_step():
    """Logits of a whole long prompt would not fit memory."""
    scheduler = scheduler_of(max_scored_rows=4)
    scheduler.add(sequence_of(10, sampling=SCORED))
    plans = [step(scheduler) for _ in range(3)]

    assert [plan.chunks[0].scored for plan in plans] == [range(4), range(4, 8), range(8, 9)]


def test_scores_are_given_once_in_spite_of_preemption():
    """A scored prompt that is computed anew does not score again."""
    scheduler = scheduler_of(num_blocks=4)
    old, scored = unlike(4, 50, max_tokens=8), sequence_of(4, max_tokens=8, sampling=SCORED)
    scheduler.add(old)
    scheduler.add(scored)
    rows = []
    while not scheduler.is_idle:
        plan = step(scheduler)
        rows += [row for c in plan.chunks if c.sequence is scored for row in c.scored]

    assert rows == [0, 1, 2]


def test_the_newest_gives_way_and_returns():
    """When blocks run out the oldest goes on; the newest is computed anew, and loses no token."""
    scheduler = scheduler_of(num_blocks=5)
    old, new = unlike(7, 50, max_tokens=6), unlike(5, 60, max_tokens=6)
    scheduler.add(old)
    scheduler.add(new)
    finished: list[Sequence] = []
    plans: list[BatchPlan] = []
    while not scheduler.is_idle:
        plans.append(step(scheduler, token_id=8))
        finished += [c.sequence for c in plans[-1].chunks if c.sequence.finish_reason]
    ran = [new in [chunk.sequence for chunk in plan.chunks] for plan in plans]

    assert finished == [old, new]
    assert ran[0]
    assert not all(ran)
    assert new.token_ids == [60] * 5 + [8] * 6


def test_a_prompt_larger_than_the_cache_is_refused():
    """What can never fit is refused at once."""
    scheduler = scheduler_of(num_blocks=2)

    with pytest.raises(EngineError) as error:
        scheduler.add(sequence_of(9))
    assert error.value.code == "out_of_memory"
    assert scheduler.is_idle


def test_a_sequence_that_outgrows_the_cache_is_given_up():
    """One that is alone and full has nobody to wait for."""
    scheduler = scheduler_of(num_blocks=2)
    sequence = sequence_of(6, max_tokens=99)
    scheduler.add(sequence)
    plans = [step(scheduler) for _ in range(4)]

    assert plans[-1].starved == (sequence,)
    assert sequence.num_output == 3
    assert scheduler.is_idle


def test_no_more_than_the_limit_run():
    """The batch has a bound; the rest wait their turn."""
    scheduler = scheduler_of(64, max_sequences=2)
    for first in range(3):
        scheduler.add(unlike(4, first, max_tokens=2))

    assert len(step(scheduler).chunks) == 2
    assert len(step(scheduler).chunks) == 2
    assert len(step(scheduler).chunks) == 1


def test_a_stop_id_ends_a_sequence_with_its_token():
    """finish_reason stop means that the last id is a stop token."""
    scheduler = scheduler_of()
    sequence = sequence_of(4, max_tokens=9, stop_ids=frozenset({7}))
    scheduler.add(sequence)
    step(scheduler, token_id=7)

    assert sequence.finish_reason == "stop"
    assert sequence.token_ids[-1] == 7
    assert scheduler.is_idle


def test_zero_max_tokens_reads_the_prompt_and_draws_nothing():
    """Such a request only scores its prompt."""
    scheduler = scheduler_of()
    sequence = sequence_of(6, max_tokens=0, sampling=SCORED)
    scheduler.add(sequence)
    plan = step(scheduler)

    assert not plan.chunks[0].samples
    assert sequence.finish_reason == "length"
    assert scheduler.is_idle


def test_one_removed_while_its_step_ran_is_passed_over():
    """What a removed sequence computed is neither kept nor counted."""
    scheduler = scheduler_of()
    sequence = sequence_of(8)
    scheduler.add(sequence)
    plan = scheduler.schedule(64)
    scheduler.remove(sequence)
    scheduler.complete(plan, {sequence: [7]})
    scheduler.check()

    assert sequence.num_output == 0
    assert scheduler.cache.reusable(BlockTable(), [*range(9)]) == NO_PREFIX


def test_a_lost_cache_is_computed_anew_in_order():
    """Nobody loses a token or its place; what waited waits on."""
    scheduler = scheduler_of(max_sequences=2)
    sequences = [unlike(6, first, max_tokens=3) for first in range(3)]
    for sequence in sequences:
        scheduler.add(sequence)
    step(scheduler)
    scheduler.begin_anew(CacheManager(16, 4))
    plan = step(scheduler)

    assert [chunk.sequence for chunk in plan.chunks] == sequences[:2]
    assert spans(plan) == [(0, 7), (0, 7)]
    assert [sequence.num_output for sequence in sequences] == [2, 2, 0]


KINDS = ("tokens", "states", "both")


def drawn(rng: random.Random, chunk: Chunk) -> list[int]:
    """A draft is right, half right or wrong, and then something comes that was not guessed."""
    num_right = rng.randint(0, len(chunk.draft))
    wrong = [1 - token_id for token_id in chunk.draft[num_right : num_right + 1]]
    return [*chunk.draft[:num_right], *(wrong or [rng.randrange(2)])]


def pause_now_and_then(rng: random.Random, scheduler: Scheduler, contents: Contents) -> None:
    """Between two steps: what is blank is forgotten, as by `Caches.trim`, or everything is lost."""
    old = scheduler.cache
    if rng.random() < 0.02:
        contents.forget(old.blank_blocks, old.blank_slots)
    if rng.random() < 0.01:
        scheduler.begin_anew(CacheManager(old.num_blocks, 4, old.num_slots))
        contents.forget(range(old.num_blocks), range(old.num_slots))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(30))
def test_random_walk_finishes_everything(seed, kind):
    """Whatever arrives, leaves, fails and is paused, all ends, in bounded steps, with every token and no leak.

    And whatever a step reads, of blocks and of states, is what the tokens before it have left.
    """
    rng = random.Random(seed)
    room = rng.randint(3, 24)
    num_blocks, num_slots = 0 if kind == "states" else room, 0 if kind == "tokens" else room // 3
    scheduler = Scheduler(
        CacheManager(num_blocks, 4, num_slots),
        max_sequences=rng.randint(1, 6),
        length_switch=rng.choice([None, room]),
        max_draft_tokens=rng.choice([0, 3, 8]),
    )
    contents = Contents(4, keeps_tokens=num_blocks > 0, keeps_states=num_slots > 0)
    expected: dict[Sequence, int] = {}
    steps = 0
    while steps < 200 or not scheduler.is_idle:
        if steps < 200 and rng.random() < 0.3:
            num_prompt = rng.randint(1, 2 * room)
            sequence = Sequence(
                [rng.randrange(2) for _ in range(num_prompt)],
                max_tokens=rng.randint(0, 4 * room - num_prompt),
                sampling=rng.choice([Sampling(), Sampling(), SCORED]),
            )
            expected[sequence] = sequence.max_tokens
            scheduler.add(sequence)
        plan = scheduler.schedule(rng.randint(1, 32))
        if rng.random() < 0.03 and (there := list(scheduler)):
            cancelled = rng.choice(there)  # while its step runs, if it is in one
            scheduler.remove(cancelled)
            del expected[cancelled]
            plan = replace(plan, chunks=tuple(c for c in plan.chunks if c.sequence != cancelled))
        if rng.random() < 0.02:
            contents.spoil(plan)
            for chunk in plan.chunks:
                scheduler.remove(chunk.sequence)
                del expected[chunk.sequence]
        else:
            contents.compute(plan)
            scheduler.complete(plan, {c.sequence: drawn(rng, c) for c in plan.chunks if c.samples})
        pause_now_and_then(rng, scheduler, contents)
        scheduler.check()
        assert not plan.starved
        steps += 1
        assert steps < 20_000, "somebody starves"

    assert all(sequence.finish_reason == "length" for sequence in expected)
    assert all(sequence.num_output == count for sequence, count in expected.items())
    scored = [s for s in expected if s.sampling.prompt_logprobs]
    assert all(sequence.num_scored == sequence.num_prompt for sequence in scored)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("num_slots", [0, 1, 3])
def test_the_oldest_advances_in_every_step(seed, num_slots):
    """Progress: endless newcomers never stop the one that came first."""
    rng = random.Random(seed)
    scheduler = Scheduler(CacheManager(6, 4, num_slots), max_sequences=4)
    oldest = unlike(5, 50, max_tokens=18)
    scheduler.add(oldest)
    while oldest.finish_reason is None:
        scheduler.add(unlike(rng.randint(1, 12), rng.randint(60, 99), max_tokens=9))
        before = oldest.num_computed
        step(scheduler, budget=8)
        assert oldest.num_computed > before


def test_a_sequence_that_passes_the_switch_starts_over():
    """All of it is computed anew, once, and what was cached of it before is not used."""
    scheduler = scheduler_of(length_switch=10)
    sequence = sequence_of(8, max_tokens=6)
    scheduler.add(sequence)
    found = [spans(step(scheduler)) for _ in range(6)]

    assert found == [[(0, 8)], [(8, 9)], [(9, 10)], [(0, 11)], [(11, 12)], [(12, 13)]]
    assert scheduler.is_idle


def test_one_that_passes_the_switch_keeps_its_age():
    """It needs a block more and none is free: the newest gives way, not the one that starts over."""
    scheduler = scheduler_of(num_blocks=4, length_switch=8)
    old, new = sequence_of(7, max_tokens=6), unlike(3, 9, max_tokens=6)
    scheduler.add(old)
    scheduler.add(new)
    for _ in range(2):
        step(scheduler)
    plan = step(scheduler)

    assert [(chunk.sequence, chunk.start) for chunk in plan.chunks] == [(old, 0)]
    while not scheduler.is_idle:
        step(scheduler)
    assert (old.num_output, new.num_output) == (6, 6)


def test_blocks_are_shared_on_one_side_of_the_switch_only():
    """A prompt beyond it finds what those beyond it have left, and the same for short ones."""
    scheduler = scheduler_of(length_switch=10)
    for num_prompt in (10, 12, 10, 12):
        scheduler.add(sequence_of(num_prompt, max_tokens=1))
    starts = []
    while not scheduler.is_idle:
        starts += [chunk.start for chunk in step(scheduler, budget=4).chunks]

    assert starts.count(0) == 2
