"""What the sampler refuses."""

import math

import pytest

from engine.api import EngineError, Sampling
from engine.sampling.validate import validate

BAD = [
    {"temperature": -0.1},
    {"temperature": math.nan},
    {"temperature": math.inf},
    {"top_k": -2},
    {"top_p": 1.1},
    {"top_p": math.nan},
    {"min_p": -0.1},
    {"repetition_penalty": 0.0},
    {"repetition_penalty": math.inf},
    {"presence_penalty": math.nan},
    {"frequency_penalty": math.inf},
    {"logprobs": -1},
    {"logprobs": 21},
    {"logit_bias": {10: 1.0}},
    {"logit_bias": {-1: 1.0}},
    {"logit_bias": {0: math.nan}},
]


@pytest.mark.parametrize("fields", BAD, ids=str)
def test_bad_values_are_named(fields):
    """A value that cannot be honoured is refused by its parameter's name."""
    with pytest.raises(EngineError) as error:
        validate(Sampling(**fields), vocab_size=10)

    assert error.value.code == "bad_request"
    assert error.value.param == next(iter(fields))


def test_limits_themselves_are_allowed():
    """The ends of each range belong to it."""
    validate(
        Sampling(temperature=0, top_p=0, min_p=1, top_k=-1, logprobs=20, logit_bias={9: -100.0}),
        vocab_size=10,
    )
