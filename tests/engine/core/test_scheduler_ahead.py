"""Steps that are planned before the one before them is over: random walks, beside those that are not."""

import random
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import pytest

from engine.api import Sampling
from engine.cache.manager import CacheManager
from engine.cache.table import BlockTable
from engine.core.ahead import draws_of, is_open
from engine.core.plan import BatchPlan, Chunk
from engine.core.scheduler import Scheduler
from engine.core.sequence import Sequence
from tests.engine.core.contents import Contents

SCORED = Sampling(prompt_logprobs=True, logprobs=0)
STOP = 7


def says(sequence: Sequence, length: int) -> int:
    """What a model draws behind so many tokens: it depends on nothing else of the sequence."""
    digest = blake2b(f"{sequence.seed} {length}".encode(), digest_size=2).digest()
    return int.from_bytes(digest) % 12


class Device(Contents):
    """Computes plans in order, when they are begun; a token that it drew is its own to know."""

    drawn: list[int]

    def begin(self, plan: BatchPlan) -> dict[Sequence, list[int]]:
        self.tokens: dict[Sequence, list[int]] = {}
        for chunk in plan.chunks:
            tokens = list(chunk.sequence.token_ids)
            if tokens[-1] < 0:
                assert chunk.end == len(tokens), "what is being drawn is read last"
                tokens[-1] = self.drawn[-1 - tokens[-1]]
            assert min(tokens) >= 0
            self.tokens[chunk.sequence] = tokens
        self.compute(plan)
        self.drawn = [says(c.sequence, len(self.tokens[c.sequence])) for c, _ in draws_of(plan)]
        return {chunk.sequence: [self.drawn[row]] for chunk, row in draws_of(plan)}

    def past(self, chunk: Chunk, end: int) -> tuple[bytes, list[int]]:
        return chunk.sequence.table.salt, self.tokens[chunk.sequence][:end]


@dataclass
class Walk:
    """One scheduler and its device. ahead: whether steps are begun early."""

    scheduler: Scheduler
    device: Device
    ahead: bool
    ended: dict[int, tuple[list[int], str | None]] = field(default_factory=dict)
    rows_of: dict[int, int] = field(default_factory=dict)
    under_way: tuple[BatchPlan, dict[Sequence, list[int]]] | None = None
    num_ahead: int = 0
    num_wasted: int = 0

    def step(self, budget: int) -> None:
        if self.under_way is None:
            self.begin(self.scheduler.schedule(budget))
        if self.under_way is None:
            return
        (plan, drawn), self.under_way = self.under_way, None
        if self.ahead and is_open(plan):
            later = self.scheduler.schedule_ahead(plan, budget)
            if later is not None:
                assert not later.starved or not self.scheduler.num_running
                self.begin(later)
                self.num_ahead += bool(later.chunks)
        self.end(plan, drawn)

    def begin(self, plan: BatchPlan) -> None:
        for starved in plan.starved:
            self.ended[starved.number] = list(starved.token_ids), "starved"
        if plan.chunks:
            self.under_way = plan, self.device.begin(plan)

    def end(self, plan: BatchPlan, drawn: dict[Sequence, list[int]]) -> None:
        wasted = [c for c in plan.chunks if not self.scheduler.runs(c.sequence)]
        for chunk in wasted:
            if chunk.sequence.finish_reason:
                self.num_wasted += 1
                number = chunk.sequence.number
                self.rows_of[number] = self.rows_of.get(number, 0) + chunk.num_tokens
        self.scheduler.complete(plan, drawn)
        self.scheduler.check()
        for chunk in plan.chunks:
            sequence = chunk.sequence
            if sequence.finish_reason and sequence.number not in self.ended:
                self.ended[sequence.number] = list(sequence.token_ids), sequence.finish_reason


def walk(kind: str, room: int, *, ahead: bool, **limits: Any) -> Walk:
    num_blocks, num_slots = 0 if kind == "states" else room, 0 if kind == "tokens" else room // 3
    scheduler = Scheduler(CacheManager(num_blocks, 4, num_slots), **limits)
    device = Device(4, keeps_tokens=num_blocks > 0, keeps_states=num_slots > 0)
    return Walk(scheduler, device, ahead)


