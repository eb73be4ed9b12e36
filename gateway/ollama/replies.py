"""What `POST /api/chat`, `/api/generate` and `/api/show` answer. A stream is a line for each piece."""

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from gateway.ollama.models import Details


class Failure(Struct, frozen=True):
    error: str


class FunctionCall(Struct, frozen=True):
    index: int
    name: str
    arguments: dict[str, Any]


class ToolCall(Struct, frozen=True):
    id: str
    function: FunctionCall


class Message(Struct, frozen=True, kw_only=True):
    content: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET
    role: str = "assistant"


class TopLogprob(Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[int]


class Logprob(Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class Answer(Struct, frozen=True, kw_only=True):
    """done_reason and what follows come last; durations are in nanoseconds."""

    model: str
    created_at: str
    done: bool
    logprobs: list[Logprob] | UnsetType = UNSET
    done_reason: str | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET


class ChatAnswer(Answer, frozen=True, kw_only=True):
    message: Message


class GenerateAnswer(Answer, frozen=True, kw_only=True):
    """context: always empty, since conversations are not kept here."""

    response: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET
    context: list[int] | UnsetType = UNSET


class Shown(Struct, frozen=True, kw_only=True):
    """template: empty, since it is the model's own and no Go template. modified_at: RFC 3339."""

    modelfile: str
    parameters: str
    template: str
    details: Details
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str


class EmbedAnswer(Struct, frozen=True):
    """total_duration: in nanoseconds."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    prompt_eval_count: int


class OldEmbedAnswer(Struct, frozen=True):
    embedding: list[float]
