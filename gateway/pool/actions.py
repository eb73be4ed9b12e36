"""What the policy tells its shell to do."""

from dataclasses import dataclass
from typing import Literal

from engine.api import ErrorCode, Form
from gateway.pool.place import Place

EvictReason = Literal["room", "expired", "asked", "abandoned", "failed", "correction", "lost"]
"""To make room; its keep-alive is over; somebody asked; nobody wants what was paused; it could not
come back from a pause; a load took more than was planned; a device of its place was lost."""


@dataclass(frozen=True, slots=True)
class Load:
    """Load a model. Answer with `loaded` or `failed`.

    bytes: on each device of the place. resumes: it is paused and comes back, under its old handle.
    """

    handle: int
    model: str
    place: Place
    form: Form
    kv_tokens: int
    bytes: int
    state_slots: int = 0
    resumes: bool = False


@dataclass(frozen=True, slots=True)
class CancelLoad:
    """Nobody waits for this load any more. Answer with `failed`, or `loaded` if it was too late."""

    handle: int
    model: str


@dataclass(frozen=True, slots=True)
class Close:
    """Information: a model takes no new leases, so that it can make room for `makes_room_for`."""

    handle: int
    model: str
    makes_room_for: str
    leases: int


@dataclass(frozen=True, slots=True)
class Reopen:
    """Information: a closed model takes leases again; the room is no longer wanted."""

    handle: int
    model: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Take a busy model's weights away between two tokens. Answer with `paused`."""

    handle: int
    model: str
    place: Place
    makes_room_for: str


@dataclass(frozen=True, slots=True)
class Evict:
    """Drop a model that has no leases. Answer with `evicted`.

    place: where it still is; less than it was loaded on, if devices of that were lost.
    """

    handle: int
    model: str
    place: Place
    makes_room_for: str = ""
    reason: EvictReason = "room"


@dataclass(frozen=True, slots=True)
class Grant:
    """The request may use the model until it is `released`."""

    request: int
    model: str
    handle: int
    place: Place
    kv_tokens: int


@dataclass(frozen=True, slots=True)
class QueueIsFull:
    waiting: int
    limit: int


@dataclass(frozen=True, slots=True)
class CannotFit:
    needed: int
    available: int


@dataclass(frozen=True, slots=True)
class OnlyPinnedLeft:
    """It would fit, but for models that are pinned. `available`: bytes beside those."""

    needed: int
    available: int


@dataclass(frozen=True, slots=True)
class WaitedTooLong:
    seconds: float


@dataclass(frozen=True, slots=True)
class Unloaded:
    """Somebody had the model unloaded by force."""


@dataclass(frozen=True, slots=True)
class CannotLoad:
    """The model's load failed, or its worker died too often. `retry_seconds`: no try before."""

    code: ErrorCode
    message: str
    retry_seconds: float


Refusal = QueueIsFull | CannotFit | OnlyPinnedLeft | WaitedTooLong | Unloaded | CannotLoad


@dataclass(frozen=True, slots=True)
class Reject:
    request: int
    model: str
    reason: Refusal


@dataclass(frozen=True, slots=True)
class Revoke:
    """End the requests that use a model. Each is still to be `released`."""

    handle: int
    model: str
    requests: tuple[int, ...]
    reason: Refusal


Action = Load | CancelLoad | Close | Reopen | Pause | Evict | Grant | Reject | Revoke
