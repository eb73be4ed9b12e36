"""What is written to the log beside one line for each request."""

from typing import Annotated

from msgspec import Meta, Struct


class LogSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """slow_seconds: requests that took as long are told of with where their time went; 0 for none.

    prompts: what clients ask is written too. prompt_chars: how much of each prompt, in characters.
    """

    slow_seconds: Annotated[float, Meta(ge=0)] = 30
    prompts: bool = False
    prompt_chars: Annotated[int, Meta(ge=0, le=100_000)] = 2000
