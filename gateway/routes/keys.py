"""Whose keys there are, what they may, and what they used: for whoever runs the server."""

from datetime import datetime
from typing import Any

import msgspec
from litestar import Controller, Request, Response, get
from msgspec import Struct

from gateway.config import Scope
from gateway.keys import Gate, Key
from gateway.openapi.operation import as_json, operation
from gateway.routes.services import services_of

_encode = msgspec.json.Encoder(order="deterministic").encode


class KeyUse(Struct, frozen=True):
    """A key without what would let it be used. requests: those that it has under way."""

    id: str
    name: str
    scopes: list[Scope]
    models: list[str]
    may_swap: bool
    shares_cache: bool
    expires: datetime | None
    is_expired: bool
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrency: int | None
    device_seconds_per_day: float | None
    device_seconds_per_month: float | None
    requests: int
    device_seconds_today: float
    device_seconds_this_month: float


class KeyList(Struct, frozen=True):
    data: list[KeyUse]
    object: str = "list"


class KeyController(Controller):
    @get(
        "/v1/keys",
        opt=operation(
            "list_keys", "The keys, and what they used", "Server", as_json(KeyList), scope="admin"
        ),
    )
    async def list_all(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Seconds are counted of keys that have a budget of them."""
        gate = services_of(request).gate
        keys = sorted(gate.keyring.keys, key=lambda key: key.name)
        reply = KeyList([_shown(gate, key) for key in keys])
        return Response(_encode(reply), media_type="application/json")


def _shown(gate: Gate, key: Key) -> KeyUse:
    date = gate.moment.date
    own = {name: getattr(key, name) for name in KeyUse.__struct_fields__ if hasattr(key, name)}
    own |= {"scopes": sorted(key.scopes), "models": list(key.models)}
    return KeyUse(
        **own | {"is_expired": key.is_expired(date)},
        requests=gate.account(key).num_requests,
        device_seconds_today=gate.book.today(key.id, date),
        device_seconds_this_month=gate.book.month(key.id, date),
    )
