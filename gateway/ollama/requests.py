"""What `POST /api/chat`, `/api/generate` and `/api/show` are sent.

Unknown fields are ignored; null means a field's default.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

from gateway.refused import EMPTY, neutral

Think = bool | str
Format = str | dict[str, Any] | None


class Options(Struct, frozen=True, kw_only=True):
    """num_predict: as many as there is room for if it is not positive. seed: none if negative.

    Options that say how a model is loaded, `num_ctx` among them, are ignored.
    """

    num_predict: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    typical_p: Annotated[float, neutral("typical_p")] | None = None
    tfs_z: Annotated[float, neutral("tfs_z")] | None = None
    mirostat: Annotated[int, neutral("mirostat")] | None = None


class FunctionCall(Struct, frozen=True):
    name: str
    arguments: dict[str, Any] | None = None


class ToolCall(Struct, frozen=True):
    function: FunctionCall
    id: str | None = None


class Message(Struct, frozen=True, kw_only=True):
    """tool_name: whose result it is."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class Request(Struct, frozen=True, kw_only=True):
    """stream: true unless it is said to be false. format: "json", or a schema."""

    model: Annotated[str, Meta(min_length=1)]
    stream: bool | None = None
    options: Options | None = None
    format: Format = None
    keep_alive: str | float | None = None
    think: Think | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None

    @property
    def streams(self) -> bool:
        return self.stream is not False


class ChatRequest(Request, frozen=True, kw_only=True):
    """Without messages it only asks for the model to be loaded, or unloaded."""

    messages: list[Message] | None = None
    tools: list[dict[str, Any]] | None = None


class GenerateRequest(Request, frozen=True, kw_only=True):
    """raw: the prompt is what the model reads, without any template."""

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: Annotated[str, EMPTY] | None = None
    context: list[int] | None = None
    raw: bool | None = None
    images: Annotated[list[str], EMPTY] | None = None


class ShowRequest(Struct, frozen=True):
    """name: what `model` was called at first."""

    model: str | None = None
    name: str | None = None


class EmbedRequest(Struct, frozen=True, kw_only=True):
    """Of `/api/embed`. truncate: inputs are cut to what the model reads, and refused otherwise."""

    model: Annotated[str, Meta(min_length=1)]
    input: str | list[str]
    truncate: bool = True
    dimensions: int | None = None
    keep_alive: str | float | None = None


class OldEmbedRequest(Struct, frozen=True, kw_only=True):
    """Of `/api/embeddings`, which came first and takes one text."""

    model: Annotated[str, Meta(min_length=1)]
    prompt: str
    keep_alive: str | float | None = None