def arrival(rng: random.Random, number: int, room: int) -> dict[str, Any]:
    num_prompt = rng.randint(1, 2 * room)
    return {
        "token_ids": [rng.randrange(2) for _ in range(num_prompt)],
        "max_tokens": rng.randint(0, 4 * room - num_prompt),
        "sampling": rng.choice([*[Sampling()] * 5, SCORED, Sampling(presence_penalty=1)]),
        "stop_ids": frozenset(rng.choice([(), (STOP,)])),
        "seed": rng.randrange(1000),
        "number": number,
    }


def history(rng: random.Random, room: int) -> dict[int, list[tuple[str, Any]]]:
    """By step, who arrives, and who is cancelled."""
    found: dict[int, list[tuple[str, Any]]] = {}
    for at in range(150):
        if rng.random() < 0.3:
            found.setdefault(at, []).append(("add", arrival(rng, at, room)))
        if rng.random() < 0.04:
            found.setdefault(at, []).append(("cancel", rng.randrange(max(at, 1))))
    return found


def run(walk: Walk, events: dict[int, list[tuple[str, Any]]], rng: random.Random) -> None:
    there: dict[int, Sequence] = {}
    at = 0
    while at < 150 or not walk.scheduler.is_idle or walk.under_way:
        for what, value in events.get(at, ()):
            if what == "add":
                sequence = Sequence(**{**value, "token_ids": [*value["token_ids"]]})
                there[value["number"]] = sequence
                walk.scheduler.add(sequence)
            elif value in there and value not in walk.ended:
                walk.scheduler.remove(there[value])
                walk.ended[value] = [], "cancelled"
        walk.step(rng.randint(1, 32))
        at += 1
        assert at < 20_000, "somebody starves"


SEEDS = [*range(8), *[pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 300)]]


@pytest.mark.parametrize("kind", ["tokens", "states", "both"])
@pytest.mark.parametrize("seed", SEEDS)
def test_random_walks_end_alike_ahead_or_not(seed, kind):
    """The same tokens, the same ends, whatever arrives and leaves, with room and without; no leak.

    Whatever a step reads, of blocks and of states, is what the tokens before it have left. One that has
    ended is computed for one row more at most.
    """
    rng = random.Random(seed)
    room = rng.randint(3, 24)
    limits = {"max_sequences": rng.randint(1, 6), "length_switch": rng.choice([None, room])}
    events = history(rng, room)
    walks = [walk(kind, room, ahead=ahead, **limits) for ahead in (False, True)]
    for each in walks:
        run(each, events, random.Random(seed))
        each.scheduler.check()
        assert each.scheduler.cache.num_tables == 0
    calm, hasty = walks
    cancelled = {n for w in walks for n, (_, why) in w.ended.items() if why == "cancelled"}

    assert calm.ended.keys() == hasty.ended.keys()
    for number in calm.ended.keys() - cancelled:
        assert hasty.ended[number] == calm.ended[number]
    assert hasty.num_ahead > 0
    assert calm.num_wasted == 0
    assert all(rows == 1 for rows in hasty.rows_of.values())


def scheduler_of(num_blocks: int = 16, **limits: int) -> Scheduler:
    return Scheduler(CacheManager(num_blocks, 4), **limits)


def begun(scheduler: Scheduler, *sequences: Sequence) -> BatchPlan:
    """A step in which all of these are read."""
    for sequence in sequences:
        scheduler.add(sequence)
    return scheduler.schedule(64)


def test_what_is_being_drawn_stands_as_its_row():
    """-1 - row, until it is known; the draw behind it counts it."""
    scheduler = scheduler_of()
    first, second = Sequence([1] * 3, 9), Sequence([2] * 3, 9)
    plan = begun(scheduler, first, second)
    later = scheduler.schedule_ahead(plan, 64)

    assert [(c.sequence, c.start, c.token_ids) for c in later.chunks] == [
        (first, 3, [-1]),
        (second, 3, [-2]),
    ]
    scheduler.complete(plan, {first: [5], second: [6]})
    assert (first.token_ids, second.token_ids) == ([1, 1, 1, 5], [2, 2, 2, 6])
    assert [c.token_ids for c in later.chunks] == [[5], [6]]


def test_one_that_has_drawn_its_last_token_is_left_out():
    """Its number is known beforehand: no row is wasted."""
    scheduler = scheduler_of()
    last, other = Sequence([1] * 3, 1), Sequence([2] * 3, 9)
    plan = begun(scheduler, last, other)

    assert [c.sequence for c in scheduler.schedule_ahead(plan, 64).chunks] == [other]
    scheduler.complete(plan, {last: [5], other: [6]})
    assert last.finish_reason == "length"


