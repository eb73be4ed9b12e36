"""What `POST /v1/messages` answers: a message, or the events that make one up."""

from typing import Any

from msgspec import Struct

# --- content ------------------------------------------------------------------------------------


class Text(Struct, frozen=True, tag="text", tag_field="type"):
    text: str = ""


class Thinking(Struct, frozen=True, tag="thinking", tag_field="type"):
    """signature: clients send it back unread; here it proves nothing."""

    thinking: str = ""
    signature: str = ""


class ToolUse(Struct, frozen=True, tag="tool_use", tag_field="type"):
    id: str
    name: str
    input: dict[str, Any] = {}


ContentBlock = Text | Thinking | ToolUse

# --- a message ----------------------------------------------------------------------------------


class Usage(Struct, frozen=True):
    """input_tokens: those that no cache had; the prompt is all three together."""

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0


class Message(Struct, frozen=True, kw_only=True, tag="message", tag_field="type"):
    id: str
    model: str
    content: list[ContentBlock]
    usage: Usage
    role: str = "assistant"
    stop_reason: str | None = None
    stop_sequence: str | None = None


class TokenCount(Struct, frozen=True):
    input_tokens: int


# --- events -------------------------------------------------------------------------------------


class MessageStart(Struct, frozen=True, tag="message_start", tag_field="type"):
    message: Message


class BlockStart(Struct, frozen=True, tag="content_block_start", tag_field="type"):
    index: int
    content_block: ContentBlock


class TextDelta(Struct, frozen=True, tag="text_delta", tag_field="type"):
    text: str


class ThinkingDelta(Struct, frozen=True, tag="thinking_delta", tag_field="type"):
    thinking: str


class SignatureDelta(Struct, frozen=True, tag="signature_delta", tag_field="type"):
    signature: str


class InputDelta(Struct, frozen=True, tag="input_json_delta", tag_field="type"):
    partial_json: str


class BlockDelta(Struct, frozen=True, tag="content_block_delta", tag_field="type"):
    index: int
    delta: TextDelta | ThinkingDelta | SignatureDelta | InputDelta


class BlockStop(Struct, frozen=True, tag="content_block_stop", tag_field="type"):
    index: int


class Ending(Struct, frozen=True):
    stop_reason: str
    stop_sequence: str | None = None


class MessageDelta(Struct, frozen=True, tag="message_delta", tag_field="type"):
    delta: Ending
    usage: Usage


class MessageStop(Struct, frozen=True, tag="message_stop", tag_field="type"):
    pass


class Ping(Struct, frozen=True, tag="ping", tag_field="type"):
    pass
