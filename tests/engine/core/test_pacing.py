"""The prefill budget follows what steps were measured to take."""

import pytest

from engine.core.pacing import Pacing


@pytest.mark.parametrize("tokens_per_second", [500, 5_000, 50_000])
def test_chunks_come_to_last_what_was_asked(tokens_per_second):
    """Whatever the machine's speed, a chunk settles near its seconds."""
    pacing = Pacing(min_tokens=16, max_tokens=100_000)
    for _ in range(30):
        budget = pacing.token_budget(0.1)
        pacing.measured(budget, 0, budget / tokens_per_second)

    assert pacing.token_budget(0.1) == pytest.approx(tokens_per_second * 0.1, rel=0.1)


def test_the_budget_has_bounds():
    """Progress on the slowest machine, bounded memory on the fastest."""
    pacing = Pacing(min_tokens=16, max_tokens=512)
    pacing.measured(16, 0, 100.0)
    assert pacing.token_budget(1e-6) == 16
    for _ in range(10):
        pacing.measured(512, 0, 1e-3)

    assert pacing.token_budget(10.0) == 512


def test_steps_without_prefill_teach_nothing():
    """A decode's time says nothing about reading prompts."""
    pacing = Pacing(min_tokens=16, max_tokens=512)
    before = pacing.token_budget(0.4)
    pacing.measured(0, 0, 5.0)
    pacing.measured(2, 0, 5.0)

    assert pacing.token_budget(0.4) == before


def test_the_rest_of_a_prompt_says_little():
    """A last chunk of a few tokens, which costs as much as a step, hardly lowers the budget."""
    pacing = Pacing(min_tokens=16, max_tokens=512)
    for _ in range(10):
        pacing.measured(512, 0, 0.1)
    before = pacing.token_budget(0.05)
    pacing.measured(16, 0, 0.02)

    assert pacing.token_budget(0.05) > 0.95 * before


def test_decodes_beside_a_prompt_are_counted():
    """The budget is for both: what they cost must not be taken off twice."""
    pacing = Pacing(min_tokens=16, max_tokens=512)
    for _ in range(20):
        pacing.measured(16, 48, 0.1)

    assert pacing.token_budget(0.1) == pytest.approx(64, abs=1)


@pytest.mark.parametrize(
    ("num_waiting", "seconds_of_prompts", "stall"),
    [
        (0, 0.0, 0.1),
        (1, 60.0, 0.1),  # one that is long
        (16, 1.0, 0.1),  # many, and all are read soon
        (2, 60.0, 0.2),
        (16, 4.0, 0.2),
        (16, 60.0, 0.4),
        (500, 600.0, 0.4),
    ],
)
def test_streams_stall_longer_where_many_wait_for_long(num_waiting, seconds_of_prompts, stall):
    """And never longer than a newcomer may have to wait."""
    pacing = Pacing(min_tokens=16, max_tokens=512)
    for _ in range(30):
        pacing.measured(100, 0, 0.1)

    tokens = int(1000 * seconds_of_prompts)
    assert pacing.shared_seconds(num_waiting, tokens) == pytest.approx(stall, rel=0.01)
