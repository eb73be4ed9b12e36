"""What the policy tells its shell to do."""

from dataclasses import dataclass

from engine.api import ErrorCode, Form


@dataclass(frozen=True, slots=True)
class Load:
    """Load a model. Answer with `loaded` or `failed`."""

    handle: int
    model: str
    device: str
    form: Form
    kv_tokens: int
    bytes: int
    state_slots: int = 0


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
class Evict:
    """Drop a model that has no leases. Answer with `evicted`."""

    handle: int
    model: str
    device: str
    makes_room_for: str


@dataclass(frozen=True, slots=True)
class Grant:
    """The request may use the model until it is `released`."""

    request: int
    model: str
    handle: int
    device: str
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
class WaitedTooLong:
    seconds: float


@dataclass(frozen=True, slots=True)
class CannotLoad:
    """The model's load failed, or its worker died too often. `retry_seconds`: no try before."""

    code: ErrorCode
    message: str
    retry_seconds: float


Refusal = QueueIsFull | CannotFit | WaitedTooLong | CannotLoad


@dataclass(frozen=True, slots=True)
class Reject:
    request: int
    model: str
    reason: Refusal


Action = Load | CancelLoad | Close | Reopen | Evict | Grant | Reject
