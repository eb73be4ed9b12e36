"""Many models and owners: who hears what, handles that are gone, and a random walk."""

import random
from concurrent.futures import Future
from dataclasses import dataclass, field

import msgspec
import pytest

from engine.api import Failure, Sampling
from engine.cache.caches import Caches
from engine.core.plan import PromptCount
from engine.core.resident import Resident
from engine.core.residents import Residents
from engine.core.runner import LanguageModel
from engine.core.work import Add, Begin, Drop, End, GiveUp, Pause, Resume
from engine.wire import Output, Start
from tests.engine.core.conftest import empty_caches


@dataclass
class Heard:
    """A `Reply` that remembers."""

    steps: list[tuple[str, list[Output]]] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    paused_ones: list[tuple[int, Caches | None]] = field(default_factory=list)
    away: dict[int, Caches] = field(default_factory=dict)

    def outputs(self, owner, outputs):
        self.steps.append((owner, outputs))

    def dropped(self, handle, caches):
        self.gone.append(handle)
        self.away.pop(handle, None)

    def paused(self, handle, caches):
        self.paused_ones.append((handle, caches))
        if caches is not None:
            self.away[handle] = caches

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


def test_a_model_does_what_it_is_for(residents, heard):
    """A vector of one that generates is refused, and nobody else hears of it."""
    start = msgspec.structs.replace(begin("a", 1).start, wants_vector=True)
    residents.apply(Begin("a", start))

    (output,) = heard.of("a")
    assert (output.failure.code, output.failure.param) == ("bad_request", "model")
    assert residents.is_idle


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
    residents.apply(Add(2, Resident(counting, empty_caches(4))))
    residents.apply(begin("a", 0, handle=1, max_tokens=9))
    residents.apply(begin("b", 0, handle=2, max_tokens=9))
    for _ in range(10):
        handle = residents.next_turn()
        residents.step(handle)
        residents.charge(handle, 0.05)

    assert len(heard.of("a")) == len(heard.of("b")) == 5


def resume(residents: Residents, handle: int, model: LanguageModel, caches: Caches) -> bool:
    resumed: Future[bool] = Future()
    residents.apply(Resume(handle, model, caches, resumed))
    return resumed.result(timeout=0)


def test_a_paused_model_says_nothing(residents, heard):
    """Its sequences are there, but there is nothing to run, and its memory is somebody else's."""
    residents.apply(begin("a", 0, max_tokens=5))
    residents.step(residents.next_turn())
    residents.apply(Pause(1))
    residents.check()

    assert residents.is_idle
    assert [handle for handle, _ in heard.paused_ones] == [1]
    assert len(heard.of("a")) == 1


def test_a_paused_model_takes_new_sequences_and_ends_old_ones(residents, heard, counting):
    """What comes while it is away waits for it; who leaves meanwhile is not computed for."""
    residents.apply(begin("a", 0, max_tokens=5))
    residents.step(residents.next_turn())
    residents.apply(Pause(1))
    residents.apply(begin("b", 0))
    residents.apply(End("a", [0]))
    ((_, caches),) = heard.paused_ones
    assert resume(residents, 1, counting, caches)
    finish(residents)

    assert len(heard.of("a")) == 1
    assert [output.token_ids for output in heard.of("b")] == [[4], [5]]


def test_pausing_what_is_not_there_is_done_at_once(residents, heard):
    """A pause of a model that is gone, or paused already, has nothing to let go of."""
    residents.apply(Pause(9))
    residents.apply(Pause(1))
    residents.apply(Pause(1))

    assert [(handle, caches is None) for handle, caches in heard.paused_ones] == [
        (9, True),
        (1, False),
        (1, True),
    ]


