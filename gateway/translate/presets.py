"""A preset's values laid under what a request says itself."""

from typing import Any, TypeVar

import msgspec

from gateway.config import Defaults, Preset, Settings, SettingsError
from gateway.openai.chat import ChatRequest, Message
from gateway.openai.completion import CompletionRequest
from gateway.openai.sampling import SamplingFields
from gateway.translate.template_kwargs import ALLOWED, read_template_kwargs

_SAME = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "keep_alive",
)
"""Fields that a preset and a request call alike, and that stand alone."""

_INSTRUCTING = {"system", "developer"}

Fields = TypeVar("Fields", bound=SamplingFields)


def check_presets(settings: Settings) -> None:
    """Raises `SettingsError` for what no request may say either, rather than refuse every one."""
    _check("[defaults]", settings.defaults)
    for name, model in settings.model.items():
        _check(f"[model.{name!r}]", model)
    for name, preset in settings.presets.items():
        _check(f"[presets.{name!r}]", preset)


def _check(named: str, defaults: Defaults) -> None:
    for key in defaults.template_kwargs:
        if key not in ALLOWED:
            known = ", ".join(sorted(ALLOWED))
            raise SettingsError(f"{named}: template_kwargs.{key}: not one of {known}")


def preset_chat(request: ChatRequest, preset: Preset | None) -> ChatRequest:
    if preset is None:
        return request
    changes: dict[str, Any] = {}
    if request.max_tokens is None and request.max_completion_tokens is None:
        changes["max_tokens"] = preset.max_tokens
    if preset.system is not None and not any(m.role in _INSTRUCTING for m in request.messages):
        changes["messages"] = [Message("system", preset.system), *request.messages]
    if preset.template_kwargs:
        # by what they mean: a request's `reasoning_effort` is a template's switch as well
        own = read_template_kwargs(request)
        given = request.chat_template_kwargs or {}
        under = {k: value for k, value in preset.template_kwargs.items() if k not in own}
        changes["chat_template_kwargs"] = under | given
    return msgspec.structs.replace(_preset_fields(request, preset), **changes)


def preset_completion(request: CompletionRequest, preset: Preset | None) -> CompletionRequest:
    if preset is None:
        return request
    changes = {} if request.max_tokens is not None else {"max_tokens": preset.max_tokens}
    return msgspec.structs.replace(_preset_fields(request, preset), **changes)


def _preset_fields(request: Fields, preset: Preset) -> Fields:
    changes = {name: getattr(preset, name) for name in _SAME if getattr(request, name) is None}
    if request.repetition_penalty is None and request.repeat_penalty is None:
        changes["repetition_penalty"] = preset.repetition_penalty
    return msgspec.structs.replace(request, **changes)
