from typing import Any

import pytest

from engine.api import ChatPrompt, Generation, Prepared, Sampling, TextPrompt, TokenPrompt
from gateway.errors import ContextLengthExceeded, InvalidRequest
from gateway.translate.job import Job


def job(prompts: int = 1, *, n: int = 1, max_tokens: int | None = None, **generation: Any) -> Job:
    return Job(
        prompts=(TextPrompt("x"),) * prompts,
        generation=Generation(max_tokens=0, **generation),
        prompt_param="prompt",
        n=n,
        max_tokens=max_tokens,
    )


def prepared(*lengths: int) -> list[Prepared]:
    return [Prepared(ticket, [1] * length) for ticket, length in enumerate(lengths, 10)]


def test_choices_are_prompt_major():
    """Index = prompt * n + j; choices of a prompt share its ticket."""
    runs = job(2, n=2, max_tokens=5).runs(prepared(3, 4), 100)

    assert [(run.index, run.ticket) for run in runs] == [(0, 10), (1, 10), (2, 11), (3, 11)]


def test_no_limit_is_the_rest_of_the_window():
    """For each prompt its own."""
    runs = job(2).runs(prepared(30, 60), 100)

    assert [run.generation.max_tokens for run in runs] == [70, 40]


@pytest.mark.parametrize(
    ("length", "max_tokens", "fits"),
    [(90, 10, True), (91, 10, False), (99, None, True), (100, None, False), (100, 0, True)],
)
def test_prompt_and_completion_fit_the_context_or_are_refused(length, max_tokens, fits):
    """To the token, and with room for at least one where no number is given."""
    if fits:
        assert job(max_tokens=max_tokens).runs(prepared(length), 100)
        return
    with pytest.raises(ContextLengthExceeded) as caught:
        job(max_tokens=max_tokens).runs(prepared(length), 100)
    assert caught.value.param == "prompt"


def test_min_tokens_over_what_is_possible_is_refused():
    """Also when the window is what bounds it: nobody could ever finish such a request."""
    with pytest.raises(InvalidRequest, match="min_tokens"):
        job(min_tokens=11).runs(prepared(90), 100)


@pytest.mark.parametrize(
    "prompt",
    [
        TokenPrompt([1] * 101),
        TextPrompt("x" * 1700),
        ChatPrompt([{"role": "user", "content": "x" * 900}] * 2),
    ],
)
def test_a_hopeless_prompt_is_not_even_tokenized(prompt):
    """Tokenizing takes a second for a megabyte, in a process that all requests share."""
    hopeless = Job((prompt,), Generation(max_tokens=0), "prompt")

    with pytest.raises(ContextLengthExceeded):
        hopeless.refuse_hopeless(100)
    hopeless.refuse_hopeless(113)


def test_an_empty_prompt_is_refused():
    """A model needs one token to go on from."""
    with pytest.raises(InvalidRequest, match="empty"):
        job().runs(prepared(0), 100)


@pytest.mark.parametrize(("seed", "expected"), [(7, [7, 8]), (2**63 - 1, [2**63 - 1, -(2**63)])])
def test_each_choice_has_a_seed_of_its_own(seed, expected):
    """The first has the one given; the largest wraps round."""
    runs = job(n=2, sampling=Sampling(seed=seed)).runs(prepared(1), 100)

    assert [run.generation.sampling.seed for run in runs] == expected


def test_no_seed_stays_none():
    """Then the engine draws afresh."""
    (run,) = job().runs(prepared(1), 100)

    assert run.generation.sampling.seed is None
