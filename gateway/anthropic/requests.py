"""What `POST /v1/messages` and `/v1/messages/count_tokens` are sent.

Unknown fields are ignored, `cache_control` and `metadata` among them; null means a field's default.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from gateway.refused import EMPTY

MAX_TOKENS = 2**31 - 1

PositiveCount = Annotated[int, Meta(ge=1, le=MAX_TOKENS)]


class Block(Struct, frozen=True, kw_only=True):
    """A piece of a message; which fields it has, `type` says."""

    type: str
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: "str | list[Block] | None" = None


class Message(Struct, frozen=True):
    """role: Claude Code also sends "system", in the middle of conversations."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class Tool(Struct, frozen=True, kw_only=True):
    """type: absent or "custom" for tools of the client's own."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None


class ToolChoice(Struct, frozen=True, kw_only=True):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Struct, frozen=True, kw_only=True):
    """display: "omitted" for thinking that is not shown."""

    type: Literal["enabled", "adaptive", "disabled"]
    budget_tokens: PositiveCount | None = None
    display: str | None = None

    @property
    def is_shown(self) -> bool:
        return self.type != "disabled" and self.display != "omitted"


class OutputFormat(Struct, frozen=True):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(Struct, frozen=True, kw_only=True):
    effort: str | None = None
    format: OutputFormat | None = None


class CountRequest(Struct, frozen=True, kw_only=True):
    """A conversation, and what else of a request becomes part of its prompt."""

    model: str
    messages: Annotated[list[Message], Meta(min_length=1, max_length=100_000)]
    system: str | list[Block] | None = None
    tools: Annotated[list[Tool], Meta(max_length=1024)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    """What `output_config.format` was called at first."""
    mcp_servers: Annotated[list[Any], EMPTY] | None = None
    container: Annotated[Any, EMPTY] = None


class MessagesRequest(CountRequest, frozen=True, kw_only=True):
    max_tokens: PositiveCount
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=MAX_TOKENS)] | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
