"""What every kind of reply is made of, whichever API asked."""

import secrets
import time
from typing import Protocol

from msgspec import Struct

from engine.api import Delta

LEAST_LOGPROB = -9999.0
"""Stands for minus infinity, which JSON cannot say."""


class Reply(Protocol):
    """Turns the deltas of one request into wire structs, as a stream or as a whole. No I/O."""

    def begin(self) -> list[Struct]:
        """What a stream opens with."""

    def add(self, delta: Delta) -> list[Struct]:
        """Takes a delta in, and gives what a stream sends for it."""

    def end(self) -> list[Struct]:
        """What a stream closes with, after every choice has finished."""

    def whole(self) -> Struct:
        """The reply of a request that does not stream, after every choice has finished."""

    @property
    def num_tokens(self) -> tuple[int, int]:
        """Tokens of prompts and completions so far known."""


def new_id(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(16)}"


def now() -> int:
    """Seconds since 1970, as `created` wants them."""
    return int(time.time())


def finite(logprob: float) -> float:
    return max(logprob, LEAST_LOGPROB)
