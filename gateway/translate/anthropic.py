"""Anthropic's messages API: the request to a chat's `Job`, the deltas to events or a message.

A request becomes a chat completion's first, so that whatever that honours or refuses is honoured or
refused alike.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from engine.api import Delta, ModelCard
from engine.api import Usage as EngineUsage
from gateway.anthropic import models, replies
from gateway.anthropic.replies import Ending, MessageDelta, MessageStart, MessageStop, Usage
from gateway.anthropic.requests import CountRequest, MessagesRequest, Tool
from gateway.catalog.models import KnownModel
from gateway.config import Preset
from gateway.errors import InvalidRequest, Unsupported
from gateway.openai.chat import ChatRequest
from gateway.translate.anthropic_blocks import Blocks
from gateway.translate.anthropic_messages import read_messages
from gateway.translate.chat import read_chat
from gateway.translate.job import Job
from gateway.translate.presets import preset_chat
from gateway.translate.reply import new_id

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def read_message_job(request: CountRequest, card: ModelCard, preset: Preset | None) -> Job:
    """Raises `InvalidRequest`."""
    _refuse_unsupported(request)
    chat = msgspec.convert(_chat_fields(request), ChatRequest)
    return replace(read_chat(preset_chat(chat, preset), card, max_choices=1), clamps=True)


def shows_thinking(request: CountRequest) -> bool:
    return request.thinking is not None and request.thinking.is_shown


def read_model(model: KnownModel, context_length: int) -> models.Model:
    created = datetime.fromtimestamp(model.created, UTC).isoformat().replace("+00:00", "Z")
    return models.Model(
        id=model.id,
        display_name=model.id.rsplit("/", 1)[-1],
        created_at=created,
        max_input_tokens=context_length,
        max_tokens=context_length,
    )


def _refuse_unsupported(request: CountRequest) -> None:
    if request.mcp_servers:
        raise Unsupported("mcp_servers: this server calls no others.", "mcp_servers")
    if request.container:
        raise Unsupported("container: this server runs no code.", "container")


def _chat_fields(request: CountRequest) -> dict[str, Any]:
    """The body of the chat completion that asks for the same; None stands for a default."""
    config = request.output_config
    output_format = (config and config.format) or request.output_format
    fields = {
        "model": request.model,
        "messages": read_messages(request),
        "tools": [_read_tool(tool, n) for n, tool in enumerate(request.tools or [])] or None,
        **_tool_choice_fields(request),
        # thinking is for those who ask for it, though a template may have it on by default
        "enable_thinking": request.thinking is not None and request.thinking.type != "disabled",
        "reasoning_effort": config.effort if config else None,
    }
    if output_format is not None:
        schema = {"name": "output", "schema": output_format.schema, "strict": True}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    if isinstance(request, MessagesRequest):
        fields |= {
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            "stop": request.stop_sequences,
            "stream": request.stream,
        }
    return {name: value for name, value in fields.items() if value is not None}


def _read_tool(tool: Tool, n: int) -> dict[str, Any]:
    if tool.type not in (None, "custom"):
        raise Unsupported(
            f"tools[{n}].type: {tool.type!r} runs at Anthropic; only tools of the client's own do "
            f"here.",
            f"tools[{n}].type",
        )
    function: dict[str, Any] = {
        "name": tool.name,
        "parameters": tool.input_schema or {"type": "object"},
    }
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice_fields(request: CountRequest) -> dict[str, Any]:
    choice = request.tool_choice
    if choice is None:
        return {}
    fields: dict[str, Any] = {}
    if choice.type != "tool":
        fields["tool_choice"] = _TOOL_CHOICES[choice.type]
    elif choice.name is None:
        raise InvalidRequest("tool_choice.name: which tool?", "tool_choice.name")
    else:
        fields["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    if choice.disable_parallel_tool_use is not None:
        fields["parallel_tool_calls"] = not choice.disable_parallel_tool_use
    return fields


@dataclass(slots=True)
class MessageReply:
    """`translate.reply.Reply` for one message."""

    model: str
    job: Job
    shows_thinking: bool
    id: str = field(default_factory=lambda: new_id("msg").replace("-", "_"))
    _blocks: Blocks = field(init=False)
    _ending: Ending = field(default_factory=lambda: Ending("end_turn"))
    _usage: EngineUsage | None = None

    def __post_init__(self) -> None:
        self._blocks = Blocks(self.shows_thinking)

    @property
    def num_tokens(self) -> tuple[int, int]:
        usage = self._usage or EngineUsage(self.job.num_prompt_tokens, 0)
        return usage.prompt_tokens, usage.completion_tokens

    def begin(self) -> list[Struct]:
        usage = Usage(self.job.num_prompt_tokens, 0)
        return [
            MessageStart(replies.Message(id=self.id, model=self.model, content=[], usage=usage))
        ]

    def add(self, delta: Delta) -> list[Struct]:
        if delta.usage:
            self._usage = delta.usage
        if delta.stop_string:
            self._ending = Ending("stop_sequence", delta.stop_string)
        elif delta.finish_reason:
            self._ending = Ending(_STOP_REASONS[delta.finish_reason])
        return self._blocks.add(delta)

    def end(self) -> list[Struct]:
        return [
            *self._blocks.close(),
            MessageDelta(self._ending, self._read_usage()),
            MessageStop(),
        ]

    def whole(self) -> Struct:
        return replies.Message(
            id=self.id,
            model=self.model,
            content=self._blocks.content,
            usage=self._read_usage(),
            stop_reason=self._ending.stop_reason,
            stop_sequence=self._ending.stop_sequence,
        )

    def _read_usage(self) -> Usage:
        usage = self._usage or EngineUsage(self.job.num_prompt_tokens, 0)
        return Usage(
            usage.prompt_tokens - usage.cached_tokens, usage.completion_tokens, usage.cached_tokens
        )
