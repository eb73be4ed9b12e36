"""instructor: `python use_instructor.py URL MODEL OTHER EMBEDDER`."""

import asyncio
import json
import sys
from typing import Any, Literal

import instructor
import openai
from instructor.core import InstructorRetryException
from pydantic import BaseModel, ConfigDict

URL, MODEL, OTHER, _ = sys.argv[1:]
ASKED = {
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "max_tokens": 60,
    "max_retries": 0,
}
MODES = (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA, instructor.Mode.TOOLS_STRICT)


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    city: Literal["Paris", "Rome"]
    is_large: bool


def sdk() -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)


def parsed(mode: instructor.Mode, model: str = MODEL) -> dict[str, Any]:
    client = instructor.from_openai(sdk(), mode=mode)
    return client.create(model=model, response_model=Answer, **ASKED).model_dump()


def partial() -> dict[str, Any]:
    """What there is of it so far, each time that more has come."""
    client = instructor.from_openai(sdk(), mode=instructor.Mode.TOOLS)
    *_, last = client.create_partial(model=MODEL, response_model=Answer, **ASKED)
    return last.model_dump()


async def asynchronous() -> dict[str, Any]:
    async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="none") as sdk:
        client = instructor.from_openai(sdk)
        return (await client.create(model=MODEL, response_model=Answer, **ASKED)).model_dump()


def error() -> str:
    try:
        parsed(instructor.Mode.TOOLS, "nobody")
    except InstructorRetryException as problem:
        return type(problem.__cause__).__name__
    return "none"


print(json.dumps({
    "modes": {mode.value: {"object": parsed(mode)} for mode in MODES},
    "partial": {"object": partial()},
    "async": {"object": asyncio.run(asynchronous())},
    "other": {"object": parsed(instructor.Mode.JSON_SCHEMA, OTHER)},
    "errors": {"unknown_model": error()},
}))  # fmt: skip
