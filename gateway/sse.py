"""Structs to ready bytes of a `text/event-stream`, and of the comments that keep it alive."""

import msgspec
from msgspec import Struct

MEDIA_TYPE = "text/event-stream"
DONE = b"data: [DONE]\n\n"

_encoder = msgspec.json.Encoder()


def event(message: Struct) -> bytes:
    return b"data: " + _encoder.encode(message) + b"\n\n"


def comment(text: str) -> bytes:
    """A line that every SSE parser skips and every proxy counts as life."""
    return b": " + text.replace("\n", " ").replace("\r", " ").encode() + b"\n\n"
