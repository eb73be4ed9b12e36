"""Which hosts this server answers to, and which web pages may use it from a browser.

A page from anywhere can make a browser call a server on its own machine. It is known by the Origin
header, or, when its name was rebound to our address, by the Host header.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address

from gateway.config import Settings
from gateway.errors import ForbiddenOrigin

_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(:\d{1,5})?")
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_RATES = [
    f"x-ratelimit-{what}-{of}"
    for what in ("limit", "remaining", "reset")
    for of in ("requests", "tokens")
]
_EXPOSED = ", ".join(
    ["x-request-id", "retry-after", "x-should-retry", "openai-processing-ms", *_RATES]
).encode()
_PREFLIGHT_SECONDS = b"600"


class Origins:
    def __init__(self, settings: Settings) -> None:
        given = {_name_of(host) for host in settings.allowed_hosts}
        # who listens on a real network without a list may be called by any name
        self._any_host = not (settings.is_loopback or given)
        self._hosts = _LOCAL_HOSTS | {_name_of(settings.host)} | given
        self._any_origin = "*" in settings.cors_origins
        self._origins = frozenset(origin.lower().rstrip("/") for origin in settings.cors_origins)

    def refusal(self, headers: Mapping[bytes, bytes]) -> ForbiddenOrigin | None:
        """Why the request is not answered, if so. A forwarded host is never looked at."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if host and not self._any_host and _host_of(host) not in self._hosts:
            return ForbiddenOrigin(f"This server does not answer to the host {host[:200]!r}.")
        origin = headers.get(b"origin")
        if origin is not None and not self._allows(origin.decode("latin-1").lower(), host):
            return ForbiddenOrigin(
                "Pages of that origin may not use this server; see cors_origins."
            )
        return None

    def reply_headers(self, headers: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """What lets an allowed page read the reply."""
        origin = headers.get(b"origin")
        if origin is None or self.refusal(headers):
            return []
        wanted = headers.get(b"access-control-request-headers", b"")
        return [
            (b"access-control-allow-origin", origin),
            (b"vary", b"Origin"),
            (b"access-control-expose-headers", _EXPOSED),
            *_preflight(headers, wanted),
        ]

    def _allows(self, origin: str, host: str) -> bool:
        if self._any_origin or origin in self._origins:
            return True
        scheme, _, authority = origin.partition("://")
        if scheme not in {"http", "https"}:
            return False
        return authority == host or _host_of(authority) in _LOCAL_HOSTS


def _name_of(given: str) -> str:
    """A host as a setting has it, as clients send it: an address of IPv6 in brackets; no port."""
    with suppress(ValueError):
        address = ip_address(given.strip("[]"))
        return f"[{address}]" if address.version == 6 else str(address)
    return _host_of(given.lower()) or given.lower()


def _host_of(authority: str) -> str | None:
    found = _AUTHORITY.fullmatch(authority)
    return found["host"] if found else None


def _preflight(headers: Mapping[bytes, bytes], wanted: bytes) -> list[tuple[bytes, bytes]]:
    if b"access-control-request-method" not in headers:
        return []
    return [
        (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
        (b"access-control-allow-headers", wanted or b"*"),
        (b"access-control-max-age", _PREFLIGHT_SECONDS),
    ]
