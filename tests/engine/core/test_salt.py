"""What is cached of a prompt is found by those of the same salt alone, in a real model's cache."""

import pytest

from engine.api import Sampling
from engine.core.admission import sequence_of
from engine.core.generate import LocalModel
from engine.wire import Start

PROMPT = [1, *range(3, 83)]


@pytest.fixture(scope="module")
def model(llama):
    return LocalModel.open(llama / "hf", dtype="float32")


def run(model: LocalModel, salt: str) -> tuple[list[int], int]:
    """What it says to the prompt, and how much of that was cached."""
    resident = model._resident
    sampling = Sampling(temperature=0)
    start = Start(0, 0, PROMPT, 4, 0, [], sampling, salt=salt)
    sequence = sequence_of(start, model, resident.vocab_size)
    resident.scheduler.add(sequence)
    while not resident.is_idle:
        resident.step(1.0)
    return sequence.token_ids[sequence.num_prompt :], sequence.num_cached


def test_other_salts_are_other_caches(model):
    """Nobody can tell by the time, or by cached_tokens, what another has asked; all get the same."""
    said, cached = run(model, "ann")

    assert cached == 0
    assert run(model, "bob") == (said, 0)
    assert run(model, "") == (said, 0)
    for salt in ("ann", "bob", ""):
        again, cached = run(model, salt)
        assert again == said
        assert cached >= 64
