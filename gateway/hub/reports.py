"""What a pull says of itself as it goes. Also the lines that its process writes."""

from msgspec import Struct

from gateway.hub.errors import HubCode


class Report(Struct, frozen=True, tag_field="type", tag=str.lower):
    """Base of all."""


class Waiting(Report, frozen=True):
    """Another process pulls of the same repository."""

    repo: str


class Planned(Report, frozen=True):
    """What will be there, and how much of it has to come still."""

    files: list[str]
    total_bytes: int
    missing_bytes: int


class Progress(Report, frozen=True):
    """done: bytes of the file that lie here. digest: how the hub names its content."""

    file: str
    done: int
    total: int
    digest: str


class Retrying(Report, frozen=True):
    file: str
    reason: str
    seconds: float


class Verifying(Report, frozen=True):
    file: str


class Verified(Report, frozen=True):
    file: str


class Landing(Report, frozen=True):
    """The next file gets its name in the models folder."""

    file: str


class Done(Report, frozen=True, kw_only=True):
    """model: the id it will be served by. is_checked: whether the hub was asked for anything newer."""

    model: str
    repo: str
    revision: str
    commit: str
    path: str
    files: list[str]
    total_bytes: int
    fetched_bytes: int
    is_checked: bool = True


class Failed(Report, frozen=True):
    code: HubCode
    message: str


AnyReport = Waiting | Planned | Progress | Retrying | Verifying | Verified | Landing | Done | Failed
