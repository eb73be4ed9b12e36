"""What a handler declares of itself in its `opt`: all that its code does not say to a program."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from gateway import sse
from gateway.config import Scope

KEY: Final = "operation"
"""Of a handler's `opt`."""
JSON: Final = "application/json"

Tag = Literal[
    "Chat",
    "Completions",
    "Embeddings",
    "Responses",
    "Models",
    "Tokens",
    "Anthropic",
    "Ollama",
    "Server",
]
Access = Scope | Literal["open", "metrics"]
"""What a route is for: a scope that a key must have, or that it is for everybody. metrics: as `manage`,
unless the operator opens them."""


@dataclass(frozen=True)
class Reply:
    """An answer in one media type.

    kinds: the structs that its JSON, or a piece of a stream, may be; none of what is no JSON.
    framing: how a stream's pieces follow each other.
    """

    media_type: str
    kinds: tuple[type[Struct], ...] = ()
    framing: sse.Framing | None = None
    status: int = 200


def as_json(*kinds: type[Struct], status: int = 200) -> Reply:
    return Reply(JSON, kinds, status=status)


def as_stream(framing: sse.Framing, *kinds: type[Struct]) -> Reply:
    return Reply(framing.media_type, kinds, framing)


def as_text(media_type: str) -> Reply:
    return Reply(media_type)


@dataclass(frozen=True)
class Parameter:
    """What a query or a header may bring; each may be left out. schema: of its text."""

    name: str
    where: Literal["query", "header"]
    description: str
    schema: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """id: unique in the document; on a handler's further paths it gets a suffix.

    scope: what a key needs. body: what the handler decodes its body with. failures: one of each error
    that the handler may raise, beside those that every route has. empty: further statuses, without a
    body, by reason.
    """

    id: str
    summary: str
    tag: Tag
    scope: Access
    replies: tuple[Reply, ...]
    body: msgspec.json.Decoder[Any] | None
    parameters: tuple[Parameter, ...]
    failures: tuple[Exception, ...]
    empty: tuple[tuple[int, str], ...]

    def __deepcopy__(self, _: object) -> "Operation":
        """Itself: Litestar copies handlers with all they hold, and a decoder cannot be copied."""
        return self


def operation(
    operation_id: str,
    summary: str,
    tag: Tag,
    *replies: Reply,
    scope: Access,
    body: msgspec.json.Decoder[Any] | None = None,
    parameters: tuple[Parameter, ...] = (),
    failures: tuple[Exception, ...] = (),
    empty: tuple[tuple[int, str], ...] = (),
) -> dict[str, Operation]:
    """An `Operation` as a handler's `opt`."""
    declared = Operation(
        id=operation_id,
        summary=summary,
        tag=tag,
        scope=scope,
        replies=replies,
        body=body,
        parameters=parameters,
        failures=failures,
        empty=empty,
    )
    return {KEY: declared}
