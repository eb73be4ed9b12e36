"""What requests may take."""

from typing import Annotated

from msgspec import Meta, Struct

from gateway.config.scalars import Count, Seconds
from gateway.units import Bytes


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on what one request, or all of them together, may take.

    connections: one more is answered 503 and closed.
    connections_per_client: of one address, which a proxy has for all its clients; unset is no bound.
    headers: of a request; more are a 431.
    header_bytes: of a request's path and headers; more are a 431.
    header_seconds: until the headers are there; then 408, or nothing where nothing was sent.
    idle_seconds: how long a connection is kept between two requests.
    body_bytes: more are a 413.
    body_seconds: until the body is there; then 408.
    choices: the most that `n` may ask for.
    prompts: of one completion.
    queue_per_model: requests that wait for one model; one more is a 429.
    queue_total: requests that wait for any.
    wait_timeout_seconds: how long a request waits for its model; then 503.
    header_hold_seconds: how long a reply's headers wait for its first token, so that an error can
    still have its own status.
    keep_alive_seconds: of silence, after which a stream has a sign of life.
    stall_seconds: how long a client may leave full buffers unread; then its request is stopped and
    its connection cut.
    shutdown_seconds: that what is being answered has to end after a signal.
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
