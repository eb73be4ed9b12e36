"""Where clients put their keys."""

from collections.abc import Mapping

MAX_LENGTH = 512


def secret_in(headers: Mapping[bytes, bytes]) -> str | None:
    """OpenAI's `Authorization: Bearer`, else Anthropic's `x-api-key`. Never one of the URL's.

    None for none, and for what is no key: URLs are logged by whatever stands between, and passwords of
    `Basic` were meant for a proxy.
    """
    scheme, _, token = headers.get(b"authorization", b"").strip().partition(b" ")
    if scheme.lower() != b"bearer":
        token = headers.get(b"x-api-key", b"")
    token = token.strip()
    if not token or len(token) > MAX_LENGTH or not token.isascii():
        return None
    return token.decode()
