"""Structured outputs through a whole gateway, asked for by OpenAI's own client."""

import json
import re
from typing import Literal

import openai
import pydantic
import pytest

PROMPT = [{"role": "user", "content": "Describe a pet."}]
TINY, SMOL = "llama-plain-F32", "SmolLM2-135M-Instruct-Q4_1"


class Pet(pydantic.BaseModel):
    name: Literal["Rex", "Tom"]
    kind: Literal["cat", "dog"]
    legs: int = pydantic.Field(ge=0, le=8)
    friends: list[Literal["Ann", "Bob"]] = pydantic.Field(max_length=2)


def test_parse_gives_the_object(tiny):
    """The SDK's `.parse()` makes a pydantic model of every choice."""
    answer = tiny.sdk.chat.completions.parse(
        model=TINY, messages=PROMPT, response_format=Pet, n=3, max_tokens=200, seed=1
    )

    assert all(isinstance(choice.message.parsed, Pet) for choice in answer.choices)
    assert {choice.finish_reason for choice in answer.choices} == {"stop"}


def test_a_stream_parses_to_the_same(tiny):
    """What is streamed is what is answered whole, for one seed."""
    asked = {"model": TINY, "messages": PROMPT, "response_format": Pet, "seed": 5}
    whole = tiny.sdk.chat.completions.parse(**asked, max_tokens=200).choices[0].message.parsed

    with tiny.sdk.chat.completions.stream(**asked, max_tokens=200) as stream:
        streamed = stream.get_final_completion().choices[0].message.parsed

    assert isinstance(streamed, Pet)
    assert streamed == whole


@pytest.mark.parametrize(
    ("fields", "pattern"),
    [
        ({"guided_regex": "[ab]{3}"}, "[ab]{3}"),
        ({"guided_choice": ["red", "green"]}, "red|green"),
        ({"guided_grammar": 'start: "x" "y"?'}, "xy?"),
        ({"grammar": 'root ::= "a" [0-9]'}, "a[0-9]"),
        ({"guided_json": {"enum": [True, False]}}, "true|false"),
        ({"json_schema": {"const": 5}}, "5"),
        ({"structured_outputs": {"choice": ["u", "v"]}}, "u|v"),
        ({"response_format": {"type": "json_schema", "json_schema": {
            "name": "n", "schema": {"type": "null"}}}}, "null"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_plain_completions_follow_every_field(tiny, fields, pattern):
    """The words of vLLM and of llama.cpp for it, and OpenAI's."""
    answer = tiny.sdk.completions.create(
        model=TINY, prompt="Say:", max_tokens=40, extra_body=fields
    )

    assert re.fullmatch(pattern, answer.choices[0].text)
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("fields", "param", "reason"),
    [
        ({"response_format": {"type": "json_schema", "json_schema": {
            "name": "n", "strict": True, "schema": {"type": "object", "not": {}}}}},
         "response_format.json_schema.schema", "not"),
        ({"guided_regex": "a("}, "guided_regex", "unclosed group"),
        ({"guided_grammar": "start: nowhere"}, "guided_grammar", "nowhere"),
        ({"grammar": "root ::= ("}, "grammar", "Expected"),
        ({"guided_json": {"type": "array", "uniqueItems": True}}, "guided_json", "uniqueItems"),
        ({"guided_json": {"enum": ["x" * 200_000]}}, "guided_json", "limit"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_cannot_be_followed_is_named(tiny, fields, param, reason):
    """400 in OpenAI's shape, with the field and the reason."""
    with pytest.raises(openai.BadRequestError) as caught:
        tiny.sdk.completions.create(model=TINY, prompt="a", extra_body=fields)

    assert caught.value.param == param
    assert reason in caught.value.message


@pytest.mark.slow
def test_a_real_model_parses(launch, demo_models):
    """Greedy and drawn, SmolLM2 answers with the object that was asked for; JSON mode with some."""
    sdk = launch(demo_models, "--memory", "2GiB").sdk
    for temperature in (0, 1):
        answer = sdk.chat.completions.parse(
            model=SMOL, messages=PROMPT, response_format=Pet, temperature=temperature
        )
        assert isinstance(answer.choices[0].message.parsed, Pet)
    answer = sdk.chat.completions.create(
        model=SMOL,
        messages=[{"role": "user", "content": "Write a JSON object with one number."}],
        response_format={"type": "json_object"},
        max_tokens=300,
        temperature=0,
    )
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content), dict)
