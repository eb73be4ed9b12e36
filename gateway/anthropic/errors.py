from msgspec import Struct


class ErrorDetail(Struct, frozen=True):
    type: str
    message: str


class ErrorReply(Struct, frozen=True, tag="error", tag_field="type"):
    """A body of its own, and also the event that ends a stream that broke."""

    error: ErrorDetail
    request_id: str | None = None
