"""Seconds of a device, shared out among the requests that it computes at once."""

from collections import defaultdict
from dataclasses import dataclass


@dataclass(slots=True)
class _Share:
    """each: seconds that a request would have had that was there from the start."""

    num_using: int = 0
    each: float = 0.0
    since: float = 0.0


class DeviceClock:
    """While n requests use a device, a second of it is 1/n of a second to each of them.

    So what all of them had is never more than what there was. Every time is given, in seconds.
    """

    def __init__(self) -> None:
        self._shares: defaultdict[str, _Share] = defaultdict(_Share)

    def begin(self, device: str, now: float) -> float:
        """A request begins to use it. Give the result back to `end`."""
        share = self._advanced(device, now)
        share.num_using += 1
        return share.each

    def end(self, device: str, begun: float, now: float) -> float:
        """The seconds that it had."""
        share = self._advanced(device, now)
        share.num_using -= 1
        return share.each - begun

    def _advanced(self, device: str, now: float) -> _Share:
        share = self._shares[device]
        if share.num_using:
            share.each += (now - share.since) / share.num_using
        share.since = now
        return share
