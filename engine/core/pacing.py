"""How many tokens to prefill in a step, so that the step takes about so many seconds."""

SHARED_SECONDS = 0.1
"""Beside others: what a stream may stall while somebody's prompt is read."""
ALONE_SECONDS = 0.4
"""With nobody waiting: larger chunks are faster, and this is what a newcomer may have to wait."""

_STALL_SHARE = 0.05
"""Of the time that it takes to read all prompts: streams stall longer where many wait for long."""
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

    def shared_seconds(self, num_waiting: int, num_tokens: int) -> float:
        """What others may stall in a step while so many wait for so many tokens to be read.

        One long prompt is read between tokens that come as they did. When many are waiting for
        seconds, small chunks would keep all of them from a first token for the sake of a few.
        """
        backlog_seconds = num_tokens / self._tokens_per_second
        most = min(ALONE_SECONDS, SHARED_SECONDS * num_waiting)
        return max(SHARED_SECONDS, min(most, _STALL_SHARE * backlog_seconds))

    def measured(self, num_read: int, num_decoded: int, seconds: float) -> None:
        """A step that read so many tokens of prompts, and decoded beside it, took so long."""
        if num_read >= self._min_tokens and seconds > 0:  # small ones measure overhead alone
            num_tokens = num_read + num_decoded
            # what is left of a prompt says little where much more was expected to fit
            share = min(1.0, num_tokens / self.token_budget(SHARED_SECONDS))
            change = num_tokens / seconds - self._tokens_per_second
            self._tokens_per_second += _WEIGHT * share * change
