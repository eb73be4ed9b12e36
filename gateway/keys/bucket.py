"""A rate, with as much at once as a minute brings."""

MINUTE = 60.0


class Bucket:
    """Refills evenly, a minute from empty to full. It may be overdrawn: then it is paid back first.

    Every time is given to it, in seconds.
    """

    def __init__(self, per_minute: float, now: float) -> None:
        self.per_minute = per_minute
        self._level = per_minute
        self._since = now

    def level(self, now: float) -> float:
        grown = self._level + max(0.0, now - self._since) * self.per_minute / MINUTE
        return min(self.per_minute, grown)

    def take(self, amount: float, now: float) -> None:
        self._level = self.level(now) - amount
        self._since = max(now, self._since)

    def wait_seconds(self, amount: float, now: float) -> float:
        """Until so much is there; 0 if it is."""
        missing = min(amount, self.per_minute) - self.level(now)
        return max(0.0, missing) * MINUTE / self.per_minute

    def resize(self, per_minute: float, now: float) -> None:
        """Another rate from now on; what was taken stays taken."""
        taken = self.per_minute - self.level(now)
        self.per_minute = per_minute
        self._level = per_minute - taken
        self._since = max(now, self._since)
