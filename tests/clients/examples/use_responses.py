"""The Responses API with OpenAI's Python SDK: `python use_responses.py URL MODEL OTHER EMBEDDER`."""

import json
import sys
from typing import Any, Literal

import openai
from pydantic import BaseModel

URL, MODEL, OTHER, _ = sys.argv[1:]
QUESTION = "What is the capital of France?"

client = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
responses = client.responses


class Answer(BaseModel):
    city: Literal["Paris", "Rome"]
    is_large: bool


def chat() -> str:
    return responses.create(model=MODEL, input=QUESTION, temperature=0).output_text


def stream() -> list[str]:
    with responses.stream(model=MODEL, input=QUESTION, temperature=0) as events:
        return [event.delta for event in events if event.type == "response.output_text.delta"]


def cancel() -> str:
    """Leaves a long answer after its first words, then asks something else."""
    with responses.create(
        model=MODEL, input=QUESTION, stream=True, extra_body={"ignore_eos": True}
    ) as events:
        next(event for event in events if event.type == "response.output_text.delta")
    return chat()


def tool() -> dict[str, Any]:
    function = openai.pydantic_function_tool(Answer, name="save_answer")["function"]
    reply = responses.parse(
        model=MODEL,
        input=QUESTION,
        tools=[{"type": "function", **function}],
        tool_choice={"type": "function", "name": "save_answer"},
    )
    (call,) = reply.output
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "saved"}
    responses.create(
        model=MODEL, input=[result], previous_response_id=reply.id, max_output_tokens=5
    )
    return {"name": call.name, "arguments": json.loads(call.arguments)}


def parsed() -> dict[str, Any]:
    with responses.stream(model=MODEL, input=QUESTION, text_format=Answer) as events:
        return events.get_final_response().output_parsed.model_dump()


def swap() -> list[str]:
    """One conversation, kept by the server, in which another model says something."""
    first = responses.create(model=MODEL, input=QUESTION, temperature=0)
    then = {"input": "And of Italy?", "temperature": 0, "max_output_tokens": 20}
    second = responses.create(model=OTHER, previous_response_id=first.id, **then)
    third = responses.create(model=MODEL, previous_response_id=second.id, **then)
    return [reply.output_text for reply in (first, second, third)]


def error(**options: Any) -> str:
    try:
        responses.create(**{"model": MODEL, "input": QUESTION} | options)
    except openai.APIError as problem:
        return type(problem).__name__
    return "none"


print(json.dumps({
    "chat": chat(),
    "stream": stream(),
    "after_cancel": cancel(),
    "tool": tool(),
    "object": parsed(),
    "swap": swap(),
    "errors": {"unknown_model": error(model="nobody"), "refused": error(temperature=9)},
}))  # fmt: skip
