"""LlamaIndex's OpenAILike: `python use_llama_index.py URL MODEL OTHER EMBEDDER`."""

import asyncio
import json
import sys
from typing import Any, Literal

import openai
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel, ConfigDict

URL, MODEL, OTHER, _ = sys.argv[1:]
QUESTION = [ChatMessage(role="user", content="What is the capital of France?")]


def ask(model: str = MODEL, **options: Any) -> OpenAILike:
    return OpenAILike(**{
        "api_base": f"{URL}/v1",
        "api_key": "none",
        "model": model,
        "is_chat_model": True,
        "is_function_calling_model": True,
        "should_use_structured_outputs": True,
        "context_window": 8192,
        "temperature": 0,
        "max_tokens": 60,
        "max_retries": 0,
    } | options)  # fmt: skip


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    city: Literal["Paris", "Rome"]
    is_large: bool


def save_answer(city: Literal["Paris", "Rome"], is_large: bool) -> str:
    """Saves an answer."""
    return f"{city}: {is_large}"


def stream() -> list[str]:
    return [chunk.delta or "" for chunk in ask().stream_chat(QUESTION)]


def cancel() -> str:
    """Leaves a long answer after its first words, then asks something else."""
    chunks = ask(max_tokens=2000).stream_complete("Count from 1 to 1000.")
    next(chunks)
    chunks.close()
    return ask().chat(QUESTION).message.content


def tool() -> dict[str, Any]:
    llm, function = ask(), FunctionTool.from_defaults(save_answer)
    reply = llm.chat_with_tools([function], chat_history=QUESTION, tool_required=True)
    (call,) = llm.get_tool_calls_from_response(reply)
    return {"name": call.tool_name, "arguments": call.tool_kwargs}


def parsed() -> dict[str, Any]:
    return ask().as_structured_llm(Answer).chat(QUESTION).raw.model_dump()


def swap() -> list[str]:
    """One conversation, in which another model says something."""
    turns = [*QUESTION, ask().chat(QUESTION).message]
    turns.append(ChatMessage(role="user", content="And of Italy?"))
    turns += [ask(OTHER, max_tokens=20).chat(turns).message, *QUESTION]
    turns.append(ask().chat(turns).message)
    return [turns[index].content for index in (1, 3, 5)]


def error(llm: OpenAILike) -> str:
    try:
        llm.chat(QUESTION)
    except openai.APIError as problem:
        return type(problem).__name__
    return "none"


async def asynchronous() -> str:
    chunks = await ask().astream_chat(QUESTION)
    return "".join([chunk.delta or "" async for chunk in chunks])


print(json.dumps({
    "chat": ask().chat(QUESTION).message.content,
    "stream": stream(),
    "after_cancel": cancel(),
    "tool": tool(),
    "object": parsed(),
    "swap": swap(),
    "errors": {"unknown_model": error(ask("nobody")), "refused": error(ask(temperature=2, additional_kwargs={"top_p": 9}))},
    "async": asyncio.run(asynchronous()),
}))  # fmt: skip
