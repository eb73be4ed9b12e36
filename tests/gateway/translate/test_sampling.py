import pytest

from engine.api import Generation, Sampling
from gateway.errors import InvalidRequest, Unsupported
from gateway.openai.sampling import SamplingFields, StreamOptions
from gateway.translate.sampling import (
    read_generation,
    read_include_usage,
    read_n,
    refuse_unsupported,
)


def test_defaults_change_nothing(card):
    """A request that says nothing is a plain draw from the model."""
    generation = read_generation(SamplingFields(model="m"), card, logprobs=None)

    assert generation == Generation(max_tokens=0, sampling=Sampling())


def test_zero_is_not_absent(card):
    """Temperature 0 is greedy and top_p 0 the best token, not their defaults."""
    request = SamplingFields(model="m", temperature=0, top_p=0)

    sampling = read_generation(request, card, logprobs=0).sampling

    assert (sampling.temperature, sampling.top_p, sampling.logprobs) == (0, 0, 0)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"repeat_penalty": 1.2}, 1.2),
        ({"repetition_penalty": 1.1, "repeat_penalty": 1.2}, 1.1),
        ({}, 1.0),
    ],
)
def test_both_names_of_the_repetition_penalty(card, given, expected):
    """Ours wins over the other projects' name."""
    generation = read_generation(SamplingFields(model="m", **given), card, logprobs=None)

    assert generation.sampling.repetition_penalty == expected


@pytest.mark.parametrize("field", ["logit_bias", "stop_token_ids"])
def test_ids_outside_of_the_vocabulary_are_refused(card, field):
    """They would index past the end of the logits."""
    value = {1000: 1.0} if field == "logit_bias" else [1000]

    with pytest.raises(InvalidRequest, match="1000 is outside") as caught:
        read_generation(SamplingFields(model="m", **{field: value}), card, logprobs=None)
    assert caught.value.param == field


def test_what_would_change_the_answer_is_refused():
    """A wish that is ignored is worse than none."""
    with pytest.raises(Unsupported) as caught:
        refuse_unsupported(SamplingFields(model="m", grammar="x"), ("seed", "grammar"))
    assert caught.value.param == "grammar"


def test_n_is_bounded():
    """By what the operator allows."""
    assert read_n(SamplingFields(model="m"), 8) == 1
    assert read_n(SamplingFields(model="m", n=8), 8) == 8
    with pytest.raises(InvalidRequest):
        read_n(SamplingFields(model="m", n=9), 8)


def test_stream_options_need_a_stream():
    """OpenAI refuses them otherwise, and a client that sends them expects a stream."""
    options = StreamOptions(include_usage=True)

    assert read_include_usage(SamplingFields(model="m", stream=True, stream_options=options))
    assert not read_include_usage(SamplingFields(model="m"))
    with pytest.raises(InvalidRequest):
        read_include_usage(SamplingFields(model="m", stream_options=options))
