"""What an error of ours says of itself."""

from typing import ClassVar


class GatewayError(Exception):
    """An answer other than success.

    heals: whether the same request may succeed later without anyone's doing; None leaves it to the
    client's own rule for the status.
    """

    status: ClassVar[int] = 400
    type: ClassVar[str] = "invalid_request_error"
    code: ClassVar[str | None] = None
    heals: ClassVar[bool | None] = None

    def __init__(
        self, message: str, param: str | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds


class ClientGone(Exception):
    """The client closed its connection before it was answered. Nobody hears the reply."""
