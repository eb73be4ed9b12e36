"""Requests that are wrong, or come in a wrong way."""

from gateway.errors.base import GatewayError


class InvalidRequest(GatewayError):
    """A value that is wrong whatever the state of the server."""


class Unsupported(InvalidRequest):
    """A wish that OpenAI's interface knows and this server cannot honour, or not yet."""

    code = "unsupported_value"


class InvalidSchema(InvalidRequest):
    """A JSON schema that answers cannot be made to follow."""

    code = "invalid_json_schema"


class InvalidGrammar(InvalidRequest):
    """A regular expression or grammar that answers cannot be made to follow."""

    code = "invalid_grammar"


class NoChatTemplate(InvalidRequest):
    code = "no_chat_template"


class ContextLengthExceeded(InvalidRequest):
    code = "context_length_exceeded"


class PreviousResponseNotFound(InvalidRequest):
    code = "previous_response_not_found"

    def __init__(self, response_id: str) -> None:
        super().__init__(
            f"previous_response_id: no finished response {response_id[:80]!r} is kept here, or one "
            f"before it is gone.",
            "previous_response_id",
        )


class ResponseNotFound(GatewayError):
    status = 404
    code = "not_found"

    def __init__(self, response_id: str) -> None:
        super().__init__(f"No response {response_id[:80]!r} is kept here.", "response_id")


class RequestTimeout(GatewayError):
    status = 408
    code = "request_timeout"


class UnsupportedEncoding(InvalidRequest):
    """A body that is packed in some way."""

    status = 415
    code = "unsupported_content_encoding"
