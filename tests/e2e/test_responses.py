"""The Responses API with real models, through OpenAI's own client."""

from typing import Literal

import openai
import pytest
from pydantic import BaseModel

MODEL = "gemma3-q-Q4_K_M"


def test_a_conversation_from_its_first_response_to_its_deletion(tiny):
    """What is streamed, kept, fetched and gone on from is the same."""
    responses = tiny.sdk.responses
    options = {"model": MODEL, "temperature": 0, "max_output_tokens": 4}
    whole = responses.create(input="one two", **options)
    events = list(responses.create(input="one two", stream=True, **options))
    second = responses.create(input="three", previous_response_id=whole.id, **options)

    streamed = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert streamed == whole.output_text == events[-1].response.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert responses.retrieve(second.id) == second
    assert second.usage.input_tokens > whole.usage.total_tokens - 4
    assert [i.content[0].text for i in responses.input_items.list(second.id)] == ["three"]
    counted = responses.input_tokens.count(model=MODEL, input="one two")
    assert counted.input_tokens == whole.usage.input_tokens
    responses.delete(whole.id)
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        responses.create(input="four", previous_response_id=second.id, **options)


def test_events_of_the_background_are_heard_again_as_they_were(tiny):
    """A worker's deltas are kept one by one, and the response as they left it."""
    responses = tiny.sdk.responses
    options = {"model": MODEL, "input": "one", "max_output_tokens": 4, "background": True}
    heard = list(responses.create(stream=True, **options))
    response_id = heard[0].response.id
    again = list(responses.retrieve(response_id, stream=True, starting_after=1))

    assert heard[0].response.status == "queued"
    assert again == heard[2:]
    assert responses.retrieve(response_id) == heard[-1].response
    assert responses.cancel(response_id) == heard[-1].response


class Flag(BaseModel):
    """Few texts are one of these, so a model of random weights says one only if it must."""

    color: Literal["red", "green"]
    is_plain: bool


def test_what_is_parsed_follows_its_schema(tiny):
    """The SDK's own schema of a class, strictly, and arguments of a call that must be made."""
    responses = tiny.sdk.responses
    options = {"model": MODEL, "input": "one two", "max_output_tokens": 150}
    tool = openai.pydantic_function_tool(Flag)["function"]
    parsed = responses.parse(text_format=Flag, **options)
    called = responses.create(
        tools=[{"type": "function", **tool}],
        tool_choice={"type": "function", "name": tool["name"]},
        **options,
    )

    assert isinstance(parsed.output_parsed, Flag)
    (call,) = called.output
    assert (call.type, call.name, call.status) == ("function_call", "Flag", "completed")
    assert Flag.model_validate_json(call.arguments)
