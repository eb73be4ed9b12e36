"""Guesses from a predicted text: how they follow it, and that they change nothing."""

import pytest

from engine.api import Sampling
from engine.core.admission import MAX_PREDICTED_TOKENS, sequence_of
from engine.core.predictions import Predictor
from engine.core.resident import Resident
from engine.wire import Output, Start
from tests.engine.core.conftest import empty_caches

PREDICTION = (10, 11, 12, 13, 14, 15, 16, 17, 18, 19)


def predictor(*, falls_back: bool = False) -> Predictor:
    """Of a sequence whose prompt is 1, 2."""
    return Predictor(8, prediction=PREDICTION, num_prompt=2, falls_back=falls_back)


@pytest.mark.parametrize(
    ("said", "guess"),
    [
        ([], (10, 11, 12)),
        ([10], (11, 12, 13)),
        ([10, 11, 12, 13, 14, 15, 16], (17, 18, 19)),
        ([*PREDICTION], ()),
        ([99], ()),
        ([99, 12, 13], (14, 15, 16)),
        ([10, 11, 99, 98, 14], ()),
        ([10, 11, 99, 98, 14, 15], (16, 17, 18)),
    ],
)
def test_it_follows_the_prediction_and_finds_it_again(said, guess):
    """Behind an edit two tokens are enough to know the place by."""
    assert predictor().draft([1, 2, *said], 8) == guess


def test_it_goes_on_where_it_was_left():
    """Of places that look alike the next one counts, not the first."""
    repeated = Predictor(8, prediction=(5, 6, 1, 5, 6, 2, 5, 6, 3), num_prompt=0)

    assert repeated.draft([5, 6, 1, 5, 6, 2], 1) == (5,)
    assert repeated.draft([5, 6, 1, 5, 6, 2, 9, 5, 6], 1) == (3,)


def test_it_counts_what_was_tried():
    """And looks back at what was said, where it may and the prediction is at its end."""
    guesses = predictor(falls_back=True)
    guesses.draft([1, 2, 10], 8)
    guesses.judged(3, 2)
    looked_back = guesses.draft([1, 2, 30, 31, 32, 30, 31], 1)
    guesses.judged(1, 1)

    assert looked_back == (32,)
    assert (guesses.num_accepted, guesses.num_rejected) == (2, 1)


def count(resident: Resident, predicted: list[int], **limits: object) -> list[Output]:
    """The model counts on from 3; the sequence ends by itself."""
    fields = {"max_tokens": 12, "min_tokens": 0, "stop_token_ids": [], **limits}
    start = Start(0, 0, [1, 2, 3], sampling=Sampling(temperature=0), predicted_token_ids=predicted,
                  **fields)  # fmt: skip
    resident.scheduler.add(sequence_of(start, None, resident.vocab_size))
    outputs = []
    while not resident.is_idle:
        outputs += [output for _, output in resident.step(1.0)]
    resident.scheduler.check()
    return outputs


def said(outputs: list[Output]) -> list[int]:
    return [token_id for output in outputs for token_id in output.token_ids]


@pytest.mark.parametrize("speculate", [0, 8])
def test_what_was_predicted_takes_fewer_steps(counting, speculate):
    """Whether or not sequences guess by themselves; what is said is the same, and counted right."""
    resident = Resident(counting, empty_caches(8), speculate=speculate)
    without = count(resident, [])
    right = count(resident, [*range(4, 16)])
    edited = count(resident, [4, 5, 6, 7, 31, 30, 10, 11, 12, 13, 14, 15])
    wrong = count(resident, [4] + [20] * 12)

    assert said(without) == said(right) == said(edited) == said(wrong) == [*range(4, 16)]
    assert len(right) < len(edited) <= len(without) if not speculate else len(right) < 6
    assert (right[-1].rejected_tokens, wrong[-1].accepted_tokens) == (0, 0)
    assert right[-1].accepted_tokens == 12 - len(right)
    assert wrong[-1].rejected_tokens > 0


def test_what_no_model_can_say_is_cut_off(counting):
    """Tokens beyond the vocabulary, and more than can be sorted between two steps."""
    resident = Resident(counting, empty_caches(8))
    start = Start(0, 0, [1], 4, 0, [], Sampling(), predicted_token_ids=[2, 3, 10**6, 4])
    endless = Start(0, 0, [1], 4, 0, [], Sampling(), predicted_token_ids=[2] * 10**5)

    assert sequence_of(start, None, resident.vocab_size).prediction == (2, 3)
    assert len(sequence_of(endless, None, resident.vocab_size).prediction) == MAX_PREDICTED_TOKENS