def test_a_newcomer_is_read_in_a_step_that_is_begun_early():
    """Beside those whose tokens are being drawn."""
    scheduler = scheduler_of()
    plan = begun(scheduler, Sequence([1] * 3, 9))
    newcomer = Sequence([2] * 6, 9)
    scheduler.add(newcomer)
    later = scheduler.schedule_ahead(plan, 64)

    assert [c.token_ids for c in later.chunks] == [[-1], [2] * 6]


def test_nobody_gives_way_for_a_guess():
    """Where a block lacks, it is waited for who ends: one that stops needs none."""
    scheduler = scheduler_of(num_blocks=2)
    old, new = Sequence([1] * 4, 9), Sequence([2] * 3, 9, stop_ids=frozenset({STOP}))
    plan = begun(scheduler, old, new)
    if len(plan.chunks) == 1:  # a block to spare was kept
        scheduler.complete(plan, {old: [3]})
        return
    assert scheduler.schedule_ahead(plan, 64) is None
    scheduler.complete(plan, {old: [3], new: [STOP]})
    assert new.finish_reason == "stop"


def test_a_full_cache_is_no_reason_to_give_up_one_that_may_have_ended():
    """It is alone, and the token that is being drawn may be its last."""
    scheduler = scheduler_of(num_blocks=1)
    sequence = Sequence([1] * 4, 9, stop_ids=frozenset({STOP}))
    plan = begun(scheduler, sequence)

    assert scheduler.schedule_ahead(plan, 64) is None
    scheduler.complete(plan, {sequence: [STOP]})
    assert sequence.finish_reason == "stop"
    assert scheduler.is_idle


def test_one_that_would_begin_anew_is_waited_for():
    """Behind the switch all of it is computed again, but not if it has stopped."""
    scheduler = scheduler_of(length_switch=4)
    plan = begun(scheduler, Sequence([1] * 4, 9))

    assert scheduler.schedule_ahead(plan, 64) is None


def test_what_a_failed_step_has_computed_is_not_shared():
    """The next one was begun already, and its blocks are given back."""
    scheduler = scheduler_of()
    sequence = Sequence([1] * 8, 9)
    plan = begun(scheduler, sequence)
    scheduler.schedule_ahead(plan, 64)
    assert scheduler.cache.reusable(BlockTable(), [1] * 9).num_tokens == 0
    scheduler.remove(sequence)
    scheduler.complete(plan, {})
    scheduler.check()

    assert scheduler.cache.reusable(BlockTable(), [1] * 9).num_tokens == 0
    assert sequence.token_ids == [1] * 8
    assert scheduler.cache.is_blank


def test_a_failed_step_leaves_no_snapshot():
    """Of a state neither, though the next step went on from it elsewhere."""
    scheduler = Scheduler(CacheManager(0, 4, 4))
    sequence = Sequence([1] * 9, 9)
    scheduler.add(sequence)
    plan = scheduler.schedule(64)
    assert plan.chunks[0].end == 8, "it ends where its state is to be kept"
    later = scheduler.schedule_ahead(plan, 64)
    table = sequence.table
    assert later.chunks[0].start == 8
    assert table.state_read != table.state_write
    scheduler.remove(sequence)
    scheduler.complete(plan, {})
    scheduler.check()

    assert scheduler.cache.is_blank


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"sampling": Sampling(temperature=0.7, top_p=0.9, top_k=5, min_p=0.1)}, True),
        ({"sampling": Sampling(logit_bias={3: 1.0})}, True),
        ({"min_tokens": 4, "stop_ids": frozenset({STOP})}, True),
        ({"sampling": Sampling(logprobs=0)}, False),
        ({"sampling": SCORED}, False),
        ({"sampling": Sampling(repetition_penalty=1.1)}, False),
        ({"sampling": Sampling(presence_penalty=0.1)}, False),
        ({"sampling": Sampling(frequency_penalty=0.1)}, False),
        ({"prediction": (1, 2)}, False),
        ({"constraint": object()}, False),
    ],
)
def test_a_step_is_open_unless_somebody_looks_at_tokens(fields, expected):
    """All that a draw needs of its sequence is how long it is."""
    sequence = Sequence([1] * 3, 9, **fields)
    chunk = Chunk(sequence, 0, 3, range(0), samples=True)

    assert is_open(BatchPlan((chunk,))) == expected
