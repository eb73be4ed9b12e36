"""Many models and owners: who hears what, handles that are gone, and a random walk."""

import random
from dataclasses import dataclass, field

import pytest

from engine.api import Sampling
from engine.core.resident import Resident
from engine.core.residents import Residents
from engine.core.work import Add, Begin, Drop, End
from engine.wire import Output, Start


@dataclass
class Heard:
    """A `Reply` that remembers."""

    steps: list[tuple[str, list[Output]]] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)

    def outputs(self, owner, outputs):
        self.steps.append((owner, outputs))

    def dropped(self, handle):
        self.gone.append(handle)

    def of(self, owner: str) -> list[Output]:
        return [output for to, outputs in self.steps if to == owner for output in outputs]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def residents(heard, resident) -> Residents:
    residents = Residents(heard)
    residents.apply(Add(1, resident))
    return residents


def begin(owner: str, number: int, handle: int = 1, token_ids=(3,), max_tokens: int = 2) -> Begin:
    return Begin(
        owner,
        Start(number, handle, list(token_ids), max_tokens, 0, [], Sampling(temperature=0)),
    )


def finish(residents: Residents) -> None:
    while not residents.is_idle:
        residents.step(residents.next_turn())
        residents.check()


def test_a_step_is_one_message_per_owner(residents, heard):
    """Each owner hears of its own sequences, all of a step at once."""
    for number in range(3):
        residents.apply(begin("a", number))
    residents.apply(begin("b", 0))
    residents.step(residents.next_turn())

    assert [(owner, len(outputs)) for owner, outputs in heard.steps] == [("a", 3), ("b", 1)]


def test_an_unknown_handle_is_stale(residents, heard):
    """Whoever holds a handle from before an eviction reaches no model."""
    residents.apply(begin("a", 0, handle=2))

    assert heard.of("a")[0].failure.code == "stale_handle"
    assert residents.is_idle


def test_bad_token_ids_fail_alone(residents, heard):
    """A request that cannot be honoured is refused; the others run."""
    residents.apply(begin("a", 0, token_ids=[32]))
    residents.apply(begin("a", 1))
    finish(residents)

    assert heard.of("a")[0].failure.code == "bad_request"
    assert heard.of("a")[-1].finish_reason == "length"


def test_a_number_in_use_is_refused(residents, heard):
    """A confused owner cannot end its own running sequence."""
    residents.apply(begin("a", 0))
    residents.apply(begin("a", 0))
    finish(residents)

    assert [output.failure is not None for output in heard.of("a")] == [True, False, False]


def test_dropping_waits_for_what_runs(residents, heard):
    """A model goes when its last sequence has ended, and takes no new one until then."""
    residents.apply(begin("a", 0, max_tokens=3))
    residents.apply(Drop(1))
    residents.apply(begin("a", 1))
    assert heard.gone == []
    assert heard.of("a")[0].failure.code == "stale_handle"
    finish(residents)

    assert heard.of("a")[-1].finish_reason == "length"
    assert heard.gone == [1]


def test_dropping_what_is_not_there_is_done_at_once(residents, heard):
    """Evicting twice, or a model that never loaded, is no error."""
    residents.apply(Drop(9))

    assert heard.gone == [9]


def test_an_owner_that_leaves_takes_its_sequences_along(residents, heard):
    """Nobody computes for a closed connection."""
    residents.apply(begin("a", 0, max_tokens=20))
    residents.apply(begin("b", 0, max_tokens=2))
    residents.apply(End("a", None))
    finish(residents)

    assert heard.of("a") == []
    assert len(heard.of("b")) == 2


def test_stopped_sequences_say_nothing_more(residents, heard):
    """Stop ends those named; unknown ones are ignored."""
    residents.apply(begin("a", 0, max_tokens=20))
    residents.apply(End("a", [0, 77]))

    assert residents.is_idle
    residents.check()


def test_models_take_turns(residents, heard, counting):
    """Two models with work both advance."""
    residents.apply(Add(2, Resident(counting, [], num_blocks=4)))
    residents.apply(begin("a", 0, handle=1, max_tokens=9))
    residents.apply(begin("b", 0, handle=2, max_tokens=9))
    for _ in range(10):
        handle = residents.next_turn()
        residents.step(handle)
        residents.charge(handle, 0.05)

    assert len(heard.of("a")) == len(heard.of("b")) == 5


@pytest.mark.parametrize("seed", range(15))
def test_random_walk_answers_everyone_once(seed, heard, counting):
    """Whatever is loaded, dropped, started and stopped, every sequence ends at most once."""
    rng = random.Random(seed)
    counting.poison = 25
    residents = Residents(heard)
    handles, added, dropped = iter(range(1, 1000)), [], []
    started, stopped = set(), set()
    for number in range(300):
        action = rng.random()
        if action < 0.05 or not added:
            added.append(next(handles))
            residents.apply(Add(added[-1], Resident(counting, [], rng.randint(1, 6))))
        elif action < 0.08:
            dropped.append(added.pop(rng.randrange(len(added))))
            residents.apply(Drop(dropped[-1]))
        elif action < 0.35:
            owner, prompt = rng.choice("ab"), [rng.randrange(33) for _ in range(rng.randint(0, 40))]
            handle = rng.choice([*added, *dropped])
            residents.apply(begin(owner, number, handle, prompt, rng.randint(0, 60)))
            started.add((owner, number))
        elif action < 0.38 and started:
            owner, gone = rng.choice(sorted(started))
            residents.apply(End(owner, [gone]))
            stopped.add((owner, gone))
        elif not residents.is_idle:
            handle = residents.next_turn()
            residents.step(handle)
            residents.charge(handle, rng.random())
        residents.check()
    finish(residents)
    ends = [
        (owner, output.sequence)
        for owner, outputs in heard.steps
        for output in outputs
        if output.finish_reason or output.failure
    ]

    assert len(set(ends)) == len(ends)
    assert started - stopped <= set(ends) <= started
    assert heard.gone == [*dict.fromkeys(heard.gone)]
    assert set(heard.gone) == set(dropped)
