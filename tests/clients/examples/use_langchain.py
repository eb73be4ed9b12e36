"""LangChain over OpenAI's, Anthropic's and Ollama's APIs: `python use_langchain.py URL MODEL OTHER EMBEDDER`."""

import asyncio
import json
import sys
from typing import Any, Literal

import anthropic
import ollama
import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import ToolMessage
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, ConfigDict

URL, MODEL, OTHER, EMBEDDER = sys.argv[1:]
QUESTION = "What is the capital of France?"

options = {"temperature": 0, "max_retries": 0, "max_tokens": 60, "api_key": "none"}


def over_openai(model: str = MODEL, **more: Any) -> ChatOpenAI:
    return ChatOpenAI(base_url=f"{URL}/v1", model=model, **options | more)


def over_anthropic(model: str = MODEL) -> ChatAnthropic:
    return ChatAnthropic(base_url=URL, model=model, **options)


def over_ollama(model: str = MODEL) -> ChatOllama:
    return ChatOllama(base_url=URL, model=model, temperature=0, num_predict=60)


class Answer(BaseModel):
    """An answer to save."""

    model_config = ConfigDict(extra="forbid")

    city: Literal["Paris", "Rome"]
    is_large: bool


def stream(llm: BaseChatModel) -> list[str]:
    return [chunk.text for chunk in llm.stream(QUESTION)]


def cancel(llm: BaseChatModel) -> str:
    """Leaves a long answer after its first words, then asks something else."""
    chunks = llm.stream("Count from 1 to 1000.")
    next(chunks)
    chunks.close()
    return llm.invoke(QUESTION).text


def tool(llm: BaseChatModel, choice: str = "Answer") -> dict[str, Any]:
    called = llm.bind_tools([Answer], tool_choice=choice).invoke(QUESTION)
    (call,) = called.tool_calls
    llm.bind_tools([Answer]).invoke(
        [("user", QUESTION), called, ToolMessage("saved", tool_call_id=call["id"])]
    )
    return {"name": call["name"], "arguments": call["args"]}


def parsed(llm: BaseChatModel, method: str = "json_schema") -> dict[str, Any]:
    return llm.with_structured_output(Answer, method=method).invoke(QUESTION).model_dump()


def swap() -> list[str]:
    """One conversation, in which another model says something."""
    turns: list[Any] = [("user", QUESTION)]
    turns += [over_openai().invoke(turns), ("user", "And of Italy?")]
    turns += [over_openai(OTHER, max_tokens=20).invoke(turns), ("user", QUESTION)]
    turns += [over_openai().invoke(turns)]
    return [turns[index].text for index in (1, 3, 5)]


def error(llm: BaseChatModel) -> str:
    try:
        llm.invoke(QUESTION)
    except (openai.APIError, anthropic.APIError, ollama.ResponseError) as problem:
        return type(problem).__name__
    return "none"


async def asynchronous(llm: BaseChatModel) -> str:
    return "".join([chunk.text async for chunk in llm.astream(QUESTION)])


def use(llm: BaseChatModel) -> dict[str, Any]:
    return {
        "chat": llm.invoke(QUESTION).text,
        "stream": stream(llm),
        "async": runner.run(asynchronous(llm)),
        "object": parsed(llm),
    }


runner = asyncio.Runner()  # LangChain keeps connections, which are of one event loop
embeddings = OpenAIEmbeddings(
    base_url=f"{URL}/v1", api_key="none", model=EMBEDDER, check_embedding_ctx_length=False
)
print(json.dumps({
    "over_openai": use(over_openai()) | {
        "after_cancel": cancel(over_openai(max_tokens=2000)),
        "tool": tool(over_openai()),
        "swap": swap(),
        "errors": {
            "unknown_model": error(over_openai("nobody")),
            "refused": error(over_openai(top_p=9)),
        },
        "embeddings": embeddings.embed_documents(["what is a?", "b c d"]),
    },
    "over_responses": use(over_openai(use_responses_api=True)),
    "over_anthropic": use(over_anthropic()) | {
        "tool": tool(over_anthropic()),
        "errors": {"unknown_model": error(over_anthropic("nobody"))},
    },
    "over_ollama": use(over_ollama()) | {"errors": {"unknown_model": error(over_ollama("nobody"))}},
}))  # fmt: skip
