"""Requests of the Responses API: told as a chat, so that both mean the same."""

import dataclasses
from typing import Any

import msgspec

from gateway.catalog.models import KnownModel
from gateway.errors import InvalidRequest
from gateway.openai.chat import ChatRequest
from gateway.openai.responses import InputItem, ResponseRequest, TextFormat
from gateway.openai.sampling import SamplingFields
from gateway.translate.chat import read_chat
from gateway.translate.job import Job
from gateway.translate.presets import preset_chat
from gateway.translate.responses_input import read_messages_of
from gateway.translate.responses_tools import read_choice, read_functions
from gateway.translate.sampling import refuse_unsupported

LOGPROBS = "message.output_text.logprobs"

_REFUSED = ("conversation", "prompt")
_PARAMS = {
    "messages": "input",
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
}
"""A chat's fields by what they are called here, for errors."""
_SAMPLING = set(SamplingFields.__struct_fields__) - {"n", "stream_options", "response_format"}


def check_response(request: ResponseRequest) -> None:
    """Raises for what no model and no history could make right."""
    refuse_unsupported(request, _REFUSED)
    if request.n not in (None, 1):
        raise InvalidRequest("n: a response has one answer", "n")
    if request.background and request.store is False:
        raise InvalidRequest("background: only what is stored can be fetched later", "background")
    if request.top_logprobs and LOGPROBS not in (request.include or []):
        raise InvalidRequest(f"top_logprobs: only with {LOGPROBS!r} in include", "top_logprobs")


def read_response(
    request: ResponseRequest, items: list[InputItem], past: list[InputItem], model: KnownModel
) -> Job:
    """items: the request's own. past: those before. Raises `InvalidRequest` in the request's words."""
    sampling = {name: getattr(request, name) for name in _SAMPLING}
    try:
        chat = msgspec.convert(
            {"model": request.model, **_as_chat(request, items, past)}, ChatRequest
        )
        chat = msgspec.structs.replace(chat, **sampling)
        job = read_chat(preset_chat(chat, model.defaults), model.card, 1)
    except InvalidRequest as error:
        error.param = error.param and _in_own_words(error.param)
        error.message = _in_own_words(error.message)
        raise
    grammar_param = job.grammar_param and _in_own_words(job.grammar_param)
    return dataclasses.replace(job, prompt_param="input", grammar_param=grammar_param)


def _as_chat(
    request: ResponseRequest, items: list[InputItem], past: list[InputItem]
) -> dict[str, Any]:
    messages = read_messages_of(items, past)
    if request.instructions:
        messages.insert(0, {"role": "system", "content": request.instructions})
    if not messages:
        raise InvalidRequest("input: nothing to answer", "input")
    chat: dict[str, Any] = {
        "messages": messages,
        "max_completion_tokens": request.max_output_tokens,
        "tools": read_functions(request.tools) or None,
        "tool_choice": read_choice(request.tool_choice),
        "parallel_tool_calls": request.parallel_tool_calls,
        "logprobs": LOGPROBS in (request.include or []),
        "top_logprobs": request.top_logprobs,
        "chat_template_kwargs": request.chat_template_kwargs,
        "reasoning_effort": request.reasoning.effort if request.reasoning else None,
    }
    text_format = request.text.format if request.text else None
    return chat if text_format is None else chat | {"response_format": _as_format(text_format)}


def _as_format(text_format: TextFormat) -> dict[str, Any]:
    if text_format.type != "json_schema":
        return {"type": text_format.type}
    schema = {
        "name": text_format.name or "response",
        "schema": text_format.json_schema,
        "strict": text_format.strict,
    }
    return {"type": "json_schema", "json_schema": schema}


def _in_own_words(text: str) -> str:
    """A path, or a message that begins with one."""
    for theirs, ours in _PARAMS.items():
        if text.startswith(theirs):
            return ours + text.removeprefix(theirs)
    return text
