"""Which heads of requests are refused, before there is a request for the app to see.

What one server reads otherwise than the next is how a request is smuggled past the first (RFC 9112,
section 11.2), so whatever could be read in two ways is not read at all. Most of it the parser refuses:
two lengths, a length beside `Transfer-Encoding`, white space before a colon, bare line ends.
"""

from collections.abc import Iterable

from gateway.config import Limits
from gateway.errors import GatewayError, InvalidRequest

Headers = Iterable[tuple[bytes, bytes]]


class HeadTooLarge(GatewayError):
    status = 431
    code = "request_header_fields_too_large"


class UnknownEncoding(InvalidRequest):
    """A `Transfer-Encoding` beside `chunked`: without decoding it the body is not what was meant."""

    status = 501
    code = "unsupported_transfer_encoding"


def refusal_of(
    headers: list[tuple[bytes, bytes]], num_bytes: int, version: str, limits: Limits
) -> GatewayError | None:
    """Why a request with this head is not answered. num_bytes: of its target and its headers."""
    if num_bytes > limits.header_bytes or len(headers) > limits.headers:
        return too_large(limits)
    hosts = _values(headers, b"host")
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        return InvalidRequest(f"A request has one Host header, not {len(hosts)}.")
    encodings = _values(headers, b"transfer-encoding")
    if encodings and encodings != [b"chunked"]:
        return UnknownEncoding("The only Transfer-Encoding that is read is chunked.")
    return None


def too_large(limits: Limits) -> HeadTooLarge:
    return HeadTooLarge(
        f"The headers are larger than {limits.header_bytes} bytes, or more than {limits.headers}."
    )


def _values(headers: Headers, wanted: bytes) -> list[bytes]:
    return [value.strip().lower() for name, value in headers if name == wanted]
