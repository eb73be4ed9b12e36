"""How models take turns, and which belong together."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateway.config.scalars import Count


class PoolSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How models take turns.

    pausing: busy models may be paused between two tokens for one that has waited too long.
    drain_seconds: how long before that a model is closed to newcomers, so that short requests end.
    min_dwell_seconds: how long a busy model is left alone once it was made ready.
    dwell_factor: how long any model is left alone, in times of what making it ready took.
    victims: who goes first, the longest unused or the cheapest to bring back.
    """

    pausing: bool = True
    drain_seconds: Annotated[float, Meta(ge=0)] = 1.0
    min_dwell_seconds: Annotated[float, Meta(ge=0)] = 0.5
    dwell_factor: Annotated[float, Meta(ge=0)] = 1.5
    victims: Literal["lru", "cost"] = "lru"


class GroupSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Models whose residence depends on each other.

    name: in the log and in errors.
    models: any of their names.
    at_most: so many of them are in memory at once.
    alone: while one of them is, nothing else is.
    """

    name: str
    models: Annotated[list[str], Meta(min_length=1)]
    at_most: Count | None = None
    alone: bool = False
