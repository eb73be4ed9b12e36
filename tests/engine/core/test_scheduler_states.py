"""The scheduler with models whose layers have states: what bounds it, and what is reused."""

import pytest

from engine.api import Sampling
from engine.cache.manager import NO_PREFIX, CacheManager
from engine.cache.table import BlockTable
from engine.core.plan import BatchPlan
from engine.core.scheduler import Scheduler
from engine.core.sequence import Sequence
from tests.engine.core.contents import Contents


class Steps:
    """A scheduler, and a model that draws the same token always. Its states are checked."""

    def __init__(self, num_slots: int, num_blocks: int = 0, max_sequences: int = 8) -> None:
        self.scheduler = Scheduler(CacheManager(num_blocks, 4, num_slots), max_sequences)
        self.contents = Contents(4, keeps_tokens=num_blocks > 0, keeps_states=True)

    def add(self, token_ids: list[int], max_tokens: int = 4, **fields: Sampling) -> Sequence:
        sequence = Sequence(token_ids, max_tokens, **fields)
        self.scheduler.add(sequence)
        return sequence

    def step(self, budget: int = 64) -> BatchPlan:
        plan = self.scheduler.schedule(budget)
        self.contents.compute(plan)
        self.scheduler.complete(plan, {c.sequence: [7] for c in plan.chunks if c.samples})
        self.scheduler.check()
        return plan

    def run(self, token_ids: list[int], max_tokens: int = 4, **fields: Sampling) -> Sequence:
        """Runs one to its end, alone."""
        sequence = self.add(token_ids, max_tokens, **fields)
        while sequence.finish_reason is None:
            self.step()
        return sequence


def test_slots_bound_how_many_run():
    """Who finds none waits, however little memory its tokens need."""
    steps = Steps(num_slots=2)
    for first in range(3):
        steps.add([first] * 3, max_tokens=2)

    assert [len(steps.step().chunks) for _ in range(3)] == [2, 2, 1]


def test_slots_alone_bound_how_many_run():
    """As many as there are slots for, where tokens need no blocks."""
    steps = Steps(num_slots=5)
    for first in range(5):
        steps.add([first] * 30)

    assert len(steps.step(budget=1000).chunks) == 5


def test_a_prompt_of_any_length_fits_a_state():
    """Nothing is kept of its tokens, so none are too many."""
    steps = Steps(num_slots=1)

    assert steps.run([1] * 1000, max_tokens=9).num_output == 9


def test_a_prompt_is_read_up_to_where_its_state_is_kept():
    """The rest comes in a step of its own, from the snapshot."""
    steps = Steps(num_slots=2)
    steps.add([*range(11)])
    chunks = [steps.step().chunks[0] for _ in range(2)]

    assert [(chunk.start, chunk.end) for chunk in chunks] == [(0, 8), (8, 11)]
    assert [chunk.samples for chunk in chunks] == [False, True]


@pytest.mark.parametrize("num_blocks", [0, 32], ids=["states", "both"])
def test_cached_tokens_are_those_not_computed(num_blocks):
    """A repeated prompt, the next turn of a chat, and a prompt that parts from both."""
    steps = Steps(num_slots=8, num_blocks=num_blocks)
    first = steps.run([*range(11)], max_tokens=10)
    again = steps.run([*range(11)])
    turn = steps.run([*first.token_ids, 90, 91])
    apart = steps.run([*range(7), 99])

    found = [sequence.num_cached for sequence in (first, again, turn, apart)]
    assert found == [0, 8, 20, 0]


def test_a_system_prompt_is_reused_from_the_third_request_on():
    """Whoever asks, and whatever for."""
    steps = Steps(num_slots=16)
    users = [steps.run([*range(22), *[50 + user] * 9]) for user in range(4)]

    assert [user.num_cached for user in users] == [0, 0, 20, 20]


def test_long_answers_leave_prompts_where_they_are():
    """A generating sequence keeps its newest state only."""
    steps = Steps(num_slots=4)
    steps.run([*range(11)], max_tokens=1)
    steps.run([60, 61], max_tokens=200)

    assert steps.run([*range(11)]).num_cached == 8


def test_who_waits_comes_before_snapshots():
    """A slot that a newcomer wants is not spent on what may be reused."""
    steps = Steps(num_slots=2)
    for first in range(2):
        steps.add([first] * 4, max_tokens=30)
    steps.step()
    assert steps.scheduler.num_running == 2
    waiting = steps.add([9] * 4)
    while waiting.num_computed == 0:
        steps.step()

    assert steps.scheduler.num_running <= 2
    assert waiting.num_cached == 0


def test_a_scored_prompt_resumes_nothing():
    """Its logits are the point."""
    steps = Steps(num_slots=4)
    steps.run([*range(11)])
    scored = steps.run([*range(11)], sampling=Sampling(prompt_logprobs=True, logprobs=0))

    assert scored.num_cached == 0


def test_the_preempted_resume_where_their_blocks_still_are():
    """When blocks run out the newest loses its end, and goes on from a state before that."""
    steps = Steps(num_slots=8, num_blocks=9)
    old, new = steps.add([50] * 9, max_tokens=20), steps.add([60] * 9, max_tokens=20)
    starts = []
    while new.finish_reason is None:
        plan = steps.step()
        starts += [chunk.start for chunk in plan.chunks if chunk.sequence is new]
    again = [at for at, before in zip(starts[1:], starts, strict=False) if at <= before]

    assert old.num_output == new.num_output == 20
    assert again == [8]


def test_one_removed_while_its_step_ran_keeps_nothing():
    """What a failed or abandoned step has left has no name."""
    steps = Steps(num_slots=4)
    sequence = steps.add([*range(8)])
    plan = steps.scheduler.schedule(64)
    steps.scheduler.remove(sequence)
    steps.scheduler.complete(plan, {sequence: [7]})
    steps.scheduler.check()

    cache = steps.scheduler.cache
    assert cache.reusable(BlockTable(), [*range(9)]) == NO_PREFIX
    assert cache.num_free_slots == 4
