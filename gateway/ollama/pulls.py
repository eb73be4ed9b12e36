"""What `/api/pull` and `/api/delete` are sent, and what a pull says of itself."""

from msgspec import UNSET, Struct, UnsetType


class PullRequest(Struct, frozen=True):
    """name: what `model` was called at first. stream: true unless it is said to be false."""

    model: str | None = None
    name: str | None = None
    stream: bool | None = None


class DeleteRequest(Struct, frozen=True):
    """As `PullRequest`."""

    model: str | None = None
    name: str | None = None


class PullStatus(Struct, frozen=True, omit_defaults=True):
    """status: "success" is the last. digest: of the file that it speaks of; total, completed: bytes."""

    status: str
    digest: str | UnsetType = UNSET
    total: int | UnsetType = UNSET
    completed: int | UnsetType = UNSET