def test_evicting_a_paused_model_ends_its_sequences(residents, heard, counting):
    """Nobody would ever answer them; and it cannot be resumed."""
    residents.apply(begin("a", 0, max_tokens=5))
    residents.apply(Pause(1))
    residents.apply(Drop(1))

    assert heard.of("a")[-1].failure.code == "stale_handle"
    assert heard.gone == [1]
    assert not resume(residents, 1, counting, empty_caches(8))
    assert residents.is_idle


def test_a_pause_while_draining_is_an_eviction_at_once(residents, heard):
    """Its memory is asked for twice, so what is left of it ends."""
    residents.apply(begin("a", 0, max_tokens=5))
    residents.apply(Drop(1))
    residents.apply(Pause(1))

    assert heard.of("a")[-1].failure.code == "stale_handle"
    assert heard.gone == [1]


def test_a_model_that_cannot_come_back_fails_its_sequences(residents, heard):
    """They hear why, once; the handle is stale from then on."""
    residents.apply(begin("a", 0))
    residents.apply(Pause(1))
    residents.apply(GiveUp(1, Failure("bad_checkpoint", "it is gone")))
    residents.apply(begin("a", 1))

    assert [output.failure.code for output in heard.of("a")] == ["bad_checkpoint", "stale_handle"]


def test_prompts_are_counted_as_they_begin(residents, heard, counting):
    """Their tokens and those that were cached, once each, whatever is lost on the way."""
    residents.apply(begin("a", 0, token_ids=range(30), max_tokens=1))
    finish(residents)
    residents.apply(begin("a", 1, token_ids=range(30), max_tokens=9))
    residents.step(residents.next_turn())
    residents.apply(Pause(1))
    resume(residents, 1, counting, empty_caches(8))
    finish(residents)

    assert residents.begun == PromptCount(60, 16)


def pause_or_resume(
    rng: random.Random, residents: Residents, heard: Heard, added: list[int], model: LanguageModel
) -> None:
    """Pauses one of those added, or brings one back, with its caches or without; or it fails to."""
    if not heard.away or rng.random() < 0.4:
        residents.apply(Pause(rng.choice(added)))
        return
    handle = rng.choice(sorted(heard.away))
    caches = heard.away.pop(handle)
    if rng.random() < 0.1:
        added.remove(handle)
        residents.apply(GiveUp(handle, Failure("internal", "")))
    else:
        kept = rng.random() < 0.7
        caches = caches if kept else empty_caches(caches.manager.num_blocks)
        assert resume(residents, handle, model, caches)


@pytest.mark.parametrize("seed", range(15))
def test_random_walk_answers_everyone_once(seed, heard, counting):
    """Whatever is loaded, paused, dropped, started and stopped, every sequence ends at most once."""
    rng = random.Random(seed)
    counting.poison = 25
    residents = Residents(heard)
    handles, added, dropped = iter(range(1, 1000)), [], []
    started, stopped = set(), set()
    for number in range(300):
        action = rng.random()
        if action < 0.05 or not added:
            added.append(next(handles))
            residents.apply(Add(added[-1], Resident(counting, empty_caches(rng.randint(1, 6)))))
        elif action < 0.13:
            pause_or_resume(rng, residents, heard, added, counting)
        elif action < 0.15:
            dropped.append(added.pop(rng.randrange(len(added))))
            residents.apply(Drop(dropped[-1]))
        elif action < 0.40:
            owner, prompt = rng.choice("ab"), [rng.randrange(33) for _ in range(rng.randint(0, 40))]
            handle = rng.choice([*added, *dropped])
            residents.apply(begin(owner, number, handle, prompt, rng.randint(0, 60)))
            started.add((owner, number))
        elif action < 0.43 and started:
            owner, gone = rng.choice(sorted(started))
            residents.apply(End(owner, [gone]))
            stopped.add((owner, gone))
        elif not residents.is_idle:
            handle = residents.next_turn()
            residents.step(handle)
            residents.charge(handle, rng.random())
        residents.check()
    for handle, caches in list(heard.away.items()):
        resume(residents, handle, counting, caches)
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
