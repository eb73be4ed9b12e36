"""Steps begun while the one before them is computed: what is said is what would have been said anyway."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from engine.api import Sampling
from engine.core.pacing import Pacing
from engine.core.residents import Residents
from engine.core.runner import Runner
from engine.core.work import Add, Begin, End, Pause, Resume
from engine.devices import DeviceLost
from engine.kernels.batch import ForwardBatch
from engine.wire import Output, Start
from tests.engine.core.on_device import Loaded, loaded
from tests.engine.core.paused import Heard
from tests.engine.core.test_recurrent import MADE
from tests.engine.fixture_models import COMMITTED
from tests.engine.made_models import write

PROMPT = [(7 * place * place + 3) % 90 for place in range(60)]

OPEN = (
    Sampling(temperature=0),
    Sampling(temperature=1.0, seed=3),
    Sampling(temperature=0.8, seed=9, top_p=0.9, top_k=30),
    Sampling(temperature=1.1, seed=4, min_p=0.02, logit_bias={4: 1.5}),
)
CLOSED = (
    Sampling(temperature=0.9, seed=4, frequency_penalty=0.3),
    Sampling(temperature=0, logprobs=2),
    Sampling(temperature=1.2, seed=5, repetition_penalty=1.3, presence_penalty=0.4),
    Sampling(temperature=0, prompt_logprobs=True, logprobs=1),
)

Said = tuple[list[int], list[float], str | None]


@dataclass(frozen=True)
class Event:
    """start begins at a step, or the sequence of that number is cancelled."""

    step: int
    start: Start | None = None
    cancelled: int = -1


def start(number: int, prompt: list[int], sampling: Sampling, **limits: Any) -> Start:
    asked = {"handle": 1, "max_tokens": 20, "min_tokens": 0, "stop_token_ids": []} | limits
    return Start(number, token_ids=prompt, sampling=sampling, **asked)


def history(seed: int, *, closed: bool) -> list[Event]:
    """Prompts that begin alike or do not, ends of both kinds, and clients that go away."""
    rng, events = random.Random(seed), []
    for number in range(10):
        prompt = [
            *PROMPT[: rng.randint(1, 59)],
            *(rng.randrange(90) for _ in range(rng.randint(1, 9))),
        ]
        asked = start(
            number,
            prompt,
            rng.choice([*OPEN, *(CLOSED if closed else ())]),
            max_tokens=rng.randint(1, 30),
            min_tokens=rng.choice([0, 0, 6]),
            stop_token_ids=rng.choice([[], [*range(20, 40)], [*range(0, 90, 7)]]),
        )
        events.append(Event(rng.randint(0, 25), asked))
        if rng.random() < 0.2:
            events.append(Event(rng.randint(5, 40), cancelled=number))
    return events


class Driven:
    """One model in a `Residents`, driven by events."""

    def __init__(self, model: Loaded, *, ahead: bool, kv_tokens: int, state_slots: int) -> None:
        self.heard = Heard()
        self.residents = Residents(self.heard)
        self.resident = model.resident(kv_tokens, state_slots, ahead=ahead)
        self.resident.sequences.pacing = Pacing(16, 16)
        self.residents.apply(Add(1, self.resident))
        self.num_begun_early = 0

    def run(self, events: list[Event]) -> dict[int, Said]:
        step = 0
        while step <= max(event.step for event in events) or not self.residents.is_idle:
            for event in events:
                if event.step == step and event.start:
                    self.residents.apply(Begin("owner", event.start))
                elif event.step == step:
                    self.residents.apply(End("owner", [event.cancelled]))
            if not self.residents.is_idle:
                self.step()
            step += 1
        self.resident.scheduler.check()
        assert self.resident.scheduler.cache.num_tables == 0
        return {number: said(of) for number, of in self.heard.outputs_of.items()}

    def step(self) -> None:
        self.residents.step(self.residents.next_turn())
        self.num_begun_early += self.resident._under_way is not None
        self.residents.check()


def said(outputs: list[Output]) -> Said:
    assert not any(output.failure for output in outputs), outputs[-1].failure
    tokens = [token_id for output in outputs for token_id in output.token_ids]
    logprobs = [each.logprob for output in outputs for each in output.logprobs]
    return tokens, logprobs, outputs[-1].finish_reason


def assert_alike(found: Mapping[int, Said], expected: Mapping[int, Said], events: list[Event]):
    cancelled = {event.cancelled for event in events}
    for number in expected.keys() - cancelled:
        (tokens, logprobs, reason), (meant, values, end) = found[number], expected[number]
        assert (tokens, reason) == (meant, end)
        assert logprobs == pytest.approx(values, abs=1e-4)
    for number in found.keys() & expected.keys() & cancelled:
        length = min(len(found[number][0]), len(expected[number][0]))
        assert found[number][0][:length] == expected[number][0][:length]


@pytest.fixture(scope="module")
def llama() -> Loaded:
    return loaded(COMMITTED / "llama-plain/hf")


@pytest.fixture(scope="module", params=["llama", "lfm2"])
def model(request, llama, tmp_path_factory) -> Loaded:
    if request.param == "llama":
        return llama
    return loaded(write(tmp_path_factory.mktemp(request.param) / "hf", MADE[request.param]()))


SEEDS = [0, 1, *[pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 30)]]


@pytest.mark.parametrize("closed", [False, True], ids=["open", "mixed"])
@pytest.mark.parametrize("seed", SEEDS)
def test_random_histories_say_the_same(model, seed, closed):
    """Token for token, with room for all and with too little, whoever comes, stops and goes."""
    events = history(seed, closed=closed)
    room = {"kv_tokens": (96, 512)[seed % 2], "state_slots": (4, 16)[seed % 2]}
    calm, hasty = (Driven(model, ahead=ahead, **room) for ahead in (False, True))

    assert_alike(hasty.run(events), calm.run(events), events)
    assert calm.num_begun_early == 0
    assert closed or hasty.num_begun_early > 0


def test_it_says_what_the_model_itself_says(llama):
    """Beside a runner of the model as it is, without device, program, graphs and all."""
    events = [Event(at, start(at, PROMPT[: 9 + at], OPEN[at])) for at in range(4)]
    hasty = Driven(llama, ahead=True, kv_tokens=512, state_slots=4)
    plain = Driven(llama, ahead=False, kv_tokens=512, state_slots=4)
    views = plain.resident.caches.views
    plain.resident._runner = Runner(llama.model, views, plain.resident.caches.manager.block_size)

    assert_alike(hasty.run(events), plain.run(events), events)
    assert hasty.num_begun_early > 10


def driven(llama: Loaded, *starts: Start) -> Driven:
    """At the first step, in which all of their prompts were read."""
    found = Driven(llama, ahead=True, kv_tokens=512, state_slots=4)
    found.resident.sequences.pacing = Pacing(16, 512)
    for each in starts:
        found.residents.apply(Begin("owner", each))
    found.step()
    return found


def test_the_next_step_is_begun_before_anybody_is_told(llama):
    """And holds no token that is not known, when the step is over."""
    found = driven(llama, start(0, PROMPT[:9], OPEN[0]))

    assert found.resident._under_way is not None
    assert len(found.heard.outputs_of[0]) == 1
    assert not found.resident.is_idle
    (sequence,) = found.resident.scheduler
    assert min(sequence.token_ids) >= 0


def test_nothing_is_begun_early_while_others_have_work(llama):
    """What is under way is over before another model begins: logits and drawn tokens have one place."""
    found = driven(llama, start(0, PROMPT[:9], OPEN[0]))
    other = llama.resident()
    found.residents.apply(Add(2, other))
    theirs = start(1, PROMPT[:9], OPEN[0], handle=2)
    found.residents.apply(Begin("owner", theirs))
    found.residents.step(2)

    assert found.resident._under_way is None
    assert other._under_way is None
    assert len(found.heard.outputs_of[0]) == 2
    while not found.residents.is_idle:
        found.residents.step(found.residents.next_turn())
    assert said(found.heard.outputs_of[0]) == said(found.heard.outputs_of[1])


def test_idle_moments_are_for_graphs(llama):
    """Not before all is said; and when there is nothing left to capture, for nothing."""
    found = driven(llama, start(0, PROMPT[:9], OPEN[0], max_tokens=4))
    found.step()
    assert not found.residents.prepare()
    while not found.residents.is_idle:
        found.step()
    found.residents.apply(Begin("owner", start(1, PROMPT[:5], OPEN[0], max_tokens=1)))
    found.residents.apply(Begin("owner", start(2, PROMPT[:5], OPEN[0], max_tokens=3)))
    found.residents.apply(Begin("owner", start(3, PROMPT[:5], OPEN[0], max_tokens=3)))
    while not found.residents.is_idle:
        found.step()

    assert [found.residents.prepare() for _ in range(2)] == [True, False]


def test_a_pause_waits_for_what_is_under_way(llama):
    """Its tokens are handed out, and the sequence goes on from there."""
    expected = driven(llama, start(0, PROMPT[:9], OPEN[1])).run([Event(0)])
    found = driven(llama, start(0, PROMPT[:9], OPEN[1]))
    found.residents.apply(Pause(1))
    assert len(found.heard.outputs_of[0]) == 2
    caches = found.heard.left()
    resumed: Any = type("Resumed", (), {"set_result": lambda _, value: None})()
    found.residents.apply(Resume(1, llama.on(caches.views), caches, resumed))
    while not found.residents.is_idle:
        found.residents.step(1)

    assert said(found.heard.outputs_of[0]) == expected[0]


class Trapped:
    """A forward that raises, or gives no numbers, where it reads a token."""

    def __init__(self, resident, token_id: int, *, poison: bool = False) -> None:
        self.model, self.token_id, self.poison = resident._runner.model, token_id, poison
        self._forward = self.model.forward
        self.model.forward = self.forward

    def forward(self, batch: ForwardBatch, caches) -> torch.Tensor:
        drawn = self.model.drawn.tolist()
        read = [drawn[~token] if token < 0 else token for token in batch.token_ids.tolist()]
        logits = self._forward(batch, caches)
        if self.token_id in read and not self.poison:
            raise RuntimeError("something broke")
        logits = logits.clone()
        for place, row in enumerate(batch.logit_rows.tolist()):
            if read[row] == self.token_id:
                logits[place] = torch.nan
        return logits


def spoken(llama: Loaded, prompt: list[int]) -> list[int]:
    return driven(llama, start(0, prompt, OPEN[0])).run([Event(0)])[0][0]


def test_a_step_that_fails_is_behind_the_one_before_it(llama):
    """It was begun early and raised; what was drawn before is told first, and others come in later."""
    tokens = spoken(llama, PROMPT[:9])
    place = next(at for at in range(3, 20) if tokens[at] not in tokens[:at])
    found = Driven(llama, ahead=True, kv_tokens=512, state_slots=4)
    Trapped(found.resident, tokens[place])
    found.residents.apply(Begin("owner", start(0, PROMPT[:9], OPEN[0])))
    while not found.residents.is_idle:
        found.step()
    outputs = found.heard.outputs_of[0]

    assert [t for output in outputs for t in output.token_ids] == tokens[: place + 1]
    assert outputs[-1].failure is not None
    found.resident.scheduler.check()
    found.residents.apply(
        Begin("owner", start(1, [5, 6, 7], Sampling(temperature=0), max_tokens=1))
    )
    while not found.residents.is_idle:
        found.step()
    assert found.heard.outputs_of[1][-1].finish_reason == "length"


def test_a_lost_device_ends_the_loop(llama):
    """Nobody of it is told that a step failed: the process ends, and all that it had with it."""
    found = driven(llama, start(0, PROMPT[:9], OPEN[0]))

    def lost(batch: ForwardBatch, caches) -> torch.Tensor:
        raise DeviceLost("an illegal memory access was encountered")

    found.resident._runner.model.forward = lost
    found.step()  # its error waits until the step before it is over
    with pytest.raises(DeviceLost):
        found.step()


def test_logits_that_are_no_numbers_end_one_sequence(llama):
    """The step behind was begun with a token that there is not: nobody hears of it."""
    tokens = spoken(llama, PROMPT[:9])
    place = next(at for at in range(3, 20) if tokens[at] not in tokens[:at])
    other = start(1, PROMPT[30:50], OPEN[0])
    expected = spoken(llama, PROMPT[30:50])
    assert tokens[place] not in expected[:place]
    found = Driven(llama, ahead=True, kv_tokens=512, state_slots=4)
    Trapped(found.resident, tokens[place], poison=True)
    for each in (start(0, PROMPT[:9], OPEN[0]), other):
        found.residents.apply(Begin("owner", each))
    while not found.residents.is_idle:
        found.step()
    outputs = found.heard.outputs_of[0]

    assert [t for output in outputs for t in output.token_ids] == tokens[: place + 1]
    assert "not finite" in outputs[-1].failure.message
    if tokens[place] not in expected:
        assert said(found.heard.outputs_of[1])[0] == expected
    found.resident.scheduler.check()
