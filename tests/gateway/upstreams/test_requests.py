"""What is sent to an upstream asks for what its client asked for."""

from typing import Any

import msgspec
import pytest

from engine.api import Task
from gateway.config import UpstreamSettings
from gateway.errors import Unsupported
from gateway.openai.chat import ChatRequest
from gateway.openai.completion import CompletionRequest
from gateway.openai.embeddings import EmbeddingRequest
from gateway.openai.rerank import RerankRequest
from gateway.translate.chat import read_chat
from gateway.translate.completion import read_completion
from gateway.translate.embeddings import read_embedding
from gateway.translate.job import Job
from gateway.translate.rerank import read_rerank
from gateway.upstreams.requests import write_request
from gateway.upstreams.vectors import write_vector_request
from tests.gateway.fakes import make_card

TASKS: tuple[Task, ...] = ("chat", "completion", "embedding", "rerank")
CARD = make_card("/m", tasks=TASKS, capabilities=("tools", "reasoning", "fill"))
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"at": {}}}},
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
HELLO = {"messages": [{"role": "user", "content": "hello"}]}


def settings(**fields: Any) -> UpstreamSettings:
    return UpstreamSettings(name="up", base_url="http://up.test/v1", **fields)


def chat_job(**fields: Any) -> Job:
    body = msgspec.json.encode({"model": "m", "stream": True, **HELLO, **fields})
    request = msgspec.json.decode(body, type=ChatRequest)
    return read_chat(request, CARD, max_choices=8)


def completion_job(**fields: Any) -> Job:
    request = msgspec.convert({"model": "m", "stream": True, **fields}, CompletionRequest)
    return read_completion(request, CARD, max_choices=8, max_prompts=8)


def sent_again(job: Job) -> Job:
    """As a gateway of ours reads what was made of the job."""
    path, body = write_request(job, "m", settings())
    wire = msgspec.json.decode(msgspec.json.encode(body))
    assert wire.pop("stream_options") == {"include_usage": True}
    return chat_job(**wire) if path == "chat/completions" else completion_job(**wire)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 0, "top_p": 0.5, "top_k": 7, "min_p": 0.1, "seed": 3, "n": 2},
        {"presence_penalty": 1, "frequency_penalty": -1, "repetition_penalty": 1.1},
        {"stop": ["a", "b"], "stop_token_ids": [7], "ignore_eos": True, "min_tokens": 2},
        {"max_tokens": 5, "logit_bias": {"7": 2.5}},
        {"logprobs": True, "top_logprobs": 3},
        {"tools": [WEATHER]},
        {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False},
        {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"response_format": {"type": "json_object"}},
        {"guided_regex": "a+"},
        {"guided_choice": ["yes", "no"]},
        {"reasoning_effort": "low", "chat_template_kwargs": {"thinking_budget": 9}},
        {"prediction": {"type": "content", "content": "as before"}},
        {"messages": [*HELLO["messages"], {"role": "assistant", "content": "so"}]}
        | {"continue_final_message": True},
    ],
)
def test_a_chat_arrives_whole(fields: dict[str, Any]):
    """What our own gateway reads out of it is the job that it was made of."""
    job = chat_job(**fields)
    again = sent_again(job)

    assert again.prompts == job.prompts
    assert again.generation == job.generation
    assert (again.n, again.max_tokens) == (job.n, job.max_tokens)


@pytest.mark.parametrize("strict", [True, False])
def test_a_schema_arrives_whole(strict: bool):
    """Strictness too, and nothing of how our engine wants to be told of it."""
    wanted = {"name": "x", "schema": SCHEMA, "strict": strict}
    job = chat_job(response_format={"type": "json_schema", "json_schema": wanted})
    _, body = write_request(job, "m", settings())

    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert sent_again(job).generation.grammar == job.generation.grammar


def test_a_conversation_with_calls_arrives_whole():
    """Arguments are text again, thoughts stay, and a tool's answer has no name beside its id."""
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"at":1}'},
    }
    messages = [
        {"role": "system", "content": "be short"},
        {"role": "assistant", "tool_calls": [call], "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]
    job = chat_job(messages=messages)
    _, body = write_request(job, "m", settings())

    assert body["messages"][1]["tool_calls"] == [call]
    assert body["messages"][1]["content"] is None
    assert "name" not in body["messages"][2]
    assert sent_again(job).prompts == job.prompts


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "once"},
        {"prompt": ["once", "twice"], "echo": True, "logprobs": 2, "max_tokens": 0},
        {"prompt": [5, 6, 7], "max_tokens": 4},
        {"prompt": [[5, 6], [7]]},
        {"prompt": "def f(", "suffix": "return"},
    ],
)
def test_a_completion_arrives_whole(fields: dict[str, Any]):
    """As a chat does, whatever kind its prompts are."""
    job = completion_job(**fields)
    again = sent_again(job)

    assert again.prompts == job.prompts
    assert again.generation == job.generation
    assert again.max_tokens == job.max_tokens


def test_what_an_upstream_does_not_know_is_left_out():
    """In messages as well; and the bound of an answer goes by its name for it."""
    job = chat_job(
        max_tokens=5, messages=[{"role": "assistant", "content": "x", "reasoning_content": "y"}]
    )
    wanted = settings(
        omit=["temperature", "reasoning_content"], max_tokens_field="max_completion_tokens"
    )
    _, body = write_request(job, "theirs", wanted)

    assert body == {
        "model": "theirs",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "assistant", "content": "x"}],
        "max_completion_tokens": 5,
    }


def test_vectors_are_asked_for():
    """Inputs in their order, or a query with its documents."""
    texts = msgspec.convert({"model": "m", "input": ["a", "b"]}, EmbeddingRequest)
    assert write_vector_request(read_embedding(texts, CARD), "theirs") == (
        "embeddings",
        {"model": "theirs", "input": ["a", "b"], "encoding_format": "base64"},
    )
    ranked = msgspec.convert({"model": "m", "query": "q", "documents": ["a", "b"]}, RerankRequest)
    assert write_vector_request(read_rerank(ranked, CARD), "theirs") == (
        "rerank",
        {"model": "theirs", "query": "q", "documents": ["a", "b"]},
    )


def test_what_cannot_be_asked_is_refused():
    """A text is not sent whole where its client wanted it cut."""
    fields = {"model": "m", "input": "a", "truncate_prompt_tokens": 4}
    job = read_embedding(msgspec.convert(fields, EmbeddingRequest), CARD)
    with pytest.raises(Unsupported, match="truncate_prompt_tokens"):
        write_vector_request(job, "m")
