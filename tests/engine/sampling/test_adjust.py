"""Bias and penalties, against their definitions."""

import torch

from engine.api import Sampling
from engine.sampling.adjust import adjust
from engine.sampling.draw import Draw

LOGITS = torch.tensor([[2.0, -2.0, 1.0, -1.0]])


def adjusted(sampling: Sampling, prompt=(0,), output=(), barred=()) -> list[float]:
    draw = Draw(sampling, 0, [*prompt, *output], len(prompt), barred)
    return adjust(LOGITS, [draw])[0].tolist()


def test_defaults_change_nothing():
    """Without a wish the very tensor comes back."""
    assert adjust(LOGITS, [Draw(Sampling(), 0, [0], 1)]) is LOGITS


def test_the_argument_is_left_alone():
    """Log-probabilities are taken from the raw logits afterwards."""
    before = LOGITS.clone()
    adjusted(Sampling(logit_bias={0: 5.0}, repetition_penalty=2.0, presence_penalty=1.0), (0, 1))

    assert LOGITS.equal(before)


def test_repetition_covers_prompt_and_output():
    """Positive logits are divided, negative ones multiplied, once however often a token came."""
    sampling = Sampling(repetition_penalty=2.0)

    assert adjusted(sampling, prompt=(0, 0), output=(1, 1)) == [1.0, -4.0, 1.0, -1.0]


def test_presence_and_frequency_cover_output_alone():
    """Presence counts once, frequency every time; the prompt does not count."""
    sampling = Sampling(presence_penalty=0.5, frequency_penalty=0.25)

    assert adjusted(sampling, prompt=(0, 3), output=(2, 2, 1)) == [2.0, -2.75, 0.0, -1.0]


def test_bias_is_added():
    """A bias moves its token's logit by so much."""
    assert adjusted(Sampling(logit_bias={1: 5.0, 2: -1.0})) == [2.0, 3.0, 0.0, -1.0]


def test_barred_tokens_cannot_come():
    """Not even a bias brings a barred token back."""
    sampling = Sampling(logit_bias={0: 100.0})

    assert adjusted(sampling, barred={0})[0] == -torch.inf


def test_rows_keep_to_themselves():
    """One sequence's penalties do not touch another's row."""
    logits = LOGITS.repeat(2, 1)
    draws = [Draw(Sampling(), 0, [0], 1), Draw(Sampling(logit_bias={0: 1.0}), 0, [0], 1)]
    both = adjust(logits, draws)

    assert both[0].equal(logits[0])
    assert both[1, 0] == 3.0
