"""What the pool knows: models, where they are, who uses them and who waits."""

from dataclasses import dataclass, field
from enum import Enum, auto

from gateway.pool.actions import EvictReason
from gateway.pool.place import Place
from gateway.pool.placement import Fit, Placement
from gateway.pool.terms import DEFAULT_TERMS, Terms
from gateway.pool.trouble import Trouble


class Phase(Enum):
    """Where a resident is in its life. It holds its bytes in all of them but `PAUSED`."""

    LOADING = auto()  # with leases: a paused one that comes back
    CANCELLING = auto()  # told to stop loading; ends as failed, or ready if it was too late
    READY = auto()
    DRAINING = auto()  # ready, but closed to new leases
    PAUSING = auto()
    PAUSED = auto()  # has leases and no bytes; waits for room like a cold model
    EVICTING = auto()


@dataclass(slots=True, eq=False)
class Resident:
    """A model in its place, from the order to load it until it is surely gone.

    `handle` is never used twice. `leases` are the requests that use it now. `last_used` is the
    time of its last grant or release.
    bytes: held in the ledger now, on each device of `place`. needed: held while it is loaded, as
    planned and then as measured.
    claimed_since: the rank of the wish that it was loaded for. swap_since: when room for it began
    to be made. usable_since, swap_seconds: when it was last made ready, and what that took, less what
    was done once for all.
    paused_at: None if it never was. farewell: why it leaves once nobody uses it.
    is_void: its leases were revoked; it only waits for them to be given back.
    """

    handle: int
    model: str
    place: Place
    placement: Placement
    last_used: float
    phase: Phase = Phase.LOADING
    leases: set[int] = field(default_factory=set)
    bytes: int = -1
    needed: int = -1
    claimed_since: float = 0.0
    swap_since: float = 0.0
    usable_since: float = 0.0
    swap_seconds: float = 0.0
    paused_at: float | None = None
    farewell: EvictReason | None = None
    is_void: bool = False

    def __post_init__(self) -> None:
        self.needed = self.placement.bytes if self.needed < 0 else self.needed
        self.bytes = self.needed if self.bytes < 0 else self.bytes

    @property
    def total_bytes(self) -> int:
        return self.bytes * len(self.place)

    @property
    def is_usable(self) -> bool:
        return self.phase in {Phase.READY, Phase.DRAINING}

    @property
    def is_idle(self) -> bool:
        return self.is_usable and not self.leases

    @property
    def is_leaving(self) -> bool:
        """Whether its bytes are on their way back."""
        return self.phase in {Phase.CANCELLING, Phase.EVICTING, Phase.PAUSING}


@dataclass(frozen=True, slots=True)
class Waiter:
    """rank: when it arrived, less the waiting that its priority stands for."""

    request: int
    since: float
    rank: float


@dataclass(slots=True, eq=False)
class Model:
    """A model that was ever asked for. `waiters` are in the order of their arrival.

    keep_alive_seconds: by its terms, until a request says otherwise for this stay. room_since: when
    residents began to leave for it. load_seconds: what its last load took, less what was done once
    for all; None before the first. was_built: whether that load said to do something for all later
    ones.
    excess_bytes: by how much its last load missed its plan, on each device.
    """

    key: str
    fit: Fit
    id: str = ""
    terms: Terms = DEFAULT_TERMS
    resident: Resident | None = None
    waiters: dict[int, Waiter] = field(default_factory=dict)
    trouble: Trouble = field(default_factory=Trouble)
    keep_alive_seconds: float | None = None
    room_since: float | None = None
    num_loads: int = 0
    load_seconds: float | None = None
    was_built: bool = False
    excess_bytes: int = 0
    uses: float = 0.0
    uses_at: float = 0.0

    @property
    def rank(self) -> float | None:
        """Of its most urgent waiter."""
        return min((waiter.rank for waiter in self.waiters.values()), default=None)

    def once(self, build_seconds: float) -> float:
        """Which of the seconds that a load built for later ones will not come again, by what is seen.

        All of them the first time; none where the load before had built the same: then nothing is kept.
        """
        once = 0.0 if self.was_built else build_seconds
        self.was_built = build_seconds > 0
        return once

    @property
    def is_away(self) -> bool:
        """Whether its stay is over, or was never begun, and nobody waits for the next."""
        is_gone = self.resident is None or self.resident.phase is Phase.EVICTING
        return is_gone and not self.waiters

    @property
    def planned_bytes(self) -> int:
        """What a load is expected to take on each device: by the card, and by its last error."""
        return self.fit.placement.bytes + max(0, self.excess_bytes)
