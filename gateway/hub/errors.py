"""Why a model could not be brought, or removed."""

from typing import Literal

HubCode = Literal[
    "bad_reference",
    "not_found",
    "nothing_to_pull",
    "denied",
    "not_allowed",
    "offline",
    "unreachable",
    "corrupt",
    "disk_full",
    "cannot_write",
    "outside",
    "busy",
    "cancelled",
]
"""What went wrong, for programs. `gateway.errors` has the HTTP status of each."""


class HubError(Exception):
    """message: a sentence without its end, which says what was wrong and what to do about it."""

    def __init__(self, code: HubCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Transient(HubError):
    """The hub may answer if it is asked again. retry_after_seconds: when it says so itself."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__("unreachable", message)
        self.retry_after_seconds = retry_after_seconds
