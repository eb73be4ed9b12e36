"""Other servers that serve models beside those of this one."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from engine.api import Task
from gateway.config.scalars import Count, Seconds
from gateway.units import Bytes

UpstreamName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class UpstreamSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another OpenAI-compatible server, whose models are answered with as if they were here.

    A model of several upstreams is asked of the first in the file, then of the next. One that is here
    under the same name is served here.

    name: in logs, in metrics, and in `name/model`: that model at this upstream and no other.
    base_url: up to and with its `/v1`.
    key_env: the environment variable that holds its key. The key itself never stands in a file of
    settings.
    key_file: a file that holds it, instead; read at each request, so that the key may change.
    ca_file: certificates that sign its own, where the system's do not.
    models: its names of them, or a table of our names and its; `"*"` is all that its `GET /models`
    lists.
    tasks: what its models do, where its list does not say.
    context_length: what clients are told of them in tokens, likewise.
    connect_seconds: how long connecting may take, and waiting for one of `connections`.
    wait_seconds: until its answer begins.
    stall_seconds: from one sign of life to the next, once it has begun.
    retries: how often it is asked again if it fails before its first token; then the next is asked.
    rest_seconds: how long a model of it is left alone after five failures in a row; twice as long
    each further time, at most two minutes.
    connections: to it, at most.
    reply_bytes: of one reply, at most.
    max_tokens_field: what it calls the bound of a chat's answer.
    omit: fields of requests and messages that it is not sent, such as `"temperature"`.
    """

    name: UpstreamName
    base_url: str
    key_env: str | None = None
    key_file: Path | None = None
    ca_file: Path | None = None
    models: Annotated[list[str], Meta(min_length=1)] | dict[str, str] = field(
        default_factory=lambda: ["*"]
    )
    tasks: Annotated[list[Task], Meta(min_length=1)] = field(
        default_factory=lambda: ["chat", "completion", "embedding", "rerank"]
    )
    context_length: Count = 131072
    connect_seconds: Seconds = 5
    wait_seconds: Seconds = 300
    stall_seconds: Seconds = 60
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    rest_seconds: Seconds = 5
    connections: Count = 256
    reply_bytes: Bytes = Bytes(64 * 2**20)
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    omit: list[str] = []

    @property
    def theirs(self) -> dict[str, str]:
        """Our name of each model -> its own."""
        if isinstance(self.models, dict):
            return self.models
        return {name: name for name in self.models}
