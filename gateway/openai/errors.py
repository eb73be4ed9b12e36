from msgspec import Struct


class ErrorBody(Struct, frozen=True):
    """All four keys are always there: SDKs read `type`, `param` and `code` by name."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorReply(Struct, frozen=True):
    error: ErrorBody
