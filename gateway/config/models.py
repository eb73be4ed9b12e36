"""What holds for one model, or for one of its names."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from engine.api import DType, KVDType
from gateway.config.scalars import Context, Count, Penalty, Priority, Scalar
from gateway.units import Duration


class Defaults(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values for what a request leaves open.

    temperature, top_p, top_k, min_p, seed, stop: as in a request.
    max_tokens: as in a request, of one answer.
    repetition_penalty, presence_penalty, frequency_penalty: as in a request.
    system: the system message of chats that bring none.
    template_kwargs: as `chat_template_kwargs` in a request.
    """

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_tokens: Count | None = None
    seed: int | None = None
    stop: list[Annotated[str, Meta(min_length=1, max_length=256)]] | None = None
    repetition_penalty: Annotated[float, Meta(ge=0.01, le=10)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    system: str | None = None
    template_kwargs: dict[str, Scalar] = {}


class ModelSettings(Defaults, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for one model, whoever asks for it.

    context: the longest that it is given, in tokens, instead of `max_context`.
    chat_template: a file, used instead of the model's own template.
    aliases: further names for it.
    pin: it is never evicted.
    preload: it is loaded at the start, if it fits beside those before it in the file.
    keep_alive: how long it stays after its last request; unset as long as nothing else needs the
    room.
    priority: each level counts as `max_wait_seconds` already waited.
    dtype, kv_dtype: as the settings of the server, which hold where this says "auto".
    devices: the only ones it may go to, by name.
    tensor_parallel: over how many it is spread; unset over the fewest that hold it.
    fallback: the model, here or at another server, that answers where this one cannot be served.
    """

    context: Context | None = None
    chat_template: Path | None = None
    aliases: list[str] = []
    pin: bool = False
    preload: bool = False
    keep_alive: Duration | None = None
    priority: Priority | None = None
    dtype: DType = "auto"
    kv_dtype: KVDType = "auto"
    devices: list[str] = []
    tensor_parallel: Count | None = None
    fallback: str | None = None


class Preset(Defaults, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model under a further name, with values for what a request leaves open.

    model: the name of the model whose weights it shares.
    context: a shorter one than its model has, in tokens.
    keep_alive: how long the model stays after a request by this name.
    priority: of requests by this name, beside their model's own.
    """

    model: str
    context: Context | None = None
    keep_alive: Duration | None = None
    priority: Priority | None = None
