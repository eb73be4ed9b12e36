"""The child process that renders chat templates, which are programs of somebody else's.

The only place that makes a Jinja environment: the immutable sandbox, set up as transformers does,
without `lipsum`. The sandbox keeps a template from our objects; that it may run for ever or fill
the memory is left to the limits of `engine.sandbox`.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from jinja2 import Template, TemplateError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.sandbox import serve

CPU_SECONDS = 2.0
MAX_ERROR_CHARS = 1000


class RenderRequest(msgspec.Struct, frozen=True):
    """A template, what it may see, and how many characters it may make."""

    template: str
    variables: dict[str, Any]
    max_chars: int


class RenderReply(msgspec.Struct, frozen=True):
    """The text, or why there is none. is_refusal: the template itself objected to the messages."""

    text: str | None = None
    error: str = ""
    is_refusal: bool = False


class _RefusedError(TemplateError):
    """What a template raises with `raise_exception`."""


class GenerationTag(Extension):
    """`{% generation %}`, which marks the assistant's words for training: shown as they are."""

    tags = {"generation"}  # noqa: RUF012 - declared so by Jinja

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def answer(payload: bytes) -> bytes:
    """Renders one request."""
    request = msgspec.msgpack.decode(payload, type=RenderRequest)
    return msgspec.msgpack.encode(_render(request))


def _render(request: RenderRequest) -> RenderReply:
    try:
        pieces = _compile(request.template).generate(**request.variables)
        return _join(pieces, request.max_chars)
    except _RefusedError as refusal:
        return RenderReply(error=str(refusal)[:MAX_ERROR_CHARS], is_refusal=True)
    except MemoryError:
        return RenderReply(error="it needs too much memory")
    except Exception as error:  # noqa: BLE001 - a template can raise whatever Python can
        return RenderReply(error=str(error)[:MAX_ERROR_CHARS] or type(error).__name__)


def _join(pieces: Iterable[str], max_chars: int) -> RenderReply:
    kept, num_chars = [], 0
    for piece in pieces:
        num_chars += len(piece)
        if num_chars > max_chars:
            return RenderReply(error=f"it made more than {max_chars} characters")
        kept.append(piece)
    return RenderReply(text="".join(kept))


def variables_of(template: str) -> frozenset[str]:
    """The variables that a template reads; nothing of it is run. Raises `TemplateError`."""
    return frozenset(meta.find_undeclared_variables(_environment().parse(template)))


@lru_cache(maxsize=64)
def _compile(template: str) -> Template:
    return _environment().from_string(template)


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
    )
    del environment.globals["lipsum"]
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own escapes <, >, & and ' for HTML, which no model was trained on.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> None:
    raise _RefusedError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().astimezone().strftime(pattern)


if __name__ == "__main__":
    serve(answer, cpu_seconds=CPU_SECONDS)
