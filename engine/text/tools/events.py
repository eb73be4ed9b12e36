"""What a parser finds in a model's text."""

from dataclasses import dataclass
from typing import Literal

SpanKind = Literal["text", "thought"]


@dataclass(frozen=True, slots=True)
class Said:
    """Words of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """Words that come before the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Called:
    """A call begins. id: the model's own, None if it gives none."""

    name: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Argued:
    """More of the last call's arguments, as JSON text."""

    text: str


Event = Said | Thought | Called | Argued


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of the model's text that became words of this kind."""

    start: int
    end: int
    kind: SpanKind
