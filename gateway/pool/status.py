import math
from typing import Literal

from msgspec import Struct

from gateway.pool.place import Place, name_of
from gateway.pool.state import Model, Phase

ModelState = Literal["unloaded", "loading", "loaded", "draining", "paused", "unloading"]

STATES: dict[Phase, ModelState] = {
    Phase.LOADING: "loading",
    Phase.CANCELLING: "unloading",
    Phase.READY: "loaded",
    Phase.DRAINING: "draining",
    Phase.PAUSING: "paused",
    Phase.PAUSED: "paused",
    Phase.EVICTING: "unloading",
}


class ModelStatus(Struct, frozen=True):
    """Where a model stands. `fraction`: how much of a load is done, 0 to 1.

    handle, place, bytes, kv_tokens: of its residence; None and 0 while it has none. bytes: taken
    now, as measured, 0 while it is paused. planned_bytes: what its card says.
    idle_seconds: since a request last began or ended; None if it is not resident.
    expires_in_seconds: until its `keep_alive` ends if nobody asks for it; None if that is never.
    load_seconds: of its last load; None before the first.
    """

    key: str
    state: ModelState = "unloaded"
    fraction: float = 0.0
    handle: int | None = None
    place: Place = ()
    bytes: int = 0
    kv_tokens: int = 0
    leases: int = 0
    waiting: int = 0
    idle_seconds: float | None = None
    expires_in_seconds: float | None = None
    pinned: bool = False
    num_loads: int = 0
    load_seconds: float | None = None
    planned_bytes: int = 0

    @property
    def device(self) -> str | None:
        """Where it is; of several devices, their names with a + between."""
        return name_of(self.place) or None


def status_of(model: Model, fraction: float, expiry: float, now: float) -> ModelStatus:
    """expiry: when the model is evicted if nobody uses it, or inf."""
    resident = model.resident
    state: ModelState = "unloaded" if resident is None else STATES[resident.phase]
    shown = 0.0 if resident is None else fraction if resident.phase is Phase.LOADING else 1.0
    is_idle = resident is not None and not resident.leases
    return ModelStatus(
        model.key,
        state=state,
        fraction=shown,
        handle=resident.handle if resident else None,
        place=resident.place if resident else (),
        bytes=resident.total_bytes if resident else 0,
        kv_tokens=resident.placement.kv_tokens if resident else 0,
        leases=len(resident.leases) if resident else 0,
        waiting=len(model.waiters),
        idle_seconds=max(0.0, now - resident.last_used) if resident and is_idle else None,
        expires_in_seconds=max(0.0, expiry - now) if expiry < math.inf else None,
        pinned=model.terms.pinned,
        num_loads=model.num_loads,
        load_seconds=model.load_seconds,
        planned_bytes=model.fit.total_bytes,
    )
