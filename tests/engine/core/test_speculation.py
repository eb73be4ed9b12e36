"""Guesses change nothing that is said, only when: over families, samplers, ends, pauses and mates."""

from collections.abc import Sequence as Many
from dataclasses import dataclass

import pytest
import torch

from engine.api import Generation, Sampling
from engine.core.admission import sequence_of
from engine.core.drafts import Drafter
from engine.core.generate import LocalModel
from engine.core.opening import open_resident
from engine.core.resident import Resident
from engine.kernels.cpu.library import is_available
from engine.wire import Logprob, Output, Start
from tests.engine.core.conftest import Counting, empty_caches
from tests.engine.core.paused import Pausable
from tests.engine.core.test_pause import starts
from tests.engine.fixture_models import COMMITTED

GREEDY = Sampling(temperature=0)
PROMPT = [(7 * place * place + 3) % 90 for place in range(40)]

RUNS = (
    ({}, Sampling(temperature=0, logprobs=2)),
    ({"min_tokens": 20}, Sampling(temperature=0.9, seed=4, frequency_penalty=0.3, logprobs=1)),
    ({}, Sampling(temperature=1.1, seed=9, top_p=0.95, repetition_penalty=1.3)),
    ({}, Sampling(temperature=0.7, seed=2, top_k=20, presence_penalty=0.5, logit_bias={4: 3.0})),
    ({"max_tokens": 7}, Sampling(temperature=1.0, seed=1, min_p=0.05, logprobs=0)),
)
"""Everything that a draw may depend on."""

NATIVE = ("llama-q", "gemma3-q")
REFERENCE = ("llama-plain", "gemma2-softcap", "deepseek2-lite")


@dataclass
class Oracle(Drafter):
    """Knows what will be said, and guesses right, wrong and half right by turns."""

    said: tuple[int, ...] = ()
    num_steps: int = 0

    def draft(self, token_ids: Many[int], limit: int) -> tuple[int, ...]:
        self.num_steps += 1
        ahead = list(self.said[len(token_ids) :][: min(limit, self.max_tokens)])
        if self.num_steps % 3 and len(ahead) > self.num_steps % 4:
            ahead[self.num_steps % 4] ^= 1
        return tuple(ahead)


Said = tuple[list[int], list[Logprob], str | None]


def asked() -> list[Start]:
    """The runs, as they come over the wire; some of the model's tokens stop them."""
    return [
        Start(
            number,
            0,
            [number, *PROMPT[number:]],
            limits.get("max_tokens", 40),
            limits.get("min_tokens", 0),
            [8, 9, 31],
            sampling,
        )
        for number, (limits, sampling) in enumerate(RUNS)
    ]


def said(resident: Resident, drafters: Many[Drafter], runs: Many[Start]) -> list[Said]:
    """All that comes out of these runs together."""
    outputs: dict[int, list[Output]] = {start.sequence: [] for start in runs}
    for start, drafter in zip(runs, drafters, strict=True):
        sequence = sequence_of(start, None, resident.vocab_size)
        sequence.drafter = drafter
        resident.scheduler.add(sequence)
    while not resident.is_idle:
        for _, output in resident.step(1.0):
            outputs[output.sequence].append(output)
        resident.scheduler.check()
    return [joined(of) for of in outputs.values()]


def joined(outputs: Many[Output]) -> Said:
    assert not any(output.failure for output in outputs)
    token_ids = [token_id for output in outputs for token_id in output.token_ids]
    logprobs = [logprob for output in outputs for logprob in output.logprobs]
    return token_ids, logprobs, outputs[-1].finish_reason


def with_and_without(resident: Resident) -> tuple[list[Said], list[Said]]:
    """What is said with guesses, and without."""
    runs = asked()
    said(resident, [Drafter(0) for _ in runs], runs)  # from now on their prompts are cached
    without = said(resident, [Drafter(0) for _ in runs], runs)
    oracles = [
        Oracle(8, said=(*start.token_ids, *token_ids))
        for start, (token_ids, _, _) in zip(runs, without, strict=True)
    ]
    resident.scheduler.take_drafted()
    found = said(resident, oracles, runs)
    drafted = resident.scheduler.take_drafted()
    assert 10 < drafted.num_accepted < drafted.num_drafted - 10
    return found, without


@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_says_the_same(name):
    """Token for token, and the same ends; its matrices may round a row otherwise beside others."""
    resident, _ = open_resident(
        COMMITTED / name / "hf", "dense", torch.float32, kv_tokens=512, speculate=8
    )
    found, without = with_and_without(resident)

    for (token_ids, logprobs, reason), (tokens, expected, end) in zip(found, without, strict=True):
        assert (token_ids, reason) == (tokens, end)
        values = [logprob.logprob for logprob in logprobs]
        assert values == pytest.approx([logprob.logprob for logprob in expected], abs=1e-4)


@pytest.mark.skipif(not is_available(), reason="there is no native library")
@pytest.mark.parametrize("name", NATIVE)
def test_a_program_says_the_same_to_the_last_bit(name):
    """A row's result does not depend on the rows beside it, so log-probabilities are equal too."""
    (path, *_) = sorted((COMMITTED / name).glob("*.gguf"))
    resident, _ = open_resident(path, "tiled", torch.bfloat16, kv_tokens=512, speculate=8)
    found, without = with_and_without(resident)

    assert found == without


