"""The sampler as a whole: raw log-probabilities, broken rows, and batches in passes."""

import math

import pytest
import torch

from engine.api import Failure, Sampling
from engine.sampling import sampler
from engine.sampling.draw import Choice, Draw
from engine.sampling.sampler import sample

GREEDY = Sampling(temperature=0)


def draw(sampling: Sampling = GREEDY, barred=()) -> Draw:
    return Draw(sampling, 0, [0], 1, barred)


def test_logprobs_are_the_models_own():
    """Bias and temperature choose the token and leave its log-probability alone."""
    logits = torch.tensor([[1.0, 0.0]])
    (choice,) = sample(logits, [draw(Sampling(temperature=0.1, logit_bias={1: 100.0}, logprobs=2))])
    log_total = math.log(1 + math.e)

    assert isinstance(choice, Choice)
    assert choice.logprob is not None
    assert choice.token_id == 1
    assert choice.logprob.logprob == pytest.approx(-log_total)
    assert [token for token, _ in choice.logprob.top] == [0, 1]
    assert choice.logprob.top[0][1] == pytest.approx(1 - log_total)


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_a_broken_row_fails_alone(poison):
    """Logits that are no numbers end one sequence, not its neighbours."""
    logits = torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    logits[1, 0] = poison
    first, broken, last = sample(logits, [draw(), draw(), draw()])

    assert (first, last) == (Choice(1), Choice(0))
    assert isinstance(broken, Failure)
    assert "not finite" in broken.message


def test_a_row_without_any_allowed_token_fails_alone():
    """Barring the whole vocabulary leaves nothing to choose."""
    barred, free = sample(torch.zeros(2, 2), [draw(barred={0, 1}), draw(barred={0})])

    assert isinstance(barred, Failure)
    assert free == Choice(1)


def test_only_who_asks_gets_logprobs():
    """Asking for none and asking for no alternatives are two things."""
    none, own = sample(torch.zeros(2, 4), [draw(), draw(Sampling(temperature=0, logprobs=0))])

    assert isinstance(none, Choice)
    assert isinstance(own, Choice)
    assert none.logprob is None
    assert own.logprob is not None
    assert own.logprob.top == []


def test_a_batch_in_passes_is_the_same_batch(monkeypatch):
    """Bounding memory does not change what is drawn."""
    logits = torch.randn(9, 20, generator=torch.Generator().manual_seed(2))
    draws = [Draw(Sampling(logprobs=1), seed, [0], 1) for seed in range(9)]
    whole = sample(logits, draws)
    monkeypatch.setattr(sampler, "PASS_BYTES", 20 * 8 * 2)

    assert sample(logits, draws) == whole
