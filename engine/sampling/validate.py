"""What a request may ask of the sampler. The gateway refuses these first, with better words."""

import math
from collections.abc import Iterator

from engine.api import EngineError, Sampling

MAX_LOGPROBS = 20


def validate(sampling: Sampling, vocab_size: int) -> None:
    """Raises `EngineError` bad_request naming the first parameter that cannot be honoured."""
    for param, is_right, wanted in _rules(sampling, vocab_size):
        if not is_right:
            raise EngineError("bad_request", f"{param} must be {wanted}", param)


def _rules(s: Sampling, vocab_size: int) -> Iterator[tuple[str, bool, str]]:
    finite = math.isfinite
    yield "temperature", finite(s.temperature) and s.temperature >= 0, "a number from 0"
    yield "top_k", s.top_k >= -1, "a count, or 0 for all"
    yield "top_p", 0 <= s.top_p <= 1, "from 0 to 1"
    yield "min_p", 0 <= s.min_p <= 1, "from 0 to 1"
    repetition = s.repetition_penalty
    yield "repetition_penalty", finite(repetition) and repetition > 0, "a number above 0"
    yield "presence_penalty", finite(s.presence_penalty), "a number"
    yield "frequency_penalty", finite(s.frequency_penalty), "a number"
    yield "logprobs", 0 <= (s.logprobs or 0) <= MAX_LOGPROBS, f"from 0 to {MAX_LOGPROBS}"
    are_tokens = all(0 <= token < vocab_size for token in s.logit_bias)
    yield "logit_bias", are_tokens, f"given for token ids from 0 to {vocab_size - 1}"
    yield "logit_bias", all(map(finite, s.logit_bias.values())), "numbers"
