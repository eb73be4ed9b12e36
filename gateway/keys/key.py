"""A key, and what it lets its holder do.

A key is 256 random bits, so that a plain SHA-256 of it can be kept: there is nothing to guess that a
slow hash would protect, and a slow one would cost each request what it costs an attacker.
"""

import hmac
import secrets
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Annotated

from msgspec import Meta, Struct

from gateway.config import SCOPES, Scope

PREFIX = "rh-"
"""Of the keys that we make: what begins so and is not known was never meant for another server."""

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Meta(ge=1)]
Budget = Annotated[float, Meta(gt=0)]


class Rights(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a key is good for. None is no limit.

    models: patterns, with * and ?, of the names that `/v1/models` lists. may_swap: it may have a model
    brought into memory. shares_cache: what is cached of its prompts is shared with all others that say
    so, and with requests that have no key. expires: UTC where it names no zone. tokens_per_minute: of
    prompts and answers together. concurrency: requests at once. device_seconds_per_*: of computing, by
    UTC's calendar.
    """

    scopes: frozenset[Scope] = frozenset({"infer"})
    models: tuple[str, ...] = ("*",)
    may_swap: bool = True
    shares_cache: bool = False
    expires: datetime | None = None
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    concurrency: Count | None = None
    device_seconds_per_day: Budget | None = None
    device_seconds_per_month: Budget | None = None

    @property
    def has_budget(self) -> bool:
        return (self.device_seconds_per_day or self.device_seconds_per_month) is not None

    def allows(self, *names: str) -> bool:
        """Whether it may use the model that is called by these names."""
        patterns = [pattern.casefold() for pattern in self.models]
        return any(fnmatchcase(name.casefold(), pattern) for name in names for pattern in patterns)

    def is_expired(self, now: float) -> bool:
        """now: seconds since 1970."""
        if self.expires is None:
            return False
        zoned = self.expires if self.expires.tzinfo else self.expires.replace(tzinfo=UTC)
        return zoned.timestamp() <= now


class Key(Rights, frozen=True, kw_only=True):
    """digest: as `digest_of` has it; empty for those who have no key."""

    name: Name
    digest: str

    @property
    def id(self) -> str:
        """Names it where its name would not do, since a name may be given again. No secret."""
        return self.digest[:16]

    @property
    def salt(self) -> str:
        """Of what is cached of its prompts."""
        return "" if self.shares_cache else self.id

    def is_known_by(self, digest: str) -> bool:
        return hmac.compare_digest(self.digest, digest)


def anonymous(scopes: frozenset[Scope]) -> Key:
    """Whoever has no key."""
    return Key(name="anonymous", digest="", scopes=scopes)


OURSELVES = anonymous(SCOPES)
"""Work that no request asked for, such as what is loaded at the start."""
NOBODY = Key(name="nobody", digest="", scopes=frozenset(), models=(), may_swap=False)


def new_secret() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
