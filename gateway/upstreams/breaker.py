"""Leaves a server that fails alone for a while."""

import math

MAX_FAILURES = 5
"""In a row; then it rests."""

MAX_REST_SECONDS = 120.0


class Breaker:
    """Whether one upstream is to be asked now. Every time is given to it, in seconds.

    closed: it is asked. resting: it is not, until a time. probing: its rest is over, and one request
    finds out whether it is well; the others do not wait for that.
    """

    def __init__(self, rest_seconds: float) -> None:
        self._rest_seconds = rest_seconds
        self._num_failures = 0
        self._num_rests = 0
        self._rests_until = -math.inf
        self._num_requests = 0
        self._probe: int | None = None

    def wait_seconds(self, now: float) -> float:
        """Until it may be asked; 0 if it may be now, infinite while another finds out."""
        if self._probe is not None:
            return math.inf
        return max(0.0, self._rests_until - now)

    def begin(self, now: float) -> int:
        """A request is sent, which `wait_seconds` allows. Its number, for how it ends."""
        assert not self.wait_seconds(now), "it rests"
        self._num_requests += 1
        if self._num_rests:
            self._probe = self._num_requests
        return self._num_requests

    def succeed(self) -> None:
        """Whichever request it was that was answered, the server is well."""
        self._num_failures = self._num_rests = 0
        self._rests_until = -math.inf
        self._probe = None

    def fail(self, now: float, request: int) -> bool:
        """Whether a rest begins with this failure. One from before the rest adds nothing to it."""
        is_probe = request == self._probe
        if self._num_rests and not is_probe:
            return False
        self._num_failures += 1
        if self._num_failures < MAX_FAILURES and not is_probe:
            return False
        self.rest(now, self._rest_seconds * 2 ** min(self._num_rests, 16), request)
        return True

    def rest(self, now: float, seconds: float, request: int) -> None:
        """It is left alone from now on, as a failure or its own word has it."""
        self.leave(request)
        self._num_failures = 0
        self._num_rests += 1
        self._rests_until = max(self._rests_until, now + min(seconds, MAX_REST_SECONDS))

    def leave(self, request: int) -> None:
        """A request ended before it was known whether it would be answered."""
        if request == self._probe:
            self._probe = None
