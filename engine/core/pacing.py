"""How many tokens to prefill in a step, so that the step takes about so many seconds."""

SHARED_SECONDS = 0.1
"""Beside others: what a stream may stall while somebody's prompt is read."""
ALONE_SECONDS = 0.4
"""With nobody waiting: larger chunks are faster, and this is what a newcomer may have to wait."""

_WEIGHT = 0.5


class Pacing:
    """Learns the prefill rate from measured steps, and bounds chunks by it."""

    def __init__(self, min_tokens: int, max_tokens: int) -> None:
        self._min_tokens = min_tokens
        self._max_tokens = max_tokens
        self._tokens_per_second = 4 * min_tokens / ALONE_SECONDS

    def token_budget(self, seconds: float) -> int:
        """Tokens that fit `seconds`, within fixed bounds."""
        tokens = int(self._tokens_per_second * seconds)
        return max(self._min_tokens, min(tokens, self._max_tokens))

    def measured(self, num_tokens: int, seconds: float) -> None:
        """A step that read `num_tokens` of prompts took so long, its decodes included."""
        if num_tokens >= self._min_tokens and seconds > 0:  # small ones measure overhead alone
            rate = num_tokens / seconds
            # what is left of a prompt says little where much more was expected to fit
            share = min(1.0, num_tokens / self.token_budget(SHARED_SECONDS))
            self._tokens_per_second += _WEIGHT * share * (rate - self._tokens_per_second)
