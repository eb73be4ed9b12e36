"""What the pool knows: models, where they are, who uses them and who waits."""

from dataclasses import dataclass, field
from enum import Enum, auto

from gateway.pool.placement import Fit, Placement
from gateway.pool.trouble import Trouble


class Phase(Enum):
    """Where a resident is in its life. It holds its bytes in all of them."""

    LOADING = auto()
    CANCELLING = auto()  # told to stop loading; ends as failed, or ready if it was too late
    READY = auto()
    DRAINING = auto()  # ready, but closed to new leases
    EVICTING = auto()


@dataclass(slots=True, eq=False)
class Resident:
    """A model on a device, from the order to load it until it is surely gone.

    `handle` is never used twice. `leases` are the requests that use it now. `last_used` is the
    time of its last grant or release.
    """

    handle: int
    model: str
    device: str
    placement: Placement
    last_used: float
    phase: Phase = Phase.LOADING
    leases: set[int] = field(default_factory=set)

    @property
    def is_usable(self) -> bool:
        return self.phase in {Phase.READY, Phase.DRAINING}

    @property
    def is_leaving(self) -> bool:
        return self.phase in {Phase.CANCELLING, Phase.EVICTING}


@dataclass(frozen=True, slots=True)
class Waiter:
    request: int
    since: float


@dataclass(slots=True, eq=False)
class Model:
    """A model that was ever asked for. `waiters` are in the order of their arrival."""

    key: str
    fit: Fit
    resident: Resident | None = None
    waiters: dict[int, Waiter] = field(default_factory=dict)
    trouble: Trouble = field(default_factory=Trouble)

    @property
    def first_waiter(self) -> Waiter | None:
        return next(iter(self.waiters.values()), None)
