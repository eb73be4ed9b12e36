"""Which servers a request came through: what keeps upstreams from going round in circles."""

import secrets

MAX_SERVERS = 16
"""A chain as long as that is none that anybody has built on purpose."""


def new_pseudonym() -> str:
    """A name for this server that no other has, as `Via` wants one (RFC 9110, 7.6.3)."""
    return f"roundhouse-{secrets.token_hex(6)}"


def handed_on(via: str, pseudonym: str) -> str:
    """The `Via` of what this server asks in turn."""
    return ", ".join([*_entries(via), f"1.1 {pseudonym}"])


def is_loop(via: str, pseudonym: str) -> bool:
    """Whether it was here before, or has been through more servers than there can be."""
    entries = _entries(via)
    return len(entries) >= MAX_SERVERS or any(pseudonym in entry.split() for entry in entries)


def _entries(via: str) -> list[str]:
    return [entry.strip() for entry in via.split(",") if entry.strip()]
