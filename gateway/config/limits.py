"""What requests may take."""

from typing import Annotated

from msgspec import Meta, Struct

from gateway.config.scalars import Count, Seconds
from gateway.units import Bytes


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on what one request, or all of them together, may take.

    connections_per_client: of one address, which a proxy has for all its clients; None is no bound.
    idle_seconds: how long a connection is kept between two requests.
    wait_timeout_seconds: how long a request waits for its model before it is turned away.
    header_hold_seconds: how long a reply's headers wait for its first token, so that an error can
    still have its own status. stall_seconds: how long a client may leave a full buffer unread.
    """

    connections: Count = 4096
    connections_per_client: Count | None = None
    headers: Count = 100
    header_bytes: Bytes = Bytes(32 * 2**10)
    header_seconds: Seconds = 10
    idle_seconds: Seconds = 75
    body_bytes: Bytes = Bytes(10_000_000)
    body_seconds: Seconds = 30
    choices: Annotated[int, Meta(ge=1, le=128)] = 8
    prompts: Count = 128
    queue_per_model: Count = 256
    queue_total: Count = 1024
    wait_timeout_seconds: Seconds = 300
    header_hold_seconds: Seconds = 10
    keep_alive_seconds: Seconds = 5
    stall_seconds: Seconds = 30
    shutdown_seconds: Seconds = 30
