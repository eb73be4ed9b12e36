"""Drawing: the filters against their definitions, frequencies, and independence of the batch."""

import math
from collections import Counter

import pytest
import torch

from engine.api import Sampling
from engine.sampling import choose as choosing
from engine.sampling.choose import choose
from engine.sampling.draw import Draw

# probabilities 0.5, 0.25, 0.125, 0.0625, 0.0625
LOGITS = torch.tensor([4.0, 3.0, 2.0, 1.0, 1.0]) * math.log(2)


def frequencies(sampling: Sampling, count: int = 4000) -> list[float]:
    draws = [Draw(sampling, 3, [0] * (1 + step), 1) for step in range(count)]
    counts = Counter(choose(LOGITS.repeat(count, 1), draws))
    return [counts[token] / count for token in range(len(LOGITS))]


CASES = [
    (Sampling(), [0.5, 0.25, 0.125, 0.0625, 0.0625]),
    (Sampling(temperature=0.5), [64 / 86, 16 / 86, 4 / 86, 1 / 86, 1 / 86]),
    (Sampling(top_k=2), [2 / 3, 1 / 3, 0, 0, 0]),
    (Sampling(top_k=-1), [0.5, 0.25, 0.125, 0.0625, 0.0625]),
    (Sampling(top_k=99), [0.5, 0.25, 0.125, 0.0625, 0.0625]),
    (Sampling(top_p=0.7), [2 / 3, 1 / 3, 0, 0, 0]),
    (Sampling(top_p=0.76), [4 / 7, 2 / 7, 1 / 7, 0, 0]),
    (Sampling(top_p=0.0), [1, 0, 0, 0, 0]),
    (Sampling(min_p=0.25), [4 / 7, 2 / 7, 1 / 7, 0, 0]),
    (Sampling(min_p=1.0), [1, 0, 0, 0, 0]),
    # top_p applies to what top_k has left: 0.6 of 4/7, 2/7, 1/7
    (Sampling(top_k=3, top_p=0.6), [2 / 3, 1 / 3, 0, 0, 0]),
]


@pytest.mark.parametrize(("sampling", "expected"), CASES, ids=str)
def test_filters_leave_the_right_distribution(sampling, expected):
    """Tokens come as often as the definition says, and filtered ones never."""
    for got, wanted in zip(frequencies(sampling), expected, strict=True):
        assert got == pytest.approx(wanted, abs=0.03)
        assert (got == 0) == (wanted == 0)


def test_temperature_zero_takes_the_best():
    """Greedy needs no random number, and tiny temperatures do not overflow."""
    for temperature in (0.0, 1e-30, 1e-4):
        draw = Draw(Sampling(temperature=temperature), 1, [0], 1)
        assert choose(LOGITS[None] * 1e30, [draw]) == [0]


def test_any_temperature_gives_a_token():
    """Extreme values end in a valid choice."""
    draw = Draw(Sampling(temperature=1e38), 1, [0], 1)

    assert choose(LOGITS[None], [draw])[0] in range(5)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_a_nucleus_is_the_same_however_it_is_found(monkeypatch, temperature):
    """Looking at the best tokens first, or at all of them in order, gives the same choices."""
    logits = torch.randn(50, 200, generator=torch.Generator().manual_seed(3))
    draws = [Draw(Sampling(temperature=temperature, top_p=0.9), row, [0], 1) for row in range(50)]
    at_once = choose(logits, draws)
    monkeypatch.setattr(choosing, "NUCLEUS_TOKENS", 40)

    assert choose(logits, draws) == at_once


@pytest.mark.parametrize("sampling", [Sampling(top_k=3), Sampling(top_p=0.26), Sampling(top_k=99)])
def test_of_equals_the_first_stay(sampling):
    """And they are walked through by id, whatever they weigh."""
    logits = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    draws = [Draw(sampling, step, [0], 1) for step in range(300)]
    stay = set(range(12)) if sampling.top_k == 99 else {0, 2, 3}

    assert set(choose(logits.repeat(300, 1), draws)) == stay


@pytest.mark.parametrize("vocab_size", [17, 1000])
def test_a_choice_does_not_depend_on_the_batch(vocab_size):
    """The same logits and seed give the same token alone, among others, and in any row."""
    torch.manual_seed(vocab_size)
    wishes = [
        Sampling(),
        Sampling(temperature=0),
        Sampling(top_k=5),
        Sampling(top_k=12, top_p=0.8),
        Sampling(top_p=0.9, temperature=1.7),
        Sampling(min_p=0.05, temperature=2.0),
    ]
    logits = torch.randn(60, vocab_size) * 3
    draws = [Draw(wishes[row % len(wishes)], row, [0, 0], 1) for row in range(60)]
    together = choose(logits, draws)
    order = torch.randperm(60).tolist()
    shuffled = choose(logits[order], [draws[row] for row in order])

    assert together == [choose(logits[row : row + 1], [draws[row]])[0] for row in range(60)]
    assert shuffled == [together[row] for row in order]
