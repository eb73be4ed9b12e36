"""Ollama's chats and generations as `Job`s.

A request becomes an OpenAI one first, so that whatever that honours or refuses is honoured or refused
alike.
"""

from dataclasses import replace
from typing import Any

import msgspec

from engine.api import ModelCard
from gateway.catalog.models import KnownModel
from gateway.errors import InvalidRequest, Unsupported
from gateway.ollama.requests import (
    ChatRequest,
    GenerateRequest,
    Message,
    Options,
    Request,
    ToolCall,
)
from gateway.openai import chat, completion
from gateway.refused import NEUTRAL
from gateway.translate.chat import read_chat
from gateway.translate.completion import read_completion
from gateway.translate.job import Job
from gateway.translate.presets import preset_chat, preset_completion

_LATEST = ":latest"
_SAME = ("temperature", "top_p", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty")


def model_name(name: str) -> str:
    """Without the tag that Ollama's clients add to names that have none."""
    return name.removesuffix(_LATEST)


def read_chat_job(request: ChatRequest, model: KnownModel) -> Job:
    """Raises `InvalidRequest`."""
    messages = [_read_message(m, f"messages[{n}]") for n, m in enumerate(request.messages or [])]
    fields = _chat_fields(request) | {"messages": messages, "tools": request.tools or None}
    return _chat_job(fields, model)


def read_generate_job(request: GenerateRequest, model: KnownModel) -> Job:
    """Raises `InvalidRequest`."""
    _refuse_unsupported(request)
    if request.raw or request.suffix or not _chats(model.card):
        return _raw_job(request, model)
    system = [{"role": "system", "content": request.system}] if request.system else []
    messages = [*system, {"role": "user", "content": request.prompt}]
    return _chat_job(_chat_fields(request) | {"messages": messages}, model)


def _chats(card: ModelCard) -> bool:
    return "chat" in card.tasks


def _refuse_unsupported(request: GenerateRequest) -> None:
    if request.template:
        raise Unsupported("template: only the operator sets templates.", "template")
    if request.images:
        raise Unsupported("images: this model reads text only.", "images")


def _chat_job(fields: dict[str, Any], model: KnownModel) -> Job:
    request = msgspec.convert(_given(fields), chat.ChatRequest)
    job = read_chat(preset_chat(request, model.defaults), model.card, max_choices=1)
    return replace(job, clamps=True)


def _raw_job(request: GenerateRequest, model: KnownModel) -> Job:
    """The prompt as it is, or with a gap behind it and then its suffix."""
    if request.system:
        words = "system: not with raw or suffix, nor for a model that only completes"
        raise InvalidRequest(words, "system")
    num_logprobs = (request.top_logprobs or 0) if request.logprobs else None
    fields = _common_fields(request) | {
        "prompt": request.prompt,
        "suffix": request.suffix,
        "logprobs": num_logprobs,
    }
    read = msgspec.convert(_given(fields), completion.CompletionRequest)
    preset = preset_completion(read, model.defaults)
    job = read_completion(preset, model.card, max_choices=1, max_prompts=1)
    return replace(job, max_tokens=preset.max_tokens, clamps=True)


def _common_fields(request: Request) -> dict[str, Any]:
    options = request.options or Options()
    for name in ("typical_p", "tfs_z", "mirostat"):
        if getattr(options, name) not in (None, NEUTRAL[name]):
            raise Unsupported(f"options.{name} is not supported.", f"options.{name}")
    return {
        "model": request.model,
        "stream": request.streams,
        "keep_alive": request.keep_alive,
        "max_tokens": options.num_predict if (options.num_predict or 0) > 0 else None,
        "top_k": None if options.top_k is None else max(options.top_k, 0),
        "seed": options.seed if (options.seed or 0) >= 0 else None,
        "stop": options.stop or None,
        "response_format": _read_format(request.format),
        **{name: getattr(options, name) for name in _SAME},
    }


def _chat_fields(request: Request) -> dict[str, Any]:
    think = request.think
    effort = think if isinstance(think, str) else None
    return _common_fields(request) | {
        "enable_thinking": think if isinstance(think, bool) else None,
        "reasoning_effort": effort,
        "logprobs": request.logprobs,
        "top_logprobs": request.top_logprobs if request.logprobs else None,
    }


def _read_format(wanted: str | dict[str, Any] | None) -> dict[str, Any] | None:
    if not wanted:
        return None
    if wanted == "json":
        return {"type": "json_object"}
    if isinstance(wanted, str):
        raise InvalidRequest('format: "json" or a schema', "format")
    return {"type": "json_schema", "json_schema": {"name": "format", "schema": wanted}}


def _read_message(message: Message, path: str) -> dict[str, Any]:
    if message.images:
        raise Unsupported(f"{path}.images: this model reads text only.", f"{path}.images")
    calls = [_read_call(call) for call in message.tool_calls or []]
    return _given(
        {
            "role": message.role,
            "content": message.content or "",
            "reasoning_content": message.thinking or None,
            "name": message.tool_name,
            "tool_call_id": message.tool_call_id,
            "tool_calls": calls or None,
        }
    )


def _read_call(call: ToolCall) -> dict[str, Any]:
    arguments = msgspec.json.encode(call.function.arguments or {}).decode()
    return {"id": call.id, "function": {"name": call.function.name, "arguments": arguments}}


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
