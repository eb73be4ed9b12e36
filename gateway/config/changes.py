"""What differs between two settings, and how much of it a running server takes over."""

from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.config.settings import Settings
from gateway.config.shown import dotted, leaves

LIVE = frozenset(
    (
        "aliases",
        "allowed_hosts",
        "chat_templates",
        "cors_origins",
        "defaults",
        "groups",
        "hub",
        "limits",
        "log",
        "max_context",
        "max_wait_seconds",
        "model",
        "pool",
        "presets",
        "upstreams",
    )
)
"""Settings that a running server takes over; all others are as they were when it started."""

LIVE_KEYS = frozenset(("anonymous", "open_metrics"))
"""So are these of `[keys]`."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Names of settings that differ: those that a running server takes over, and the others."""

    live: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


def changes(old: Settings, new: Settings) -> Changes:
    before, after = dict(leaves(old)), dict(leaves(new))
    missing = object()
    found = [p for p in {**before, **after} if before.get(p, missing) != after.get(p, missing)]
    tables = {place[:depth] for place in found for depth in range(1, len(place))}
    places = [place for place in found if place not in tables]  # empty before, or now
    return Changes(
        tuple(dotted(place) for place in places if _is_live(*place[:2])),
        tuple(dotted(place) for place in places if not _is_live(*place[:2])),
    )


def taken_over(old: Settings, new: Settings) -> Settings:
    """What a server that runs with the old ones has when it was told of the new."""
    live: dict[str, Any] = {name: getattr(new, name) for name in LIVE}
    rights = {name: getattr(new.keys, name) for name in LIVE_KEYS}
    keys = msgspec.structs.replace(old.keys, **rights)
    return msgspec.structs.replace(old, keys=keys, **live)


def _is_live(table: str, name: str = "") -> bool:
    return table in LIVE or (table == "keys" and name in LIVE_KEYS)
