"""What a client asks of the Responses API."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from gateway.openai.formats import SchemaName
from gateway.openai.sampling import PositiveCount, SamplingFields
from gateway.refused import Refused

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Role = Literal["user", "assistant", "system", "developer"]


class InputPart(Struct, frozen=True, omit_defaults=True):
    """A piece of a message, of a tool's output or of reasoning."""

    type: str
    text: str | None = None
    refusal: str | None = None


class InputItem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item of any type; which fields belong to it, `translate.responses_input` knows.

    Items of earlier replies are read as this too, so all that they hold beside it is left out.
    """

    type: str | None = None
    id: str | None = None
    status: str | None = None
    role: Role | None = None
    content: str | list[InputPart] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[InputPart] | None = None
    input: str | None = None
    summary: list[InputPart] | None = None


class TextFormat(Struct, frozen=True):
    """schema, strict and the name are of a "json_schema"."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: SchemaName | None = None
    description: str | None = None
    json_schema: dict[str, Any] | None = field(default=None, name="schema")
    strict: bool | None = None


class TextConfig(Struct, frozen=True):
    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class Reasoning(Struct, frozen=True):
    """generate_summary: the older name of `summary`."""

    effort: Effort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


class ResponseRequest(SamplingFields, frozen=True, kw_only=True):
    """OpenAI's fields, and the samplers that chats take."""

    n: Annotated[int, Meta(ge=1, le=1)] | None = None
    input: str | Annotated[list[InputItem], Meta(max_length=4096)] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    max_output_tokens: PositiveCount | None = None
    max_tool_calls: PositiveCount | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    include: list[str] | None = None
    tools: Annotated[list[dict[str, Any]], Meta(max_length=128)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    store: bool | None = None
    background: bool | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: (
        Annotated[
            dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
            Meta(max_length=16),
        ]
        | None
    ) = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    conversation: Refused = None
    prompt: Refused = None
