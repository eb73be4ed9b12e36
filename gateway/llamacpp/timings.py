"""How long an answer took, as llama.cpp says it."""

from msgspec import Struct


class Timings(Struct, frozen=True, kw_only=True):
    """prompt: the tokens that were read; predicted: those that were made.

    cache_n: tokens of prompts that had been read before, which `prompt_n` leaves out.
    """

    cache_n: int
    prompt_n: int
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float
