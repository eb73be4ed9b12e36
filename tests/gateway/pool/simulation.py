"""A policy in a world with time: loads, pauses, evictions and requests take seconds."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.api import Device
from gateway.pool.actions import Action, CancelLoad, Evict, Grant, Load, Pause, Reject
from gateway.pool.limits import PoolLimits
from gateway.pool.policy import Policy
from tests.gateway.fakes import make_card


@dataclass(frozen=True)
class Arrival:
    """A request: when, for which model of how many bytes, and how long it runs once granted."""

    at: float
    key: str
    num_bytes: int
    runs_seconds: float


@dataclass
class Simulation:
    """Plays arrivals on one device. `waits`, `ahead`: by the place of the arrival in the list.

    ahead: models that wanted room, were on their way in, or were closed to somebody who waited for
    them, when the request came.
    """

    limits: PoolLimits
    budget: int = 100
    load_seconds: float = 1.0
    build_seconds: float = 0.0  # in the first load of each model, on top
    evict_seconds: float = 0.5
    step_seconds: float = 0.2
    now: float = 0.0
    waits: dict[int, float] = field(default_factory=dict)
    ahead: dict[int, int] = field(default_factory=dict)
    refused: list[Reject] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.policy = Policy([Device("cpu", self.budget)], self.limits)
        self._events: list[tuple[float, int, str, int]] = []
        self._count = 0
        self._left: dict[int, float] = {}  # seconds of work, by request
        self._resumed: dict[int, float] = {}  # since when a request runs
        self._holders: dict[int, set[int]] = {}
        self._cancelled: set[int] = set()
        self._built: set[str] = set()  # models whose build a load has begun
        self._builds: dict[int, float] = {}  # seconds that a load spends on it, by handle

    @property
    def swap_seconds(self) -> float:
        return self.evict_seconds + self.load_seconds

    def play(self, arrivals: Iterable[Arrival]) -> None:
        self._arrivals = list(arrivals)
        for place, arrival in enumerate(self._arrivals):
            self._push(arrival.at, "ask", place)
        while self._events or self._deadline() is not None:
            deadline = self._deadline()
            if self._events and (deadline is None or self._events[0][0] <= deadline):
                self.now, _, kind, number = heapq.heappop(self._events)
                self._tell(getattr(self, f"_{kind}")(number))
            else:
                self.now = deadline
                self._tell(self.policy.ticked(deadline))

    def _deadline(self) -> float | None:
        return self.policy.next_deadline(self.now)

    def _push(self, at: float, kind: str, number: int) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, kind, number))

    # --- what happens ---------------------------------------------------------------------------

    def _ask(self, place: int) -> list[Action]:
        arrival = self._arrivals[place]
        self.ahead[place] = sum(
            model.key != arrival.key
            and bool(resident is None or not resident.is_usable or model.waiters)
            for model in self.policy.models.values()
            if (resident := model.resident) is not None or model.waiters
        )
        self._left[place] = arrival.runs_seconds
        card = make_card(arrival.key, weights_bytes=arrival.num_bytes)
        return self.policy.requested(place, arrival.key, card, self.now)

    def _loaded(self, handle: int) -> list[Action]:
        if handle in self._cancelled:
            self._cancelled.remove(handle)
            return self.policy.failed(handle, "internal", "cancelled", self.now)
        for place in self._holders.get(handle, ()):
            self._run(place)
        return self.policy.loaded(handle, self.now, build_seconds=self._builds.pop(handle, 0.0))

    def _paused(self, handle: int) -> list[Action]:
        for place in self._holders.get(handle, ()):
            self._left[place] -= self.now - self._resumed.pop(place)
        return self.policy.paused(handle, self.now)

    def _evicted(self, handle: int) -> list[Action]:
        return self.policy.evicted(handle, self.now)

    def _end(self, place: int) -> list[Action]:
        """A moment at which a request may have ended, unless it was paused meanwhile."""
        since = self._resumed.get(place)
        if since is None or self._left[place] - (self.now - since) > 1e-9:
            return self.policy.ticked(self.now)
        del self._resumed[place]
        for holders in self._holders.values():
            holders.discard(place)
        return self.policy.released(place, self.now)

    def _run(self, place: int) -> None:
        self._resumed[place] = self.now
        self._push(self.now + self._left[place], "end", place)

    def _build(self, load: Load) -> float:
        if load.model in self._built or not self.build_seconds:
            return 0.0
        self._built.add(load.model)
        self._builds[load.handle] = self.build_seconds
        return self.build_seconds

    def _tell(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Load(handle):
                    self.loads.append(action)
                    self._push(self.now + self.load_seconds + self._build(action), "loaded", handle)
                case CancelLoad(handle):
                    self._cancelled.add(handle)
                case Pause(handle):
                    self.pauses.append(action)
                    self._push(self.now + self.step_seconds + self.evict_seconds, "paused", handle)
                case Evict(handle):
                    self._push(self.now + self.evict_seconds, "evicted", handle)
                case Grant(place, _, handle):
                    self.waits[place] = self.now - self._arrivals[place].at
                    self._holders.setdefault(handle, set()).add(place)
                    self._run(place)
                case Reject():
                    self.refused.append(action)
