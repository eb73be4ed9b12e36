"""What holds for one model, or for one of its names."""

from typing import Annotated

from msgspec import Meta, Struct

from gateway.config.scalars import Count, Penalty, Priority, Scalar
from gateway.units import Duration


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for one model, whoever asks for it.

    pin: it is never evicted. preload: it is loaded at the start, if it fits beside those before it
    in the file. keep_alive: how long it stays after its last request; None as long as
    nothing else needs the room. priority: each level counts as `max_wait_seconds` already waited.
    devices: the only ones it may go to, by name. tensor_parallel: over how many it is spread; None:
    over the fewest that hold it.
    """

    pin: bool = False
    preload: bool = False
    keep_alive: Duration | None = None
    priority: Priority | None = None
    devices: list[str] = []
    tensor_parallel: Count | None = None


class Preset(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model under a further name, with values for what a request leaves open.

    model: the name of the model whose weights it shares. system: the system message of chats that
    bring none. template_kwargs: as `chat_template_kwargs`.
    """

    model: str
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
    keep_alive: Duration | None = None
    priority: Priority | None = None