def test_text_that_repeats_itself_takes_fewer_steps(llama):
    """What the drafter finds by itself is right often enough; the text is the same."""
    generation = Generation(40, Sampling(temperature=0, logit_bias={5: 99.0}))
    without, found = (
        list(
            LocalModel.open(llama / "hf", "float32", kv_tokens=512, speculate=speculate).generate(
                PROMPT, generation
            )
        )
        for speculate in (0, 8)
    )

    assert joined(found) == joined(without)
    assert len(found) < len(without) // 4


@pytest.mark.parametrize("pauses", [(9,), range(4, 40, 3)], ids=["once", "often"])
@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "lost"])
def test_a_pause_between_guesses_changes_nothing(pauses, is_kept, tmp_path):
    """What is known of a text outlives the weights, whether its caches do or not."""
    path = COMMITTED / "llama-plain/hf"
    without, guessing = (
        Pausable(path, "dense", torch.float32, tmp_path, speculate=most) for most in (0, 8)
    )
    keep = (lambda caches: caches) if is_kept else (lambda _: None)
    expected, found = without.run(starts()), guessing.run(starts(), pauses, keep)

    assert {n: joined(of)[::2] for n, of in found.items()} == {
        n: joined(of)[::2] for n, of in expected.items()
    }


def test_preemption_between_guesses_changes_nothing(llama):
    """With a cache too small for the batch sequences give way, return, and say the same."""
    small, _ = open_resident(llama / "hf", "dense", torch.float32, kv_tokens=128, speculate=8)
    runs = asked()
    alone = [said(small, [Drafter(0)], [start])[0] for start in runs]
    oracles = [
        Oracle(8, said=(*start.token_ids, *token_ids))
        for start, (token_ids, _, _) in zip(runs, alone, strict=True)
    ]
    together = said(small, oracles, runs)

    assert [each[::2] for each in together] == [each[::2] for each in alone]
    assert small.scheduler.take_drafted().num_accepted > 10


@pytest.fixture
def guessing(counting: Counting) -> Resident:
    """Of a model that counts, and guesses that it does."""
    return Resident(counting, empty_caches(8), speculate=8)


def count_on(resident: Resident, **limits: object) -> list[Output]:
    """It has counted to 16 once and is at 3 again."""
    fields = {"max_tokens": 20, "min_tokens": 0, "stop_token_ids": [], **limits}
    start = Start(
        0, 0, [*range(17), 1, 2, 3], sampling=Sampling(temperature=0, logprobs=0), **fields
    )
    resident.scheduler.add(sequence_of(start, None, resident.vocab_size))
    outputs = []
    while not resident.is_idle:
        outputs += [output for _, output in resident.step(1.0)]
    resident.scheduler.check()
    return outputs


def test_tokens_of_one_step_come_in_one_output(guessing):
    """Each with its log-probability; drafts grow as they come true."""
    outputs = count_on(guessing, max_tokens=13)

    assert [output.token_ids for output in outputs] == [[4], [5, 6, 7, 8], [*range(9, 16)], [16]]
    assert all(len(output.logprobs) == len(output.token_ids) for output in outputs)
    assert [output.finish_reason for output in outputs] == [None, None, None, "length"]


def test_a_stop_token_cuts_a_step_short(guessing):
    """It comes last, with what was before it, and without what was drawn behind it."""
    outputs = count_on(guessing, stop_token_ids=[7])

    assert [output.token_ids for output in outputs] == [[4], [5, 6, 7]]
    assert len(outputs[-1].logprobs) == 3
    assert outputs[-1].finish_reason == "stop"


def test_barred_until_the_minimum_is_barred_in_a_draft(guessing):
    """A stop token that min_tokens forbids is not drawn, though it was guessed."""
    outputs = count_on(guessing, stop_token_ids=[6, 7], min_tokens=3)
    token_ids = [token_id for output in outputs for token_id in output.token_ids]

    assert token_ids[:2] == [4, 5]
    assert not {6, 7} & set(token_ids[:3])


def test_a_row_that_breaks_behind_right_guesses_fails_by_itself(guessing, counting):
    """What came before it is said, and the step that begins with it fails."""
    counting.poison = 6
    outputs = count_on(guessing)

    assert [output.token_ids for output in outputs] == [[4], [5, 6], []]
    assert [output.failure is None for output in outputs] == [True, True, False]


def test_a_row_that_breaks_behind_a_wrong_guess_does_not_count(guessing, counting):
    """Nobody asked for it."""
    counting.poison = 30
    start = Start(0, 0, [1, 2, 3, 30, 9, 1, 2], 6, 0, [], GREEDY)
    guessing.scheduler.add(sequence_of(start, None, 32))
    outputs = []
    while not guessing.is_idle:
        outputs += [output for _, output in guessing.step(1.0)]

    assert [token_id for output in outputs for token_id in output.token_ids] == [3, 4, 5, 6, 7, 8]
    assert guessing.scheduler.take_drafted().num_drafted > 0
