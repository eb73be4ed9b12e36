"""Structs to ready bytes of a `text/event-stream`, and of the comments that keep it alive."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from gateway.openai.errors import ErrorReply

MEDIA_TYPE = "text/event-stream"
DONE = b"data: [DONE]\n\n"

_encoder = msgspec.json.Encoder()


def event(message: Struct) -> bytes:
    return b"data: " + _encoder.encode(message) + b"\n\n"


def named_event(message: Struct) -> bytes:
    """An event that is also named, by its struct's tag."""
    name = str(message.__struct_config__.tag)
    return b"event: " + name.encode() + b"\n" + event(message)


def comment(text: str) -> bytes:
    """A line that every SSE parser skips and every proxy counts as life."""
    return b": " + text.replace("\n", " ").replace("\r", " ").encode() + b"\n\n"


def _same(reply: ErrorReply) -> Struct:
    return reply


@dataclass(frozen=True, slots=True)
class Framing:
    """How a stream's structs become bytes, and what else stands in it.

    filler: a sign of life, made of what the server is busy with. failure: instead of whatever would
    have followed. closing: after the last struct. error: an error's body, where nothing streams.
    """

    event: Callable[[Struct], bytes] = event
    filler: Callable[[str], bytes] = comment
    failure: Callable[[ErrorReply], bytes] = event
    closing: bytes = DONE
    media_type: str = MEDIA_TYPE
    error: Callable[[ErrorReply], Struct] = _same


OPENAI = Framing()
NAMED = Framing(event=named_event, closing=b"")
