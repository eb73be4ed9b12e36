"""Chat templates: where a checkpoint keeps them, and rendering them out of harm's way."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from engine.api import ChatPrompt, EngineError
from engine.checkpoint import GGUFCheckpoint, SafetensorsCheckpoint
from engine.sandbox import Child, SandboxError
from engine.text import messages as turns
from engine.text.from_folder import read_json
from engine.text.reasoning import template_kwargs
from engine.text.render import RenderReply, RenderRequest
from engine.text.tools.formats import detect
from engine.text.wellknown import NAMED, well_known_template

MAX_TEMPLATE_BYTES = 256 * 2**10
MEMORY_BYTES = 512 * 2**20
DEADLINE_SECONDS = 2.0
SPARE_CHARS = 2**20
MAX_CAST_OUT = 256
_GGUF_KEY = "tokenizer.chat_template"

Templates = Mapping[str, str]
AnyCheckpoint = GGUFCheckpoint | SafetensorsCheckpoint


def has_chat_template(checkpoint: AnyCheckpoint) -> bool:
    """Whether the model can chat without a template being configured for it."""
    return bool(find_templates(checkpoint))


def find_templates(checkpoint: AnyCheckpoint, configured: str | None = None) -> Templates:
    """Templates by name, `default` among them unless there is none at all.

    In order: the configured one, the checkpoint's own, a well-known one of its family if the
    checkpoint says that it was tuned to chat.
    """
    if configured is not None:
        return {"default": configured}
    if isinstance(checkpoint, GGUFCheckpoint):
        own = _gguf_templates(checkpoint.metadata)
    else:
        own = _folder_templates(checkpoint)
    if own:
        return {"default": next(iter(own.values()))} | own
    known = well_known_template(checkpoint)
    return {"default": known} if known is not None else {}


def _gguf_templates(metadata: Mapping[str, Any]) -> dict[str, str]:
    named = {
        key.removeprefix(f"{_GGUF_KEY}."): metadata[key]
        for key in metadata
        if key.startswith(f"{_GGUF_KEY}.")
    }
    if _GGUF_KEY in metadata:
        named["default"] = metadata[_GGUF_KEY]
    return {name: NAMED.get(text, text) for name, text in named.items() if isinstance(text, str)}


def _folder_templates(checkpoint: SafetensorsCheckpoint) -> dict[str, str]:
    # A file of its own is the newer form, and wins over the field.
    text = checkpoint.read_text("chat_template.jinja", MAX_TEMPLATE_BYTES)
    if text is not None:
        return {"default": text}
    field = read_json(checkpoint, "tokenizer_config.json").get("chat_template")
    if isinstance(field, str):
        return {"default": field}
    entries = field if isinstance(field, list) else []
    return {
        entry["name"]: entry["template"]
        for entry in entries
        if isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and isinstance(entry.get("template"), str)
    }


class Renderer:
    """Renders prompts in child processes that are killed when they take too much of anything.

    A template that had one killed has a child of its own from then on, which it shares with others
    like it: what it does there holds up nobody else.
    """

    def __init__(self, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._deadline_seconds = deadline_seconds
        self._child, self._outcast = (
            Child(
                "engine.text.render", deadline_seconds=deadline_seconds, memory_bytes=MEMORY_BYTES
            )
            for _ in range(2)
        )
        self._cast_out: dict[str, None] = {}

    def close(self) -> None:
        self._child.close()
        self._outcast.close()

    async def render(
        self, templates: Templates, prompt: ChatPrompt, *, bos_token: str, eos_token: str
    ) -> str:
        """The prompt as text. Raises `EngineError` template_failed with the template's own words.

        A template that refuses system messages where they are is asked again with them merged
        into one at the start, and then into the first user message.
        """
        template = choose_template(templates, prompt)
        if len(template.encode()) > MAX_TEMPLATE_BYTES:
            raise _failed(f"it is longer than {MAX_TEMPLATE_BYTES} bytes")
        refusal: RenderReply | None = None
        for messages in turns.arrangements(_with_fitting_calls(template, prompt.messages)):
            variables = _variables(template, prompt, messages, bos_token, eos_token)
            reply = await self._ask(template, variables)
            if reply.text is not None:
                return reply.text
            refusal = refusal or reply
            if not reply.is_refusal:
                break
        assert refusal is not None
        raise _failed(refusal.error)

    async def _ask(self, template: str, variables: dict[str, Any]) -> RenderReply:
        max_chars = 4 * len(json.dumps(variables, ensure_ascii=False)) + SPARE_CHARS
        request = RenderRequest(template, variables, max_chars)
        child = self._outcast if template in self._cast_out else self._child
        try:
            reply = await child.call(msgspec.msgpack.encode(request))
        except SandboxError as error:
            self._cast(template)
            raise _failed(self._reason(error)) from error
        return msgspec.msgpack.decode(reply, type=RenderReply)

    def _cast(self, template: str) -> None:
        self._cast_out[template] = None
        if len(self._cast_out) > MAX_CAST_OUT:
            del self._cast_out[next(iter(self._cast_out))]

    def _reason(self, error: SandboxError) -> str:
        match error.reason:
            case "timeout":
                return f"it took longer than {self._deadline_seconds:g} s"
            case "died":
                return "it needed more processor time or memory than it may have"
            case "too_large":
                return "it made too long a text"


def choose_template(templates: Templates, prompt: ChatPrompt) -> str:
    """The template that a prompt is rendered by. Raises `EngineError` if there is none."""
    if not templates:
        raise EngineError("no_chat_template", "this model has no chat template; it completes only")
    if prompt.tools and "tool_use" in templates:
        return templates["tool_use"]
    return templates["default"]


def _variables(
    template: str,
    prompt: ChatPrompt,
    messages: list[dict[str, Any]],
    bos_token: str,
    eos_token: str,
) -> dict[str, Any]:
    # The request's own come first, so that they can replace none of the others.
    return (
        {"documents": None}
        | template_kwargs(template, prompt.template_kwargs)
        | {
            "messages": messages,
            "tools": prompt.tools or None,
            "add_generation_prompt": prompt.add_generation_prompt,
            "bos_token": bos_token,
            "eos_token": eos_token,
        }
    )


def _with_fitting_calls(template: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Calls of the history in the shape that the family's templates take them."""
    form = detect(template)
    if form.has_bare_ids:
        messages = turns.with_short_ids(messages, form.id_length)
    return turns.with_text_arguments(messages) if form.has_text_arguments else messages


def _failed(why: str) -> EngineError:
    return EngineError("template_failed", f"the model's chat template failed: {why}", "messages")
