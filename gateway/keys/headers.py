"""A key's rates as OpenAI's clients are told of them."""

from gateway.keys.account import Account
from gateway.keys.bucket import Bucket


def rate_headers(account: Account, now: float) -> list[tuple[bytes, bytes]]:
    """Of the limits that the key has."""
    named = ((b"requests", account.requests), (b"tokens", account.tokens))
    return [
        header for name, bucket in named if bucket is not None for header in _of(name, bucket, now)
    ]


def _of(name: bytes, bucket: Bucket, now: float) -> list[tuple[bytes, bytes]]:
    remaining = max(0, int(bucket.level(now)))
    reset = _duration(bucket.wait_seconds(bucket.per_minute, now)).encode()
    return [
        (b"x-ratelimit-limit-" + name, b"%d" % bucket.per_minute),
        (b"x-ratelimit-remaining-" + name, b"%d" % remaining),
        (b"x-ratelimit-reset-" + name, reset),
    ]


def _duration(seconds: float) -> str:
    """As OpenAI writes it: 20ms, 1.5s, 6m0s."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:.3g}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s"
